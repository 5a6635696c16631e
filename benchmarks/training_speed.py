"""python benchmarks/training_speed.py [--steps 8] [--rounds 3] [--base-model NAME]

This trainer against TRL's SFTTrainer (its defaults, and its best settings here) and the plain
transformers Trainer: the same rows, base, LoRA and optimizer steps. Each run is a process of its
own; rounds are interleaved, so that a busy machine slows all of them alike, and ratios are taken
within a round. Reported: trained tokens per second of training alone (loading left out), peak
resident memory (on CUDA: peak allocated), and the mean loss on held-out rows at the end.

Rows come from the sample data, stretched to lengths of 40 to 400 tokens.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lorachain import cli
from lorachain.paths import PROJECT_ROOT, from_user

ROWS_PER_STEP = 16
RUNNER = Path(__file__).with_name("training_runs.py")
CONTESTANTS = (
    "lorachain",
    "trl_defaults",
    "trl_best",
    "trl_best_bf16_weights",
    "transformers_plain",
)


def arguments(argv: Sequence[str] | None) -> Any:
    """The flags."""
    p = cli.ArgumentParser(description=__doc__)
    p.add_argument("--steps", type=int, default=8, help="optimizer steps of 16 rows (default: 8)")
    p.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default: 3)")
    p.add_argument("--base-model", default="smollm2-135m-instruct", metavar="NAME")
    p.add_argument("--quantize", choices=["none", "4bit"], default="none")
    p.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    p.add_argument("--output", metavar="JSON", help="where the figures go as well")
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run all contestants in turn, then print the table."""
    args = arguments(argv)
    rounds: list[dict[str, Any]] = []
    for number in range(args.rounds):
        rounds.append({})
        for name in args.only:
            rounds[-1][name] = one_run(name, args)
            found = rounds[-1][name]
            print(
                f"round {number + 1}: {name}: {found['tokens_per_second']:.0f} trained tokens/s, "
                f"{found['peak_mb']:.0f} MB, loss {found['loss']:.4f}",
                flush=True,
            )
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": rounds[0][args.only[0]]["device"],
        "versions": rounds[0][args.only[0]]["versions"],
        "base": args.base_model,
        "quantize": args.quantize,
        "steps": args.steps,
        "rows_per_step": ROWS_PER_STEP,
        "rounds": rounds,
        "summary": summarise(rounds, args.only),
    }
    print(table(result["summary"]))
    if args.output:
        text = json.dumps(result, indent=2) + "\n"
        from_user(args.output).write_text(text, encoding="utf-8")


def one_run(name: str, args: Any) -> dict[str, Any]:
    """One contestant in a process of its own."""
    command = [sys.executable, str(RUNNER), name, args.base_model, args.quantize]
    found = subprocess.run(
        [*command, str(args.steps), str(ROWS_PER_STEP)],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode != 0:
        raise SystemExit(f"{name} failed:\n{found.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(found.stdout.strip().splitlines()[-1])
    return result


def summarise(rounds: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Medians, and the median over rounds of each contestant's ratio to ours."""
    summary = {}
    for name in names:
        runs = [found[name] for found in rounds]
        entry: dict[str, Any] = {
            key: statistics.median(run[key] for run in runs)
            for key in ("tokens_per_second", "peak_mb", "loss", "trained_tokens")
        }
        if "lorachain" in names:
            ours = [found["lorachain"] for found in rounds]
            pairs = list(zip(ours, runs, strict=True))
            entry["speed_of_ours"] = statistics.median(
                a["tokens_per_second"] / b["tokens_per_second"] for a, b in pairs
            )
            entry["memory_of_ours"] = statistics.median(
                a["peak_mb"] / b["peak_mb"] for a, b in pairs
            )
        summary[name] = entry
    return summary


def table(summary: dict[str, Any]) -> str:
    """The medians as a Markdown table."""
    lines = [
        "| trainer | trained tokens/s | peak MB | end loss | ours is faster by | our memory |",
        "|---|---|---|---|---|---|",
    ]
    for name, entry in summary.items():
        speed, memory = entry.get("speed_of_ours"), entry.get("memory_of_ours")
        lines.append(
            f"| {name} | {entry['tokens_per_second']:.0f} | {entry['peak_mb']:.0f} | "
            f"{entry['loss']:.4f} | {f'{speed:.2f}x' if speed else '-'} | "
            f"{f'{memory:.2f}x' if memory else '-'} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main)
