"""A stage's output folder: moved aside for a fresh start, and put back when nothing came of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lorachain import checkpoint, lineage
from lorachain.files import LOCK, remove_folder, replace
from lorachain.paths import shown

log = logging.getLogger("lorachain")

LOG_FILE = "training_log.jsonl"
PREFLIGHT_JSON, PREFLIGHT_PAGE = "preflight.json", "preflight.html"
BEFORE_THE_FIRST_STEP = frozenset(
    {LOCK, lineage.UNFINISHED, LOG_FILE, "logs", PREFLIGHT_JSON, PREFLIGHT_PAGE}
)


def begun_by_this(output: Path, identity: Mapping[str, Any]) -> bool:
    """Whether an output was begun with --restart by this very run and can go on: somebody who runs
    their last command once more after a stop wants that, and not to begin again."""
    if not lineage.was_restarted(output):
        return False
    for folder in checkpoint.folders(output):
        try:
            return dict(checkpoint.verify(folder).identity) == dict(identity)
        except checkpoint.DamagedCheckpoint:
            continue
    return False


def occupied(output: Path) -> bool:
    """Whether anything but a lock stands there."""
    return output.exists() and any(p.name != LOCK for p in output.iterdir())


def is_stub(output: Path) -> bool:
    """Whether all that stands there is what a run leaves that never took a step."""
    log_file = output / LOG_FILE
    return (
        output.is_dir()
        and all(path.name in BEFORE_THE_FIRST_STEP for path in output.iterdir())
        and not (log_file.is_file() and log_file.stat().st_size)
    )


def put_away(output: Path) -> Path | None:
    """Move what stands at an output aside, whatever it is. Returns where it is now: None when there
    was nothing worth keeping. Nothing that was trained is deleted."""
    if not occupied(output):
        return None
    if is_stub(output):
        remove_folder(output)
        return None
    number = 1
    while (target := output.with_name(f"{output.name}.before-restart-{number}")).exists():
        number += 1
    replace(output, target)
    (target / LOCK).unlink(missing_ok=True)
    log.info("What was at %s is now at %s.", shown(output), shown(target))
    return target


def undo(output: Path, aside: Path | None) -> None:
    """Leave nothing behind of a run that was refused before its first step, and put back what it
    had moved aside."""
    with suppress(OSError):  # open in another program: it is left
        if is_stub(output):
            remove_folder(output)
            if aside is not None:
                replace(aside, output)
                log.info("What was at %s is there again.", shown(output))
