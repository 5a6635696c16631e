"""What a later version forgot: items that it broke, and the change on earlier versions' suites."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from lorachain.evaluation.comparison import Broken
from lorachain.evaluation.lines import Lines
from lorachain.evaluation.metrics import passed
from lorachain.evaluation.score import task_of
from lorachain.evaluation.version_facts import validation_tasks
from lorachain.suites import Item, Suite

Values = Mapping[str, Sequence[float | None]]
"""{version: the headline of each item, in the suite's order}."""


def broken_items(suite: Suite, values: Values, lines: Lines) -> Iterator[Broken]:
    """The items of a suite that a version failed although the line that it stands on passed them.

    A version is held against the nearest version under it that has a score on the item, so a
    sibling breaks nothing of its sibling's, and each break is named once, at the version where it
    happened. `until` is the first version above that passes the item again.
    """
    for i, item in enumerate(suite.items):
        marks = {name: passed(values[name][i]) for name in lines.order}
        for name in lines.order:
            if marks[name] is not False:
                continue
            before = next((n for n in lines.ancestors(name) if marks[n] is not None), None)
            if before is not None and marks[before]:
                until = next((n for n in lines.descendants(name) if marks[n]), None)
                yield Broken(suite.name, str(item.id), task_of(item), before, name, until)


def own_suites(suites: Sequence[Suite], lines: Lines) -> dict[str, str | None]:
    """{version: the suite of its generation}, as far as anything tells.

    A version's suite is the one whose tasks are those of its validation rows, where these are
    still there, unchanged, and name tasks. Otherwise, and between several of them, it is the one
    whose name holds `generationN` for the Nth version of a chain. The base has none.
    """
    return {name: _own_suite(name, suites, lines) for name in lines.order}


def _own_suite(name: str, suites: Sequence[Suite], lines: Lines) -> str | None:
    if name == lines.base:
        return None
    tasks = validation_tasks(lines.lineages[name])
    same = [suite for suite in suites if tasks and _tasks(suite.items) == tasks]
    number = lines.generation(name)
    numbered = [
        suite
        for suite in same or suites
        if (found := re.search(r"generation[_ -]?0*(\d+)", suite.name.lower()))
        and int(found[1]) == number
    ]
    return next((suite.name for suite in [*numbered, *same]), None)


def _tasks(items: Sequence[Item]) -> set[str | None]:
    return {item.task for item in items}


def backward_transfer(
    suites: Mapping[str, Values], own: Mapping[str, str | None], lines: Lines
) -> dict[str, dict[str, float | None]]:
    """{version: {suite: the headline's change since the version whose suite it is}}.

    Over the items that both have a score on; below 0 it was forgotten (Lopez-Paz & Ranzato 2017,
    arXiv 1706.08840, whose BWT is the mean of these for the last version). None for a suite that
    is of no version under this one.
    """
    return {
        name: {
            suite: _transfer(name, suite, values, own, lines) for suite, values in suites.items()
        }
        for name in lines.order
    }


def owner_of(suite: str, name: str, own: Mapping[str, str | None], lines: Lines) -> str | None:
    """The nearest version under this one whose suite it is; None where it is none's."""
    return next((other for other in lines.ancestors(name) if own[other] == suite), None)


def _transfer(
    name: str, suite: str, values: Values, own: Mapping[str, str | None], lines: Lines
) -> float | None:
    owner = owner_of(suite, name, own, lines)
    if owner is None:
        return None
    pairs = zip(values[owner], values[name], strict=True)
    changes = [now - then for then, now in pairs if then is not None and now is not None]
    return round(math.fsum(changes) / len(changes), 12) if changes else None
