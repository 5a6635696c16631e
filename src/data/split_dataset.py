"""python src/data/split_dataset.py --in-path data/processed/dataset_v1.jsonl --out-dir DIR

Split a dataset into train, val and test. Rows that are near each other stay together, and no row
ever moves: `splits.lock.jsonl` keeps every place, and those of the folders beside it are read too,
so that a test row of the first dataset never trains the second version. Rows that a frozen suite
asks, or that an earlier version has seen, are named and refused; --drop-leaks leaves them out.

  python src/data/split_dataset.py --in-path data/processed/dataset_v1_clean.jsonl \\
      --out-dir data/processed/splits/v1 --seed 42 --train-frac 0.8 --val-frac 0.1 --test-frac 0.1
"""

from __future__ import annotations

from collections.abc import Sequence

from lorachain import cli
from lorachain.paths import SUITES, from_project, from_user


def main(argv: Sequence[str] | None = None) -> None:
    """Split a dataset."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--in-path", type=from_user, required=True, help="the dataset's rows")
    parser.add_argument("--out-dir", type=from_user, required=True, help="train, val, test, lock")
    parser.add_argument("--seed", type=int, default=42, help="42")
    parser.add_argument("--train-frac", type=float, default=0.8, help="0.8")
    parser.add_argument("--val-frac", type=float, default=0.1, help="0.1")
    parser.add_argument("--test-frac", type=float, default=0.1, help="0.1")
    parser.add_argument("--drop-leaks", action="store_true", help="leave rows that leak out")
    parser.add_argument("--suites", type=from_user, default=SUITES, help="(eval/suites)")
    parser.add_argument(
        "--models", type=from_user, default=from_project("models"), help="versions (models)"
    )
    given = parser.parse_args(argv)

    from lorachain.datagen.local_stages import split_files
    from lorachain.datagen.lock import Rule

    print(
        split_files(
            *(given.in_path, given.out_dir),
            Rule(given.seed, given.train_frac, given.val_frac, given.test_frac),
            drop_leaks=given.drop_leaks,
            suites=given.suites,
            models=given.models,
        )
    )


if __name__ == "__main__":
    cli.run(main)
