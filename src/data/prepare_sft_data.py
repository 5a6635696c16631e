"""python src/data/prepare_sft_data.py --splits-dir data/processed/splits/v1 --out-dir DIR

Write the rows that a version is trained on: train_sft.jsonl, val_sft.jsonl and test_sft.jsonl, with
every key of the answer's schema in one order; and freeze 20 prompts of the test split as a suite.
A suite that is there already is kept as it is.

  python src/data/prepare_sft_data.py --splits-dir data/processed/splits/v1 \\
      --out-dir data/processed/sft/v1 --seed 42
"""

from __future__ import annotations

from collections.abc import Sequence

from lorachain import cli
from lorachain.paths import SUITES, from_user


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare training rows."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--splits-dir", type=from_user, required=True, help="train, val, test")
    parser.add_argument("--out-dir", type=from_user, required=True, help="where rows are written")
    parser.add_argument("--seed", type=int, default=42, help="of the suite's draw (42)")
    parser.add_argument(
        "--fixed-prompts-out",
        type=from_user,
        help="the suite to freeze (eval/suites/SPEC_fixed20_v1.jsonl)",
    )
    parser.add_argument("--fixed-count", type=cli.whole, default=20, help="its prompts (20)")
    parser.add_argument(
        "--suites",
        type=from_user,
        default=SUITES,
        help="where it is frozen by default (eval/suites)",
    )
    given = parser.parse_args(argv)

    from lorachain.datagen.local_stages import sft_files

    print(
        sft_files(
            *(given.splits_dir, given.out_dir, given.seed, given.fixed_prompts_out),
            count=given.fixed_count,
            suites=given.suites,
        )
    )


if __name__ == "__main__":
    cli.run(main)
