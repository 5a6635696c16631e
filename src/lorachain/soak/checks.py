"""What must hold whenever a run is dead, and when it has come to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lorachain import checkpoint, lineage
from lorachain.adapters import WEIGHTS, read_tensors
from lorachain.checkpoint import PICKLES
from lorachain.jsonl import parse_objects
from lorachain.soak.places import TRAINING_LOG, Look, resumed_from


def after_a_life(folder: Path, then: Look, now: Look, text: str) -> list[str]:
    """What does not hold in an output folder whose run has ended, however it ended. `then` is the
    folder before the run was started, when all of its checkpoints were good."""
    problems = []
    if "Traceback (most recent call last)" in text:
        problems.append("it raised an exception")
    for path in checkpoint.folders(folder):
        if why := checkpoint.damage(path):
            problems.append(f"{path.name} is there and is not good: {why}")
    if now.newest < then.newest:
        problems.append(f"checkpoint-{then.newest} was there before it, and is gone")
    if set_aside(folder):
        problems.append("checkpoints were set aside")
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if path.suffix.lower() in PICKLES:
            problems.append(f"{path.relative_to(folder).as_posix()} has a pickle's name")
    if now.finished and (changed := lineage.changed_files(lineage.read(folder))):
        problems.append(f"it is taken for finished, and {', '.join(changed)}")
    return [*problems, *_started_from(then, now, text)]


def _started_from(then: Look, now: Look, text: str) -> list[str]:
    """Whether it went on from where it had to."""
    said = resumed_from(text)
    if said is not None and said != then.newest:
        return [f"it went on from checkpoint-{said}, and checkpoint-{then.newest} was the newest"]
    if said is None and then.newest and now.log != then.log:
        return [f"it began anew, and checkpoint-{then.newest} was there"]
    return []


def logged(folder: Path) -> list[dict[str, Any]]:
    """The training log's entries without what differs from run to run: speeds and durations."""
    return [
        {k: v for k, v in entry.items() if "second" not in k and "runtime" not in k}
        for _, entry in parse_objects(folder / TRAINING_LOG)[0]  # a line may be torn
    ]


def steps_after(folder: Path, step: int) -> int:
    """How many steps after this one are in the training log."""
    return sum("loss" in entry and entry["step"] > step for entry in logged(folder))


def set_aside(folder: Path) -> int:
    """How many checkpoints were set aside in a folder."""
    return len(list(folder.glob("set-aside-*")))


def left_behind(folder: Path) -> list[str]:
    """What a finished version still holds of runs that were killed."""
    names = (path.name for path in folder.iterdir() if path.name != ".lock")
    return sorted(n for n in names if n.startswith(".") or n == lineage.UNFINISHED)


def largest_difference(whole: Path, found: Path) -> float:
    """The largest difference between two versions' adapters; infinite where their tensors are not
    the same ones."""
    import torch

    one, two = read_tensors(whole / WEIGHTS), read_tensors(found / WEIGHTS)
    if {k: t.shape for k, t in one.items()} != {k: t.shape for k, t in two.items()}:
        return float("inf")
    gaps = [float((one[name].double() - two[name].double()).abs().max()) for name in one]
    return max(gaps) if all(torch.isfinite(torch.tensor(gaps))) else float("inf")


def at_the_end(whole: Path, found: Path, difference: float, exact: bool) -> list[str]:
    """How a version that was killed on its way differs from the one that nothing stopped, where it
    must not: with `exact` in weights, log and validation losses, else in learning rates and steps.
    """
    one, two = lineage.read(whole), lineage.read(found)
    steps, now = one.data["metrics"]["steps"], two.data["metrics"]["steps"]
    problems = [] if steps == now else [f"it took {now} steps instead of {steps}"]
    if exact and difference != 0.0:
        problems.append(f"its adapter differs by up to {difference:.3g}")
    problems += _log_differs(logged(whole), logged(found), exact)
    losses, then = two.data["metrics"]["validation_loss"], one.data["metrics"]["validation_loss"]
    if exact and losses != then:
        problems.append(f"its validation losses are {losses} instead of {then}")
    elif losses.keys() != then.keys():
        problems.append(f"it measured {sorted(losses)} instead of {sorted(then)}")
    if two.parent is not None and (changed := lineage.changed_files(lineage.read(two.parent))):
        problems.append(f"its parent was changed: {', '.join(changed)}")
    if left := left_behind(found):
        problems.append(f"left behind in it: {', '.join(left)}")
    return problems


def _log_differs(
    whole: list[dict[str, Any]], found: list[dict[str, Any]], exact: bool
) -> list[str]:
    if not exact:
        keys = ("step", "epoch", "learning_rate")
        whole = [{k: e[k] for k in keys} for e in whole if "loss" in e]
        found = [{k: e.get(k) for k in keys} for e in found if "loss" in e]
    for then, now in zip(whole, found, strict=False):
        if then != now:
            return [f"its training log says {now} instead of {then}"]
    if len(whole) != len(found):
        return [f"its training log has {len(found)} entries instead of {len(whole)}"]
    return []
