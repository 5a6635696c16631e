"""How many more items would tell, where a rule's `enough` says that there were too few."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lorachain.evaluation.advice.conditions import Compare, Condition, Named, comparisons
from lorachain.evaluation.advice.facts import fact

# A verdict: the facts that hold its suite, the items it had, and those that it would take.
_VERDICTS = {
    "score_verdict": ("suite", "score_n", "items_needed"),
    "old_verdict": ("old_suite", "old_n", "old_items_needed"),
    "tested_verdict": ("tested_suite", "tested_n", "tested_items_needed"),
}
_SUITES = {"old_n": "old_suite", "tested_n": "tested_suite"}
_AGAIN = "add them to the suite, and run src/evaluation/compare_versions.py again"


def more_items(condition: Condition, known: Mapping[str, Any]) -> str | None:
    """What to add, in a sentence, where a condition does not hold for want of items; None where
    it does not hold for another reason."""
    for test, _ in comparisons(condition):
        if test.name in _VERDICTS and known.get(test.name) == "cannot tell":
            suite, had, needed = (known.get(name) for name in _VERDICTS[test.name])
            return _sentence(suite, needed - had if needed and had else None)
        found = fact(test.name)
        if found is not None and found.unit == "items" and test.operator in (">", ">="):
            suite = known.get("task") if test.name == "task_n" else None
            suite = suite or known.get(_SUITES.get(test.name, "suite"))
            return _sentence(suite, _short_of(test, known))
    return None


def _short_of(test: Compare, known: Mapping[str, Any]) -> int | None:
    right, had = test.right[0], known.get(test.name)
    wanted = known.get(right.name) if isinstance(right, Named) else right
    if wanted is None or had is None:
        return None
    short = float(wanted - had)
    return math.floor(short) + 1 if test.operator == ">" else math.ceil(short)


def _sentence(of: str | None, count: int | None) -> str:
    whose = f" of {of}" if of else ""
    if count is None or count <= 0:  # no change was seen, or chance hid one that should have shown
        return f"More items{whose} are needed to tell: {_AGAIN}."
    are = "item{} is" if count == 1 else "items{} are"
    return f"About {count} more {are.format(whose)} needed to tell: {_AGAIN}."
