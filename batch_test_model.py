"""python batch_test_model.py --model ./models/fine_tuned_v2 [--questions FILE] [--output FILE]

Ask a version, several, or the base the same questions; keep every answer, count tokens, score what
can be scored. Stopped at any point, the same command makes only the rest.

  python batch_test_model.py --model models/fine_tuned --model models/fine_tuned_v2 --base
"""

from __future__ import annotations

from collections.abc import Sequence

from lorachain import cli
from lorachain.evaluation import batch_test
from lorachain.evaluation.command import read_arguments


def main(argv: Sequence[str] | None = None) -> None:
    """Test versions on a file of questions."""
    print(batch_test.run(read_arguments(__doc__ or "", argv)))


if __name__ == "__main__":
    cli.run(main)
