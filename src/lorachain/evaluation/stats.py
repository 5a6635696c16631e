"""Statistics of scores from 0 to 1, and of paired differences between two versions' scores.

Pure functions on sequences; the same input gives the same output, and the order of items does not
matter. `clusters` are labels, one per value: items with the same label (one entity in several
wordings, say) may be right or wrong together, so whole clusters are resampled and flipped (Miller
2024, "Adding error bars to evals", arXiv 2411.00640). None: every item by itself.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from functools import lru_cache
from statistics import NormalDist

from lorachain.evaluation.comparison import Interval
from lorachain.evaluation.power import fewest_one_way

RESAMPLES = 9_999
EXACT_UNITS = 14  # 2**14 ways to flip the signs are all looked at; beyond, RESAMPLES of them
SEED = 20_240_717

Clusters = Sequence[Hashable] | None

_kept = lru_cache(maxsize=10_000)  # a comparison asks for the same few counts over and over


@_kept
def wilson(passed: int, n: int, confidence: float = 0.95) -> Interval:
    """The score interval of a rate (Wilson 1927). Raises ValueError without items."""
    from scipy.stats import binomtest

    found = binomtest(passed, n).proportion_ci(confidence, method="wilson")
    return Interval(float(found.low), float(found.high))


def rate_interval(
    values: Sequence[float], clusters: Clusters = None, confidence: float = 0.95
) -> Interval | None:
    """The interval of a mean of scores from 0 to 1; None without any.

    Wilson's for pass/fail (every score 0 or 1), for clusters at the size that they are worth: n
    over the design effect, and never narrower than without. Graded scores: `mean_interval`.
    """
    if not values:
        return None
    if not is_pass_fail(values):
        return mean_interval(values, clusters, confidence=confidence)
    passed, n = round(sum(values)), len(values)
    plain = wilson(passed, n, confidence)
    effect = design_effect(values, clusters)
    if effect == 1:
        return plain
    worth = max(1, round(n / effect))
    wider = wilson(round(passed / n * worth), worth, confidence)
    return Interval(min(plain.low, wider.low), max(plain.high, wider.high))


def is_pass_fail(values: Sequence[float]) -> bool:
    """Whether every score is 0 or 1."""
    return all(value in (0, 1) for value in values)


@_kept
def mcnemar(wins: int, losses: int) -> float:
    """The exact two-sided p-value of McNemar's test: are wins and losses equally likely?"""
    from scipy.stats import binomtest

    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def sign_flip(differences: Sequence[float], clusters: Clusters = None) -> float:
    """The two-sided p-value of the permutation test that flips the sign of whole clusters.

    Exact for pass/fail, where without clusters it is McNemar's test, and for up to 14 clusters
    that differ (each way of flipping is looked at); else over 9,999 drawn ways.
    """
    import numpy as np
    from scipy.stats import permutation_test

    sums = [total for total, _ in _units(differences, clusters) if total]
    if len(sums) < 2:
        return 1.0  # both ways of flipping are as far from 0
    if all(total == round(total) for total in sums):
        return _flip_whole_numbers([round(total) for total in sums])
    found = permutation_test(
        (np.array(_oriented(sums)),),
        lambda data, axis: np.abs(np.sum(data, axis=axis)),  # twice the smaller tail is too small
        permutation_type="samples",
        vectorized=True,
        alternative="greater",
        n_resamples=2**EXACT_UNITS if len(sums) <= EXACT_UNITS else RESAMPLES,
        rng=SEED,
    )
    return float(min(1.0, found.pvalue))


def _flip_whole_numbers(sums: Sequence[int]) -> float:
    """The exact p-value: the chances of every total, one cluster after the other."""
    import numpy as np

    chances, reach = np.ones(1), 0  # chances[i]: of the total 2 * i - reach
    for size in map(abs, sums):
        step = np.zeros(size + 1)
        step[[0, size]] = 0.5
        chances, reach = np.convolve(chances, step), reach + size
    totals = 2 * np.arange(reach + 1) - reach
    return min(1.0, float(chances[np.abs(totals) >= abs(sum(sums))].sum()))


def mean_interval(
    values: Sequence[float],
    clusters: Clusters = None,
    *,
    scale: tuple[float, float] = (0.0, 1.0),
    confidence: float = 0.95,
) -> Interval | None:
    """The percentile bootstrap interval of a mean over whole clusters; None without values.

    Where fewer than 6 clusters are unlike the others there is too little to resample. The share
    of unseen ones that are unlike the others may then be Wilson's upper end for 0 of n, and they
    may lie at either end of the scale: the interval covers that too. So 20 differences of exactly
    0 leave room for 16 points, and a single small one does not make anybody sure.
    """
    import numpy as np
    from scipy.stats import bootstrap

    if not values:
        return None
    units = _units(values, clusters)
    mean = math.fsum(values) / len(values)
    usual = Counter(round(total / size, 12) for total, size in units).most_common(1)[0][1]
    unseen = wilson(0, len(units), confidence).high
    room = Interval(*((1 - unseen) * mean + unseen * end for end in scale))
    if usual == len(units):
        return room
    flipped = sorted((-total, size) for total, size in units)
    mirrored = flipped < units  # so that turning all signs turns the interval, and no more
    totals, sizes = np.array(flipped if mirrored else units).T
    found = bootstrap(
        (totals, sizes),
        lambda totals, sizes, axis: np.sum(totals, axis=axis) / np.sum(sizes, axis=axis),
        paired=True,
        vectorized=True,
        confidence_level=confidence,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=SEED,
    ).confidence_interval
    low, high = float(found.low), float(found.high)
    if flipped == units:
        low, high = (low - high) / 2, (high - low) / 2
    elif mirrored:
        low, high = 0 - high, 0 - low
    if len(units) - usual >= fewest_one_way():
        return Interval(low, high)
    return Interval(min(low, room.low), max(high, room.high))


@_kept
def paired_rates_interval(
    wins: float, losses: float, n: float, confidence: float = 0.95
) -> Interval | None:
    """The score interval of a difference of paired rates (Tango 1998, Stat. Med. 17:891).

    A bootstrap of few pairs that differ is too narrow, and of none has no width at all. Counts
    may be fractions: divided by a design effect (Rao & Scott 1992, Biometrics 48:577), they stand
    for clusters. None without pairs.
    """
    if n <= 0:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return Interval(-_score_end(losses, wins, n, z), _score_end(wins, losses, n, z))


def _score_end(wins: float, losses: float, n: float, z: float) -> float:
    """The upper end: the largest difference that the score test does not refuse."""
    from scipy.optimize import brentq

    def excess(difference: float) -> float:
        # `lost` is the likeliest chance of a loss if this is the true difference.
        a, c = 2 * n, -losses * difference * (1 - difference)
        b = (2 * n - wins + losses) * difference - wins - losses
        lost = max(0.0, (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a))
        variance = n * (2 * lost + difference * (1 - difference))
        return wins - losses - n * difference + z * math.sqrt(max(0.0, variance))

    start = (wins - losses) / n + 1e-9  # with no pair that differs, the seen difference is a root
    return float(brentq(excess, start, 1.0)) if start < 1 else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for a family of tests (Holm 1979), in the order given."""
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = floor
    return adjusted


def design_effect(values: Sequence[float], clusters: Clusters = None) -> float:
    """By how much clusters multiply the variance of a mean (Kish 1965); 1 or more.

    Where all values are equal they tell nothing of how clusters hang together; then a cluster
    counts as one item.
    """
    if clusters is None or not values:
        return 1.0
    mean = math.fsum(values) / len(values)
    spread = math.fsum((value - mean) ** 2 for value in values)
    if spread < 1e-12:
        return sum(size**2 for _, size in _units(values, clusters)) / len(values)
    within = math.fsum((total - size * mean) ** 2 for total, size in _units(values, clusters))
    return max(1.0, round(within / spread, 9))


def _units(values: Sequence[float], clusters: Clusters) -> list[tuple[float, int]]:
    """(sum, size) of each cluster, sorted; rounded so that .1 + .2 - .3 is 0 in any order."""
    if clusters is None:
        return sorted((round(value, 12), 1) for value in values)
    groups: dict[Hashable, list[float]] = {}
    for value, label in zip(values, clusters, strict=True):
        groups.setdefault(label, []).append(value)
    return sorted((round(math.fsum(group), 12), len(group)) for group in groups.values())


def _oriented(sums: Sequence[float]) -> list[float]:
    """The sums or their opposites, whichever sort first: both versions' order gives one p."""
    return min(sorted(sums), sorted(-total for total in sums))
