"""Schemas as endpoints take them: one document that judges as the files do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from teacher_server import critique, envelope

from lorachain.answers import compile_schema, load_schema
from lorachain.datagen.forms import named_schema, whole
from lorachain.errors import UserError
from lorachain.paths import SCHEMAS

NAMES = sorted(path.name.removesuffix(".schema.json") for path in SCHEMAS.glob("*.json"))
VALUES: list[Any] = [
    envelope("a"),
    envelope("a", payload={"title": "no groups"}),
    envelope("a", payload_type="itinerary"),
    envelope("a", summary=""),
    critique("pass"),
    critique("revise", "high"),
    critique("perhaps"),
    {},
    [],
]


@pytest.mark.parametrize("name", NAMES)
def test_one_document_accepts_what_the_files_accept(name: str) -> None:
    schema, document = named_schema(name)
    alone = compile_schema(document)
    assert "schema.json" not in json.dumps(document)
    for value in VALUES:
        assert alone.accepts(value) == schema.accepts(value)


def test_an_envelope_and_a_critique_are_accepted_at_all() -> None:
    assert named_schema("envelope")[0].accepts(VALUES[0])
    assert not named_schema("envelope")[0].accepts(VALUES[1])
    assert named_schema("critique")[0].accepts(VALUES[5])


def test_references_within_a_neighbour_and_to_itself_hold(tmp_path: Path) -> None:
    tree = {
        "type": "object",
        "properties": {"below": {"type": "array", "items": {"$ref": "tree.schema.json"}}},
        "required": ["name"],
    }
    root = {"properties": {"tree": {"$ref": "tree.schema.json"}, "n": {"$ref": "#/$defs/n"}}}
    root["$defs"] = {"n": {"type": "integer"}}
    (tmp_path / "tree.schema.json").write_text(json.dumps(tree), encoding="utf-8")
    path = tmp_path / "root.schema.json"
    path.write_text(json.dumps(root), encoding="utf-8")
    files, alone = load_schema(path), compile_schema(whole(path))
    for value in (
        {"tree": {"name": "a", "below": [{"name": "b"}]}},
        {"tree": {"name": "a", "below": [{}]}},
        {"n": "text"},
    ):
        assert alone.accepts(value) == files.accepts(value)


def test_an_unknown_schema_is_a_sentence() -> None:
    with pytest.raises(UserError, match="envelop"):
        named_schema("envelop")
