"""Rows that may not stand where they stand: asked by a frozen suite, or seen by an earlier version.

A train row may not be near an item of a suite, nor near a validation row of a finished version. A
val or test row may not be near a row that a finished version was trained on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorachain import lineage
from lorachain.datagen.asked import AskedItems, named
from lorachain.datagen.near import NearTexts
from lorachain.datagen.rows import SplitRow
from lorachain.errors import UserError
from lorachain.paths import shown
from lorachain.preflight.texts import prompt_text
from lorachain.records import read_training_data

log = logging.getLogger("lorachain")
_HIDDEN_FROM = {"train": ("val", "test"), "replay": ("val", "test"), "validation": ("train",)}


@dataclass(frozen=True)
class Leak:
    """One row that may not stand in its split, and why."""

    row: SplitRow
    why: str

    def __str__(self) -> str:
        return f"{self.row.id} ({self.row.split}) {self.why}"


@dataclass(frozen=True)
class Used:
    """A data file of a finished version."""

    version: str
    role: str
    path: Path


def find_leaks(rows: Sequence[SplitRow], asked: AskedItems, used: Sequence[Used]) -> list[Leak]:
    """Every row that leaks, each once. A file that cannot be read is logged and passed over."""
    found: dict[str, Leak] = {}
    for leak in (*_in_suites(rows, asked), *_in_versions(rows, used)):
        found.setdefault(leak.row.id, leak)
    return [found[row.id] for row in rows if row.id in found]


def _in_suites(rows: Sequence[SplitRow], asked: AskedItems) -> Iterator[Leak]:
    for row in rows:
        if row.split == "train" and (items := asked.near(row.prompt)):
            yield Leak(row, f"is asked by the suite's item {named(items)}")


def _in_versions(rows: Sequence[SplitRow], used: Sequence[Used]) -> Iterator[Leak]:
    for file in used:
        watched = [row for row in rows if row.split in _HIDDEN_FROM[file.role]]
        if not watched:
            continue
        try:
            seen = read_training_data(file.path).rows
        except UserError as error:
            log.warning("%s data of %s was not compared: %s", file.role, file.version, error)
            continue
        near = NearTexts([prompt_text(row.messages[:-1]) for row in seen])
        for row in watched:
            if places := near.near(row.prompt):
                what = "validates" if file.role == "validation" else "was trained on"
                yield Leak(row, f"is what {file.version} {what} ({seen[places[0]].where})")


def used_by_versions(models: Path) -> list[Used]:
    """The data files of every finished version under a folder, each once for each role."""
    found: dict[tuple[str, Path], Used] = {}
    for path in sorted(models.rglob(lineage.FILE)):
        try:
            version = lineage.read(path.parent)
        except UserError as error:
            log.warning("Not compared with %s: %s", shown(path.parent), error)
            continue
        for entry in version.data["data"]:
            role, file = str(entry["role"]), lineage.data_path(entry)
            if role in _HIDDEN_FROM:
                found.setdefault((role, file), Used(version.name, role, file))
    return list(found.values())
