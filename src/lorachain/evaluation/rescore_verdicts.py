"""What a change of scoring does to verdicts: the comparison before, and the same judged anew.

before = read_before(folder)                       # of comparison.json; None where it has none
before = same_suites(before, record, evaluation)   # judged anew by the scores of then
comparison = judged(evaluation, before, scorers, created=now)
verdict_moves(before, comparison)                  # every pair, over all suites and suite by suite

Pairs, order of versions, margin and suites are those of the comparison before, so that what moved
is the scoring's doing alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lorachain.errors import UserError
from lorachain.evaluation.chosen import chain_of, stale_notes
from lorachain.evaluation.compare import compare
from lorachain.evaluation.comparison import Comparison, Overall
from lorachain.evaluation.evaluate import Evaluation, VersionResult
from lorachain.evaluation.lines import read_lineage
from lorachain.evaluation.report_text import kind_of
from lorachain.evaluation.report_views import PairView, SuiteLine, pair_views
from lorachain.evaluation.run_record import COMPARISON, ComparisonRecord
from lorachain.evaluation.score import Score, Scored
from lorachain.evaluation.scorers import Scorers
from lorachain.files import read_json
from lorachain.paths import shown

MARGIN = 0.05  # where the comparison before does not say


@dataclass(frozen=True)
class VerdictMove:
    """One verdict before and after: of a pair on one suite, or over all suites (`suite` None).

    Over all, `mixed` is a verdict of its own, as in a report. `before` is None where there was no
    such verdict. `metric` are the headlines that decided, `points` the differences as shares, and
    `reason` is why now; over all suites metric and points are None.
    """

    earlier: str
    later: str
    suite: str | None
    before: str | None
    after: str
    reason: str
    metric: Sequence[str | None] = (None, None)
    points: Sequence[float | None] = (None, None)

    @property
    def changed(self) -> bool:
        """Whether there was a verdict before, and it was another one."""
        return self.before is not None and self.before != self.after


@dataclass(frozen=True)
class Before:
    """What the comparison before said. `suites` are the headlines' differences, as written."""

    created: str
    margin: float
    versions: Sequence[str]
    pairs: Mapping[tuple[str, str], Overall]
    suites: Mapping[tuple[str, str, str], Mapping[str, Any]]


def read_before(folder: Path) -> Before | None:
    """The comparison that a folder holds; None where it holds none that can be read."""
    path = folder / COMPARISON
    if not path.is_file():
        return None
    try:
        return before_of(read_json(path, "The comparison"))
    except (UserError, KeyError, TypeError, ValueError):
        return None


def before_of(data: Mapping[str, Any]) -> Before:
    """What a comparison's data say. Raises KeyError, TypeError or ValueError for other data."""
    headlines = {suite["name"]: suite["headline"] for suite in data["suites"]}
    return Before(
        created=str(data["created"]),
        margin=float(data["margin"]),
        versions=[version["name"] for version in data["versions"]],
        pairs={(o["earlier"], o["later"]): Overall(**o) for o in data["overall"]},
        suites={
            (d["earlier"], d["later"], d["suite"]): {
                key: d[key] for key in ("verdict", "metric", "value")
            }
            for d in data["differences"]
            if d["task"] is None and d["metric"] == headlines[d["suite"]]
        },
    )


def same_suites(
    before: Before | None, record: ComparisonRecord, evaluation: Evaluation
) -> Before | None:
    """The comparison before over these suites alone, by the scores of then: fewer suites are
    another verdict over all of them, and another family for Holm, whatever scores them."""
    if before is None or len(evaluation.suites) == len(record.suites):
        return before
    headlines = {suite: str(d["metric"]) for (_, _, suite), d in before.suites.items()}
    names = {suite.name for suite in evaluation.suites}
    kept = {suite: metric for suite, metric in headlines.items() if suite in names}
    results = tuple(_scored_then(result, record) for result in evaluation.versions)
    found = judged(
        replace(evaluation, versions=results), before, None, created=datetime.now(UTC), by=kept
    )
    return replace(before_of(found.as_dict()), created=before.created)


def _scored_then(result: VersionResult, record: ComparisonRecord) -> VersionResult:
    """The same answers with the scores of the record; none where it has none."""

    def then(suite: str, answer: Scored) -> Scored:
        was = record.scores.get((result.version.name, suite, str(answer.item.id)))
        return replace(answer, score=Score() if was is None else was.score)

    answers = {s: tuple(then(s, a) for a in given) for s, given in result.answers.items()}
    return replace(result, answers=answers)


def judged(
    evaluation: Evaluation,
    before: Before | None,
    scorers: Scorers | None,
    *,
    created: datetime,
    by: Mapping[str, str] | None = None,
) -> Comparison:
    """A rescored evaluation, judged as the comparison before was. `by` names the headlines where
    they are not those that the scorers mark.

    What is known of a version's training is left out where its folder holds another one now.
    """
    results = [_as_asked(result) for result in evaluation.versions]
    notes = [
        f"{shown(was.version.folder)} was trained again since it was asked: the answers are of the "
        "version before, and what is known of its training is left out."
        for was, now in zip(evaluation.versions, results, strict=True)
        if was.version.folder is not None and now.version.folder is None
    ]
    names = [result.version.name for result in results]
    pairs = None
    if before is not None:
        places = {name: i for i, name in enumerate(before.versions)}
        results.sort(key=lambda result: places.get(result.version.name, len(places)))
        pairs = [pair for pair in before.pairs if set(pair) <= set(names)]
    notes += _stale(results[-1])
    marked = scorers.headlines(evaluation.suites) if scorers else None
    found = compare(
        replace(evaluation, versions=tuple(results)),
        created=created,
        margin=MARGIN if before is None else before.margin,
        pairs=pairs or None,
        headlines=marked if by is None else by,
    )
    return replace(found, notes=[*notes, *found.notes])


def _as_asked(result: VersionResult) -> VersionResult:
    """Without its folder where that holds another adapter than the one that was asked."""
    found = read_lineage(result.version)
    if found is None or found.adapter_sha256 == result.version.sha256:
        return result
    return replace(result, version=replace(result.version, folder=None))


def _stale(newest: VersionResult) -> list[str]:
    try:
        return stale_notes(chain_of(newest.version.folder)) if newest.version.folder else []
    except (UserError, OSError):
        return []


def verdict_moves(before: Before | None, comparison: Comparison) -> list[VerdictMove]:
    """Every pair, the newest version's first: the verdict over all suites, then each suite's."""
    found = []
    for pair in pair_views(comparison):
        found.append(_overall(before, pair))
        found += [_on_suite(before, line) for line in pair.suites]
    return found


def _overall(before: Before | None, pair: PairView) -> VerdictMove:
    now = pair.overall
    then = before.pairs.get((now.earlier, now.later)) if before else None
    was = None if then is None else kind_of(then)
    return VerdictMove(now.earlier, now.later, None, was, kind_of(now), now.reason)


def _on_suite(before: Before | None, line: SuiteLine) -> VerdictMove:
    d = line.difference
    then = before.suites.get((d.earlier, d.later, d.suite), {}) if before else {}
    return VerdictMove(
        *(d.earlier, d.later, d.suite, then.get("verdict"), d.verdict, d.reason),
        metric=[then.get("metric"), d.metric],
        points=[then.get("value"), d.value],
    )
