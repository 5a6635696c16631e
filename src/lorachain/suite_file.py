"""The rows of a suite's or a questions file, whichever of the two shapes it has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lorachain.errors import UserError
from lorachain.jsonl import read_lines, read_objects
from lorachain.paths import shown

PROMPTS = ("messages", "prompt", "question")
MAX_LINE = 40  # characters of a line that a message shows


def read_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """(where, row) of either shape. Raises UserError for a file that is empty or neither."""
    text, line = "", 0
    for number, content in read_lines(path):  # blank lines kept, so that errors name the line
        text += "\n" * (number - line - 1) + content + "\n"
        line = number
    if not text.strip():
        raise UserError(f"{shown(path)} is empty: there is nothing to ask.")
    rows = _array(path, text)
    if rows is None:
        _check_kind(path, text)
        yield from ((f"{shown(path)}:{at}", row) for at, row in read_objects(path))
        return
    if not rows:
        raise UserError(f"{shown(path)} holds no questions.")
    yield from ((f"{shown(path)}[{i}]", row) for i, row in enumerate(rows))


def _check_kind(path: Path, text: str) -> None:
    """Raises UserError for a file of another kind: most of its lines are not even meant as JSON.
    A bad line of JSON is not what this is about; those are listed."""
    lines = [(n, line) for n, line in enumerate(text.split("\n"), start=1) if line]
    strange = [(n, line) for n, line in lines if not _looks_like_json(line)]
    if len(strange) <= len(lines) / 2:
        return
    if text.lstrip().startswith("{"):  # one object over several lines, or several of them
        try:
            json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{shown(path)} is not JSON: {error}") from None
    number, first = strange[0]
    shortened = first if len(first) <= MAX_LINE else f"{first[: MAX_LINE - 1]}…"
    raise UserError(
        f"{shown(path)} is no suite and no file of questions: its lines are not JSON "
        f"({len(strange)} of {len(lines)}; line {number} is {shortened!r}). Name a file of JSON "
        "Lines (one object a line, with `messages`, `prompt` or `question`) or one JSON array of "
        "such objects."
    )


def _looks_like_json(line: str) -> bool:
    if line.startswith(("{", "[")):
        return True
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _array(path: Path, text: str) -> list[Any] | None:
    """The items of a JSON array, or None for JSON Lines."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if not text.startswith("["):
            return None
        raise UserError(f"{shown(path)} is not JSON: {error}") from None
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and isinstance(value.get("questions"), list):
        return value["questions"]  # type: ignore[no-any-return]
    if isinstance(value, dict) and any(key in value for key in PROMPTS):
        return [value] if "\n" in text.strip() else None  # one object over several lines
    raise UserError(
        f"{shown(path)} holds no questions. It must be a JSON array of objects with `question`, "
        "or JSON Lines with `messages`, `prompt` or `question`."
    )
