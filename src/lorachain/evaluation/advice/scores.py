"""Facts out of what a comparison measured: scores, failures, tasks, and each suite's test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lorachain.evaluation.comparison import Cell, Comparison, Difference, SuiteInfo, VersionInfo

_RATES = {
    "parse_rate": "parse",
    "strict_rate": "strict",
    "schema_valid_rate": "schema_valid",
    "strict_valid_rate": "strict_valid",
}
_NOT_JSON = ("cut", "no JSON", "unclosed")  # kinds of failures, as metrics.failure_kind names them


class Known(NamedTuple):
    """A fact that was measured, and where it is from."""

    value: Any
    source: str


def measured(facts: Mapping[str, Known]) -> dict[str, Known]:
    """Those that have a value."""
    return {name: known for name, known in facts.items() if known.value is not None}


def score_facts(
    comparison: Comparison, info: VersionInfo
) -> tuple[dict[str, Known], list[dict[str, Known]]]:
    """The facts of a version's own suite, and those of each of its tasks."""
    suite = _main_suite(comparison, info)
    if suite is None:
        return {}, []
    earlier = _earlier(comparison, info, suite)
    facts = _scores(comparison, info, suite, earlier) | _failures(comparison, info, suite)
    return measured(facts), list(_tasks(comparison, info, suite, earlier))


def _main_suite(comparison: Comparison, info: VersionInfo) -> SuiteInfo | None:
    """The suite of the version's own generation, or the first one."""
    own = [suite for suite in comparison.suites if suite.name == info.own_suite]
    return next(iter([*own, *comparison.suites]), None)


def by_name(comparison: Comparison, name: str | None) -> VersionInfo | None:
    """A version of the comparison; None where it is not in it."""
    return next((v for v in comparison.versions if v.name == name), None)


def _earlier(comparison: Comparison, info: VersionInfo, suite: SuiteInfo) -> str | None:
    """Whom the version is measured against: its parent, unless that is the base; else the version
    before it in the comparison (in the seeds each stood on the base); else the base."""
    names = [version.name for version in comparison.versions]
    bases = [version.name for version in comparison.versions if version.folder is None]
    before = names[: names.index(info.name)][-1:]
    candidates = [name for name in (info.parent, *before) if name not in bases]
    return next(
        (n for n in (*candidates, *bases) if n and difference(comparison, n, info.name, suite)),
        None,
    )


def difference(
    comparison: Comparison,
    earlier: str | None,
    later: str,
    suite: SuiteInfo,
    task: str | None = None,
) -> Difference | None:
    """The headline's test of one pair on a suite or one of its tasks; None where there is none."""
    wanted = (earlier, later, suite.name, task, suite.headline)
    tests = (*comparison.differences, *comparison.forgetting)
    return next((d for d in tests if _key(d) == wanted and d.value is not None), None)


def _key(d: Difference) -> tuple[str | None, str, str, str | None, str]:
    return d.earlier, d.later, d.suite, d.task, d.metric


def _from_cell(cell: Cell) -> str:
    between = ""
    if cell.interval is not None:
        between = f", 95% from {cell.interval.low:.2f} to {cell.interval.high:.2f}"
    return f"{cell.metric} over {cell.scored} items of {cell.suite}{between}"


def from_difference(d: Difference) -> str:
    """Where a fact of this test is from."""
    return f"{d.later} against {d.earlier} on {d.n} items of {d.suite}: {d.verdict}"


def _scores(
    comparison: Comparison, info: VersionInfo, suite: SuiteInfo, earlier: str | None
) -> dict[str, Known]:
    facts = {"suite": Known(suite.name, f"the suite of {info.name}")}
    if suite.name != info.own_suite:
        facts["suite"] = Known(suite.name, "the first suite; the version has none of its own")
    headline = comparison.cell(info.name, suite.name)
    if headline is not None and headline.value is not None:
        source = _from_cell(headline)
        facts["score"] = Known(headline.value, source)
        facts["score_n"] = Known(headline.scored, source)
    if headline is not None and headline.n:
        facts["cut_share"] = Known(headline.cut / headline.n, f"{headline.n} items of {suite.name}")
    for name, metric in _RATES.items():
        cell = comparison.cell(info.name, suite.name, metric)
        if cell is not None:
            facts[name] = Known(cell.value, _from_cell(cell))
    lenient, strict = facts.get("schema_valid_rate"), facts.get("strict_valid_rate")
    if lenient and strict and None not in (lenient.value, strict.value):
        facts["strict_gap"] = Known(lenient.value - strict.value, lenient.source)
    change = difference(comparison, earlier, info.name, suite)
    if change is not None:
        source = from_difference(change)
        facts["earlier"] = Known(change.earlier, "the comparison")
        facts["score_change"] = Known(change.value, source)
        facts["score_verdict"] = Known(change.verdict, source)
        facts["items_needed"] = Known(change.items_needed, source)
    return facts


def _failures(comparison: Comparison, info: VersionInfo, suite: SuiteInfo) -> dict[str, Known]:
    counts = comparison.failures.get(info.name, {}).get(suite.name)
    headline = comparison.cell(info.name, suite.name)
    if counts is None or headline is None or not headline.scored:
        return {}
    total = sum(counts.values())
    source = f"{total} failures in {headline.scored} items of {suite.name}"
    unread = sum(counts.get(kind, 0) for kind in _NOT_JSON)
    return {
        "failures": Known(total, source),
        "json_rate": Known(1 - unread / headline.scored, source),
        "root_array_share": Known(_share(counts, "root array", total), source),
        "missing_fields_share": Known(_share(counts, "required", total), source),
    }


def _share(counts: Mapping[str, int], kind: str, total: int) -> float:
    return counts.get(kind, 0) / total if total else 0.0


def _tasks(
    comparison: Comparison, info: VersionInfo, suite: SuiteInfo, earlier: str | None
) -> Iterable[dict[str, Known]]:
    rows = info.facts.get("rows_by_task")
    for task in suite.tasks:
        facts = {"task": Known(task, f"the items of {suite.name}")}
        cell = comparison.cell(info.name, suite.name, task=task)
        if cell is not None:
            facts["task_score"] = Known(cell.value, _from_cell(cell))
            facts["task_n"] = Known(cell.scored, f"{suite.name}")
        change = difference(comparison, earlier, info.name, suite, task)
        if change is not None:
            facts["task_change"] = Known(change.value, from_difference(change))
        if rows is not None:  # a task that none of them names has no rows
            facts["task_rows"] = Known(rows.get(task, 0), f"training rows of {info.name}")
        yield measured(facts)


def tested_suites(comparison: Comparison, info: VersionInfo) -> Iterable[dict[str, Known]]:
    """The test on each suite that the version was scored on, against the version before it."""
    for suite in comparison.suites:
        cell = comparison.cell(info.name, suite.name)
        change = difference(comparison, _earlier(comparison, info, suite), info.name, suite)
        if change is None and (cell is None or cell.value is None):
            continue
        facts = {"tested_suite": Known(suite.name, "the comparison")}
        if change is not None:
            source = from_difference(change)
            facts["tested_earlier"] = Known(change.earlier, "the comparison")
            facts["tested_verdict"] = Known(change.verdict, source)
            facts["tested_n"] = Known(change.n, source)
            facts["tested_items_needed"] = Known(change.items_needed, source)
        yield measured(facts)
