"""The quality gate, from files to files. It needs no teacher."""

from __future__ import annotations

from pathlib import Path

from lorachain.datagen.manifest import write_manifest
from lorachain.datagen.qa import check_rows, find_schemas, write_up
from lorachain.datagen.qa_settings import QA_FILE, read_qa_settings
from lorachain.datagen.rowfiles import read_rows, write_rows
from lorachain.datagen.rows import DatasetRow
from lorachain.errors import UserError
from lorachain.files import make_folder, write_json
from lorachain.paths import shown


def qa_files(in_path: Path, out: Path, report: Path | None = None, config: Path = QA_FILE) -> str:
    """Write clean rows, the report and the manifest; what came of it, for people.

    Raises UserError where no row passes; the report is written then, too.
    """
    report = report or qa_report(out)
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


def qa_report(clean: Path) -> Path:
    """Where the report of a clean file stands: beside it."""
    return clean.with_suffix(".report.json")
