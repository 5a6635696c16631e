"""What the report shows of a change of scoring, in the order in which it shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorachain.evaluation.comparison import Comparison, Overall
from lorachain.evaluation.report_data import AnswerRow, VersionAnswer
from lorachain.evaluation.rescore_moves import Flip, Moved, Moves
from lorachain.evaluation.rescore_verdicts import VerdictMove

MAX_FLIPS = 12
MAX_MEANS = 300


@dataclass(frozen=True)
class PairMove:
    """A pair's verdict over all suites, before and after, and those on each suite."""

    overall: Overall
    move: VerdictMove
    suites: Sequence[VerdictMove]

    @property
    def changed(self) -> int:
        """How many of its suites' verdicts are other ones."""
        return sum(suite.changed for suite in self.suites)


@dataclass(frozen=True)
class MeanRow:
    """One suite by its headline: what moved of every version; None where nothing did."""

    suite: str
    metric: str
    cells: Sequence[Moved | None]


@dataclass(frozen=True)
class FlipView:
    """A flipped answer with its item. `decides`: the measure that decides is among what flipped."""

    flip: Flip
    row: AnswerRow
    answer: VersionAnswer
    decides: bool

    @property
    def by_outcome(self) -> dict[tuple[float | None, ...], list[str]]:
        """{(before, after): the metrics that flipped so}"""
        found: dict[tuple[float | None, ...], list[str]] = {}
        for metric, pair in self.flip.metrics.items():
            found.setdefault(tuple(pair), []).append(metric)
        return found


@dataclass(frozen=True)
class MovedView:
    """All that the report's section shows."""

    moves: Moves
    swaps: Sequence[tuple[str, str | None, str | None]]
    pairs: Sequence[PairMove]
    means: Sequence[MeanRow]
    all_means: Sequence[Moved]
    flips: Sequence[FlipView]


def moved_view(moves: Moves, comparison: Comparison, rows: Sequence[AnswerRow]) -> MovedView:
    """From what moved to what is shown: headlines first, the newest version's answers first."""
    return MovedView(
        moves=moves,
        swaps=_swaps(moves),
        pairs=_pairs(moves, comparison),
        means=_means(moves, comparison),
        all_means=moves.moved[:MAX_MEANS],
        flips=_flips(moves, comparison, rows),
    )


def _swaps(moves: Moves) -> list[tuple[str, str | None, str | None]]:
    """(what, before, after): what scores, and what decides."""
    scoring = [(what, then, now) for what, (then, now) in moves.scoring.items()]
    judged = moves.judged_otherwise.items()
    return scoring + [(f"{suite} is judged by", then, now) for suite, (then, now) in judged]


def _pairs(moves: Moves, comparison: Comparison) -> list[PairMove]:
    """As the verdicts stand: the newest version's first."""
    overall = {(pair.earlier, pair.later): pair for pair in comparison.overall}
    found = []
    for move in moves.verdicts:
        if move.suite is None:
            key = (move.earlier, move.later)
            suites = [v for v in moves.verdicts if v.suite and (v.earlier, v.later) == key]
            found.append(PairMove(overall[key], move, suites))
    return found


def _means(moves: Moves, comparison: Comparison) -> list[MeanRow]:
    known = {(m.version, m.suite, m.metric): m for m in moves.moved if m.task is None}
    names = [version.name for version in comparison.versions]
    rows = [
        MeanRow(s.name, s.headline, [known.get((name, s.name, s.headline)) for name in names])
        for s in comparison.suites
    ]
    return [row for row in rows if any(row.cells)]


def _flips(moves: Moves, comparison: Comparison, rows: Sequence[AnswerRow]) -> list[FlipView]:
    headlines = {suite.name: suite.headline for suite in comparison.suites}
    newest = {version.name: -i for i, version in enumerate(comparison.versions)}
    known = {(row.suite, row.item): row for row in rows}
    ranked = sorted(
        moves.flips, key=lambda f: (headlines[f.suite] not in f.metrics, newest[f.version])
    )
    return [
        FlipView(f, row, row.answers[f.version], headlines[f.suite] in f.metrics)
        for f in ranked[:MAX_FLIPS]
        if (row := known.get((f.suite, f.item))) is not None
    ]
