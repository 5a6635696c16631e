"""JSON answers in training rows: what does not fit its schema, and what only a repair reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from token_support import chat

from lorachain.config import DataSection
from lorachain.errors import UserError
from lorachain.preflight.answers_json import check_answers, look_at_answers, share_valid
from lorachain.preflight.finding import Finding
from lorachain.records import ChatRow, read_training_data

SCHEMA = {
    "type": "object",
    "required": ["score", "tags"],
    "properties": {
        "score": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}
GOOD = '{"score": 4.5, "tags": ["a"]}'


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "score.json"
    path.write_text(json.dumps(SCHEMA), encoding="utf-8")
    return path


def rows_of(*answers: str, schema: str = "") -> list[ChatRow]:
    return [chat("rate", answer, line=i, schema=schema) for i, answer in enumerate(answers, 1)]


def findings(rows: list[ChatRow], schema: Path | str | None = None) -> list[Finding]:
    data = DataSection(answer_schema=None if schema is None else str(schema))
    return check_answers(look_at_answers(rows, data))


def test_answers_that_fit_say_nothing(schema: Path) -> None:
    rows = rows_of(*[GOOD] * 5)
    look = look_at_answers(rows, DataSection(answer_schema=str(schema)))
    assert check_answers(look) == []
    (fit,) = look.fits
    assert (fit.rows, fit.valid, fit.schema) == (5, 5, "score.json")


def test_answers_that_do_not_fit_are_counted_by_path(schema: Path) -> None:
    bad = [
        '{"score": "high", "tags": ["a"]}',
        '{"score": 1, "tags": ["a", 2, 3]}',
        '{"score": "low", "tags": [true]}',
        '{"tags": []}',
        "no JSON at all",
    ]
    (found,) = findings(rows_of(GOOD, *bad, GOOD), schema)
    assert found.code == "invalid-answers" and found.severity == "warning"
    assert "In rows.jsonl, 5 of 7 answers (71.4%) do not fit score.json" in found.says
    assert found.where == tuple(f"rows.jsonl:{line}" for line in range(2, 7))
    # A row counts once for a path, however many items of a list fail there.
    assert found.facts["paths"] == {"score": 2, "tags[]": 2, "$": 2}
    assert "score in 2 (expected number, got string)" in found.says
    assert "$ in 2 (missing key 'score': 1, no JSON value was found: 1)" in found.says


def test_every_missing_key_is_named(schema: Path) -> None:
    rows = rows_of('{"score": 1}', '{"tags": []}', "{}", '{"tags": []}')
    (found,) = findings(rows, schema)
    assert "$ in 4 (missing key 'score': 3, missing key 'tags': 2)" in found.says
    assert found.facts["paths"] == {"$": 4}


def test_the_share_that_fits_is_one_line(schema: Path) -> None:
    settings = DataSection(answer_schema=str(schema))
    rows = rows_of(*[GOOD] * 999, "{}")
    assert share_valid(look_at_answers(rows[:9], settings)) == (
        "9 of 9 answers fit score.json (100.0%)"
    )
    assert share_valid(look_at_answers(rows, settings)).endswith("(99.9%)")
    assert share_valid(look_at_answers(rows, DataSection())) == ""


def test_answers_that_only_a_repair_makes_fit_are_told_apart(schema: Path) -> None:
    rows = rows_of(
        GOOD,
        f"Here it is:\n```json\n{GOOD}\n```",
        '{"score": 4,5, "tags": ["a"]}',
        "{'score': 4.5, 'tags': ['a']}",
    )
    (found,) = findings(rows, schema)
    assert found.code == "repaired-answers" and "3 of 4 answers are JSON" in found.says
    assert found.facts["tiers"] == {"scan": 1, "numbers": 1, "repair": 1}
    assert found.where == ("rows.jsonl:2", "rows.jsonl:3", "rows.jsonl:4")


def test_an_answer_that_is_cut_off_does_not_fit(schema: Path) -> None:
    (found,) = findings(rows_of(GOOD, '{"score": 4.5, "tags": ["a"'), schema)
    assert found.code == "invalid-answers" and found.where == ("rows.jsonl:2",)


def test_a_rows_own_schema_goes_before_the_setting(schema: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"required": ["other"]}), encoding="utf-8")
    rows = [replace(rows_of(GOOD, schema="own.json")[0], path=tmp_path / "rows.jsonl")]
    (found,) = findings(rows, schema)
    assert found.facts["schema"] == "own.json" and "missing key" in found.says


def test_a_name_leads_to_the_schemas_of_the_project() -> None:
    (found,) = findings(rows_of("{}"), "envelope")
    assert found.code == "invalid-answers" and "envelope.schema.json" in found.says
    (own,) = findings(rows_of("{}", schema="envelope"))
    assert own.facts["schema"] == "envelope.schema.json"


def test_a_schema_that_is_not_there_is_a_note_for_rows_and_a_mistake_for_the_setting() -> None:
    (found,) = findings(rows_of(GOOD, GOOD, schema="nothing"))
    assert (found.code, found.severity) == ("invalid-answers", "note")
    assert found.where == ("rows.jsonl:1", "rows.jsonl:2")
    with pytest.raises(UserError, match=r"schema 'nothing' is not known; known are .*envelope"):
        findings(rows_of(GOOD), "nothing")


def test_a_schema_that_is_data_is_left_alone() -> None:
    assert findings(rows_of("SELECT 1", schema="CREATE TABLE a (b INT)")) == []


def test_the_row_that_is_no_object_among_objects_is_named() -> None:
    rows = rows_of(*[GOOD] * 18, '{"score": 4,5}', '[{"score": 1}]')
    (found,) = findings(rows)
    assert found.code == "repaired-answers"
    assert "18 of 20 answers are JSON objects; 2 are not" in found.says
    assert found.where == ("rows.jsonl:19", "rows.jsonl:20")


@pytest.mark.parametrize(
    "answers",
    [
        [GOOD] * 8 + ["plain"] * 2,  # JSON is one of several kinds of answer here
        ["{not json, but it opens so}"] * 10,
        ["plain"] * 10,
        [],
    ],
)
def test_rows_that_are_not_nearly_all_objects_are_left_alone(answers: list[str]) -> None:
    assert findings(rows_of(*answers)) == []


def test_of_many_rows_some_at_even_distances_are_looked_at(schema: Path) -> None:
    rows = rows_of(*[GOOD] * 90, *["{}"] * 10)
    look = look_at_answers(rows, DataSection(answer_schema=str(schema)), most=20)
    assert (look.rows, look.looked) == (100, 20)
    assert (look.fits[0].rows, look.fits[0].valid) == (20, 18)
    (found,) = check_answers(look)
    assert "2 of 20 answers (a sample of the 100 rows) (10.0%) do not fit" in found.says


def test_the_look_can_be_written_as_json(schema: Path) -> None:
    look = look_at_answers(rows_of(GOOD, "{}"), DataSection(answer_schema=str(schema)))
    (fit,) = json.loads(json.dumps(look.as_dict()))["fits"]
    assert (fit["rows"], fit["valid"], fit["invalid"], fit["repaired"]) == (2, 1, 1, 0)
    assert fit["paths"] == {"$": 1}


@pytest.mark.parametrize(
    ("value", "kept"), [("envelope", "envelope"), ({"type": "object"}, ""), (None, ""), (7, "")]
)
def test_a_rows_schema_is_read_where_it_is_a_text(tmp_path: Path, value: Any, kept: str) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"question": "q", "answer": "a", "schema": value}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert read_training_data(path).rows[0].schema == kept
