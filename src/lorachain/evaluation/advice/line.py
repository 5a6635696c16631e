"""Facts of a version's line, the versions that it stands on: their suites and their steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lorachain.evaluation.advice.scores import (
    Known,
    by_name,
    difference,
    from_difference,
    measured,
)
from lorachain.evaluation.comparison import Comparison, Difference, SuiteInfo, VersionInfo


def line_steps(comparison: Comparison, info: VersionInfo) -> dict[str, Known]:
    """The steps of the whole line down to the base; nothing where one version's are unknown."""
    line = [v for v in (info, *_ancestors(comparison, info)) if v.folder is not None]
    if not line:
        return {}
    root = by_name(comparison, line[-1].parent)
    on_base = line[-1].parent is None or (root is not None and root.folder is None)
    steps = [v.facts.get("steps") for v in line]
    if not on_base or None in steps:
        return {}
    names = ", ".join(v.name for v in reversed(line))
    return {"line_steps": Known(sum(map(int, filter(None, steps))), f"training records of {names}")}


def suites_worse(
    tested: Sequence[Mapping[str, Known]], old: Sequence[Mapping[str, Known]]
) -> dict[str, Known]:
    """On how many suites a test says worse: against the version before, or against the version
    that the suite is from. Nothing where no test was made."""
    verdicts = [
        (f["tested_suite"].value, f["tested_verdict"]) for f in tested if "tested_verdict" in f
    ]
    verdicts += [(f["old_suite"].value, f["old_verdict"]) for f in old if "old_verdict" in f]
    if not verdicts:
        return {}
    worse = [(name, known) for name, known in verdicts if known.value == "worse"]
    source = "; ".join(dict.fromkeys(known.source for _, known in worse or verdicts))
    return {"suites_worse": Known(len({name for name, _ in worse}), source)}


def old_suites(comparison: Comparison, info: VersionInfo) -> Iterable[dict[str, Known]]:
    """The facts of each suite of an older version that this one stands on, the newest first."""
    line = [info, *_ancestors(comparison, info)]
    seen = {info.own_suite}
    for place, older in enumerate(line[1:], start=1):
        suite = next((s for s in comparison.suites if s.name == older.own_suite), None)
        if suite is None or suite.name in seen:
            continue
        seen.add(suite.name)
        change = comparison.backward_transfer.get(info.name, {}).get(suite.name)
        facts = {
            "old_suite": Known(suite.name, "the comparison"),
            "old_version": Known(older.name, f"{suite.name} is its own suite"),
            "backward_transfer": Known(change, f"{suite.headline} on {suite.name}"),
        }
        found = _test_of_forgetting(comparison, [v.name for v in line[: place + 1]], suite)
        if found is not None:
            source = from_difference(found)
            facts["old_verdict"] = Known(found.verdict, source)
            facts["old_n"] = Known(found.n, source)
            facts["old_items_needed"] = Known(found.items_needed, source)
        yield measured(facts)


def _test_of_forgetting(
    comparison: Comparison, line: Sequence[str], suite: SuiteInfo
) -> Difference | None:
    """The test of the first of a line of versions against the last, whose suite it is.

    Where that pair was not compared, the step of the line that is worse on the suite: what was
    lost on the way counts. Else the newest step.
    """
    direct = difference(comparison, line[-1], line[0], suite)
    if direct is not None:
        return direct
    steps = [
        difference(comparison, earlier, later, suite)
        for i, later in enumerate(line)
        for earlier in line[i + 1 :]
    ]
    found = [step for step in steps if step is not None]
    return next(iter([*(d for d in found if d.verdict == "worse"), *found]), None)


def _ancestors(comparison: Comparison, info: VersionInfo) -> Iterable[VersionInfo]:
    """The versions of the comparison that it stands on, the nearest first."""
    seen = {info.name}
    current = by_name(comparison, info.parent)
    while current is not None and current.name not in seen:
        seen.add(current.name)
        yield current
        current = by_name(comparison, current.parent)
