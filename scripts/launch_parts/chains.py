"""The newest versions under models: what a double-clicked `compare` compares."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FILE = "lineage.json"
ASIDE = ".before-restart-"


def newest_versions(models: Path) -> list[Path]:
    """The finished versions from which no other one goes on, the last finished first.

    Versions that --restart moved aside do not count.
    """
    versions: dict[Path, Any] = {}
    for path in models.rglob(FILE):
        if not any(ASIDE in part for part in path.relative_to(models).parts):
            data = _read(path)
            if data is not None:
                versions[path.parent] = data
    parents = {
        Path(os.path.normpath(folder / data["parent"]["path"]))
        for folder, data in versions.items()
        if data["parent"]
    }
    tips = [folder for folder in versions if folder not in parents]
    return sorted(tips, key=lambda folder: str(versions[folder]["finished"]), reverse=True)


def _read(path: Path) -> Any:
    """A lineage as far as it is needed here; None where it is damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        _ = data["finished"], data["parent"] and str(data["parent"]["path"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return data
