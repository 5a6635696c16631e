"""python scripts/launch.py NAME [arguments]

What the launchers (quickstart, train_v1, train_v2, train_v3 and compare, as .bat, .ps1 and .sh)
hand over to: sets the environment up where that is needed, runs NAME's script in it with the
arguments as they are, and ends with the script's exit code. What the script says is also kept in
logs/NAME.log; after a failure its last lines are shown.

Without arguments it goes to the project's folder first. With arguments it stays where the user
stands, because paths among them are meant from there.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import setup_env
from launch_parts.chains import newest_versions
from launch_parts.ending import begin_log, farewell
from launch_parts.targets import TARGETS, with_defaults
from setup_parts.running import run_attached

ROOT = setup_env.ROOT
NAMES = ", ".join(TARGETS)


def main(arguments: Sequence[str]) -> int:
    """Launch one of TARGETS; returns the exit code."""
    name, given = (arguments[0], list(arguments[1:])) if arguments else ("", [])
    if name in ("-h", "--help"):
        print(f"{__doc__.strip()}\n\nNAME is one of {NAMES}. launch.py --help shows this.")
        return 0
    if name not in TARGETS:
        setup_env.say(
            f"launch.py: error: there is no {name or '(nothing)'!r}; NAME is one of {NAMES}"
        )
        return 2
    if not given:
        os.chdir(ROOT)
    if name == "compare" and not given:
        tips = newest_versions(ROOT / "models")
        if len(tips) != 1:
            setup_env.say(which_chain(tips))
            return 2
        given = ["--chain", str(tips[0])]
    return launch(name, given)


def which_chain(tips: Sequence[Path]) -> str:
    """What to type where there is no one chain to compare."""
    if not tips:
        return (
            "There is no finished version under models yet. Train one first: "
            f"{launcher('train_v1')} (or {launcher('quickstart')}, on a small model)."
        )
    lines = [f"There are {len(tips)} chains under models. Name the newest version of one:"]
    for tip in tips:
        path = str(tip.relative_to(ROOT))
        word = f'"{path}"' if os.name == "nt" and " " in path else path
        lines.append(
            f"  {launcher('compare')} --chain {word if os.name == 'nt' else shlex.quote(path)}"
        )
    return "\n".join(lines)


def launcher(name: str) -> str:
    """A launcher as it is typed in the project's folder (in PowerShell as well as in cmd)."""
    return f".\\{name}" if os.name == "nt" else f"./{name}.sh"


def launch(name: str, given: Sequence[str]) -> int:
    """Set up, run, and say how it ended."""
    with setup_env.exit_on_failure():
        python = setup_env.ensure()
    target = TARGETS[name]
    log = ROOT / "logs" / f"{name}.log"
    begin = begin_log(log)
    code = run_attached(
        [str(python), str(ROOT / target.script), *with_defaults(target, given, ROOT)],
        {**os.environ, "PYTHONUTF8": "1", "LORACHAIN_LOG": str(log)},
    )
    for line in farewell(name, code, log, begin):
        setup_env.say(line)
    return code


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.exit(main(sys.argv[1:]))
