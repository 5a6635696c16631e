"""Suites and question files: read whole, or refused with every problem named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from lorachain.errors import UserError
from lorachain.paths import PROJECT_ROOT, SUITES
from lorachain.records import Message
from lorachain.suites import Suite, read_suite


def write(folder: Path, content: Any, name: str = "questions.json") -> Path:
    path = folder / name
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, content: Any, **how: Any) -> Suite:
    return read_suite(write(folder, content), **how)


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.jsonl")), ids=lambda path: path.stem)
def test_the_committed_suites_are_read(path: Path) -> None:
    suite = read_suite(path)
    assert suite.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert suite.schemas.keys() == {"envelope"}
    for item in suite.items:
        assert item.messages[0].role == "system" and item.messages[-1].role == "user"
        assert item.checks and item.expected and item.task and item.cluster


def test_the_committed_questions_are_read() -> None:
    suite = read_suite(PROJECT_ROOT / "test_questions.json")
    assert len(suite.items) >= 20
    assert all(item.answer and item.topic and item.difficulty for item in suite.items)


def test_questions_keep_what_is_known_of_them(tmp_path: Path) -> None:
    row = {"question": "1 + 1?", "answer": 2, "topic": "sums", "difficulty": "easy"}
    suite = read(tmp_path, [row, {"question": "Why?"}])
    first, second = suite.items
    assert (first.id, first.answer, first.topic, first.difficulty) == (1, 2, "sums", "easy")
    assert first.messages == (Message("user", "1 + 1?"),)
    assert (second.id, second.answer, second.topic) == (2, None, None)


@pytest.mark.parametrize(
    "content",
    [
        [{"question": "Why?"}],
        {"version": 2, "questions": [{"question": "Why?"}]},
        '{"question": "Why?"}',
        '{\n"question": "Why?"\n}',
        '\ufeff\r\n{"prompt": "Why?"}\r\n\r\n',
        '[\n\n {"messages": [{"role": "user", "content": "Why?"}]}\n]',
    ],
)
def test_every_shape_asks_the_same(tmp_path: Path, content: Any) -> None:
    assert [item.question for item in read(tmp_path, content).items] == ["Why?"]


def test_a_system_prompt_is_given_to_those_without_one(tmp_path: Path) -> None:
    rows = [{"question": "Why?"}, {"question": "How?", "system": "Be brief."}]
    items = read(tmp_path, rows, system="Be kind.").items
    assert [item.messages[0].content for item in items] == ["Be kind.", "Be brief."]
    assert items[0].prompt_sha256 != read(tmp_path, rows).items[0].prompt_sha256


def test_a_limit_keeps_the_first(tmp_path: Path) -> None:
    rows = [{"question": text} for text in "abc"]
    assert [item.question for item in read(tmp_path, rows, limit=2).items] == ["a", "b"]


def test_a_schema_can_be_named_for_all_or_be_a_file(tmp_path: Path) -> None:
    assert read(tmp_path, [{"question": "?"}], schema="envelope").items[0].schema == "envelope"
    schema = write(tmp_path, {"type": "object"}, "mine.schema.json")
    assert read(tmp_path, [{"question": "?"}], schema=str(schema)).schemas.keys() == {str(schema)}


def test_a_schema_that_is_not_known_is_said_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, [{"question": "?"}, {"question": "!"}], schema="nonsense")
    assert str(caught.value).count("nonsense") == 1


def test_a_system_prompt_stands_once_and_first(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "?"}]
    (item,) = read(tmp_path, [{"messages": turns, "system": "Be kind."}]).items
    assert [message.role for message in item.messages] == ["system", "user"]
    with pytest.raises(UserError, match="two different system prompts"):
        read(tmp_path, [{"messages": turns, "system": "Be brief."}])
    with pytest.raises(UserError, match="a system turn may only stand first"):
        read(tmp_path, [{"messages": [turns[1], turns[0], turns[1]]}])


def test_every_bad_row_is_named_at_once(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"question": "fine", "id": "a"},
        {"question": ""},
        {"answer": "no question"},
        "text",
        {"question": "?", "answer": ["a", "list"]},
        {"question": "?", "schema": "nonsense"},
        {"question": "?", "checks": [{"path": "a..b", "value": 1}]},
        {"question": "?", "expected": [1]},
        {"question": "?", "topic": 3},
        {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]},
        {"messages": [{"role": "robot", "content": "?"}]},
        {"question": "twice", "id": "a"},
        {"question": "?", "prompt": "?"},
    ]
    with pytest.raises(UserError) as caught:
        read(tmp_path, rows)
    message = str(caught.value)
    for index, words in {
        1: "the user's text is missing or empty",
        2: "needs one of `messages`, `prompt` and `question`",
        3: "expected an object, got str",
        4: "`answer` must be a text or a number, got list",
        5: "schema 'nonsense' is not known; known are ",
        6: "`checks[0]` `path` 'a..b' is no path",
        7: "`expected` must be an object",
        8: "`topic` must be a text, got int",
        9: "the last turn must be the user's",
        10: "role 'robot'",
        11: "the id 'a' is given 2 times",
        12: "needs one of",
    }.items():
        assert f"[{index}]: {words}" in message
    assert "(13):" in message, "the first one with the repeated id counts too"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        (" \n\n", "is empty"),
        ("[]", "holds no questions"),
        ('{"questions": []}', "holds no questions"),
        ('{"a": 1}', "JSON array of objects with `question`"),
        ("17", "JSON array of objects with `question`"),
        ('[\n\n{"question": "?",}]', "line 3"),
        ('{"question": "?"}\nno json', ":2: not JSON"),
        ("questions: none", "its lines are not JSON (1 of 1; line 1 is 'questions: none')"),
        ('{\n  "question": "?",\n  "answer": "!",\n}', "is not JSON: Expecting property name"),
    ],
)
def test_a_wrong_file_is_a_sentence(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(UserError, match=r"questions\.json") as caught:
        read(tmp_path, content)
    assert words in str(caught.value)


def test_a_file_of_another_kind_is_one_sentence_whatever_its_length(tmp_path: Path) -> None:
    prose = [f"{i}. a long line of prose that goes on and on" for i in range(1, 101)]
    lines = ["# Notes", "", *prose, '{"question": "an example"}', "[]", "17", "the end"]
    path = write(tmp_path, "\n".join(lines), "NOTES.md")
    with pytest.raises(UserError) as caught:
        read_suite(path)
    message = str(caught.value)
    assert "NOTES.md is no suite and no file of questions" in message
    assert "(102 of 105; line 1 is '# Notes')" in message
    assert "Name a file of JSON Lines" in message and "\n" not in message
    long = write(tmp_path, "\n\n" + "word " * 99, "long.txt")
    with pytest.raises(UserError, match=r"\(1 of 1; line 3 is '(word ){7}word…'\)"):
        read_suite(long)


def test_bad_lines_of_a_suite_are_listed_with_their_numbers(tmp_path: Path) -> None:
    good = [json.dumps({"question": f"{i}?"}) for i in range(6)]
    path = write(tmp_path, "\n".join([*good, "not json", '{"question": 1,}', *good[:3]]), "s.jsonl")
    with pytest.raises(UserError) as caught:
        read_suite(path)
    title, *listed = str(caught.value).split("\n")
    assert title.endswith("(2):")
    assert ["s.jsonl:7: not JSON" in listed[0], "s.jsonl:8: not JSON" in listed[1]] == [True, True]


@pytest.mark.parametrize("line", ['{"question": "?",}', '{"question": ""}'])
def test_many_bad_lines_are_counted_beyond_the_first_twenty(tmp_path: Path, line: str) -> None:
    with pytest.raises(UserError) as caught:
        read_suite(write(tmp_path, "\n".join([line] * 33), "s.jsonl"))
    message = str(caught.value).split("\n")
    assert "(33):" in message[0] and ":20: " in message[20]
    assert message[21:] == ["  ... and 13 more"]


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not found: .*none\.json"):
        read_suite(tmp_path / "none.json")
    with pytest.raises(UserError, match="is a folder"):
        read_suite(tmp_path)


def test_keys_that_nothing_reads_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    read(tmp_path, [{"question": "?", "anwser": "!"}])
    assert "keys that nothing reads: anwser" in caplog.text
