"""A spec: what to have asked, how often, and what fills the questions. One YAML file.

    id: plants_v1
    count: 12                      # prompts of each task that names no number
    tasks:
      care: How do I look after a {{ plant }} {{ place }} with {{ problem }}?
    slots:
      plant: [monstera, cactus, orchid]
      place: [in a dark flat, on a balcony]
      problem: [yellow leaves, no flowers]

is a whole one. A task may have its own `count`, `prompts` (wordings), `templates` (files of the
folder `templates` beside the spec), `schema`, `expected`, `system` and `slots`. `categories`,
`difficulties` and `regions` are dealt out evenly, or by whole weights: {easy: 3, hard: 1}.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from lorachain.config import Natural, Positive, Section

AXES = {"category": "categories", "difficulty": "difficulties", "region": "regions"}
ID = re.compile(r"\w[\w.-]*")


class Slot(Section):
    """What may fill a name in a template, one way of four.

    values: [a, b]                     one of them (a plain list says the same)
    pick: 2, values: [a, b, c]         several different ones, in a list; [1, 3] is one to three
    range: [10, 500, 0.5]              a number from, to, in steps (of 1 where none is named)
    by: region, of: {asia: [a], ...}   one of those that another slot or an axis chooses
    """

    values: Annotated[list[Any], Field(min_length=1)] | None = None
    pick: Positive | Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = None
    range: Annotated[list[float], Field(min_length=2, max_length=3)] | None = None
    by: str | None = None
    of: dict[str, Annotated[list[Any], Field(min_length=1)]] | None = None

    @model_validator(mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return {"values": value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def _one_way(self) -> Slot:
        if [self.values, self.range, self.by].count(None) != 2 or (self.by is None) != (
            self.of is None
        ):
            raise ValueError("a slot is a list of values, or has `range`, or has `by` and `of`")
        if self.pick is not None and (self.values is None or max(self.picks) > len(self.values)):
            raise ValueError("`pick` takes as many of `values` as there are, or fewer")
        if self.range is not None and (self.range[0] > self.range[1] or self.step <= 0):
            raise ValueError("`range` is [from, to] or [from, to, step], upwards")
        return self

    @property
    def picks(self) -> tuple[int, int]:
        """The fewest and the most values that are picked."""
        pick = self.pick or 1
        low, high = (pick, pick) if isinstance(pick, int) else sorted(pick)
        return low, high

    @property
    def step(self) -> float:
        """The step of `range`."""
        return self.range[2] if self.range is not None and len(self.range) > 2 else 1.0

    def texts(self) -> list[str]:
        """The values that are texts, which may be templates themselves."""
        lists = [self.values or [], *(self.of or {}).values()]
        return [text for values in lists for value in values for text in _strings(value)]


Weights = dict[str, Natural]


class _Axes(Section):
    """`categories`, `difficulties` and `regions`, of a spec or of one task."""

    categories: Weights = Field(default_factory=dict)
    difficulties: Weights = Field(default_factory=dict)
    regions: Weights = Field(default_factory=dict)
    slots: dict[str, Slot] = Field(default_factory=dict)

    @field_validator(*AXES.values(), mode="before")
    @classmethod
    def _even(cls, value: Any) -> Any:
        return dict.fromkeys(map(str, value), 1) if isinstance(value, list) else value

    @field_validator(*AXES.values())
    @classmethod
    def _some(cls, value: Weights) -> Weights:
        if value and not any(value.values()):
            raise ValueError("every weight is 0")
        return value


class Task(_Axes):
    """One kind of question. `payload_type` is short for the envelope of that type."""

    count: Natural | None = None
    prompts: list[str] = Field(default_factory=list)
    templates: list[str] = Field(default_factory=list)
    system: str | None = None
    schema_name: str | None = Field(default=None, alias="schema")
    payload_type: str | None = None
    expected: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _prompt(cls, value: Any) -> Any:
        return {"prompts": [value]} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _asks(self) -> Task:
        if not self.prompts and not self.templates:
            raise ValueError("a task needs `prompts` or `templates`")
        return self


class Spec(_Axes):
    """A whole spec."""

    id: str
    seed: Natural = 42
    count: Positive = 20
    system: str = ""
    schema_name: str | None = Field(default=None, alias="schema")
    tasks: Annotated[dict[str, Task], Field(min_length=1)]

    @field_validator("id")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not ID.fullmatch(value):
            raise ValueError("letters, digits, `_`, `-` and `.` only: it begins every row's id")
        return value


def schema_of(spec: Spec, task: Task) -> str | None:
    """The schema of a task's answers: its own, the envelope of its payload type, or the spec's."""
    return task.schema_name or ("envelope" if task.payload_type else spec.schema_name)


def expected_of(task: Task) -> dict[str, Any]:
    """What makes an answer the kind that was asked for, by path."""
    kind = {"payload_type": task.payload_type} if task.payload_type else {}
    return kind | task.expected


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)
