"""python src/training/fine_tune.py [--base-model NAME] [--train-data JSONL] [--output DIR] ...

Train version 1: a fresh LoRA adapter on a base model. Stopped at any point, the same command goes
on from the last checkpoint. To go on from a finished version, use fine_tune_v2.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from lorachain.cli import run
from lorachain.training import command


def main(argv: Sequence[str] | None = None) -> int:
    """Train version 1."""
    return command.main(command.V1, __doc__ or "", argv)


if __name__ == "__main__":
    run(main)
