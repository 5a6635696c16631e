"""Rows that cannot be read: all of them are named at once, and the good ones kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lorachain.preflight.finding import RULES
from lorachain.preflight.reading import read_rows


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(*rows: Any) -> Path:
    path = Path("rows.jsonl")
    texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(texts), encoding="utf-8")
    return path


GOOD = {"prompt": "a", "completion": "b"}


def test_all_bad_rows_are_named_and_the_good_ones_kept() -> None:
    bad = [{"prompt": ""}, "{", {"question": "a", "answer": "b"}, "[1]"] * 10
    rows, found = read_rows(write(GOOD, *bad, GOOD))
    assert rows is not None
    assert [row.line for row in rows.rows] == [1, 42]
    assert found is not None
    assert found.where == tuple(f"rows.jsonl:{line}" for line in range(2, 42))
    assert found.says.startswith("40 of the 42 rows of rows.jsonl cannot be trained on: rows.jsonl")
    assert found.says.endswith("; and 35 more.")
    assert "format question, but the file's is prompt" in found.facts["problems"][2]
    assert not RULES["bad-rows"].allowable


def test_a_file_without_bad_rows() -> None:
    rows, found = read_rows(write(GOOD, GOOD))
    assert rows is not None and len(rows.rows) == 2
    assert found is None


@pytest.mark.parametrize("text", ["", "\n", "{", '{"x": 1}', "[1]\n{"])
def test_a_file_without_a_good_row(text: str) -> None:
    rows, found = read_rows(write(text))
    assert rows is None
    assert found is not None and found.code == "bad-rows"
    assert "rows.jsonl" in found.says


def test_a_file_that_is_not_there() -> None:
    rows, found = read_rows(Path("nothing.jsonl"))
    assert rows is None
    assert found is not None and found.says == "File not found: nothing.jsonl"
