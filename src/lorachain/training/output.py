"""A stage's output folder: moved aside for a fresh start, removed when nothing came of it."""

from __future__ import annotations

import logging
from pathlib import Path

from lorachain import lineage
from lorachain.files import LOCK, replace
from lorachain.paths import shown

log = logging.getLogger("lorachain")


def occupied(output: Path) -> bool:
    """Whether anything but a lock stands there."""
    return output.exists() and any(p.name != LOCK for p in output.iterdir())


def put_away(output: Path) -> bool:
    """Move what stands at an output aside, whatever it is, and say whether there was anything.
    Nothing is deleted."""
    if not occupied(output):
        return False
    number = 1
    while (target := output.with_name(f"{output.name}.before-restart-{number}")).exists():
        number += 1
    replace(output, target)
    (target / LOCK).unlink(missing_ok=True)
    log.info("What was at %s is now at %s.", shown(output), shown(target))
    return True


def remove_if_empty(output: Path) -> None:
    """Leave no folder behind for a run that was refused before it began."""
    ours = {LOCK, lineage.UNFINISHED}
    if output.is_dir() and all(path.name in ours for path in output.iterdir()):
        for name in ours:
            (output / name).unlink(missing_ok=True)
        output.rmdir()
