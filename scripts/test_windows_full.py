"""python scripts/test_windows_full.py [--place-only] [pytest's arguments]

Run lorachain itself under Windows' own Python and torch, in Wine 10: set-up, the doctor, version 1
by its launcher, a run that is ended in the middle and goes on, a checkpoint that another program
holds open, version 2, and the comparison. The figures go to benchmarks/results/windows_wine10.json.
Then the tests that otherwise run in Wine 8. On Linux as root only: a Debian 13 is unpacked for it,
under ~/.cache/lorachain-tests/wine-10 (5 GB, kept). Exit code 2 where the place cannot be made.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import setup_env
from setup_parts.running import run_attached

TESTS = "tests/windows"


def main(arguments: Sequence[str]) -> int:
    """Make the place, then run its tests; pytest's exit code, or 2."""
    if any(argument in ("-h", "--help") for argument in arguments):
        print(__doc__.strip())
        return 0
    with setup_env.exit_on_failure():
        python = str(setup_env.ensure(dev=True))
    os.chdir(setup_env.ROOT)
    environment = {**os.environ, "LORACHAIN_WINE": "10", "PYTHONUTF8": "1"}
    code = run_attached([python, f"{TESTS}/full_place.py"], environment)
    if code != 0 or "--place-only" in arguments:
        return code
    # Each step of the full run stands on the one before it.
    pytest = [python, "-m", "pytest", "-v", "-rs", *arguments]
    return run_attached([*pytest, "-x", f"{TESTS}/full_run.py"], environment) or run_attached(
        [*pytest, TESTS], environment
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
