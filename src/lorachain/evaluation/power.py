"""How many items a difference takes, and what so many items can show.

The rule, and why 2.80 (Miller 2024, "Adding error bars to evals", arXiv 2411.00640; for
pass/fail it is Connor 1987, Biometrics 43:207, by the variance under no difference):

    smallest difference = (z.975 + z.80) * sqrt(mean squared difference * design effect / n)

For pass/fail the mean squared difference is the share of pairs that differ. At 30% of them, 100
items show 15 points and 200 show 11, with 80% power at alpha .05 of a single test: a family of
several takes more.

No difference is larger than the share of pairs that differ. Where the rule asks for that (34
points of 20 items at 30%), more pairs must differ, and all one way: then McNemar's test shows it
when 6 or more of n differ, whose chance is binomial, so 20 items show 37 points and 5 show none.
"""

from __future__ import annotations

import math
from statistics import NormalDist

ALPHA = 0.05
POWER = 0.8


def smallest_visible(
    n: int, mean_square: float, *, effect: float = 1.0, pass_fail: bool = True
) -> float | None:
    """The smallest difference that n paired items show with 80% power at alpha .05.

    `mean_square` is the mean squared difference: for pass/fail, the share of pairs that differ.
    It is no larger than that share, or else it is the share that it takes, all of it one way.
    Pass/fail needs at least 6 pairs that differ, all one way (5 to 0 has p = .0625). None where
    not even a difference of 1 could be shown, and where graded scores do not differ at all.
    """
    worth, fewest = n / effect, fewest_one_way()
    if worth < fewest or not (mean_square or pass_fail):
        return None
    found = _z() * math.sqrt(mean_square / worth)
    if not pass_fail:
        return found if found <= 1 else None
    if 0 < found <= mean_square:
        return found
    from scipy.special import betaincinv  # the share at which 6 or more of n differ in 80 of 100

    return float(betaincinv(fewest, worth - fewest + 1, POWER))


def items_needed(
    difference: float, mean_square: float, *, effect: float = 1.0, pass_fail: bool = True
) -> int | None:
    """How many paired items show this difference, by the same rule; None for no difference."""
    if not difference:
        return None
    found = _z() ** 2 * mean_square * effect / difference**2
    found = max(found, fewest_one_way() * effect / abs(difference)) if pass_fail else found
    return math.ceil(round(found, 6))


def ties_needed(margin: float) -> int:
    """How many pairs that do not differ, and none that do, lie within a margin at 90%."""
    z = NormalDist().inv_cdf(1 - ALPHA)
    return math.ceil(z**2 * (1 / margin - 1))


def fewest_one_way() -> int:
    """How many pairs must differ, all one way, for p < alpha: 6 at .05."""
    return math.floor(1 - math.log2(ALPHA)) + 1


def _z() -> float:
    return NormalDist().inv_cdf(1 - ALPHA / 2) + NormalDist().inv_cdf(POWER)
