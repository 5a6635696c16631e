"""Whether an answer is what a plan row asks for: read as rewards and evaluation read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from lorachain.answers import EXTRACTOR, Schema, check_answer, parse_answer
from lorachain.checks import check_holds
from lorachain.datagen.forms import named_schema
from lorachain.datagen.rows import PlanRow

_SURE = ("strict", "scan", "numbers")  # `repair` guesses, and a guess is not trained on


@dataclass(frozen=True)
class Judged:
    """An answer's value, how it was read, and everything that is wrong with it."""

    value: Any
    tier: str
    problems: Sequence[str]


@cache
def schema_of(name: str) -> tuple[Schema, dict[str, Any]]:
    """A plan row's schema, compiled and as one document. Raises UserError for an unknown one."""
    return named_schema(name)


def document_of(name: str | None) -> dict[str, Any] | None:
    """The schema as one document, None where there is none."""
    return None if name is None else schema_of(name)[1]


def fingerprint_of(name: str | None) -> str:
    """Of the schema and of the reader: a judgement under another one is stale."""
    return f"{EXTRACTOR}:{'' if name is None else schema_of(name)[0].fingerprint}"


def unreadable(text: str, schema: str | None) -> str:
    """Why a text cannot be used as an answer at all, "" where it can."""
    if schema is None:
        return ""
    answer = parse_answer(text, schema_of(schema)[0])
    return "" if answer.lenient else f"unreadable: no whole JSON object ({answer.tier})"


def judge(text: str, schema: str | None, expected: Mapping[str, Any]) -> Judged:
    """Read an answer and list its problems: form, schema, expected values."""
    if schema is None and not expected:
        return Judged(text.strip(), "none", () if text.strip() else ("the answer is empty",))
    problems: list[str] = []
    if schema is None:
        answer = parse_answer(text)
    else:
        checked = check_answer(text, schema_of(schema)[0])
        answer = checked.answer
        problems += [f"schema: {p.path}: {p.message}" for p in checked.problems]
    if not answer.lenient:
        problems.insert(0, f"form: no whole JSON object ({answer.tier})")
    elif answer.tier not in _SURE:
        problems.insert(0, "form: JSON that can only be guessed at")
    elif answer.ambiguous:
        problems.insert(0, "form: it can be read in more than one way")
    value = answer.value if answer.lenient else None
    problems += [
        f"expected: {path} is not {wanted!r}"
        for path, wanted in expected.items()
        if not check_holds(value, {"path": path, "value": wanted})
    ]
    return Judged(value, answer.tier, tuple(problems))


def judge_for(plan: PlanRow, text: str) -> Judged:
    """As `judge`, by a plan row."""
    return judge(text, plan.schema, plan.expected)
