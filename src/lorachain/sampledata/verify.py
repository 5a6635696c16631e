"""What must be true of the sample data; asked by the builder before it writes, and by the tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lorachain.checks import check_holds
from lorachain.sampledata.facts import need

Rows = Mapping[str, list[dict[str, Any]]]


def problems(rows: Rows, schemas: Path) -> list[str]:
    """Every fault, as sentences; `rows` by file, `schemas` the folder of the JSON schemas."""
    return [*_schema_faults(rows, schemas), *_check_faults(rows), *_leaks(rows)]


def entities(row: Mapping[str, Any]) -> set[str]:
    """The countries or the review of a row, from its id: `file-task-PE_PT-001`."""
    return set(str(row["id"]).split("-")[2].split("_"))


def prompt(row: Mapping[str, Any]) -> str:
    return str(row["messages"][-1]["content"])


def answer(row: Mapping[str, Any]) -> Any:
    return json.loads(row["target"]) if "target" in row else row["reference"]


def is_suite(path: str) -> bool:
    return path.startswith("eval/")


def validator(folder: Path) -> Any:
    """A validator of the envelope; its relative references are read from the same folder."""
    resource, registry = need("referencing").Resource, need("referencing").Registry()
    for path in sorted(folder.glob("*.schema.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        registry = registry.with_resource(content["$id"], resource.from_contents(content))
    envelope = registry.contents("envelope.schema.json")
    return need("jsonschema").Draft202012Validator(envelope, registry=registry)


def _schema_faults(rows: Rows, folder: Path) -> Iterable[str]:
    envelope = validator(folder)
    for path, of_file in rows.items():
        for row in of_file:
            for error in envelope.iter_errors(answer(row)):
                yield f"{path}, {row['id']}: {error.json_path}: {error.message}"


def _check_faults(rows: Rows) -> Iterable[str]:
    for path, of_file in rows.items():
        for row in of_file if is_suite(path) else ():
            if answer(row)["payload_type"] != row["expected"]["payload_type"]:
                yield f"{path}, {row['id']}: the reference is of another payload type"
            for check in row["checks"]:
                if not check_holds(answer(row), check):
                    yield f"{path}, {row['id']}: the reference fails its check {check}"


def _leaks(rows: Rows) -> Iterable[str]:
    """No id and no prompt twice; no entity in two of training, validation and test."""
    places: dict[str, str] = {}
    for path, of_file in rows.items():
        for row in of_file:
            for what in (f"id {row['id']}", f"prompt {prompt(row)!r}"):
                if what in places:
                    yield f"{path} and {places[what]} share the {what}"
                places[what] = path
    homes: dict[str, str] = {}
    for path, of_file in rows.items():
        home = "test" if is_suite(path) else Path(path).name.partition("_")[0]
        for entity in sorted(set().union(*map(entities, of_file))):
            if homes.setdefault(entity, home) != home:
                yield f"{entity} is both in {homes[entity]} and in {home} ({path})"
