"""python scripts/preflight.py [--source-model DIR] [--train-data JSONL] ...

Look at everything that a training would be trained on and with, and train nothing. The flags are
those of fine_tune.py; with --source-model those of fine_tune_v2.py. Exit code 2 where the training
would be refused.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lorachain.cli import hyphenated, run
from lorachain.training import command

# What only a later version has; the help names the flags of both.
LATER = {"--source-model", "--replay-share", "--replay-data", "--help", "-h"}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the screen, write the page."""
    given = [*(sys.argv[1:] if argv is None else argv)]
    flags = {hyphenated(word).partition("=")[0] for word in given}
    later = flags & LATER or any("model.source_model=" in word for word in given)
    defaults = command.V2 if later else command.V1
    return command.main(defaults, __doc__ or "", [*given, "--preflight-only"])


if __name__ == "__main__":
    run(main)
