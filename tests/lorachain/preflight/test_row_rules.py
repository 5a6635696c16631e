"""The rules on the rows of one file: each finds what breaks it, by file and line, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from preflight_rows_support import FINE, LONG, NEARLY, OTHER, REPLY, look, where

from lorachain.preflight.inputs import Asked, Rows
from lorachain.preflight.rows import row_findings
from lorachain.records import ChatRow, Message, TrainingData


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_rows_that_are_fine_give_no_finding() -> None:
    assert look(*FINE, validation=[("What is 3 + 3?", "6")], suite=[("What is 4 + 4?", "8")]) == {}


def test_no_rows_and_no_suites_at_all() -> None:
    empty = TrainingData(Path("train.jsonl"), "", [])
    assert list(row_findings(Rows(empty, empty, [Asked("exam", [])]), progress=False)) == []


# --- rows of one file ---


@pytest.mark.parametrize("answer", ["...", " - ", "\u200b", "{}", "!?", "\u200b\u0301"])
def test_an_answer_of_marks_alone_is_empty(answer: str) -> None:
    found = look(("a question", answer), ("b", "yes"))
    assert where(found) == {"empty-answers": ["train.jsonl:1"]}
    assert found["empty-answers"].facts == {"rows": 2, "empty": 1}


@pytest.mark.parametrize("answer", ["4", "好", "👍", "+", "نعم", "é", "{}x"])
def test_an_answer_in_any_script_or_an_emoji_is_not_empty(answer: str) -> None:
    assert look(("a question", answer)) == {}


def test_every_answer_of_a_chat_is_looked_at() -> None:
    turns = ("user", "assistant") * 2
    texts = ("Are you there?", "…", "Well?", "Yes.")
    row = ChatRow(tuple(map(Message, turns, texts)), Path("train.jsonl"), 7)
    rows = Rows(TrainingData(Path("train.jsonl"), "messages", [row]))
    assert [f.where for f in row_findings(rows, progress=False)] == [("train.jsonl:7",)]


def test_repeated_rows_are_named_with_the_row_that_they_repeat() -> None:
    found = look(("Where?", "Here"), ("when?", "now"), (" WHERE?\n", "here"), ("Where?", "HERE"))
    assert where(found) == {
        "duplicate-rows": ["train.jsonl:3 = train.jsonl:1", "train.jsonl:4 = train.jsonl:1"]
    }
    assert found["duplicate-rows"].says == "2 of the 4 rows of train.jsonl repeat an earlier row."


def test_rows_that_differ_in_the_system_prompt_are_no_duplicates_and_no_contradiction() -> None:
    assert look(("Go on", "yes", "Be brief"), ("Go on", "yes"), ("Go on", "no", "Be long")) == {}


def test_one_prompt_with_two_answers_contradicts_itself() -> None:
    found = look(("Where?", "Here"), ("where?", "There"), ("Where?", "here"), ("Who?", "I"))
    assert where(found) == {
        "contradicting-rows": ["train.jsonl:1 != train.jsonl:2"],
        "duplicate-rows": ["train.jsonl:3 = train.jsonl:1"],
    }
    assert found["contradicting-rows"].facts == {"rows": 4, "prompts": 1, "affected": 3}


def test_answers_in_json_are_compared_as_values() -> None:
    assert "contradicting-rows" not in look(("a", '{"x": 1, "y": "z"}'), ("a", '{"y":"z","x":1}'))
    assert "contradicting-rows" in look(("a", '{"x": 1, "y": "z"}'), ("a", '{"y":"z","x":2}'))
    assert "contradicting-rows" in look(("a", "[1, 2]"), ("a", "[2, 1]"))


def test_the_validation_file_is_looked_at_on_its_own() -> None:
    found = look(*FINE, validation=[("Who?", "I"), ("Who?", "You"), ("Who?", "i")])
    assert where(found) == {
        "duplicate-rows": ["val.jsonl:3 = val.jsonl:1"],
        "contradicting-rows": ["val.jsonl:1 != val.jsonl:2"],
    }


def test_a_row_that_changes_one_word_is_a_near_duplicate() -> None:
    found = look((LONG, REPLY), ("Who?", "I"), (NEARLY, REPLY))
    assert where(found) == {"near-duplicate-rows": ["train.jsonl:3 ~ train.jsonl:1"]}
    assert found["near-duplicate-rows"].severity == "note"


def test_near_prompts_with_answers_to_other_questions_are_no_duplicates() -> None:
    assert look((LONG, REPLY), (NEARLY, OTHER)) == {}
