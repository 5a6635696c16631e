"""Run in the environment by the doctor: the versions under a folder, finished or not, and whether
their bases are on this machine. Says JSON lines. Needs lorachain, but not torch."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

_ASIDE = re.compile(r"\.before-restart-\d+$")


def versions(root: Path) -> list[dict[str, Any]]:
    """One entry a version: its folder, and what is wrong with it or how it is finished."""
    from lorachain import lineage

    marks = {p.parent for name in (lineage.FILE, lineage.UNFINISHED) for p in root.rglob(name)}
    return [
        finished(folder) if lineage.is_finished(folder) else unfinished(folder)
        for folder in sorted(marks)
        if not any(_ASIDE.search(part) for part in folder.relative_to(root).parts)
    ]


def finished(folder: Path) -> dict[str, Any]:
    from lorachain import lineage
    from lorachain.errors import UserError

    try:
        version = lineage.read(folder)
        problems = lineage.problems(version)
    except UserError as error:
        return {"folder": str(folder), "problems": [str(error)]}
    return {"folder": str(folder), "problems": problems, "base": version.base_name}


def unfinished(folder: Path) -> dict[str, Any]:
    from lorachain import lineage

    return {"folder": str(folder), "finish": lineage.how_to_finish(folder)}


def base_problem(name: str) -> str | None:
    """Why a base is not on this machine, ready for use; None where it is. Never fetches it."""
    from lorachain.builtin_base import BUILTIN_BASES, problem
    from lorachain.errors import UserError
    from lorachain.models import find_base
    from lorachain.paths import BASES

    if name in BUILTIN_BASES:
        return problem(BASES / name, BUILTIN_BASES[name])
    try:
        find_base(name)  # offline: the doctor sets HF_HUB_OFFLINE
    except UserError as error:
        return str(error)
    return None


def main() -> None:
    _say({"begin": "versions"})
    found = versions(Path(sys.argv[1]))
    _say({"step": "versions", "facts": found})
    _say({"begin": "bases"})
    names = sorted({one["base"] for one in found if "base" in one})
    _say({"step": "bases", "facts": {name: base_problem(name) for name in names}})


def _say(what: dict[str, Any]) -> None:
    os.write(1, (json.dumps(what) + "\n").encode("ascii"))


if __name__ == "__main__":
    main()
