"""What a run goes on from, and what it says when that was another run's.

An identity is what two runs must share, field by field: settings by their values; base, parent and
rows by their hashes. `names` are what a person calls the latter.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lorachain import checkpoint
from lorachain.config import KNOWN_KEYS
from lorachain.errors import UserError
from lorachain.lineage import Lineage
from lorachain.paths import quoted, shown

log = logging.getLogger("lorachain")

FLAGS = {
    "base": "--base-model",
    "parent": "--source-model",
    "training rows": "--train-data",
    "validation rows": "--val-data",
    "replayed rows": "--replay-data",
}
LINES = 12  # differences that a message lists


def find_checkpoint(
    output: Path, resume: str, identity: Mapping[str, Any], names: Mapping[str, str]
) -> checkpoint.Checkpoint | None:
    """The checkpoint that a run goes on from, or None for a fresh start.

    `resume` is auto, never, or a checkpoint's folder. Raises UserError when there is one of another
    run, naming each field that differs.
    """
    if resume == "never":
        for folder in checkpoint.folders(output):
            checkpoint.try_to_set_aside(folder, "this run was told not to resume (--resume never)")
        return None
    found = checkpoint.find_latest(output) if resume == "auto" else _named(Path(resume), output)
    if found is None:
        return None
    changed = differing(found.identity, identity)
    if changed:
        then = found.about.get("names", {})
        raise UserError(
            f"{shown(found.folder)} belongs to another run:\n"
            + _lines(found.identity, identity, then if isinstance(then, dict) else {}, names)
            + "\nTo start this stage from its beginning instead, pass --restart (what is there is "
            "moved aside, not deleted)."
        )
    for later in checkpoint.folders(output):
        if int(later.name.split("-")[1]) > found.step:
            checkpoint.try_to_set_aside(later, f"this run goes on from step {found.step}")
    return found


def _named(folder: Path, output: Path) -> checkpoint.Checkpoint:
    """The checkpoint that --resume names: its folder, or its bare name."""
    here = output / folder.name
    if folder.resolve().parent != output.resolve() and folder.exists():
        raise UserError(
            f"--resume {shown(folder)} is not a checkpoint of --output {shown(output)}."
        )
    if not here.is_dir():
        names = ", ".join(p.name for p in checkpoint.folders(output)) or "none"
        raise UserError(f"--resume: {shown(here)} does not exist; there are {names}.")
    try:
        return checkpoint.verify(here)
    except checkpoint.DamagedCheckpoint as reason:
        raise UserError(f"{shown(here)} cannot be resumed: {reason}.") from None


def check_same(version: Lineage, identity: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Raises UserError when a finished version was made with other settings or data."""
    if differing(version.data["identity"], identity):
        raise UserError(
            f"{shown(version.folder)} is a finished version, made with other settings or data:\n"
            + _lines(version.data["identity"], identity, {}, names, go_on=False)
            + "\nA finished version is never changed. Choose another --output, or pass --restart "
            "to train it again (the old one is moved aside, not deleted)."
        )


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The fields in which two identities differ, in the order of their names."""
    return sorted(key for key in {*then, *now} if then.get(key) != now.get(key))


def _lines(
    then: Mapping[str, Any],
    now: Mapping[str, Any],
    names_then: Mapping[str, Any],
    names_now: Mapping[str, str],
    go_on: bool = True,
) -> str:
    """'  field: was ..., now ...' for each difference and, with `go_on`, what to pass to undo
    them."""
    fields = differing(then, now)
    lines = []
    for field in fields[:LINES]:
        was = _value(then.get(field), names_then.get(field))
        lines.append(f"  {field}: was {was}, now {_value(now.get(field), names_now.get(field))}")
    if len(fields) > LINES:
        lines.append(f"  and {len(fields) - LINES} more")
    if go_on:
        lines.append("To go on from it, run the same command with:")
        lines += [
            f"  {_undo(f, then[f], names_then.get(f), names_now.get(f))}"
            if f in then
            else f"  the lorachain of then, which had no {f}"
            for f in fields
        ]
    return "\n".join(lines)


def _value(value: Any, name: Any) -> str:
    if value is None:
        return "not set" if name is None else str(name)
    text = str(value)
    return text if name is None else f"{shown(str(name))} ({text[:16]})"


def _undo(field: str, then: Any, name: Any, name_now: str | None) -> str:
    if field in KNOWN_KEYS:
        text = then if isinstance(then, str) else json.dumps(then, ensure_ascii=False)
        if isinstance(then, dict | list):
            text = text.replace('"', "")  # YAML's flow style; quotes within quotes break in cmd
        return f"--set {quoted(f'{field}={text}')}"
    if field == "parent" and then is None:
        return "no --source-model: it is a version 1's, which src/training/fine_tune.py makes"
    if field in FLAGS:
        if name is None:
            return f"{FLAGS[field]} as it was then"
        same = " with the content that it had then" if str(name) == name_now else ""
        return f"{FLAGS[field]} {quoted(str(name))}{same}"
    if field == "processes":
        return f"{then} processes, as before (torchrun --nproc_per_node={then})"
    return f"the same {field} as before ({then}): on the machine, and with the settings, of then"


def say_what_else_changed(found: checkpoint.Checkpoint, now: Mapping[str, str]) -> None:
    """Packages or a device other than the checkpoint's do not stop a resume; they are named."""
    then = found.about.get("made_with", {})
    if not isinstance(then, dict):
        return
    changed = [f"{k} was {then[k]}, now {v}" for k, v in sorted(now.items()) if then.get(k, v) != v]
    if changed:
        log.warning(
            "%s was written with another set-up (%s): it goes on, but not to the last bit.",
            *(found.folder.name, "; ".join(changed)),
        )


def agreed(find: Callable[[], checkpoint.Checkpoint | None]) -> checkpoint.Checkpoint | None:
    """What the first process finds, or its refusal, for all processes of a torchrun."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return find()
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    state = PartialState(cpu=not torch.cuda.is_available())
    answer: list[Any] = [None, None]
    if state.is_main_process:
        try:
            answer[0] = find()
        except UserError as error:
            answer[1] = str(error)
    broadcast_object_list(answer)
    if answer[1] is not None:
        raise UserError(answer[1])
    found: checkpoint.Checkpoint | None = answer[0]
    return found
