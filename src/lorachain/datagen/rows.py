"""The rows that the stages hand on to one another: one JSON object a line, keyed by `id`.

plan -> drafts -> critiques -> dataset (accepted, rejected) -> clean -> train, val, test -> sft

A row's `id` comes from what it is about (spec, slot, seed), never from a line number, so that it
is the same after every resume and in every batch. `dry_run` marks rows that no teacher wrote: every
later stage refuses them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


class Row:
    """To and from a line of JSON."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]


@dataclass(frozen=True)
class PlanRow(Row):
    """One prompt to have answered.

    `index` is its place in the plan, by which every final file is ordered. `schema` is the name of
    the JSON schema that the answer must fit (None: free text), `expected` are values by path that
    make it the kind of answer that was asked for (as a suite's items have them).
    """

    id: str
    index: int
    spec: str
    task: str
    prompt: str
    system: str = ""
    schema: str | None = None
    expected: Mapping[str, Any] = field(default_factory=dict)
    category: str = ""
    difficulty: str = ""
    region_tags: Sequence[str] = ()
    seed: int = 0
    template: str = ""
    template_sha256: str = ""
    spec_sha256: str = ""
    slots: Mapping[str, Any] = field(default_factory=dict)  # what filled the template
    because: Mapping[str, Any] = field(default_factory=dict)  # from failures: kind, item, version
    dry_run: bool = False


@dataclass(frozen=True)
class Call(Row):
    """One answer of the teacher, and where it is from. A row keeps all of it but the text.

    `key` is the SHA-256 over what was asked; the store keeps the raw response under it, with the
    time it took. Nothing in here depends on when or how often it was fetched, so a row is the same
    whether its answer was paid for now or taken from the store. `fault` says why the answer cannot
    be used (refused, empty, cut, unreadable), "" for one that can. `cost_usd` is None where nothing
    names a price. `finish` is the provider's reason, `attempt` counts answers that were no use.
    """

    key: str
    model: str
    provider: str
    prompt_sha256: str
    template_sha256: str
    finish: str
    prompt_tokens: int
    output_tokens: int
    cost_usd: float | None
    attempt: int = 0
    fault: str = ""
    text: str = ""

    def provenance(self) -> dict[str, Any]:
        """What a row keeps: everything but the text."""
        kept = self.as_dict()
        del kept["text"]
        return kept


@dataclass(frozen=True)
class DraftRow(Row):
    """The teacher's answer to a plan row: `answer` is the text, `tier` how it was read.

    `plan` is the plan row that it answers, so that later stages need no other file and see when a
    plan has changed. `stamp` is a hash over all that was asked: a row whose stamp differs is asked
    for again.
    """

    id: str
    index: int
    plan: Mapping[str, Any]
    answer: str
    tier: str
    call: Mapping[str, Any]
    stamp: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class CritiqueRow(Row):
    """What the teacher says of a draft. `critique` is None where it could not be read."""

    id: str
    index: int
    draft_key: str
    critique: Mapping[str, Any] | None
    call: Mapping[str, Any]
    stamp: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class DatasetRow(Row):
    """A finished row, or a rejected one (`reasons` says why).

    `answer` is the value that the model must give (an object where there is a schema, else a text).
    `parents` are the call keys of draft, critique and refinement, in that order.
    """

    id: str
    index: int
    spec: str
    task: str
    prompt: str
    system: str
    answer: Any
    schema: str | None = None
    expected: Mapping[str, Any] = field(default_factory=dict)
    category: str = ""
    difficulty: str = ""
    region_tags: Sequence[str] = ()
    refined: bool = False
    reasons: Sequence[str] = ()
    gate: Mapping[str, Any] = field(default_factory=dict)  # each gate's outcome
    parents: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)  # models, tokens, cost, attempts
    stamp: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class SplitRow(DatasetRow):
    """A finished row with its place. `group` is that of the rows whose prompts are near its own:
    they stand in one split, and are one piece of evidence where they are tested."""

    split: str = ""
    group: str = ""
