"""The rows that a stage's own are held against: those of its ancestors, and those of suites."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorachain.errors import UserError
from lorachain.files import sha256_file
from lorachain.lineage import data_path
from lorachain.paths import SUITES, shown
from lorachain.preflight.finding import Finding, found
from lorachain.preflight.inputs import Asked, Rows
from lorachain.preflight.rows import row_findings
from lorachain.preflight.texts import prompt_text
from lorachain.records import TrainingData, read_training_data
from lorachain.suites import Item, read_suite
from lorachain.training.data import distinct

if TYPE_CHECKING:
    from lorachain.training.stage import Stage

_MEASURED = {"leak-validation", "leak-suite", "leak-ancestor-validation"}


def check_rows(stage: Stage, *, progress: bool) -> Iterator[Finding]:
    """Every rule on rows, with the files of `--replay-data` looked at for leaks as well."""
    asked, notes = read_suites(SUITES)
    yield from notes
    rows = replace(with_ancestors(stage), suites=asked)
    yield from row_findings(rows, progress=progress)
    theirs = {data.path for files in rows.ancestors_train.values() for data in files}
    for _, data in stage.files.replay:
        if data.path not in theirs:
            mixed_in = replace(rows, train=data, ancestors_train={}, gone=())
            for finding in row_findings(mixed_in, progress=progress):
                if finding.code in _MEASURED:
                    yield finding


def with_ancestors(stage: Stage) -> Rows:
    """A stage's rows beside those of the versions that it stands on, as far as they are there."""
    files = stage.files
    known = {data.path: data for _, data in (*files.replay, *files.ancestors)}
    names = distinct([stage.request.output.name, *(version.name for version in stage.line)])[1:]
    gone: list[str] = []
    by_role: dict[str, dict[str, list[TrainingData]]] = {"train": {}, "validation": {}}
    for name, version in zip(names, stage.line, strict=True):
        for role, versions in by_role.items():
            for entry in version.data_files(role):
                what = "training" if role == "train" else role
                data = _unchanged(entry, f"the {what} data of {name}", known, gone)
                if data is not None:
                    versions.setdefault(name, []).append(data)
    return Rows(
        files.train,
        files.validation,
        ancestors_train=by_role["train"],
        ancestors_validation=by_role["validation"],
        gone=gone,
    )


def _unchanged(
    entry: Mapping[str, Any], what: str, known: Mapping[Path, TrainingData], gone: list[str]
) -> TrainingData | None:
    """An ancestor's file, where it is as it was; else a sentence for `gone`."""
    path = data_path(entry)
    if path in known:
        return known[path]
    try:
        if not path.is_file():
            gone.append(f"{what} ({shown(path)}) is not there any more")
        elif sha256_file(path) != entry["sha256"]:
            gone.append(f"{what} ({shown(path)}) has changed since")
        else:
            return read_training_data(path)
    except (UserError, OSError):
        gone.append(f"{what} ({shown(path)}) cannot be read")
    return None


def read_suites(folder: Path) -> tuple[list[Asked], list[Finding]]:
    """What the suites of a folder ask, and a note for each that cannot be read."""
    asked: list[Asked] = []
    notes: list[Finding] = []
    for path in sorted(folder.glob("*.jsonl")):
        try:
            suite = read_suite(path, quiet=True)
        except UserError as error:
            first = str(error).splitlines()[0].rstrip(":.")
            notes.append(
                found(
                    "suite-unread",
                    f"The suite {shown(path)} was not looked at: {first}.",
                    f"Mend it, or take it out of {shown(folder)}.",
                    suite=shown(path),
                )
            )
            continue
        items = [(f"{suite.name}:{i.id}", prompt_text(i.messages), _answer(i)) for i in suite.items]
        asked.append(Asked(suite.name, items))
    return asked, notes


def _answer(item: Item) -> str:
    """A right answer that the item knows, as a row would have it; "" where it knows none."""
    known = item.answer if item.reference is None else item.reference
    if known is None:
        return ""
    return known if isinstance(known, str) else json.dumps(known, ensure_ascii=False)
