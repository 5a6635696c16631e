"""python src/evaluation/run_samples.py --run-dir models/fine_tuned_v2 --prompts FILE

Base against one fine-tuned version on one suite, into samples/ of the version: both sides' outputs,
rates of parsing and of the schema with their difference, and where each failing answer fails. The
answers are kept; run again, it makes only what is missing.

  python src/evaluation/run_samples.py --run-dir models/fine_tuned_v2 \\
      --prompts eval/suites/fixed20_v1.jsonl --batch-size 8
"""

from __future__ import annotations

from collections.abc import Sequence

from lorachain import cli
from lorachain.evaluation import run_samples


def main(argv: Sequence[str] | None = None) -> None:
    """Compare a version with its base on one suite."""
    print(run_samples.run(run_samples.read_arguments(__doc__ or "", argv)))


if __name__ == "__main__":
    cli.run(main)
