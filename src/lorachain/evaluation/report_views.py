"""From a Comparison to what each part of the report shows, in the order in which it shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lorachain.evaluation.comparison import (
    Cell,
    Comparison,
    Difference,
    Overall,
    SuiteInfo,
    VersionInfo,
)
from lorachain.evaluation.report_text import percent
from lorachain.evaluation.score import LENIENT
from lorachain.pages.page import HEAT_LEVELS

MAX_COLOURS = 6  # kinds of failure with a colour of their own


@dataclass(frozen=True)
class SuiteLine:
    """A suite's part of a pair's verdict. `before` and `after` are over all its items."""

    suite: str
    before: float | None
    after: float | None
    difference: Difference


@dataclass(frozen=True)
class PairView:
    """A pair of versions with its suites."""

    overall: Overall
    suites: Sequence[SuiteLine]


def pair_views(comparison: Comparison) -> list[PairView]:
    """Pairs, the newest version's first: whoever opens the page asks about that one."""
    order = {version.name: i for i, version in enumerate(comparison.versions)}
    ranked = sorted(enumerate(comparison.overall), key=lambda e: (-order.get(e[1].later, 0), e[0]))
    return [PairView(pair, _suite_lines(comparison, pair)) for _, pair in ranked]


def _suite_lines(comparison: Comparison, pair: Overall) -> list[SuiteLine]:
    lines = []
    for suite in comparison.suites:
        found = headline_difference(comparison, pair, suite)
        if found is not None:
            cells = (comparison.cell(name, suite.name) for name in (pair.earlier, pair.later))
            before, after = (None if cell is None else cell.value for cell in cells)
            lines.append(SuiteLine(suite.name, before, after, found))
    return lines


def headline_difference(
    comparison: Comparison, pair: Overall, suite: SuiteInfo
) -> Difference | None:
    """The difference that a suite's verdict on a pair stands on."""
    key = (pair.earlier, pair.later, suite.name, None, suite.headline)
    for d in comparison.differences:
        if (d.earlier, d.later, d.suite, d.task, d.metric) == key:
            return d
    return None


@dataclass(frozen=True)
class CellView:
    """One cell of a heat map. `level` is its colour, from 0 to HEAT_LEVELS; None: no value."""

    cell: Cell | None
    level: int | None
    own: bool

    @property
    def value(self) -> str:
        """In percent."""
        return percent(None if self.cell is None else self.cell.value)


@dataclass(frozen=True)
class MatrixRow:
    """One suite, or one task of it, over the versions."""

    name: str
    suite: SuiteInfo
    cells: Sequence[CellView]


class Matrices:
    """The heat maps of a comparison: suites down, versions across."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self._cells = {(c.version, c.suite, c.task, c.metric): c for c in comparison.cells}

    def headline(self) -> list[MatrixRow]:
        """Every suite by its own headline."""
        return [self._row(suite, suite.name, suite.headline) for suite in self.comparison.suites]

    def metric(self, name: str) -> list[MatrixRow]:
        """The suites that know this metric."""
        return [self._row(s, s.name, name) for s in self.comparison.suites if name in s.metrics]

    def tasks(self, suite: SuiteInfo) -> list[MatrixRow]:
        """A suite's tasks by its headline; none where there is only one."""
        if len(suite.tasks) < 2:
            return []
        return [self._row(suite, task, suite.headline, task) for task in suite.tasks]

    def pairs(self) -> list[tuple[str, str]]:
        """The (strict, lenient) metrics that something was scored by."""
        known = {metric for s in self.comparison.suites for metric in s.metrics}
        return [pair for pair in LENIENT.items() if known.issuperset(pair)]

    def others(self) -> list[str]:
        """The metrics that no other heat map shows."""
        shown = {metric for pair in self.pairs() for metric in pair}
        headlines = {suite.headline for suite in self.comparison.suites}
        if len(headlines) == 1:
            shown |= headlines
        return list(
            dict.fromkeys(m for s in self.comparison.suites for m in s.metrics if m not in shown)
        )

    def _row(self, suite: SuiteInfo, name: str, metric: str, task: str | None = None) -> MatrixRow:
        cells = []
        for version in self.comparison.versions:
            cell = self._cells.get((version.name, suite.name, task, metric))
            value = None if cell is None else cell.value
            level = None if value is None else round(value * HEAT_LEVELS)
            cells.append(CellView(cell, level, version.own_suite == suite.name))
        return MatrixRow(name, suite, cells)


@dataclass(frozen=True)
class Change:
    """What became of a suite at one version, `since` the one that was trained for it. `test` is
    None where that pair was not tested."""

    version: str
    suite: str
    value: float
    since: str | None
    test: Difference | None


@dataclass(frozen=True)
class Transfer:
    """Backward transfer, without the versions and suites that have none: (suite, changes)."""

    versions: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Change | None]]]


def transfer(comparison: Comparison) -> Transfer:
    """What became of each suite since the version that was trained for it."""
    changes = {
        (info.name, suite.name): _change(comparison, info, suite, value)
        for info in comparison.versions
        for suite in comparison.suites
        if (value := comparison.backward_transfer.get(info.name, {}).get(suite.name)) is not None
    }
    names = [v.name for v in comparison.versions if any(v.name == name for name, _ in changes)]
    asked = [s.name for s in comparison.suites if any(s.name == suite for _, suite in changes)]
    return Transfer(
        names, [(suite, [changes.get((name, suite)) for name in names]) for suite in asked]
    )


def forgotten(comparison: Comparison) -> list[Change]:
    """What a version lost on the suite of one under it, the newest version's first, and of each
    what is worse by its test before what may be chance."""
    found = [change for _, row in transfer(comparison).rows for change in row if change]
    places = {version.name: -i for i, version in enumerate(comparison.versions)}
    lost = [change for change in found if change.value < 0]
    return sorted(lost, key=lambda c: (places[c.version], not is_worse(c), c.value))


def is_worse(change: Change) -> bool:
    """Whether a test says that it is more than chance."""
    return change.test is not None and change.test.verdict == "worse"


def _change(comparison: Comparison, info: VersionInfo, suite: SuiteInfo, value: float) -> Change:
    """A change with the test of the two versions by the suite's headline."""
    versions = {version.name: version for version in comparison.versions}
    since = versions.get(info.stands_on or "")
    while since is not None and since.own_suite != suite.name:
        since = versions.get(since.stands_on or "")
    owner = None if since is None else since.name
    key = owner, info.name, suite.name, None, suite.headline
    tests = (*comparison.differences, *comparison.forgetting)
    test = next((d for d in tests if (d.earlier, d.later, d.suite, d.task, d.metric) == key), None)
    return Change(info.name, suite.name, value, owner, test)


@dataclass(frozen=True)
class Failures:
    """Failures by kind, the commonest first, and the kinds that have a colour of their own.

    `by_suite` has a table for each suite: (kind, count for each version).
    """

    kinds: Sequence[str]
    coloured: Sequence[str]
    by_version: Mapping[str, Mapping[str, int]]
    by_suite: Mapping[str, Sequence[tuple[str, Sequence[int]]]]


def failures(comparison: Comparison) -> Failures:
    """Over all suites together, and suite by suite."""
    names = [version.name for version in comparison.versions]
    known = {name: comparison.failures.get(name, {}) for name in names}
    totals = {name: Counter[str]() for name in names}
    for name in names:
        for counts in known[name].values():
            totals[name].update(counts)
    together = sum(totals.values(), Counter[str]())
    kinds = sorted(together, key=lambda kind: (-together[kind], kind))
    by_suite = {}
    for suite in comparison.suites:
        table = [(k, [known[n].get(suite.name, {}).get(k, 0) for n in names]) for k in kinds]
        if rows := [(kind, counts) for kind, counts in table if any(counts)]:
            by_suite[suite.name] = rows
    return Failures(kinds, kinds[:MAX_COLOURS], totals, by_suite)


def settings_table(comparison: Comparison) -> list[tuple[str, list[str], bool]]:
    """(setting, its value for each version, whether they differ); what differs comes first.

    What names the version itself is left out: it differs in every comparison.
    """
    flat = [_flat(version.settings) for version in comparison.versions]
    rows = []
    for key in dict.fromkeys(key for found in flat for key in found):
        values = [found.get(key, "–") for found in flat]
        if key not in ("model", "fingerprint"):
            rows.append((key, values, len(set(values)) > 1))
    return sorted(rows, key=lambda row: not row[2])


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = str(value)
    return found
