"""Set up, then run every check and test: `python scripts/run_tests.py [pytest's arguments]`.

All of ruff check, ruff format --check, mypy and pytest are run, whatever the first ones find; the
exit code is 0 only if all pass. pytest comes last, and its closing line is the last line printed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import setup_env
from setup_parts.running import run_attached

CHECKS = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",))


def main(arguments: Sequence[str]) -> int:
    if any(argument in ("-h", "--help") for argument in arguments):
        print(__doc__.strip())
        return 0
    with setup_env.exit_on_failure():
        python = setup_env.ensure(dev=True)
    os.chdir(setup_env.ROOT)

    failed = []
    for check in CHECKS:
        name = " ".join(check)
        print(f"== {name}", flush=True)
        code = _run(python, check)
        if code == 130:
            return code
        if code != 0:
            failed.append(name)
    if failed:
        print(f"== failed so far: {'; '.join(failed)}", flush=True)
    print("== pytest", flush=True)
    return _run(python, ["pytest", *side_by_side(arguments), *arguments]) or (1 if failed else 0)


def side_by_side(arguments: Sequence[str]) -> list[str]:
    """Two test files at a time where there are two cores, unless pytest's -n (or -p, --pdb) was
    given. A file's tests stay together: they share what it took long to make."""
    own = any(a.startswith(("-n", "-p", "--numprocesses", "--dist", "--pdb")) for a in arguments)
    return [] if own or (os.cpu_count() or 1) < 2 else ["-n", "2", "--dist", "loadfile"]


def _run(python: Path, module: Sequence[str]) -> int:
    # The models are tiny: one thread each is fastest, and two runs do not fight for the cores.
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONUTF8": "1"}
    return run_attached([str(python), "-m", *module], environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
