"""What a model answered: text turned into a value, and checked against a schema.

This is the one place where answers are parsed, for rewards, evaluation and data alike:

    schema = load_schema("configs/schemas/envelope.schema.json")
    checked = check_answer(text, schema)
    checked.strict_valid     # the headline: a plain JSON parser and the schema both accept it
    checked.lenient_valid    # beside it: what a forgiving reader could still use
    checked.problems         # why not, each with its path

Tiers, from sure to guessed; the first that reads the answer names it:

    strict   json.loads of the whole answer, by RFC 8259 and no more
    scan     a root object or array with prose, fences, thoughts or raw line ends around or in it
    numbers  the same, after numbers such as `4,5` or `1.234,56` in object values were rewritten
    repair   json_repair on one root, if nothing better reads (single quotes, missing brackets, ...)
    none     nothing was found

Deviations from what `json.loads` does, and why:

1. A key given twice is not strict (I-JSON, RFC 7493, 2.3). Below strict, the last one counts, as
   everywhere in Python, and the reading by the first one is kept as a candidate.
2. NaN, Infinity and numbers that no double holds (`1e999`, 400 digits) are not strict; below they
   read as null, because a NaN would pass every `minimum` and `maximum`.
3. An answer nested deeper than MAX_DEPTH is not read (RFC 8259, 9, allows a limit), so that it is
   the same on every machine and never ends in a RecursionError.

Only a root counts: an object inside an array, or inside an object that is cut off, is never taken
out of it. Objects go before arrays, and the first before a later one: a model that goes on after
its answer has not taken it back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from lorachain.jsonload import MAX_DEPTH, decode, repair
from lorachain.jsontext import Root, Roots, find_roots, variants
from lorachain.schemas import (
    Schema,
    SchemaProblem,
    compile_schema,
    load_schema,
    validate,
)

__all__ = [
    "EXTRACTOR",
    "Answer",
    "Checked",
    "RootType",
    "Schema",
    "SchemaProblem",
    "Tier",
    "check_answer",
    "compile_schema",
    "load_schema",
    "parse_answer",
    "validate",
]

Tier = Literal["strict", "scan", "numbers", "repair", "none"]
RootType = Literal["object", "array", "string", "number", "boolean", "null", "none"]

EXTRACTOR = 1
"""Raised when a change of this file, jsontext or jsonload can change what any text reads as."""

MAX_CHARS = 200_000
"""Characters that the tiers below strict look at; an answer cut here counts as truncated."""

MAX_REPAIR_CHARS = 16_384
"""Characters of one answer that json_repair is given, all roots and readings together."""

_FENCE = re.compile(r"```\w*\s*(.*?)\s*```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answer:
    """The reading of one text.

    `root_type` is the JSON type of `value` ("none" if there is none), so a list where an object
    was asked for shows. `truncated` says that the value, or the text if there is no value, ends
    inside its root: what is there was closed by guess and must not score for being there.
    `candidates` are all distinct readings, likeliest first, before the schema had its say;
    `ambiguous` says that more than one stands after it.
    """

    value: Any
    tier: Tier
    root_type: RootType
    truncated: bool = False
    ambiguous: bool = False
    candidates: tuple[Any, ...] = ()

    @property
    def strict(self) -> bool:
        """Whether the whole answer is JSON: what any program could read."""
        return self.tier == "strict"

    @property
    def lenient(self) -> bool:
        """Whether some tier found a root object that was not cut off."""
        return self.root_type == "object" and not self.truncated


@dataclass(frozen=True, slots=True)
class Checked:
    """An answer with every problem that its value has with a schema."""

    answer: Answer
    problems: tuple[SchemaProblem, ...]

    @property
    def strict_valid(self) -> bool:
        """The headline: strict JSON that the schema accepts."""
        return self.answer.strict and not self.problems

    @property
    def lenient_valid(self) -> bool:
        """A whole root object, read by any tier, that the schema accepts."""
        return self.answer.lenient and not self.problems


class _Reading(NamedTuple):
    value: Any
    tier: Tier
    truncated: bool


def check_answer(text: str | None, schema: Schema | Mapping[str, Any]) -> Checked:
    """Parse an answer and list every problem with the schema; an answer without a value has one.

    Raises UserError for a bad schema, and nothing for any text.
    """
    schema = compile_schema(schema)
    answer = parse_answer(text, schema)
    if answer.tier == "none":
        return Checked(answer, (SchemaProblem("$", "parse", "no JSON value was found"),))
    return Checked(answer, tuple(schema.problems(answer.value)))


def parse_answer(text: str | None, schema: Schema | Mapping[str, Any] | None = None) -> Answer:
    """Turn a model's text into a value, by the strictest tier that reads it.

    The schema only chooses between readings (`1,000` is 1000 where an integer is asked for, and
    the one valid object of two is the answer); it changes no value and a strict answer ignores it.
    Linear in the text's length. Raises UserError for a bad schema, and nothing for any text.
    """
    compiled = None if schema is None else compile_schema(schema)
    if not isinstance(text, str):
        return Answer(None, "none", "none")
    for value in decode(text, strict=True):
        return Answer(value, "strict", _root_type(value), candidates=(value,))
    roots = find_roots(text[:MAX_CHARS])
    cut = roots.open_thought or any(not root.closed for root in roots.found)
    readings, unread = _sure_readings(roots, text)
    accepted = _accepted(readings, compiled)
    doubt = roots.orphans > 0
    if not (accepted if compiled else any(_rank(reading) < 2 for reading in readings)):
        readings += _repairs(unread)
        accepted = _accepted(readings, compiled)
    else:
        doubt = doubt or any(root.is_object and root.has_keys for root in unread)
    if not readings:
        return Answer(None, "none", "none", truncated=cut)
    return _choose(readings, accepted, doubt)


def _choose(readings: list[_Reading], accepted: list[_Reading], doubt: bool) -> Answer:
    """The best reading: one that the schema accepts, else objects first, sure ones first."""
    distinct = _distinct(sorted(readings, key=_rank))
    accepted = _distinct(sorted(accepted, key=_rank))
    best = (accepted or distinct)[0]
    rivals = accepted or [r for r in distinct if _shape(r.value) == _shape(best.value)]
    return Answer(
        value=best.value,
        tier=best.tier,
        root_type=_root_type(best.value),
        truncated=best.truncated,
        ambiguous=len(rivals) > 1 or (doubt and len(accepted) != 1),
        candidates=tuple(reading.value for reading in distinct),
    )


def _sure_readings(roots: Roots, text: str) -> tuple[list[_Reading], list[Root]]:
    """What the tiers scan and numbers read, and the roots that they do not."""
    readings: list[_Reading] = []
    unread: list[Root] = []
    if not roots.found:
        body = text[roots.start : MAX_CHARS].strip()
        fence = _FENCE.fullmatch(body)
        # Only a lone scalar is left to find here, in a fence or after a thought.
        values = list(decode(fence[1] if fence else body, strict=True))
        return [_Reading(value, "scan", False) for value in values], []
    for root in roots.found:
        new: list[_Reading] = []
        if root.closed:
            new = [_Reading(value, "scan", False) for value in decode(root.text)]
            if not new and any(edit.kind == "number" for edit in root.edits):
                new = [
                    _Reading(value, "numbers", False)
                    for rewritten in variants(root)
                    for value in decode(rewritten)
                ]
        readings += new
        if not new and root.depth <= MAX_DEPTH:
            unread.append(root)
    return readings, unread


def _accepted(readings: list[_Reading], schema: Schema | None) -> list[_Reading]:
    """The readings that the schema takes, where need be without taking 1.0 for an integer.

    Else `1,000` against an integer would be settled by nothing: 1000 and 1.0 are both valid.
    """
    if schema is None:
        return []
    exact = [r for r in readings if schema.accepts(r.value, exact_integers=r.tier != "scan")]
    return exact or [r for r in readings if schema.accepts(r.value)]


def _shape(value: Any) -> int:
    """0 for an object, 1 for an array that holds one, 2 for the rest: footnotes, intervals, {}."""
    if isinstance(value, dict) and value:
        return 0
    return 1 if isinstance(value, list) and any(isinstance(item, dict) for item in value) else 2


def _rank(reading: _Reading) -> int:
    """Which reading goes first; sorting keeps the order of the text within a rank.

    A guessed object yields to a list of objects that is there for sure, not to a footnote `[1]`.
    """
    shape = _shape(reading.value)
    if shape == 2:
        return 3
    return 2 if reading.tier == "repair" else shape


def _distinct(readings: list[_Reading]) -> list[_Reading]:
    return list({json.dumps(r.value, sort_keys=True): r for r in reversed(readings)}.values())[::-1]


def _root_type(value: Any) -> RootType:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    return "object" if isinstance(value, dict) else "array"


def _repairs(roots: list[Root]) -> list[_Reading]:
    """What json_repair makes of each root, as long as it makes what the root's bracket says."""
    readings: list[_Reading] = []
    room = MAX_REPAIR_CHARS
    for root in roots:
        for text in variants(root, nulls=True):
            room -= len(text)
            if room < 0:
                return readings
            value = repair(text)
            wanted = dict if root.is_object else list
            # json_repair makes `{"a" 1}` an object, and `[` a list; nobody said so.
            if isinstance(value, wanted) and value and (root.has_keys or not root.is_object):
                readings.append(_Reading(value, "repair", not root.closed))
    return readings
