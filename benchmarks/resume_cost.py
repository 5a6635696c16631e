"""python benchmarks/resume_cost.py [--steps 60] [--base-model NAME] [--only ...] [--output JSON]

What a resume loses: each trainer is killed with SIGKILL at three points, half-way between two of
its checkpoints, and run again to the end; the end is compared with that of its own run that nobody
killed. This trainer is the real script as a process (`checkpoint.resume` weights and exact); beside
it stands the stock transformers Trainer with adapter-only checkpoints (`save_only_model`) and with
full ones, resumed by `train(resume_from_checkpoint=<newest>)`. All get the same rows, the same
first adapter, AdamW, cosine schedule with warm-up, dropout and number of steps, in float32; the
order of the rows and what dropout drops are each trainer's own.

Distance is |a - b| / |b| over all LoRA tensors as one vector, a the resumed run's and b the
uninterrupted one's; "of the way" is |a - b| / |b - first adapter|. Validation loss is the mean per
trained token of rows held out, by one function (plain PEFT, float32) for all. Rates are those that
the trainers log for the steps after the resume; this trainer logs the schedule's, and with
`weights` takes a part of it in its first steps after a resume. Each uninterrupted run is done
twice, which shows what is noise. POSIX only.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lorachain import cli
from lorachain.models import find_base
from lorachain.paths import PROJECT_ROOT, from_user

ROWS_PER_STEP = 3
EPOCHS = 2
SHARES = (0.25, 0.5, 0.75)  # of the steps, where runs are killed
RUNNER = Path(__file__).with_name("resume_runs.py")
DATA = PROJECT_ROOT / "data" / "processed"
CONTESTANTS = {
    "ours_weights": "weights",
    "ours_exact": "exact",
    "stock_adapter_only": "weights",
    "stock_full": "full",
}


def arguments(argv: Sequence[str] | None) -> Any:
    """The flags."""
    p = cli.ArgumentParser(description=__doc__)
    p.add_argument("--steps", type=int, default=60, help="optimizer steps (default: 60; 8 to 100)")
    p.add_argument("--base-model", default="smollm2-135m-instruct", metavar="NAME")
    p.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    p.add_argument("--output", metavar="JSON", help="where the figures go as well")
    args = p.parse_args(argv)
    if not 8 <= args.steps <= 100:
        p.error("--steps: 8 to 100")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run all contestants in turn, then print the table."""
    args = arguments(argv)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        settings = prepare(args, Path(temporary))
        found = {name: contest(name, settings, Path(temporary)) for name in args.only}
    first = found[args.only[0]]
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": first["device"],
        "versions": first["versions"],
        "minutes": round((time.monotonic() - began) / 60, 1),
        "settings": {k: v for k, v in settings.items() if not k.endswith("_data")},
        "contestants": {name: entry["figures"] for name, entry in found.items()},
    }
    print(table(result["contestants"]))
    if args.output:
        text = json.dumps(result, indent=2) + "\n"
        from_user(args.output).write_text(text, encoding="utf-8")


def prepare(args: Any, folder: Path) -> dict[str, Any]:
    """The settings that all contestants share, also written to `folder`, with a part of the rows.

    The last third of the base's layers gets adapters: a run is then short enough to be done often.
    """
    config = json.loads((find_base(args.base_model).folder / "config.json").read_text("utf-8"))
    layers = config["num_hidden_layers"]
    rows = (DATA / "train_llm.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    chosen = rows[: math.ceil(args.steps / EPOCHS) * ROWS_PER_STEP]
    (folder / "train.jsonl").write_text("".join(chosen), encoding="utf-8")
    settings = {
        "base": args.base_model,
        "dtype": "fp32",
        "steps": args.steps,
        "rows": len(chosen),
        "rows_per_step": ROWS_PER_STEP,
        "lora": {
            "r": 16,
            "lora_alpha": 32,
            "lora_dropout": 0.05,
            "target_modules": "auto",
            "layers_to_transform": list(range(layers - layers // 3, layers)),
        },
        "learning_rate": 1e-3,
        "lr_scheduler_type": "cosine",
        "warmup_steps": math.ceil(args.steps / 10),
        "optim": "adamw_torch",
        "seed": 42,
        "save_steps": max(2, 2 * round(args.steps / 30)),
        "save_total_limit": 3,
        "train_data": str(folder / "train.jsonl"),
        "held_out_data": str(DATA / "val_llm.jsonl"),
    }
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    return settings


def contest(name: str, settings: dict[str, Any], root: Path) -> dict[str, Any]:
    """One contestant: two runs that nobody kills, and one for each point where it is killed."""
    folders = [root / f"{name}-{kind}" for kind in ("whole", "repeat")]
    for folder in folders:
        run(name, settings, folder)
    kills = []
    for share in SHARES:
        resumed_from = int(settings["steps"] * share / settings["save_steps"])
        resumed_from *= settings["save_steps"]
        step = resumed_from + settings["save_steps"] // 2
        folder = root / f"{name}-killed-{step}"
        folders.append(folder)
        run(name, settings, folder, kill_at=step)
        run(name, settings, folder)
        if went_on_from(folder) != resumed_from:
            raise SystemExit(f"{name}: went on from {went_on_from(folder)}, not {resumed_from}")
        kills.append(
            {
                "killed_at": step,
                "resumed_from": resumed_from,
                "largest_rate_difference": rate_difference(folders[0], folder, resumed_from),
            }
        )
        print(f"{name}: killed at step {step} and resumed", flush=True)
    command = [sys.executable, str(RUNNER), "measure", str(root / "settings.json")]
    measured: dict[str, Any] = json.loads(checked([*command, *map(str, folders)]).splitlines()[-1])
    whole, repeat, *resumed = measured.pop("runs")
    figures = {
        "validation_loss": whole["validation_loss"],
        "repeat_distance": repeat["distance"],
        "resumed": [kill | entry for kill, entry in zip(kills, resumed, strict=True)],
    }
    print(f"{name}: {json.dumps(figures)}", flush=True)
    return measured | {"figures": figures}


def run(name: str, settings: dict[str, Any], folder: Path, kill_at: int = 0) -> None:
    """Run a contestant to its end, from its newest checkpoint, or kill it after a step."""
    folder.mkdir(exist_ok=True)
    ours = name.startswith("ours")
    if ours:
        command = ours_command(settings, CONTESTANTS[name], folder)
    else:
        command = [sys.executable, str(RUNNER), "train", str(folder.parent / "settings.json")]
        command += [str(folder), CONTESTANTS[name], str(kill_at)]
    log = folder.with_suffix(".log")
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=file, stderr=file)
        while ours and kill_at and process.poll() is None:
            if kill_at in rates(folder):
                process.kill()
                break
            time.sleep(0.02)
        code = process.wait()
    if code != (-signal.SIGKILL if kill_at else 0):
        said = log.read_text(encoding="utf-8")[-3000:]
        raise SystemExit(f"{name} ended with exit code {code}:\n{said}")


def ours_command(settings: dict[str, Any], level: str, folder: Path) -> list[str]:
    """The real script's command line for these settings."""
    lora = {f"lora.{key}": json.dumps(value) for key, value in settings["lora"].items()}
    same = ("learning_rate", "lr_scheduler_type", "warmup_steps", "optim", "seed")
    sets = lora | {f"training.{key}": settings[key] for key in same}
    sets |= {
        "model.dtype": settings["dtype"],
        "quantization.load_in_4bit": "false",
        "training.max_steps": settings["steps"],
        "training.per_device_train_batch_size": settings["rows_per_step"],
        "training.gradient_accumulation_steps": 1,
        "training.logging_steps": 1,
        "checkpoint.save_steps": settings["save_steps"],
        "checkpoint.save_total_limit": settings["save_total_limit"],
        "checkpoint.resume": level,
    }
    command = [sys.executable, str(PROJECT_ROOT / "src" / "training" / "fine_tune.py")]
    command += ["--base-model", settings["base"], "--output", str(folder)]
    command += ["--train-data", settings["train_data"], "--val-data", "none"]
    return command + [part for key, value in sets.items() for part in ("--set", f"{key}={value}")]


def checked(command: Sequence[str]) -> str:
    """A command's output. Ends this script when the command fails."""
    found = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise SystemExit(f"Measuring failed:\n{found.stderr[-3000:]}")
    return found.stdout


def logged(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log, one for each step that was taken."""
    log = folder / "training_log.jsonl"
    found = []
    for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else ():
        with contextlib.suppress(ValueError):  # a line that is being written
            found.append(json.loads(line))
    return found


def rates(folder: Path) -> dict[int, float]:
    """The learning rate of each step, of one that was taken twice the later."""
    return {entry["step"]: entry["learning_rate"] for entry in logged(folder)}


def went_on_from(folder: Path) -> int | None:
    """The step that a finished run went on from. The stock log keeps what was taken twice."""
    lineage = folder / "lineage.json"
    if lineage.is_file():
        step: int | None = json.loads(lineage.read_text(encoding="utf-8"))["resumed_from_step"]
        return step
    steps = [entry["step"] for entry in logged(folder)]
    return next((now - 1 for last, now in itertools.pairwise(steps) if now <= last), None)


def rate_difference(whole: Path, resumed: Path, since: int) -> float:
    """The largest difference between two runs' rates in the steps after `since`."""
    expected, found = rates(whole), rates(resumed)
    return max(abs(rate - found[step]) for step, rate in expected.items() if step > since)


def table(contestants: dict[str, Any]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| trainer | killed at, goes on from | distance | of the way | validation loss | "
        "never killed | largest difference of rates |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, entry in contestants.items():
        for kill in entry["resumed"]:
            lines.append(
                f"| {name} | {kill['killed_at']}, {kill['resumed_from']} | "
                f"{kill['distance']:.2g} | {kill['distance_to_way']:.2g} | "
                f"{kill['validation_loss']:.4f} | {entry['validation_loss']:.4f} | "
                f"{kill['largest_rate_difference']:.2g} |"
            )
        lines.append(
            f"| {name}, never killed, twice | - | {entry['repeat_distance']:.2g} | - | "
            f"{entry['validation_loss']:.4f} | {entry['validation_loss']:.4f} | - |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main)
