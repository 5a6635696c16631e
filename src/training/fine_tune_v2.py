"""python src/training/fine_tune_v2.py [--source-model DIR] [--train-data JSONL] [--output DIR] ...

Train the next version: go on from a finished version's adapter on new data. The parent is never
changed. Version 3 is this script with version 2 as --source-model. Stopped at any point, the same
command goes on from the last checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

from lorachain.cli import run
from lorachain.training import command


def main(argv: Sequence[str] | None = None) -> int:
    """Train the version after --source-model."""
    return command.main(command.V2, __doc__ or "", argv)


if __name__ == "__main__":
    run(main)
