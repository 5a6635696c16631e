"""Suites and question files: what the versions are asked, and what is known of a right answer.

Two shapes are read, told apart by content, whatever the file is called:

- JSON Lines, one item a line: `messages` (or `prompt`, or `question`), and where they apply `id`,
  `task`, `schema` (a name under configs/schemas), `expected` (values by path that make it the
  task's answer), `reference`, `checks`, `cluster`
- one JSON array of such items, or an object with the array under `questions`; mostly
  {question, answer?, topic?, difficulty?}
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lorachain.answers import Schema, load_schema
from lorachain.checks import check_problem
from lorachain.errors import UserError
from lorachain.files import canonical_json, sha256_file, sha256_text
from lorachain.jsonl import raise_all
from lorachain.paths import SCHEMAS, shown
from lorachain.records import Message
from lorachain.suite_file import PROMPTS, read_rows

log = logging.getLogger("lorachain")

_KNOWN = {"id", "messages", "prompt", "question", "system", "task", "schema", "expected"}
_KNOWN |= {"reference", "checks", "cluster", "answer", "topic", "difficulty"}
_TEXTS = ("task", "schema", "cluster", "topic", "system")
_SCALAR = str | int | float | bool | None


@dataclass(frozen=True)
class Item:
    """One prompt with what is known of its answer. `where` is file:line or file[index]."""

    id: str | int
    messages: tuple[Message, ...]
    where: str = ""
    task: str | None = None
    schema: str | None = None
    expected: Mapping[str, Any] = field(default_factory=dict)
    reference: Any = None
    checks: tuple[Mapping[str, Any], ...] = ()
    cluster: str | None = None
    answer: Any = None
    topic: str | None = None
    difficulty: Any = None

    @property
    def question(self) -> str:
        """What the user asks: the last turn."""
        return self.messages[-1].content

    @cached_property
    def prompt_sha256(self) -> str:
        """The prompt's hash: two items with the same prompt have the same answer."""
        return sha256_text(canonical_json([list(message) for message in self.messages]))


@dataclass(frozen=True)
class Suite:
    """A frozen set of items. `sha256` is over the file's bytes."""

    name: str
    path: Path
    sha256: str
    items: tuple[Item, ...] = field(repr=False)
    schemas: Mapping[str, Schema] = field(default_factory=dict, repr=False)


def read_suite(
    path: Path,
    *,
    system: str | None = None,
    schema: str | None = None,
    limit: int | None = None,
    quiet: bool = False,
) -> Suite:
    """Read and check a suite or a questions file.

    `system` becomes the system prompt of items that have none, `schema` the schema of those that
    name none, and `limit` keeps the first items; `quiet` says nothing of keys that nothing reads.
    Raises UserError that lists every bad item.
    """
    items: list[Item] = []
    problems: list[str] = []
    schemas = {} if schema is None else {schema: find_schema(schema)}
    ignored: set[str] = set()
    for number, (where, row) in enumerate(read_rows(path), start=1):
        try:
            item = _with_defaults(_item(row, where, number), system, schema)
            if item.schema is not None and item.schema not in schemas:
                schemas[item.schema] = find_schema(item.schema)
            items.append(item)
            ignored |= row.keys() - _KNOWN
        except (ValueError, UserError) as error:
            problems.append(f"{where}: {error}")
    problems += _repeated(items)
    raise_all(problems, f"{shown(path)} has items that cannot be asked")
    if ignored and not quiet:
        log.info("%s: keys that nothing reads: %s", shown(path), ", ".join(sorted(ignored)))
    kept = items if limit is None else items[:limit]
    named = {item.schema for item in kept}
    used = {name: found for name, found in schemas.items() if name in named}
    return Suite(path.stem, path, sha256_file(path), tuple(kept), used)


def find_schema(name: str) -> Schema:
    """A schema by its name under configs/schemas, or by the path of its file."""
    if re.fullmatch(r"[\w-]+", name):
        path = SCHEMAS / f"{name}.schema.json"
        if not path.is_file():
            known = sorted(p.name.removesuffix(".schema.json") for p in SCHEMAS.glob("*.json"))
            raise UserError(f"schema {name!r} is not known; known are {', '.join(known)}")
        return load_schema(path)
    return load_schema(Path(name))


def _item(row: Any, where: str, number: int) -> Item:
    if not isinstance(row, dict):
        raise ValueError(f"expected an object, got {type(row).__name__}")
    for key in _TEXTS:
        if row.get(key) is not None and not isinstance(row[key], str):
            raise ValueError(f"`{key}` must be a text, got {type(row[key]).__name__}")
    for key in ("answer", "difficulty"):
        if not isinstance(row.get(key), _SCALAR):
            raise ValueError(f"`{key}` must be a text or a number, got {type(row[key]).__name__}")
    identity = row.get("id", number)
    if not isinstance(identity, str | int) or isinstance(identity, bool) or identity == "":
        raise ValueError("`id` must be a text or a whole number")
    expected = row.get("expected") or {}
    if not isinstance(expected, dict):
        raise ValueError("`expected` must be an object of values by path")
    return Item(
        id=identity,
        messages=_messages(row),
        where=where,
        task=row.get("task"),
        schema=row.get("schema"),
        expected=expected,
        reference=row.get("reference"),
        checks=_checks(row.get("checks") or []),
        cluster=row.get("cluster"),
        answer=row.get("answer"),
        topic=row.get("topic"),
        difficulty=row.get("difficulty"),
    )


def _messages(row: Mapping[str, Any]) -> tuple[Message, ...]:
    """A prompt's turns. Raises ValueError unless they end with the user's."""
    given = [key for key in PROMPTS if key in row]
    if len(given) != 1:
        raise ValueError("needs one of `messages`, `prompt` and `question`")
    turns = row[given[0]]
    if given[0] != "messages":
        turns = [{"role": "user", "content": turns}]
    if not isinstance(turns, list) or not turns:
        raise ValueError("`messages` must be a list with at least one turn")
    messages = []
    for turn in turns:
        if not isinstance(turn, dict) or not {"role", "content"} <= turn.keys():
            raise ValueError("each turn of `messages` needs `role` and `content`")
        if turn["role"] not in ("system", "user", "assistant"):
            raise ValueError(f"role {turn['role']!r}; known are system, user, assistant")
        if not isinstance(turn["content"], str) or not turn["content"].strip():
            raise ValueError(f"the {turn['role']}'s text is missing or empty")
        messages.append(Message(turn["role"], turn["content"]))
    if messages[-1].role != "user":
        raise ValueError("the last turn must be the user's")
    if any(message.role == "system" for message in messages[1:]):
        raise ValueError("a system turn may only stand first")
    if row.get("system") and messages[0] != Message("system", row["system"]):
        if messages[0].role == "system":
            raise ValueError("`system` and the first turn are two different system prompts")
        messages.insert(0, Message("system", row["system"]))
    return tuple(messages)


def _checks(checks: Any) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(checks, list):
        raise ValueError("`checks` must be a list")
    for i, check in enumerate(checks):
        if problem := check_problem(check):
            raise ValueError(f"`checks[{i}]` {problem}")
    return tuple(checks)


def _with_defaults(item: Item, system: str | None, schema: str | None) -> Item:
    if system and item.messages[0].role != "system":
        item = replace(item, messages=(Message("system", system), *item.messages))
    return item if item.schema or not schema else replace(item, schema=schema)


def _repeated(items: Iterable[Item]) -> list[str]:
    times = Counter(str(item.id) for item in items)
    return [
        f"{item.where}: the id {item.id!r} is given {times[str(item.id)]} times"
        for item in items
        if times[str(item.id)] > 1
    ]
