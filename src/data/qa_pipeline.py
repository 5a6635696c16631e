"""python src/data/qa_pipeline.py --in-path data/processed/dataset_v1.jsonl --out-clean FILE

Let only sound rows pass: right lengths, right schema, no leftovers, no absolute words about what
changes, answered in the language of the question; each question once; no task too often. What is
dropped stands in the report, row by row. The settings are configs/qa.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lorachain import cli
from lorachain.errors import UserError
from lorachain.paths import from_project, from_user, shown


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
    print(run(**vars(parser.parse_args(argv))))


def run(in_path: Path, out_clean: Path | None, report: Path | None, config: Path) -> str:
    """Write clean rows, the report and the manifest; what came of it, for people."""
    from lorachain.datagen.manifest import write_manifest
    from lorachain.datagen.qa import check_rows, find_schemas, write_up
    from lorachain.datagen.qa_settings import read_qa_settings
    from lorachain.datagen.rowfiles import read_rows, write_rows
    from lorachain.datagen.rows import DatasetRow
    from lorachain.files import make_folder, write_json

    out = out_clean or in_path.with_name(f"{in_path.stem}_clean.jsonl")
    report = report or out.with_suffix(".report.json")
    if in_path in (out, report):
        raise UserError(f"{shown(in_path)} is the input itself; name another file for the output.")
    settings = read_qa_settings(config)
    rows = read_rows(in_path, DatasetRow)
    found = check_rows(rows, settings, find_schemas(rows))
    make_folder(report.parent)
    write_json(report, found.report() | {"settings": settings.model_dump(mode="json")})
    if not found.kept:
        raise UserError(
            f"None of the {len(rows)} rows of {shown(in_path)} passes; {shown(report)} says why. "
            f"Nothing else was written."
        )
    write_rows(out, found.kept)
    write_manifest(
        out,
        stage="qa",
        inputs=[in_path, config],
        outputs=[report],
        settings=settings.model_dump(mode="json"),
        counts={"rows": len(rows), "kept": len(found.kept), "dropped": found.counts()},
    )
    return write_up(found, shown(out), shown(report))


if __name__ == "__main__":
    cli.run(main)
