"""What versions broke, with the two answers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorachain.evaluation.comparison import Broken, Comparison
from lorachain.evaluation.report_data import AnswerRow, VersionAnswer
from lorachain.evaluation.textdiff import Piece, side_by_side

MAX_SHOWN = 200  # with their answers, of one version; the rest can be found among all answers


@dataclass(frozen=True)
class Regression:
    """One item that `broken.by` broke: its row, both answers, and both as marked pieces."""

    broken: Broken
    row: AnswerRow
    before: VersionAnswer
    after: VersionAnswer
    left: Sequence[Piece]
    right: Sequence[Piece]


@dataclass(frozen=True)
class BrokenBy:
    """What one version broke. `mended` of them a later version passes again."""

    version: str
    count: int
    mended: int
    shown: Sequence[Regression]


def regressions(comparison: Comparison, rows: Sequence[AnswerRow]) -> list[BrokenBy]:
    """By version, the newest first; in it, what is still broken comes before what was mended."""
    known = {(row.suite, row.item): row for row in rows}
    found = []
    for version in reversed(comparison.versions):
        broken = [b for b in comparison.broken if b.by == version.name]
        if broken:
            broken.sort(key=lambda b: b.until is not None)
            made = (_regression(b, known.get((b.suite, b.item))) for b in broken[:MAX_SHOWN])
            shown = [regression for regression in made if regression is not None]
            mended = sum(b.until is not None for b in broken)
            found.append(BrokenBy(version.name, len(broken), mended, shown))
    return found


def _regression(broken: Broken, row: AnswerRow | None) -> Regression | None:
    """None where the answers are not there."""
    if row is None or not {broken.passed, broken.by} <= row.answers.keys():
        return None
    before, after = row.answers[broken.passed], row.answers[broken.by]
    left, right = side_by_side(before.text, after.text)
    return Regression(broken, row, before, after, left, right)
