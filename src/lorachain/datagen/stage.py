"""Runs a stage that asks the teacher: what is done is skipped, what is finished is kept.

Each row is on the disk before the next one is begun; a stage that is killed goes on with --resume
and ends with the files that an uninterrupted run would have written. A row is done when there is
one of its id with its stamp: a hash over what it was made from.
"""

from __future__ import annotations

import glob
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from lorachain.datagen.ask import Ask, Asked
from lorachain.datagen.manifest import manifest_path
from lorachain.datagen.rowfiles import LineFile, RowIndex, write_rows
from lorachain.datagen.rows import Row
from lorachain.errors import UserError
from lorachain.paths import shown

R = TypeVar("R", bound=Row)
DRY_RUN = "dry_run"


@dataclass(frozen=True)
class Options:
    """What the command line asks of a stage."""

    resume: bool = False
    restart: bool = False
    limit: int | None = None
    dry_run: bool = False
    again: str = "--resume"  # what goes on with it, in messages


class Stage(ABC, Generic[R]):
    """What a stage makes, from what. `output` grows row by row and is rewritten in order."""

    name: str
    kind: type[R]
    output: Path
    inputs: Sequence[Path]
    settings: Mapping[str, Any]
    notes: Sequence[str] = ()  # what to tell before the first row

    @property
    def main(self) -> Path:
        """The output that people look for; the manifest is named after it."""
        return self.output

    @property
    def outputs(self) -> Sequence[Path]:
        """Files that `finish` writes beside `output`."""
        return ()

    @property
    @abstractmethod
    def ids(self) -> Sequence[str]:
        """The rows to make, in the order of the plan."""

    @abstractmethod
    def stamp(self, id_: str) -> str:
        """A hash over all that a row is made from, but for who answers."""

    @abstractmethod
    def asks(self, id_: str) -> Sequence[Ask]:
        """What a row asks for sure, for an estimate."""

    @abstractmethod
    async def make(self, id_: str, teacher: Asked) -> R:
        """A row. Raises what `Asked.ask` raises."""

    @abstractmethod
    def is_accepted(self, row: R) -> bool:
        """Whether later stages can use it."""

    @abstractmethod
    def calls(self, row: R) -> Iterable[Mapping[str, Any]]:
        """The provenance of each call that this stage made for a row."""

    def finish(self, rows: RowIndex[R]) -> None:
        """Write `outputs` from the rows, in order."""
        return


@dataclass
class State:
    """Which rows of a stage are done, and which are to be made now."""

    done: set[str]
    todo: list[str]
    left: int  # beyond --limit
    stale: int  # made from other prompts: made anew
    strange: int  # of no row of the input
    cut_bytes: int = 0


@dataclass
class Counts:
    """What came of the rows of an output."""

    rows: int = 0
    accepted: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    models: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)


def look_up(stage: Stage[R], options: Options) -> State:
    """Which rows are done. Cuts a torn line off the output. Hold the folder's lock.

    Raises UserError where the output holds rows and neither --resume nor --restart was given, or
    where it holds nothing but rows of another input.
    """
    path = stage.output
    _remove_leftovers(stage)
    existing = [p for p in (path, *stage.outputs) if p.exists() and p.stat().st_size > 0]
    if existing and not (options.resume or options.restart):
        raise UserError(
            f"{shown(existing[0])} is there already. --resume goes on with it, --restart begins "
            "again (answers that were paid for are not paid for again), another --out-dir leaves "
            "it alone."
        )
    if options.restart:
        for file in existing:
            file.unlink()
    if not path.exists():
        return _state(stage, options, set(), 0, 0)
    with LineFile(path) as lines:
        cut = lines.cut
    rows = RowIndex(path, stage.kind, dry_run=options.dry_run)
    known = [id_ for id_ in stage.ids if id_ in rows]
    if len(rows) and not known:
        raise UserError(
            f"{shown(path)} holds {len(rows)} rows, none of them of {shown(stage.inputs[0])}. Name "
            "another --out-dir, or begin again with --restart."
        )
    done = {id_ for id_ in known if _stamp_of(rows[id_]) == stage.stamp(id_)}
    state = _state(stage, options, done, len(known) - len(done), len(rows) - len(known))
    state.cut_bytes = cut
    return state


def _state(stage: Stage[R], options: Options, done: set[str], stale: int, strange: int) -> State:
    todo = [id_ for id_ in stage.ids if id_ not in done]
    now = todo[: options.limit]
    return State(done, now, len(todo) - len(now), stale, strange)


def _remove_leftovers(stage: Stage[R]) -> None:
    """Remove what a killed run was about to rename to one of the stage's files, and no other's."""
    for path in {stage.output, *stage.outputs}:
        for name in (path.name, manifest_path(path).name):
            for leftover in path.parent.glob(f".{glob.escape(name)}.*.tmp"):
                leftover.unlink()


def put_in_order(stage: Stage[R], options: Options) -> Counts:
    """Rewrite the output in the order of the plan, write the stage's other files, and count.

    Rows that are of no plan row any more, or were made from another prompt, are left out.
    """
    rows = RowIndex(stage.output, stage.kind, dry_run=options.dry_run)
    kept = [id_ for id_ in stage.ids if id_ in rows and _stamp_of(rows[id_]) == stage.stamp(id_)]
    write_rows(stage.output, (rows[id_] for id_ in kept))
    ordered = RowIndex(stage.output, stage.kind, dry_run=options.dry_run)
    stage.finish(ordered)
    return _count(stage, ordered)


def _count(stage: Stage[R], rows: RowIndex[R]) -> Counts:
    counts = Counts()
    for row in rows:
        counts.rows += 1
        counts.accepted += stage.is_accepted(row)
        for call in stage.calls(row):
            cost = call.get("cost_usd")
            counts.prompt_tokens += call.get("prompt_tokens", 0)
            counts.output_tokens += call.get("output_tokens", 0)
            counts.cost_usd += cost or 0.0
            counts.unpriced += cost is None
            _add(counts.models, call.get("model", ""))
            _add(counts.faults, str(call.get("fault", "")).partition(":")[0])
    counts.cost_usd = round(counts.cost_usd, 6)
    counts.models = dict(sorted(counts.models.items()))
    counts.faults = dict(sorted(counts.faults.items()))
    return counts


def _add(counted: dict[str, int], name: str) -> None:
    if name:
        counted[name] = counted.get(name, 0) + 1


def _stamp_of(row: Row) -> str:
    return str(getattr(row, "stamp", ""))
