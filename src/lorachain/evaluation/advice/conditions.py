"""The conditions of rules: facts compared with values, judged as yes, no or unknown.

    steps < 50                              a number; also <=, >, >=, ==
    score_change between -0.02 and 0.02     both ends count
    training.lr_scheduler_type == cosine    a text
    best_step > warmup_steps                another fact
    task in extraction_tasks                one of a list: of texts with commas, or a threshold

They are joined by `all:`, `any:` and `not:`; a list is `all:`. On the right of an operator may
stand a name from the file's `thresholds:`. Nothing here is run as Python.

A fact that is not known makes its comparison unknown, and the rest follows Kleene: `all` is no as
soon as one is no, `any` is yes as soon as one is yes, and everything else that holds an unknown is
unknown. So missing evidence never makes a rule hold.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
OPERATORS = (*_ORDER, "==", "between", "in")


@dataclass(frozen=True)
class Named:
    """Another fact, on the right of an operator."""

    name: str


@dataclass(frozen=True)
class Compare:
    """One comparison. `right` holds one operand, two for `between`, any number for `in`."""

    name: str
    operator: str
    right: tuple[Any, ...]

    def __str__(self) -> str:
        words = [r.name if isinstance(r, Named) else text_of(r) for r in self.right]
        joint = " and " if self.operator == "between" else ", "
        return f"{self.operator} {joint.join(words)}"


@dataclass(frozen=True)
class Joined:
    """Conditions joined by all, any, or not (which has one)."""

    by: Literal["all", "any", "not"]
    parts: tuple[Condition, ...]


Condition = Compare | Joined


def text_of(value: Any) -> str:
    """A value as sentences show it: four digits of a number, yes or no, a text as it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def judge(condition: Condition, known: Mapping[str, Any]) -> bool | None:
    """Whether a condition holds for these facts ({name: value}); None where that is unknown."""
    if isinstance(condition, Compare):
        return _compare(condition, known)
    found = [judge(part, known) for part in condition.parts]
    if condition.by == "not":
        return None if found[0] is None else not found[0]
    settles = condition.by == "any"
    if settles in found:
        return settles
    return None if None in found else not settles


def comparisons(condition: Condition, wanted: bool = True) -> Iterator[tuple[Compare, bool]]:
    """Every comparison in its order, and whether the condition wants it to be so."""
    if isinstance(condition, Compare):
        yield condition, wanted
    else:
        for part in condition.parts:
            yield from comparisons(part, wanted != (condition.by == "not"))


def undecided(condition: Condition, known: Mapping[str, Any]) -> list[str]:
    """The facts for want of which a condition is unknown, each once."""
    if judge(condition, known) is not None:
        return []
    if isinstance(condition, Compare):
        return [name for name in asked(condition) if known.get(name) is None]
    return list(dict.fromkeys(n for part in condition.parts for n in undecided(part, known)))


def decisive(condition: Condition, known: Mapping[str, Any]) -> Condition:
    """The part of an `all` by which it does not hold; the condition itself where it is no `all`."""
    if isinstance(condition, Joined) and condition.by == "all":
        parts = [part for part in condition.parts if judge(part, known) is False]
        return decisive(parts[0], known) if parts else condition
    return condition


def asked(condition: Condition) -> list[str]:
    """The facts that a condition asks for, each once."""
    names = [
        name
        for c, _ in comparisons(condition)
        for name in (c.name, *(r.name for r in c.right if isinstance(r, Named)))
    ]
    return list(dict.fromkeys(names))


def _compare(test: Compare, known: Mapping[str, Any]) -> bool | None:
    left = known.get(test.name)
    right = [known.get(r.name) if isinstance(r, Named) else r for r in test.right]
    if left is None or None in right:
        return None
    if test.operator == "between":
        return bool(right[0] <= left <= right[1])
    if test.operator in ("==", "in"):
        return left in right
    return _ORDER[test.operator](left, right[0])
