"""A chain of tiny versions, suites for it, and answers that are put into the store by hand: so a
comparison as a process says what the test says, and loads no model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lorachain.evaluation.chosen import chain_of, find_versions
from lorachain.evaluation.evaluate import BASE, evaluation_precision
from lorachain.evaluation.generated import Decoding, Finish, Generated
from lorachain.evaluation.results import open_store, settings
from lorachain.machine import detect
from lorachain.models import find_base
from lorachain.paths import PROJECT_ROOT
from lorachain.suites import Item, read_suite

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
ITEMS = 12
CARD = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
GOOD = '{"name": "Ana", "age": 31}'
BAD = "I do not know."

Answer = Callable[[Item, int], str]


def script(name: str, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A script of the project, run from `folder`."""
    return subprocess.run(
        command(name, *arguments),
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def command(name: str, *arguments: object) -> list[str]:
    """The words that run a script of the project."""
    return [sys.executable, str(PROJECT_ROOT / name), *map(str, arguments)]


def write_suite(folder: Path, task: str, count: int = ITEMS, **changes: Any) -> Path:
    """`<task>_v1.jsonl`: items of one task that ask for a card, and the schema beside it."""
    folder.mkdir(exist_ok=True)
    schema = folder / "card.schema.json"
    schema.write_text(json.dumps(CARD), encoding="utf-8")
    item = {"task": task, "schema": str(schema), **changes}
    rows = [{"id": f"{task}-{i}", "prompt": f"{task} card {i}?", **item} for i in range(count)]
    path = folder / f"{task}_v1.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def fill_store(
    store: Path,
    newest: Path,
    suites: Sequence[Path],
    answers: Mapping[str, Answer],
    *,
    batch_size: int = 8,
    dtype: str | None = None,
    finish: Finish = "eos",
    max_new_tokens: int = 512,
) -> None:
    """Put every version's answers to every item into a store, as this machine would make them.

    `answers` are by the version's name (`base` for the base): item and its place to a text.
    """
    versions = find_versions([one.folder for one in chain_of(newest)], with_base=True)
    base = find_base(chain_of(newest)[0].base_name)
    here = detect()
    precision = evaluation_precision(versions, here, dtype)
    with open_store(store) as open_answers:
        for version in versions:
            decoding = Decoding(max_new_tokens)
            made = settings(version.sha256, base, decoding, precision, here.device, batch_size)
            answer = answers[BASE if version.folder is None else version.name]
            for path in suites:
                for i, item in enumerate(read_suite(path).items):
                    given = Generated(answer(item, i), 9, 5, finish, 0.1, batch_size)
                    open_answers.put(made, item.prompt_sha256, given)


def good_at(*tasks: str, but: Sequence[int] = ()) -> Answer:
    """Right answers to some tasks, but for items at some places; wrong ones to all others."""
    return lambda item, i: GOOD if item.task in tasks and i not in but else BAD


def load(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def rows(path: Path) -> list[dict[str, Any]]:
    """A JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def stored(folder: Path) -> list[dict[str, Any]]:
    """The whole answers of a store: the last line may still be on its way."""
    path = folder / "answers.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [row for row in map(json.loads, lines) if "text" in row]
