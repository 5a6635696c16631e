"""How to go on from a finished version, as messages say it."""

from __future__ import annotations

import os
from pathlib import Path

from lorachain.paths import PROJECT_ROOT, quoted, runnable

LAUNCHERS = {"fine_tuned": "train_v2", "fine_tuned_v2": "train_v3"}


def next_name(name: str) -> str:
    """fine_tuned -> fine_tuned_v2 -> fine_tuned_v3; anything else gets _v2."""
    stem, marker, number = name.rpartition("_v")
    if marker and number.isdigit():
        return f"{stem}_v{int(number) + 1}"
    stem, marker, number = name.rpartition("v")
    if marker and not stem and number.isdigit():
        return f"v{int(number) + 1}"
    return f"{name}_v2"


def go_on_from(output: Path) -> str:
    """The command that trains the version after this one."""
    command = runnable(
        *(PROJECT_ROOT / "src" / "training" / "fine_tune_v2.py", "--source-model", output),
        *("--output", output.with_name(next_name(output.name))),
    )
    return f"{command} --train-data NEW.jsonl --val-data NEW_VAL.jsonl"


def next_launcher(output: Path) -> Path | None:
    """The launcher that trains the version after this one on the sample data: the one that takes
    this folder for the parent when nothing else is said. None where there is none."""
    name = LAUNCHERS.get(output.name)
    if name is None or output.parent != PROJECT_ROOT / "models":
        return None
    return PROJECT_ROOT / (f"{name}.bat" if os.name == "nt" else f"{name}.sh")


def what_is_next(output: Path) -> str:
    """For a version that is finished: how to go on from it."""
    launcher = next_launcher(output)
    sample = f"\n  {_typed(launcher)}\nor, on rows of your own:" if launcher else ""
    return f"To go on from it:{sample}\n  {go_on_from(output)}"


def _typed(launcher: Path) -> str:
    """A launcher as it is typed in a shell, which finds none by its bare name."""
    here = os.curdir + os.sep if launcher.parent == Path.cwd() else ""
    return here + quoted(launcher)
