"""python benchmarks/evaluation_speed.py [--chain FOLDER] [--questions 6] [--rounds 2]

What it costs to ask a base and its versions the same questions: this evaluation against the usual
loop, one prompt at a time with the base and the adapter loaded anew for each version. The same
prompts, dtype, token limit and greedy decoding; each run is a process of its own; rounds are
interleaved, so that a busy machine slows both alike, and ratios are taken within a round.

Reported: seconds from the first load to the last answer (importing torch left out), how much of
that was spent answering, peak memory, and the share of answers that are the same text. Ours also
says what judging them costs: scores, statistics and the report.

Without --chain, three versions of a few steps are trained first (some minutes on a CPU).
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lorachain import cli
from lorachain.evaluation.chosen import chain_of
from lorachain.paths import PROJECT_ROOT, SUITES, from_user
from lorachain.quickstart.plan import make_plan, stage_command

RUNNER = Path(__file__).with_name("evaluation_runs.py")
CONTESTANTS = ("lorachain", "one_by_one")


def arguments(argv: Sequence[str] | None) -> Any:
    """The flags."""
    p = cli.ArgumentParser(description=__doc__)
    p.add_argument("--chain", type=from_user, metavar="FOLDER", help="the newest of some versions")
    p.add_argument("--base-model", default="smollm2-135m-instruct", metavar="NAME")
    p.add_argument("--suite", type=from_user, default=SUITES / "fixed20_v1.jsonl", metavar="FILE")
    p.add_argument("--questions", type=cli.whole, default=6, help="of the suite (default: 6)")
    p.add_argument("--batch-size", type=cli.whole, default=8, help="of ours (default: 8)")
    p.add_argument("--max-new-tokens", type=cli.whole, default=64, help="default: 64")
    p.add_argument(
        "--dtype",
        choices=["auto", "bf16", "fp16", "fp32"],
        default="auto",
        help="of both; in fp32 the answers are the same more often (default: auto)",
    )
    p.add_argument("--rounds", type=cli.whole, default=2, help="interleaved rounds (default: 2)")
    p.add_argument("--output", type=from_user, metavar="JSON", help="where the figures go as well")
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run both in turn, then print the table."""
    args = arguments(argv)
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        newest = args.chain or train(Path(temporary) / "chain", args.base_model)
        for number in range(args.rounds):
            rounds.append({})
            # Who goes first alternates: the page cache is warm for the second.
            for name in CONTESTANTS if number % 2 == 0 else reversed(CONTESTANTS):
                found = rounds[-1][name] = one_run(name, newest, args)
                print(
                    f"round {number + 1}: {name}: {found['seconds']:.1f} s, of which answering "
                    f"{found['answering_seconds']:.1f} s, {found['peak_mb']:.0f} MB",
                    flush=True,
                )
        versions = [version.name for version in chain_of(newest)]
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}",
        **rounds[0]["lorachain"]["about"],
        "versions": ["base", *versions],
        "questions": rounds[0]["lorachain"]["questions"],
        "batch_size": args.batch_size,
        "max_new_tokens": args.max_new_tokens,
        "rounds": [plain(found) for found in rounds],
        "summary": summarise(rounds),
    }
    print(table(result["summary"]))
    if args.output:
        args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def train(folder: Path, base: str) -> Path:
    """Three versions of a few steps: what they answer is poor, and costs the same."""
    plan = make_plan(folder, base, small=True)
    for stage in plan.stages:
        print(f"training {stage.name}", flush=True)
        command = [sys.executable, *stage_command(plan, stage)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise SystemExit(f"{stage.name} failed:\n{made.stderr[-3000:]}")
    return plan.version(plan.stages[-1].name)


def one_run(name: str, newest: Path, args: Any) -> dict[str, Any]:
    """One contestant in a process of its own."""
    numbers = (args.questions, args.batch_size, args.max_new_tokens, args.dtype)
    command = [sys.executable, str(RUNNER), name, str(newest), str(args.suite), *map(str, numbers)]
    found = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise SystemExit(f"{name} failed:\n{found.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(found.stdout.strip().splitlines()[-1])
    return result


def plain(found: dict[str, Any]) -> dict[str, Any]:
    """A round without its answers."""
    left_out = ("texts", "about")
    return {n: {k: v for k, v in run.items() if k not in left_out} for n, run in found.items()}


def summarise(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians, and the median over rounds of how many times longer one by one takes."""
    keys = ("seconds", "loading_seconds", "answering_seconds", "peak_mb")
    summary: dict[str, Any] = {
        name: {key: statistics.median(found[name][key] for found in rounds) for key in keys}
        for name in CONTESTANTS
    }
    ours, theirs = CONTESTANTS
    summary["faster_by"] = statistics.median(
        found[theirs]["seconds"] / found[ours]["seconds"] for found in rounds
    )
    summary["beside_answering"] = statistics.median(
        1 - found[ours]["answering_seconds"] / found[ours]["seconds"] for found in rounds
    )
    summary["judging_seconds"] = statistics.median(f[ours]["judging_seconds"] for f in rounds)
    pairs = [
        (one, other)
        for found in rounds
        for one, other in zip(found[ours]["texts"], found[theirs]["texts"], strict=True)
    ]
    summary["same_answers"] = sum(one == other for one, other in pairs) / len(pairs)
    return summary


def table(summary: dict[str, Any]) -> str:
    """The medians as a Markdown table, and what they mean."""
    lines = ["| evaluation | seconds | loading | answering | peak MB |", "|---|---|---|---|---|"]
    for name in CONTESTANTS:
        entry = summary[name]
        lines.append(
            f"| {name} | {entry['seconds']:.1f} | {entry['loading_seconds']:.1f} | "
            f"{entry['answering_seconds']:.1f} | {entry['peak_mb']:.0f} |"
        )
    beside, same = f"{summary['beside_answering']:.0%}", f"{summary['same_answers']:.0%}"
    lines.append(
        f"This evaluation is {summary['faster_by']:.1f}x as fast. All but answering takes {beside} "
        f"of its time; judging takes {summary['judging_seconds']:.1f} s more. {same} of the "
        "answers are the same text."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main)
