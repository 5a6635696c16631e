"""python src/evaluation/compare_versions.py --chain models/fine_tuned_v3 [--suites FILE ...]

Is the new version better, and what did it forget? Asks the base and every version of a chain the
same suites, tests each difference, and writes a report. Stopped at any point, the same command
makes only the rest; run again, it asks nothing.

  python src/evaluation/compare_versions.py --chain models/fine_tuned_v3 --exact
  python src/evaluation/compare_versions.py --model models/a --model models/b --suites my.jsonl
"""

from __future__ import annotations

from collections.abc import Sequence

from lorachain import cli
from lorachain.evaluation import compare_command


def main(argv: Sequence[str] | None = None) -> None:
    """Compare versions."""
    print(compare_command.run(compare_command.read_arguments(__doc__ or "", argv)))


if __name__ == "__main__":
    cli.run(main)
