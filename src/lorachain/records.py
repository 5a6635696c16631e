"""Training rows and suite items: five formats in, one shape out.

A training row becomes a chat whose assistant turns are what the model learns. The format is
detected from the first row and must be the same in every row.

| format | keys |
|---|---|
| messages | `messages` [{role, content}], and optionally `target`, the assistant's answer |
| instruction | `instruction`, optional `input`, `output` |
| prompt | `prompt`, `completion` |
| question | `question`, `answer` |
| sharegpt | `conversations` [{from, value}] |

A row of any format may have `system`, a system prompt, and `schema`: the JSON schema that its last
answer should fit, by a name under configs/schemas or a .json file beside the rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lorachain.errors import UserError
from lorachain.jsonl import parse_objects, raise_all
from lorachain.paths import shown


class Message(NamedTuple):
    """One turn of a chat. `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class ChatRow:
    """One training row: a chat that ends with an assistant turn, and where it came from."""

    messages: tuple[Message, ...]
    path: Path
    line: int
    task: str = ""  # the row's `task`, where it names one: replay draws evenly over tasks
    schema: str = ""  # the row's `schema`, where it is a text: what the last answer should fit

    @property
    def where(self) -> str:
        """file:line, for messages."""
        return f"{shown(self.path)}:{self.line}"

    @property
    def key(self) -> tuple[Message, ...]:
        """What makes two rows the same row, whichever file they stand in."""
        return self.messages


@dataclass(frozen=True)
class TrainingData:
    """The rows of one file, all of one format."""

    path: Path
    format: str
    rows: list[ChatRow] = field(repr=False)


_SHAREGPT_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "system": "system",
}


def _text(row: dict[str, Any], key: str) -> str:
    value = row[key]
    if not isinstance(value, str):
        raise ValueError(f"`{key}` must be a text, got {type(value).__name__}")
    if not value.strip():
        raise ValueError(f"`{key}` is empty")
    return value


def _optional_text(row: dict[str, Any], key: str) -> str:
    """A text that may be missing, null or blank: then ''."""
    value = row.get(key)
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    return _text(row, key)


def _turns(value: Any, name: str, role_key: str, text_key: str) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"`{name}` must be a list with at least one turn")
    turns = []
    for i, turn in enumerate(value):
        if not isinstance(turn, dict) or role_key not in turn or text_key not in turn:
            raise ValueError(f"`{name}[{i}]` needs `{role_key}` and `{text_key}`")
        role = turn[role_key]
        if role_key == "from" and isinstance(role, str):
            role = _SHAREGPT_ROLES.get(role, role)
        if role not in ("system", "user", "assistant"):
            raise ValueError(
                f"`{name}[{i}].{role_key}` is {role!r}; known roles are system, user, assistant"
            )
        if not isinstance(turn[text_key], str):
            raise ValueError(
                f"`{name}[{i}].{text_key}` must be a text, got {type(turn[text_key]).__name__}"
            )
        turns.append(Message(role, turn[text_key]))
    return turns


def _from_messages(row: dict[str, Any]) -> list[Message]:
    turns = _turns(row["messages"], "messages", "role", "content")
    if "target" in row:
        target = row["target"]
        if isinstance(target, dict | list):
            target = json.dumps(target, ensure_ascii=False)
        elif not isinstance(target, str):
            raise ValueError(f"`target` must be a text or JSON, got {type(target).__name__}")
        if turns[-1].role == "assistant":
            raise ValueError("`messages` already ends with an assistant turn; remove `target`")
        turns.append(Message("assistant", target))
    return turns


def _from_instruction(row: dict[str, Any]) -> list[Message]:
    question = _text(row, "instruction")
    if text := _optional_text(row, "input"):
        question += "\n\n" + text
    return [Message("user", question), Message("assistant", _text(row, "output"))]


def _from_prompt(row: dict[str, Any]) -> list[Message]:
    return [
        Message("user", _text(row, "prompt")),
        Message("assistant", _text(row, "completion")),
    ]


def _from_question(row: dict[str, Any]) -> list[Message]:
    return [Message("user", _text(row, "question")), Message("assistant", _text(row, "answer"))]


def _from_sharegpt(row: dict[str, Any]) -> list[Message]:
    return _turns(row["conversations"], "conversations", "from", "value")


class _Format(NamedTuple):
    name: str
    needs: frozenset[str]
    read: Callable[[dict[str, Any]], list[Message]]


_FORMATS = (
    _Format("messages", frozenset({"messages"}), _from_messages),
    _Format("sharegpt", frozenset({"conversations"}), _from_sharegpt),
    _Format("instruction", frozenset({"instruction", "output"}), _from_instruction),
    _Format("prompt", frozenset({"prompt", "completion"}), _from_prompt),
    _Format("question", frozenset({"question", "answer"}), _from_question),
)
KNOWN_FORMATS = (
    "`messages` (with or without `target`), `instruction`+`output`, `prompt`+`completion`, "
    "`question`+`answer`, or ShareGPT `conversations`"
)


def detect_format(row: dict[str, Any]) -> str | None:
    """The name of a row's format, or None when its keys fit none."""
    for known in _FORMATS:
        if known.needs <= row.keys():
            return known.name
    return None


def _with_system(turns: list[Message], system: str) -> list[Message]:
    if not system or turns[0] == Message("system", system):
        return turns
    if turns[0].role == "system":
        raise ValueError("`system` and the first turn are two different system prompts")
    return [Message("system", system), *turns]


def check_turns(turns: list[Message]) -> None:
    """The order that chat templates allow. Raises ValueError with what is wrong."""
    body = turns[1:] if turns[0].role == "system" else turns
    if any(turn.role == "system" for turn in body):
        raise ValueError("a system turn may only stand first")
    if not body or body[0].role != "user":
        raise ValueError("the first turn after the system prompt must be the user's")
    for i, turn in enumerate(body):
        expected = "user" if i % 2 == 0 else "assistant"
        if turn.role != expected:
            raise ValueError(f"turns must alternate user, assistant; turn {i + 1} is {turn.role}")
    if turns[-1].role != "assistant":
        raise ValueError("there is no answer: the last turn must be the assistant's")
    for i, turn in enumerate(turns):
        if not turn.content.strip():
            raise ValueError(f"the {turn.role} turn {i + 1} is empty")
        try:
            turn.content.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError(
                f"the {turn.role} turn {i + 1} holds half a character (a lone \\ud800 to \\udfff)"
            ) from None


def read_training_data(path: Path) -> TrainingData:
    """Read and check one training file.

    Raises UserError that lists every bad row as file:line, or says that the file is empty.
    """
    data, problems = check_training_data(path)
    what = "rows that cannot be trained on" if data.format else "lines that cannot be read"
    raise_all([text for _, text in problems], f"{shown(path)} has {what}")
    return data


def check_training_data(path: Path) -> tuple[TrainingData, list[tuple[int, str]]]:
    """The good rows of one training file, and (line, what is wrong as file:line) of all others.

    The format is "" where no line is a JSON object. Raises UserError for a file that cannot be
    read at all, that holds no rows, or none of a known format.
    """
    objects, problems = parse_objects(path)
    if not objects:
        if problems:
            return TrainingData(path, "", []), problems
        raise UserError(f"{shown(path)} holds no rows.")
    name = next((n for n in (detect_format(row) for _, row in objects) if n), None)
    if name is None:
        keys = ", ".join(sorted(objects[0][1])) or "none"
        raise UserError(
            f"{shown(path)}:{objects[0][0]}: the format is not known (keys: {keys}). A row is "
            f"{KNOWN_FORMATS}."
        )
    read = next(known.read for known in _FORMATS if known.name == name)
    rows: list[ChatRow] = []
    for line, row in objects:
        try:
            found = detect_format(row)
            if found != name:
                raise ValueError(
                    f"format {found or 'unknown'}, but the file's is {name}; one file holds one"
                )
            turns = _with_system(read(row), _optional_text(row, "system"))
            check_turns(turns)
            schema = row["schema"] if isinstance(row.get("schema"), str) else ""
            rows.append(ChatRow(tuple(turns), path, line, str(row.get("task") or ""), schema))
        except ValueError as error:
            problems.append((line, f"{shown(path)}:{line}: {error}"))
    return TrainingData(path, name, rows), sorted(problems)
