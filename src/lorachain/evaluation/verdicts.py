"""Verdicts in words: of one suite, and of a pair of versions over all suites.

| verdict | when |
| --- | --- |
| better, worse | p < .05 after Holm over the family, by the sign of the difference |
| equivalent | else, where the 90% interval lies within the margin (two one-sided tests at .05) |
| cannot tell | else; the reason says what would be needed |

Over all suites, better needs at least one suite better and none worse, and the other way round; a
loss never hides a gain nor a gain a loss: both together are `cannot tell`, and the reason begins
with "mixed". Equivalent needs every suite equivalent. So one suite that is better decides although
others cannot tell: Holm over all suites of the pair holds the risk of any false call under 5%.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lorachain.evaluation.comparison import Interval, Overall, Verdict
from lorachain.evaluation.paired import Paired
from lorachain.evaluation.power import ALPHA, ties_needed

FEWEST = 20
"""Items, or clusters of them, below which nothing is called equivalent: graded scores that
hardly differ on a handful of items say little about the next handful."""


def judge(paired: Paired, p_holm: float | None, family: int, margin: float) -> tuple[Verdict, str]:
    """The verdict of one paired difference and its reason, in words for anyone.

    `p_holm` is adjusted over `family` comparisons; `margin` is a share (0.05 is 5 points).
    """
    if not paired.n or paired.value is None or p_holm is None:
        return "cannot tell", "cannot tell: no item could be scored for both versions"
    counts = f"{paired.wins} won, {paired.losses} lost"
    if p_holm < ALPHA:
        verdict: Verdict = "better" if paired.value > 0 else "worse"
        of = f"{counts} of {_size(paired)} ({signed(paired.value)})"
        return verdict, f"{verdict}: {of}, {_after_holm(p_holm, family)}"
    small = max(abs(paired.narrow.low), abs(paired.narrow.high)) if paired.narrow else 1.0
    if small <= margin and (paired.clusters or paired.n) >= FEWEST:
        lies = f"the difference lies {_between(paired.narrow)}, within {points(margin)}"
        return "equivalent", f"equivalent: {counts} of {_size(paired)}; {lies}"
    parts = [counts, *_why_unclear(paired, p_holm, family)]
    if not paired.changed:
        parts = [f"not one came out differently, but up to {points(small)} either way may hide"]
        parts.append(f"about {_for_ties(paired, margin):,} such items would show them equivalent")
    if small <= margin:
        parts.append(f"too few to call them equivalent (that takes {FEWEST})")
    return "cannot tell", f"cannot tell from {_size(paired)}: {'; '.join(parts)}"


def _for_ties(paired: Paired, margin: float) -> int:
    """How many items, all of them ties, lie within the margin; in clusters as here."""
    units = paired.clusters or paired.n
    return math.ceil(max(FEWEST, ties_needed(margin)) * paired.n / units)


def _why_unclear(paired: Paired, p_holm: float, family: int) -> list[str]:
    assert paired.value is not None and paired.p is not None
    if paired.p < ALPHA:
        return [f"{p_text(paired.p)} alone, but {_after_holm(p_holm, family)}"]
    visible, needed = paired.smallest_visible, paired.items_needed
    if visible is None:
        return ["so few cannot show any difference"] if paired.n < FEWEST else []
    if abs(paired.value) >= visible:
        return [f"{_after_holm(p_holm, family)}, which is not under .05"]
    parts = [f"a difference under {points(visible)} does not show here"]
    if needed is not None and needed > paired.n:
        parts.append(f"about {needed:,} items would be needed for the one seen")
    return parts


def overall(earlier: str, later: str, verdicts: Mapping[str, Verdict]) -> Overall:
    """The verdict of a pair over its suites: {suite: verdict}."""
    groups: dict[str, list[str]] = {}
    for suite, verdict in verdicts.items():
        groups.setdefault(verdict, []).append(suite)
    better, worse = groups.get("better", []), groups.get("worse", [])
    equivalent, unclear = groups.get("equivalent", []), groups.get("cannot tell", [])
    verdict = _overall_verdict(better, worse, equivalent, unclear)
    named = [("better on", better), ("worse on", worse)]
    named += [("equivalent on", equivalent), ("cannot tell on", unclear)]
    parts = "; ".join(f"{words} {', '.join(suites)}" for words, suites in named if suites)
    mixed = "mixed: " if better and worse else ""
    reason = mixed + parts if parts else "cannot tell: there is no suite to tell by"
    return Overall(earlier, later, verdict, reason, better, worse, equivalent, unclear)


def _overall_verdict(
    better: Sequence[str], worse: Sequence[str], equivalent: Sequence[str], unclear: Sequence[str]
) -> Verdict:
    if better and worse:
        return "cannot tell"
    if better or worse:
        return "better" if better else "worse"
    return "equivalent" if equivalent and not unclear else "cannot tell"


def points(share: float) -> str:
    """A share as points of 100: `34 points`, `0.4 points`."""
    value = abs(100 * share)
    text = f"{value:.0f}" if value >= 1 or not value else f"{value:.1g}"
    return f"{text} point{'' if text == '1' else 's'}"


def signed(share: float) -> str:
    """A difference as points of 100, with its sign: `+12 points`, `-3 points`."""
    return ("+" if share > 0 else "-" if share < 0 else "") + points(share)


def p_text(p: float) -> str:
    """A p-value in words: `p = .031`, `p = 1`, `p < .0001`; always on its own side of .05."""
    if p < 0.0001:
        return "p < .0001"
    digits = 3 if p >= 0.001 else 4
    while digits < 9 and (round(p, digits) < ALPHA) != (p < ALPHA):
        digits += 1
    return f"p = {p:.{digits}f}".replace("0.", ".").replace("1." + "0" * digits, "1")


def _after_holm(p: float, family: int) -> str:
    adjusted = f" after Holm over {family} comparisons" if family > 1 else ""
    return f"{p_text(p)}{adjusted}"


def _between(interval: Interval | None) -> str:
    if interval is None:
        return "nowhere"
    return f"between {signed(interval.low)} and {signed(interval.high)}"


def _size(paired: Paired) -> str:
    items = f"{paired.n:,} item{'' if paired.n == 1 else 's'}"
    return items if paired.clusters is None else f"{items} in {paired.clusters} clusters"
