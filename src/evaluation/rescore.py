"""python src/evaluation/rescore.py --comparison DIR [--scorers FILE] [--suites FILE ...]

Score every stored answer of a comparison again, with no model loaded, judge it again, and say what
moved: after a change of a schema, of a scorer, or of how answers are parsed. The report is made
anew in `rescored` of the comparison's folder; the comparison itself stays as it is.

  python src/evaluation/rescore.py --comparison test_results.json --scorers configs/scorers.yaml
"""

from __future__ import annotations

from collections.abc import Sequence

from lorachain import cli
from lorachain.evaluation import rescore_command


def main(argv: Sequence[str] | None = None) -> None:
    """Score stored answers again."""
    print(rescore_command.run(rescore_command.read_arguments(__doc__ or "", argv)))


if __name__ == "__main__":
    cli.run(main)
