"""python src/data/qa_pipeline.py --in-path data/processed/dataset_v1.jsonl --out-clean FILE

Let only sound rows pass: right lengths, right schema, no leftovers, no absolute words about what
changes, answered in the language of the question; each question once; no task too often. What is
dropped stands in the report, row by row. The settings are configs/qa.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence

from lorachain import cli
from lorachain.paths import from_project, from_user


def main(argv: Sequence[str] | None = None) -> None:
    """Check a dataset."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--in-path", type=from_user, required=True, help="the dataset's rows")
    parser.add_argument("--out-clean", type=from_user, help="rows that pass (IN_PATH_clean.jsonl)")
    parser.add_argument("--report", type=from_user, help="the report (OUT_CLEAN with .report.json)")
    parser.add_argument(
        "--config",
        type=from_user,
        default=from_project("configs/qa.yaml"),
        help="what passes (configs/qa.yaml)",
    )
    given = parser.parse_args(argv)

    from lorachain.datagen.qa_files import qa_files

    out = given.out_clean or given.in_path.with_name(f"{given.in_path.stem}_clean.jsonl")
    print(qa_files(given.in_path, out, given.report, given.config))


if __name__ == "__main__":
    cli.run(main)
