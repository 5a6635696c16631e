"""A stub project with the real launchers, whose scripts say what they were given."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from stub_project import SCRIPTS, Project, make_project

ROOT = SCRIPTS.parent
NAMES = ("quickstart", "train_v1", "train_v2", "train_v3", "compare")
TARGETS = {
    "quickstart": "scripts/quickstart.py",
    "train_v1": "src/training/fine_tune.py",
    "train_v2": "src/training/fine_tune_v2.py",
    "train_v3": "src/training/fine_tune_v2.py",
    "compare": "src/evaluation/compare_versions.py",
}
LIBRARY = ("cli.py", "errors.py", "logcopy.py", "oserrors.py", "paths.py")

ECHO = """
import json, os, sys
from lorachain import cli

def main(argv):
    about = {"script": sys.argv[0], "arguments": sys.argv[1:], "folder": os.getcwd()}
    about |= {"prefix": sys.prefix, "utf8": sys.flags.utf8_mode}
    print(json.dumps(about), flush=True)
    print("10 %\\r20 %\\rlast words: \\u00e9 \\u65e5\\u672c", file=sys.stderr, flush=True)
    if "STUB_SIGNAL" in os.environ:
        os.kill(os.getpid(), int(os.environ["STUB_SIGNAL"]))
    return int(os.environ.get("STUB_EXIT", "0"))

cli.run(main)
"""


def make_launched(root: Path, wheels: Path) -> Project:
    """A stub project, not set up yet, with the launchers of this one."""
    project = make_project(root, wheels)
    for name in NAMES:
        for suffix in (".bat", ".ps1", ".sh"):
            shutil.copy(ROOT / f"{name}{suffix}", root)
    for name in ("launch.bat", "launch.ps1", "launch.sh", "launch.py", "no_python.txt"):
        shutil.copy(SCRIPTS / name, root / "scripts")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(SCRIPTS / "launch_parts", root / "scripts" / "launch_parts", ignore=ignored)
    for name in LIBRARY:
        shutil.copy(ROOT / "src" / "lorachain" / name, root / "src" / "lorachain")
    for script in TARGETS.values():
        path = root / script
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ECHO, encoding="utf-8")
    return project


def said(stdout: str) -> dict[str, Any]:
    """What the stub script was given, from a launcher's stdout, which is the script's alone."""
    about: dict[str, Any] = json.loads(stdout)
    return about


def finish(folder: Path, parent: str | None = None, finished: str = "2026-01-01") -> None:
    """What stands for a finished version."""
    folder.mkdir(parents=True)
    lineage = {"finished": finished, "parent": parent and {"path": parent}}
    (folder / "lineage.json").write_text(json.dumps(lineage), encoding="utf-8")
