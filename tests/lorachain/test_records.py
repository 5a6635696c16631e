"""Training rows: five formats become one, and every bad row is told by file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lorachain.errors import UserError
from lorachain.records import Message, TrainingData, detect_format, read_training_data

ANSWER = Message("assistant", "4")
CHAT = (Message("user", "2 + 2?"), ANSWER)
GOOD: dict[str, list[dict[str, Any]]] = {
    "messages": [
        {
            "messages": [
                {"role": "user", "content": "2 + 2?"},
                {"role": "assistant", "content": "4"},
            ]
        },
        {"messages": [{"role": "user", "content": "2 + 2?"}], "target": "4"},
    ],
    "instruction": [
        {"instruction": "2 + 2?", "output": "4"},
        {"instruction": "2 + 2?", "input": "", "output": "4"},
        {"instruction": "2 + 2?", "input": None, "output": "4", "system": None},
        {"instruction": "2 + 2?", "input": " \n", "output": "4", "system": ""},
    ],
    "prompt": [{"prompt": "2 + 2?", "completion": "4", "id": 7}],
    "question": [{"question": "2 + 2?", "answer": "4", "topic": "sums"}],
    "sharegpt": [
        {"conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]},
        {"conversations": [{"from": "user", "value": "2 + 2?"}, {"from": "chatgpt", "value": "4"}]},
    ],
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(*rows: Any) -> TrainingData:
    path = Path("rows.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_training_data(path)


def problems(*rows: Any) -> list[str]:
    with pytest.raises(UserError) as caught:
        read(*rows)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


# --- the formats ---


@pytest.mark.parametrize("name", GOOD)
def test_each_format_gives_the_same_chat(name: str) -> None:
    data = read(*GOOD[name])
    assert data.format == name
    assert [row.messages for row in data.rows] == [CHAT] * len(GOOD[name])
    assert [row.where for row in data.rows] == [
        f"rows.jsonl:{i + 1}" for i in range(len(GOOD[name]))
    ]
    assert len({row.key for row in data.rows}) == 1


def test_the_parts_of_an_instruction() -> None:
    row = {"instruction": "Add.", "input": "2 and 2", "output": "4", "system": "You add."}
    assert read(row).rows[0].messages == (
        Message("system", "You add."),
        Message("user", "Add.\n\n2 and 2"),
        ANSWER,
    )


@pytest.mark.parametrize("name", GOOD)
def test_a_system_prompt_beside_any_format_is_not_lost(name: str) -> None:
    row = {**GOOD[name][0], "system": "You add."}
    assert read(row).rows[0].messages == (Message("system", "You add."), *CHAT)


def test_two_different_system_prompts_are_an_error() -> None:
    turns = [
        {"role": "system", "content": "You add."},
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "4"},
    ]
    assert read({"messages": turns, "system": "You add."}).rows[0].messages[1:] == CHAT
    assert problems({"messages": turns, "system": "You subtract."}) == [
        "rows.jsonl:1: `system` and the first turn are two different system prompts"
    ]


@pytest.mark.parametrize("target", [{"a": "ü", "b": [1]}, [1, 2]])
def test_a_target_may_be_json(target: Any) -> None:
    row = {"messages": [{"role": "user", "content": "2 + 2?"}], "target": target}
    text = read(row).rows[0].messages[-1].content
    assert json.loads(text) == target
    assert "\\u" not in text


def test_texts_are_kept_as_they_are() -> None:
    text = "  a\r\n\tb\u00a0<|im_end|> \n"
    assert read({"prompt": text, "completion": text}).rows[0].messages == (
        Message("user", text),
        Message("assistant", text),
    )


def test_line_numbers_are_those_of_the_file() -> None:
    Path("rows.jsonl").write_text('\n\n{"prompt": "a", "completion": "b"}\n', encoding="utf-8")
    assert read_training_data(Path("rows.jsonl")).rows[0].line == 3


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"messages": []}, "messages"),
        ({"prompt": 1, "completion": 2, "messages": 3}, "messages"),
        ({"instruction": "a"}, None),
        ({"question": "a", "answer": "b", "output": "c"}, "question"),
        ({}, None),
    ],
)
def test_formats_are_told_by_their_keys(row: dict[str, Any], name: str | None) -> None:
    assert detect_format(row) == name


# --- what is wrong ---

USER = {"role": "user", "content": "a"}
ASSISTANT = {"role": "assistant", "content": "b"}
SYSTEM = {"role": "system", "content": "c"}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"messages": "text"}, "`messages` must be a list"),
        ({"messages": []}, "`messages` must be a list with at least one turn"),
        ({"messages": ["a"]}, "`messages[0]` needs `role` and `content`"),
        ({"messages": [USER, {"role": "assistant"}]}, "`messages[1]` needs `role` and `content`"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "`messages[0].role` is 'tool'"),
        ({"messages": [{"role": ["a"], "content": "a"}]}, "`messages[0].role` is ['a']"),
        ({"messages": [{"role": None, "content": "a"}]}, "`messages[0].role` is None"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]},
            "`messages[0].content` must be a text, got list",
        ),
        ({"messages": [{"role": "user", "content": None}]}, "must be a text, got NoneType"),
        ({"messages": [USER]}, "there is no answer: the last turn must be the assistant's"),
        ({"messages": [ASSISTANT]}, "the first turn after the system prompt must be the user's"),
        ({"messages": [SYSTEM]}, "the first turn after the system prompt must be the user's"),
        ({"messages": [SYSTEM, ASSISTANT]}, "the first turn after the system prompt must be"),
        ({"messages": [USER, USER, ASSISTANT]}, "turns must alternate user, assistant; turn 2"),
        ({"messages": [USER, ASSISTANT, ASSISTANT]}, "turns must alternate"),
        ({"messages": [USER, SYSTEM, ASSISTANT]}, "a system turn may only stand first"),
        ({"messages": [SYSTEM, SYSTEM, USER, ASSISTANT]}, "a system turn may only stand first"),
        ({"messages": [USER, {**ASSISTANT, "content": " \n"}]}, "the assistant turn 2 is empty"),
        ({"messages": [{**USER, "content": ""}, ASSISTANT]}, "the user turn 1 is empty"),
        ({"messages": [USER, ASSISTANT], "target": "c"}, "already ends with an assistant turn"),
        ({"messages": [USER], "target": None}, "`target` must be a text or JSON, got NoneType"),
        ({"messages": [USER], "target": 4}, "`target` must be a text or JSON, got int"),
        ({"messages": [USER], "target": " "}, "the assistant turn 2 is empty"),
        ({"messages": [USER], "target": "\ud83d"}, "the assistant turn 2 holds half a character"),
        ({"messages": [USER, ASSISTANT], "system": 4}, "`system` must be a text, got int"),
        ({"prompt": "a", "completion": None}, "`completion` must be a text, got NoneType"),
        ({"prompt": "a", "completion": {"b": 1}}, "`completion` must be a text, got dict"),
        ({"prompt": " ", "completion": "b"}, "`prompt` is empty"),
        ({"prompt": "\udc00", "completion": "b"}, "the user turn 1 holds half a character"),
        ({"instruction": "a", "input": 4, "output": "b"}, "`input` must be a text, got int"),
        ({"instruction": "a", "input": [], "output": "b"}, "`input` must be a text, got list"),
        ({"question": "a", "answer": 4}, "`answer` must be a text, got int"),
        ({"conversations": [{"from": "bot", "value": "a"}]}, "`conversations[0].from` is 'bot'"),
        ({"conversations": [{"from": ["a"], "value": "a"}]}, "`conversations[0].from` is ['a']"),
        ({"conversations": [{"from": {}, "value": "a"}]}, "`conversations[0].from` is {}"),
        ({"conversations": [USER, ASSISTANT]}, "`conversations[0]` needs `from` and `value`"),
    ],
)
def test_a_bad_row_is_told_by_file_and_line(row: dict[str, Any], says: str) -> None:
    (problem,) = problems(row)
    assert problem.startswith("rows.jsonl:1: ")
    assert says in problem


def test_every_bad_row_is_reported_at_once_and_good_ones_are_not() -> None:
    good = {"prompt": "a", "completion": "b"}
    found = problems(good, {**good, "prompt": ""}, good, {"question": "a", "answer": "b"}, {"x": 1})
    assert found == [
        "rows.jsonl:2: `prompt` is empty",
        "rows.jsonl:4: format question, but the file's is prompt; one file holds one",
        "rows.jsonl:5: format unknown, but the file's is prompt; one file holds one",
    ]


def test_the_format_is_that_of_the_first_row_that_has_one() -> None:
    assert problems({"x": 1}, {"prompt": "a", "completion": "b"}) == [
        "rows.jsonl:1: format unknown, but the file's is prompt; one file holds one"
    ]


def test_a_file_without_rows_or_without_a_known_format() -> None:
    Path("rows.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"^rows\.jsonl holds no rows\.$"):
        read_training_data(Path("rows.jsonl"))
    with pytest.raises(
        UserError, match=r"rows\.jsonl:1: the format is not known \(keys: frage, wort\).*`prompt`"
    ):
        read({"wort": 1, "frage": 2})


def test_lines_that_are_no_json_and_bad_rows_are_reported_together_in_order() -> None:
    good = '{"prompt": "a", "completion": "b"}'
    lines = [good, '{"prompt": "", "completion": "b"}', "{", good, "[1]", '{"x": 1}']
    Path("rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot be trained on \(4\):") as caught:
        read_training_data(Path("rows.jsonl"))
    found = [line.split(":")[1] for line in str(caught.value).splitlines()[1:]]
    assert found == ["2", "3", "5", "6"]
    Path("rows.jsonl").write_text("{\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"rows\.jsonl:1: not JSON"):
        read_training_data(Path("rows.jsonl"))
