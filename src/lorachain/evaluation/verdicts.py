"""Verdicts in words: of one suite, and of a pair of versions over all suites.

| verdict | when |
| --- | --- |
| better, worse | p < .05 after Holm over the family, by the sign of the difference |
| equivalent | else, where the 90% interval lies within the margin (two one-sided tests at .05) |
| cannot tell | else; the reason says what would be needed |

Answers that were cut at the token limit show nothing of what a version can do: where over 5% of
either side's were, nothing is called equivalent.

Over all suites:

| verdict | when |
| --- | --- |
| cannot tell, "mixed" | a suite is better and one worse, or all that are not better are together |
| better | a suite is better, and no other has a loss that is seen and not ruled out |
| worse | a suite is worse, and none better |
| equivalent | every suite is |
| cannot tell | else |

A loss is ruled out where the suite is better or equivalent, or its 90% interval lies above the
margin's loss, and it is not seen where the difference is 0 or more. Holm makes a loss on one of
many suites hard to prove, so not proving it must not count as its absence; hence also the one
pooled test, over the items of all suites that are not better, in clusters, at .05 for itself. A
suite that nothing could be scored on says nothing either way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lorachain.evaluation.comparison import Difference, Interval, Overall, Verdict
from lorachain.evaluation.metrics import MANY_CUT
from lorachain.evaluation.paired import Paired
from lorachain.evaluation.power import ALPHA, ties_needed

FEWEST = 20
"""Items, or clusters of them, below which nothing is called equivalent: graded scores that
hardly differ on a handful of items say little about the next handful."""


@dataclass(frozen=True)
class Cut:
    """How many of either side's answers to `n` paired items ended at the token limit."""

    earlier: int
    later: int
    n: int

    @property
    def many(self) -> bool:
        """Whether either side's share is too large to overlook."""
        return max(self.earlier, self.later) > MANY_CUT * self.n


NONE_CUT = Cut(0, 0, 0)


def judge(
    paired: Paired, p_holm: float | None, family: int, margin: float, cut: Cut = NONE_CUT
) -> tuple[Verdict, str]:
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
    if paired.both_fail == paired.n:
        counts = f"both fail all {_size(paired)}"
    small = max(abs(paired.narrow.low), abs(paired.narrow.high)) if paired.narrow else 1.0
    alike = small <= margin and (paired.clusters or paired.n) >= FEWEST
    if alike and not cut.many:
        lies = (
            f"the difference lies {_between(paired.narrow)} (90% interval), within {points(margin)}"
        )
        of = "" if paired.both_fail == paired.n else f" of {_size(paired)}"
        return "equivalent", f"equivalent: {counts}{of}; {lies}"
    if paired.both_fail == paired.n:
        counts = "both fail all of them"
    parts = [counts]
    if alike:
        pass  # but for the cut answers
    elif paired.changed:
        parts += _why_unclear(paired, p_holm, family)
    else:
        alike_in = counts if paired.both_fail == paired.n else "not one came out differently"
        parts = [f"{alike_in}, but up to {points(small)} either way may hide"]
        parts.append(f"about {_for_ties(paired, margin):,} such items would show them equivalent")
    if small <= margin and not alike:
        parts.append(f"too few to call them equivalent (that takes {FEWEST})")
    if cut.many:
        limit = f"{cut.earlier + cut.later:,} of {2 * cut.n:,} answers were cut by the token limit"
        parts.append(f"{limit}: ask again with --max-new-tokens")
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
        few = "items" if paired.clusters is None else "clusters"
        return [f"so few {few} cannot show any difference"]
    if abs(paired.value) >= visible:
        return [f"{_after_holm(p_holm, family)}, which is not under .05"]
    parts = [f"a difference under {points(visible)} does not show here"]
    if needed is not None and needed > paired.n:
        parts.append(f"about {needed:,} items would be needed for the one seen")
    return parts


def overall(
    earlier: str,
    later: str,
    suites: Sequence[Difference],
    margin: float,
    others: Paired | None = None,
) -> Overall:
    """The verdict of a pair of versions from each suite's difference by its headline.

    `others` are all items of the suites that are not better as one (`suite_table.pooled`); it is
    asked for only where some are better and some are not.
    """
    groups: dict[str, list[str]] = {}
    for d in suites:
        groups.setdefault(d.verdict, []).append(d.suite)
    better, worse = groups.get("better", []), groups.get("worse", [])
    equivalent, unclear = groups.get("equivalent", []), groups.get("cannot tell", [])
    doubtful = [d for d in suites if better and _may_hide_a_loss(d, margin)]
    together = [] if worse or not better else _together_worse(suites, others)
    named = [("worse on", worse), ("equivalent on", equivalent), ("cannot tell on", unclear)]
    parts = [f"better on {', '.join(better)}"] if better else []
    verdict: Verdict = "cannot tell"
    if better and worse:
        parts[0] = f"mixed: {parts[0]}"
    elif together and others is not None:
        # of several suites: Holm leaves the last of a family, and so a single other, its own p
        lost = f"together worse on {', '.join(together)} ({_pooled(others)})"
        parts = [f"mixed: {parts[0]}", lost]
        named = [(words, [s for s in names if s not in together]) for words, names in named]
    elif doubtful:
        each = [f"{d.suite} ({_lost(d)})" for d in doubtful]
        parts[0] += f", but losses cannot be ruled out: {', '.join(each)}"
        told = {d.suite for d in doubtful}
        named = [(words, [s for s in names if s not in told]) for words, names in named]
    elif better or worse:
        verdict = "better" if better else "worse"
    elif equivalent and not unclear:
        verdict = "equivalent"
    parts += [f"{words} {', '.join(names)}" for words, names in named if names]
    reason = "; ".join(parts) or "cannot tell: there is no suite to tell by"
    return Overall(
        *(earlier, later, verdict, reason, better, worse, equivalent, unclear),
        doubtful=[d.suite for d in doubtful],
        together_worse=together,
    )


def _may_hide_a_loss(d: Difference, margin: float) -> bool:
    if d.verdict != "cannot tell" or d.value is None or d.value >= 0:
        return False
    return d.narrow is None or d.narrow.low < -margin


def _together_worse(suites: Sequence[Difference], others: Paired | None) -> list[str]:
    """The suites that are not better and have scores, where they are worse as one."""
    if others is None or others.p is None or others.p >= ALPHA or (others.value or 0) >= 0:
        return []
    return [d.suite for d in suites if d.verdict != "better" and d.n]


def _pooled(paired: Paired) -> str:
    assert paired.value is not None and paired.p is not None
    counts = f"{paired.wins} won, {paired.losses} lost of {_size(paired)}"
    return f"{signed(paired.value)}, {counts}, {p_text(paired.p)}"


def _lost(d: Difference) -> str:
    return f"{signed(d.value or 0)}, {d.wins} won, {d.losses} lost of {d.n:,}"


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
