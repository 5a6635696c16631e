"""The frozen suite of a dataset: prompts of its test split, drawn once, evenly over the tasks.

A suite is written where none stands, and never again: versions are compared on it, so it may not
change. What the same draw would give today is only compared with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lorachain.datagen.draws import draw
from lorachain.datagen.near import NearTexts
from lorachain.datagen.rows import SplitRow
from lorachain.datagen.sft_format import messages_of
from lorachain.errors import UserError
from lorachain.jsonl import raise_all, write_objects
from lorachain.paths import shown
from lorachain.suites import read_suite

FIXED = 20


def drawn(rows: Sequence[SplitRow], count: int, seed: int) -> list[SplitRow]:
    """Up to `count` test rows: tasks take turns, each with its rows in an order of the seed's. Of a
    group of near rows the others come only when nothing else is left."""
    by_task: dict[str, list[SplitRow]] = defaultdict(list)
    groups: set[str] = set()
    later = []
    for row in sorted(rows, key=lambda r: draw("suite", seed, r.id)):
        if row.group in groups:
            later.append(row)
            continue
        groups.add(row.group)
        by_task[row.task].append(row)
    for row in later:
        by_task[row.task].append(row)
    found: list[SplitRow] = []
    for turn in range(max(map(len, by_task.values()), default=0)):
        found += [by_task[task][turn] for task in sorted(by_task) if turn < len(by_task[task])]
    return sorted(found[:count], key=lambda row: (row.index, row.id))


def suite_rows(rows: Sequence[SplitRow], answers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The items of a suite. Near rows share a cluster: they are one piece of evidence."""
    found = []
    for row in rows:
        item: dict[str, Any] = {"id": row.id, "task": row.task, "messages": messages_of(row)}
        if row.schema is not None:
            item["schema"] = row.schema
        if row.expected:
            item["expected"] = dict(row.expected)
        found.append(item | {"reference": answers[row.id], "cluster": row.group})
    return found


def freeze(path: Path, items: Sequence[Mapping[str, Any]], count: int = FIXED) -> str:
    """Write a suite where none stands; what came of it, as a sentence."""
    if path.is_file():
        return _kept(path, items)
    if not items:
        return f"No suite was written: the test split has no rows ({shown(path)})."
    write_objects(path, [dict(item) for item in items])
    few = f" The test split has no more; {count} were asked for." if len(items) < count else ""
    return f"{len(items)} test prompts frozen: {shown(path)}.{few}"


def _kept(path: Path, items: Sequence[Mapping[str, Any]]) -> str:
    known = {str(item.id) for item in read_suite(path).items}
    now = {str(item["id"]) for item in items}
    if known == now:
        return f"{shown(path)} stands as it was frozen, with {len(known)} prompts."
    if known.isdisjoint(now):
        return (
            f"{shown(path)} is another suite, and was left as it is: no suite is written over. "
            "To freeze one of this dataset, name a new file with --fixed-prompts-out."
        )
    return (
        f"{shown(path)} stands as it was frozen. Drawn today it would differ in "
        f"{len(now - known)} of {len(now)} prompts; to have those as well, name a new file with "
        "--fixed-prompts-out."
    )


def check_unseen(path: Path, rows: Sequence[SplitRow]) -> None:
    """Raises UserError that names the train and val rows that a suite asks, exactly or nearly."""
    if not path.is_file():
        return
    try:
        items = read_suite(path).items
    except UserError as error:
        raise UserError(f"The suite that stands there cannot be read. {error}") from None
    near = NearTexts([item.question for item in items])
    problems = [
        f"{row.id} ({row.split}) is asked by {items[places[0]].id}"
        for row in rows
        if row.split != "test" and (places := near.near(row.prompt))
    ]
    raise_all(problems, f"The frozen suite {shown(path)} asks what would be trained on")
