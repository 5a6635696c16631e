"""Two versions' scores of the same items, as one paired difference with its test."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from lorachain.evaluation import power, stats
from lorachain.evaluation.comparison import Interval


@dataclass(frozen=True)
class Paired:
    """The later scores minus the earlier ones, over the `n` items that both were scored on.

    `interval` is a 95% one; `narrow` the 90% one that equivalence is read from (two one-sided
    tests at .05: Schuirmann 1987). `p` is exact where the interval is not, so of few pairs an
    interval can just miss 0 with p over .05: a verdict of better or worse stands on p. Other
    fields are as in `comparison.Difference`; `clusters` is None where no two items share one.
    `both_fail` counts the pairs of two scores of 0.
    """

    n: int
    clusters: int | None
    wins: int
    losses: int
    ties: int
    value: float | None
    interval: Interval | None
    narrow: Interval | None
    test: str
    p: float | None
    smallest_visible: float | None
    items_needed: int | None
    both_fail: int = 0

    @property
    def changed(self) -> int:
        """The pairs that differ."""
        return self.wins + self.losses


def pair_up(
    earlier: Sequence[float | None],
    later: Sequence[float | None],
    labels: Sequence[Hashable] | None = None,
) -> Paired:
    """Pair the scores item by item. Items that either version has no score on are left out.

    Pass/fail (every score 0 or 1) is tested by exact McNemar, or where items share clusters by
    flipping whole clusters; graded scores by flipping the signs of the differences.
    """
    both = [
        (a, b, i)
        for i, (a, b) in enumerate(zip(earlier, later, strict=True))
        if a is not None and b is not None
    ]
    differences = [b - a for a, b, _ in both]
    kept = None if labels is None else [labels[i] for *_, i in both]
    if kept is not None and len(set(kept)) == len(kept):
        kept = None
    pass_fail = all(stats.is_pass_fail((a, b)) for a, b, _ in both)
    test = "mcnemar" if pass_fail else "permutation"
    n = len(both)
    wins = sum(difference > 0 for difference in differences)
    losses = sum(difference < 0 for difference in differences)
    if not n:
        return Paired(0, None, 0, 0, 0, None, None, None, test, None, None, None)
    value = round(math.fsum(differences) / n, 12)  # .3 - .1 - .2 is no difference
    effect = stats.design_effect(differences, kept)
    square = math.fsum(difference**2 for difference in differences) / n

    def interval(confidence: float) -> Interval | None:
        if pass_fail:
            counts = (wins / effect, losses / effect, n / effect)
            return stats.paired_rates_interval(*counts, confidence)
        return stats.mean_interval(differences, kept, scale=(-1, 1), confidence=confidence)

    exact = pass_fail and kept is None
    units = n if kept is None else len(set(kept))
    visible = power.smallest_visible(n, square, effect=effect, pass_fail=pass_fail)
    return Paired(
        n=n,
        clusters=None if kept is None else len(set(kept)),
        wins=wins,
        losses=losses,
        ties=n - wins - losses,
        value=value,
        interval=interval(0.95),
        narrow=interval(1 - 2 * power.ALPHA),
        test=test if kept is None else f"{test}, clustered",
        p=stats.mcnemar(wins, losses) if exact else stats.sign_flip(differences, kept),
        smallest_visible=visible if units >= power.fewest_one_way() else None,
        items_needed=power.items_needed(value, square, effect=effect, pass_fail=pass_fail),
        both_fail=sum(a == b == 0 for a, b, _ in both),
    )
