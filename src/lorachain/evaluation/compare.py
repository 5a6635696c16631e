"""From an evaluation to a comparison: cells, tested differences, verdicts, what was forgotten.

comparison = compare(evaluation, created=datetime.now(UTC))
comparison.overall[-1].verdict    # better, worse, equivalent or cannot tell; .reason says why

A verdict stands on one metric per suite, its headline. Families of Holm's correction, each within
one pair of versions: all suites by their headlines; all tasks of all suites by the same; all other
metrics of all suites. So looking closer costs the headline nothing. Pairs are not corrected for
one another: each answers a question of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from lorachain.errors import UserError
from lorachain.evaluation import stats, verdicts
from lorachain.evaluation.cautions import cautions
from lorachain.evaluation.comparison import (
    Comparison,
    Difference,
    Overall,
    VersionInfo,
)
from lorachain.evaluation.evaluate import Evaluation, VersionResult
from lorachain.evaluation.forgetting import (
    backward_transfer,
    broken_items,
    own_suites,
    owner_of,
)
from lorachain.evaluation.lines import Lines, default_pairs, find_lines
from lorachain.evaluation.suite_table import SuiteTable, pooled
from lorachain.evaluation.version_facts import version_facts


def compare(
    evaluation: Evaluation,
    *,
    created: datetime,
    margin: float = 0.05,
    pairs: Sequence[tuple[str, str]] | None = None,
    headlines: Mapping[str, str] | None = None,
) -> Comparison:
    """Judge every suite and every pair of versions.

    `margin` is the share within which two versions count as equivalent. `pairs` are (earlier,
    later) names; without them each version is held against its parent, against the base, and
    against the one before it where the chain branches. `headlines` names the metric of a suite
    where it is not the usual one.

    Raises UserError for a margin that is no share, names that are given twice, pairs of unknown
    versions, and headlines that are no metric of their suite.
    """
    _check_names(evaluation, margin)
    by_name = {result.version.name: result for result in evaluation.versions}
    lines = find_lines([result.version for result in evaluation.versions])
    results = [by_name[name] for name in lines.order]
    tables = [
        SuiteTable(suite, results, (headlines or {}).get(suite.name)) for suite in evaluation.suites
    ]
    chosen = default_pairs(lines) if pairs is None else _checked_pairs(pairs, by_name)
    differences = [d for pair in chosen for d in _differences(pair, tables, margin)]
    cells = [cell for table in tables for cell in table.cells()]
    infos = [table.info for table in tables]
    own = own_suites(evaluation.suites, lines)
    values = {table.suite.name: table.headline_values for table in tables}
    return Comparison(
        created=created.isoformat(timespec="seconds"),
        base=evaluation.base.name,
        versions=[_version_info(result, lines, own) for result in results],
        suites=infos,
        cells=cells,
        differences=differences,
        overall=[_overall(pair, differences, tables, margin) for pair in chosen],
        broken=[b for t in tables for b in broken_items(t.suite, values[t.suite.name], lines)],
        backward_transfer=backward_transfer(values, own, lines),
        failures={
            result.version.name: {table.suite.name: table.failures(result) for table in tables}
            for result in results
        },
        margin=margin,
        scoring=dict(evaluation.scoring),
        forgetting=[
            d for name in lines.order for d in _forgetting(name, lines, own, tables, chosen, margin)
        ],
        notes=cautions(results, evaluation.suites, infos, cells, differences, lines),
    )


class _Part(NamedTuple):
    """What one test is about: a suite or a task of it, by one metric."""

    table: SuiteTable
    task: str | None
    places: Sequence[int]
    metric: str


def _differences(
    pair: tuple[str, str], tables: Sequence[SuiteTable], margin: float
) -> Iterator[Difference]:
    """Suites first, then tasks, then the other metrics, each with its family's correction."""
    suites = [_Part(t, None, range(len(t.suite.items)), t.headline) for t in tables]
    tasks = [_Part(t, task, where, t.headline) for t in tables for task, where in t.tasks.items()]
    others = [
        part._replace(metric=metric)
        for part in suites
        for metric in part.table.metrics
        if metric != part.metric
    ]
    for kind, parts in (("suites", suites), ("tasks", tasks), ("other metrics", others)):
        yield from _family(pair, kind, parts, margin)


def _forgetting(
    name: str,
    lines: Lines,
    own: Mapping[str, str | None],
    tables: Sequence[SuiteTable],
    chosen: Sequence[tuple[str, str]],
    margin: float,
) -> Iterator[Difference]:
    """A version against each older one that it stands on, on that one's own suite, where the pair
    is not compared anyway: small losses of several versions show together only so."""
    for table in tables:
        owner = owner_of(table.suite.name, name, own, lines)
        if owner is not None and (owner, name) not in chosen and own[name] != table.suite.name:
            part = _Part(table, None, range(len(table.suite.items)), table.headline)
            yield from _family((owner, name), "its own suite", [part], margin)


def _family(
    pair: tuple[str, str], kind: str, parts: Sequence[_Part], margin: float
) -> Iterator[Difference]:
    found = [(part, part.table.paired(*pair, part.places, part.metric)) for part in parts]
    p_values = [paired.p for _, paired in found]
    tested, adjusted = sum(p is not None for p in p_values), _holm(p_values)
    for i, ((part, paired), p_holm) in enumerate(zip(found, adjusted, strict=True)):
        cut, whole = part.table.cut(*pair, part.places, part.metric)
        verdict, reason = verdicts.judge(paired, p_holm, tested, margin, cut)
        if cut.many and verdict in ("better", "worse"):
            uncut = part.table.paired(*pair, whole, part.metric)
            again = _holm([*p_values[:i], uncut.p, *p_values[i + 1 :]])[i]
            other, _ = verdicts.judge(uncut, again, tested, margin)
            reason += f"; without the cut answers: {other}" if other != verdict else ""
        yield Difference(
            earlier=pair[0],
            later=pair[1],
            suite=part.table.suite.name,
            task=part.task,
            metric=part.metric,
            n=paired.n,
            clusters=paired.clusters,
            wins=paired.wins,
            losses=paired.losses,
            ties=paired.ties,
            value=paired.value,
            interval=paired.interval,
            test=paired.test,
            p=paired.p,
            p_holm=p_holm,
            family=f"{kind}, {pair[0]} to {pair[1]}",
            smallest_visible=paired.smallest_visible,
            items_needed=paired.items_needed,
            verdict=verdict,
            reason=reason,
            narrow=paired.narrow,
        )


def _holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm over those that there are; what was not tested costs the others nothing."""
    adjusted = iter(stats.holm([p for p in p_values if p is not None]))
    return [None if p is None else next(adjusted) for p in p_values]


def _overall(
    pair: tuple[str, str],
    differences: Sequence[Difference],
    tables: Sequence[SuiteTable],
    margin: float,
) -> Overall:
    headlines = {(table.suite.name, table.headline) for table in tables}
    mine = [
        d
        for d in differences
        if (d.earlier, d.later) == pair and d.task is None and (d.suite, d.metric) in headlines
    ]
    better = {d.suite for d in mine if d.verdict == "better"}
    others = [table for table in tables if table.suite.name not in better]
    together = pooled(others, *pair) if better and others else None
    return verdicts.overall(*pair, mine, margin, together)


def _version_info(
    result: VersionResult, lines: Lines, own: Mapping[str, str | None]
) -> VersionInfo:
    version = result.version
    found = lines.lineages[version.name]
    losses = {} if found is None else found.data["metrics"]["validation_loss"]
    return VersionInfo(
        name=version.name,
        folder=None if version.folder is None else str(version.folder),
        sha256=version.sha256,
        parent=lines.recorded_parent(version.name),
        fingerprint=result.settings.fingerprint,
        settings=result.settings.as_dict(),
        own_suite=own[version.name],
        validation_loss=dict(losses),
        facts=version_facts(found),
        stands_on=lines.parents[version.name],
    )


def _check_names(evaluation: Evaluation, margin: float) -> None:
    if not 0 < margin < 1:
        raise UserError(
            f"The margin of equivalence is {margin:g}; it must be a share between 0 and 1, such "
            "as 0.05 for 5 points."
        )
    suites = [suite.name for suite in evaluation.suites]
    versions = [result.version.name for result in evaluation.versions]
    for what, names in (("suites", suites), ("versions", versions)):
        twice = sorted(name for name, times in Counter(names).items() if times > 1)
        if twice:
            raise UserError(
                f"Several {what} are called {', '.join(twice)}, so they cannot be told apart. "
                "Rename one, or leave one out."
            )


def _checked_pairs(
    pairs: Sequence[tuple[str, str]], known: Mapping[str, VersionResult]
) -> list[tuple[str, str]]:
    for earlier, later in pairs:
        strange = [name for name in (earlier, later) if name not in known]
        if strange:
            raise UserError(
                f"{' and '.join(strange)} cannot be compared: the versions are {', '.join(known)}."
            )
        if earlier == later:
            raise UserError(f"{earlier} cannot be compared with itself. Name two versions.")
    return list(dict.fromkeys(pairs))
