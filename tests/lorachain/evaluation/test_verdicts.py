"""Verdicts: when a difference decides, when it does not, and whether the reason says why."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorachain.evaluation import stats
from lorachain.evaluation.comparison import Difference, Overall, Verdict
from lorachain.evaluation.paired import Paired, pair_up
from lorachain.evaluation.verdicts import Cut, judge, overall, p_text, points, signed


def marks(wins: int, losses: int, ties: int) -> tuple[list[float], list[float]]:
    """Earlier and later pass/fail marks with so many wins, losses and ties."""
    earlier = [0.0] * wins + [1.0] * losses + [1.0] * ties
    later = [1.0] * wins + [0.0] * losses + [1.0] * ties
    return earlier, later


def verdict(wins: int, losses: int, ties: int, family: int = 1) -> tuple[Verdict, str]:
    paired = pair_up(*marks(wins, losses, ties))
    assert paired.p is not None
    return judge(paired, min(1.0, paired.p * family), family, 0.05)


OPPOSITE = {"better": "worse", "worse": "better"}


def test_a_pair_counts_what_both_were_scored_on() -> None:
    paired = pair_up([1, 0, None, 1, 0, 1], [1, 1, 1, None, 1, 0])
    assert (paired.n, paired.wins, paired.losses, paired.ties) == (4, 2, 1, 1)
    assert paired.value == 0.25 and paired.test == "mcnemar" and paired.clusters is None
    assert paired.p == 1.0
    nothing = pair_up([None, 1], [1, None])
    assert (nothing.n, nothing.value, nothing.interval, nothing.p) == (0, None, None, None)
    assert judge(nothing, None, 0, 0.05) == (
        "cannot tell",
        "cannot tell: no item could be scored for both versions",
    )


def test_graded_scores_are_permuted_and_clusters_flipped_whole() -> None:
    earlier, later = [0.0, 0.5, 0.25, 1.0], [0.5, 0.75, 0.5, 1.0]
    assert pair_up(earlier, later).test == "permutation"
    assert pair_up(earlier, later).p == pytest.approx(2 / 2**3)
    assert pair_up(earlier, later, ["a", "a", "b", "c"]).test == "permutation, clustered"
    assert pair_up(earlier, later, ["a", "a", "b", "c"]).p == pytest.approx(2 / 2**2)
    passed = pair_up([0, 0, 0, 1], [1, 1, 1, 1], ["a", "a", "b", "c"])
    assert (passed.test, passed.clusters, passed.p) == ("mcnemar, clustered", 3, 0.5)
    assert pair_up([0, 0], [1, 1], ["a", "b"]).clusters is None, "no two share a cluster"


def test_float_noise_is_no_difference() -> None:
    paired = pair_up([0.1, 0.2, 0.5, 0.3], [0.3, 0.1, 0.4, 0.3])
    assert paired.value == 0.0 and paired.items_needed is None


def test_better_and_worse_need_six_to_nothing() -> None:
    assert verdict(6, 0, 20)[0] == "better"
    assert verdict(0, 6, 20)[0] == "worse"
    assert verdict(5, 0, 20)[0] == "cannot tell"
    assert verdict(14, 1, 33, family=12) == (
        "better",
        "better: 14 won, 1 lost of 48 items (+27 points), p = .012 after Holm over 12 comparisons",
    )


def test_holm_can_take_a_verdict_back() -> None:
    found, reason = verdict(6, 0, 14, family=3)
    assert found == "cannot tell"
    assert reason == (
        "cannot tell from 20 items: 6 won, 0 lost; p = .031 alone, but p = .094 after Holm over 3 "
        "comparisons"
    )


def test_cannot_tell_says_what_would_show_and_how_many_items_it_takes() -> None:
    assert verdict(3, 1, 16) == (
        "cannot tell",
        "cannot tell from 20 items: 3 won, 1 lost; a difference under 37 points does not show "
        "here; about 157 items would be needed for the one seen",
    )
    assert verdict(2, 0, 2)[1].startswith(
        "cannot tell from 4 items: 2 won, 0 lost; so few items cannot show any difference"
    )


def test_equivalent_needs_enough_items_however_alike_they_are() -> None:
    assert verdict(0, 0, 51)[0] == "cannot tell"
    assert "about 52 such items would show them equivalent" in verdict(0, 0, 20)[1]
    assert "up to 12 points either way may hide" in verdict(0, 0, 20)[1]
    assert verdict(0, 0, 52) == (
        "equivalent",
        "equivalent: 0 won, 0 lost of 52 items; the difference lies between -5 points and +5 "
        "points (90% interval), within 5 points",
    )
    assert verdict(4, 4, 192)[0] == "equivalent"
    assert verdict(20, 20, 160)[0] == "cannot tell", "much changed, both ways"


def test_alike_on_a_handful_of_graded_items_is_not_equivalent() -> None:
    scores = [i / 10 for i in range(10)]
    later = [s + (i - 4) / 5000 for i, s in enumerate(scores)]
    paired = pair_up(scores, later)
    found, reason = judge(paired, paired.p, 1, 0.05)
    assert found == "cannot tell" and "too few to call them equivalent (that takes 20)" in reason
    many = pair_up(scores * 3, later * 3)
    assert judge(many, many.p, 1, 0.05)[0] == "equivalent"


def test_a_real_but_small_gain_is_better_although_it_lies_within_the_margin() -> None:
    assert verdict(12, 0, 988)[0] == "better"


@settings(max_examples=40)
@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 70))
def test_the_other_way_round_turns_the_verdict(wins: int, losses: int, ties: int) -> None:
    earlier, later = marks(wins, losses, ties)
    one, two = pair_up(earlier, later), pair_up(later, earlier)
    assert one.p == two.p
    assert (one.wins, one.value) == (two.losses, None if two.value is None else -two.value)
    if one.interval is not None and two.interval is not None:
        assert one.interval.low == pytest.approx(-two.interval.high)
    first, second = (judge(paired, paired.p, 1, 0.05)[0] for paired in (one, two))
    assert second == OPPOSITE.get(first, first)


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from([(0, 1), (1, 0), (1, 1)]), min_size=1, max_size=60),
    st.integers(2, 4),
    st.randoms(use_true_random=False),
)
def test_asking_the_same_again_shows_nothing_new(
    pairs: list[tuple[float, float]], times: int, order: random.Random
) -> None:
    """Each item several times, as a cluster of its own: the verdict is that of the items once."""
    once = pair_up(*zip(*pairs, strict=True))
    again = [(a, b, i) for i, (a, b) in enumerate(pairs) for _ in range(times)]
    order.shuffle(again)
    repeated = pair_up(*zip(*again, strict=True))
    assert repeated.n == times * once.n and repeated.clusters == (len(pairs) if times > 1 else None)
    assert verdict_of(repeated) == verdict_of(once)
    assert repeated.value == once.value
    assert repeated.p == pytest.approx(once.p)


@pytest.mark.parametrize("counts", [(0, 0, 20), (5, 0, 15), (9, 3, 18)])
def test_an_interval_is_worth_its_clusters(counts: tuple[int, int, int]) -> None:
    """Each item in four wordings that fall alike tells as much as each item once."""
    earlier, later = marks(*counts)
    labels = [i for i in range(len(earlier)) for _ in range(4)]
    once = pair_up(earlier, later)
    again = pair_up([earlier[i] for i in labels], [later[i] for i in labels], labels)
    for one, other in ((once.interval, again.interval), (once.narrow, again.narrow)):
        assert one is not None and other is not None
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-6)
    assert once.smallest_visible == pytest.approx(again.smallest_visible)


def verdict_of(paired: Paired) -> Verdict:
    return judge(paired, paired.p, 1, 0.05)[0]


def test_without_a_difference_hardly_any_verdict_is_wrong() -> None:
    """Two versions that are equally good, on three suites of 30: under 5% are called different."""
    draw = random.Random(11)
    wrong = rounds = 0
    for _ in range(300):
        suites = [
            pair_up(*([float(draw.random() < 0.6) for _ in range(30)] for _ in "ab")) for _ in "abc"
        ]
        adjusted = stats.holm([paired.p or 0.0 for paired in suites])
        found = [judge(paired, p, 3, 0.05)[0] for paired, p in zip(suites, adjusted, strict=True)]
        wrong += bool({"better", "worse"} & set(found))
        rounds += 1
    assert wrong / rounds <= 0.05


def test_answers_that_fall_together_fool_mcnemar_but_not_the_flips() -> None:
    """12 entities in 5 wordings each, right or wrong as one: no version is better."""
    draw = random.Random(5)
    labels = [i // 5 for i in range(60)]
    naive = clustered = 0
    for _ in range(150):
        earlier, later = ([float(draw.random() < 0.5) for _ in range(12)] for _ in "ab")
        scores = [[v for v in values for _ in range(5)] for values in (earlier, later)]
        naive += verdict_of(pair_up(*scores)) in OPPOSITE
        clustered += verdict_of(pair_up(*scores, labels)) in OPPOSITE
    assert naive / 150 > 0.2 and clustered / 150 <= 0.05


Counts = tuple[int, int, int]  # wins, losses, ties


def all_failed(n: int, cut: Cut) -> tuple[Verdict, str]:
    paired = pair_up([0.0] * n, [0.0] * n)
    return judge(paired, paired.p, 1, 0.05, cut)


def test_two_that_fail_everything_are_said_to_fail_everything() -> None:
    assert all_failed(60, Cut(0, 0, 60)) == (
        "equivalent",
        "equivalent: both fail all 60 items; the difference lies between -4 points and +4 points "
        "(90% interval), within 5 points",
    )
    assert "both fail all of them, but up to 12 points" in all_failed(20, Cut(0, 0, 20))[1]


def test_answers_that_were_cut_are_no_proof_of_being_alike() -> None:
    assert all_failed(60, Cut(60, 60, 60)) == (
        "cannot tell",
        "cannot tell from 60 items: both fail all of them; 120 of 120 answers were cut by the "
        "token limit: ask again with --max-new-tokens",
    )
    assert all_failed(60, Cut(3, 3, 60))[0] == "equivalent", "5% of either side is not over 5%"
    assert all_failed(60, Cut(0, 4, 60))[0] == "cannot tell", "either side's"


def suites_of(counts: dict[str, Counts], margin: float = 0.05) -> list[Difference]:
    """Each suite's difference, by wins, losses and ties, after Holm over all."""
    pairs = {name: pair_up(*marks(*found)) for name, found in counts.items()}
    adjusted = stats.holm([1.0 if paired.p is None else paired.p for paired in pairs.values()])
    made = []
    for (name, paired), p in zip(pairs.items(), adjusted, strict=True):
        p_holm = None if paired.p is None else p
        found, reason = judge(paired, p_holm, len(pairs), margin)
        made.append(
            Difference(
                *("v1", "v2", name, None, "strict_task_valid", paired.n, None, paired.wins),
                *(paired.losses, paired.ties, paired.value, paired.interval, paired.test),
                *(paired.p, p_holm, "suites", None, None, found, reason, paired.narrow),
            )
        )
    return made


def over_all(counts: dict[str, Counts]) -> tuple[Overall, list[Difference]]:
    """As `compare` does it, without clusters."""
    suites = suites_of(counts)
    others = [counts[d.suite] for d in suites if d.verdict != "better"]
    together = pair_up(*marks(*map(sum, zip(*others, strict=True)))) if others else None
    return overall("v1", "v2", suites, 0.05, together), suites


UP, DOWN, ALIKE, UNCLEAR = (12, 0, 48), (0, 12, 48), (0, 0, 100), (2, 2, 56)


@pytest.mark.parametrize(
    ("counts", "wanted", "reason"),
    [
        ([UP, ALIKE], "better", "better on a; equivalent on b"),
        ([UP, UNCLEAR], "better", "better on a; cannot tell on b"),
        ([UP, (0, 1, 199)], "better", "better on a; equivalent on b"),
        ([UP, (0, 0, 0)], "better", "better on a; cannot tell on b"),
        ([UNCLEAR, DOWN], "worse", "worse on b; cannot tell on a"),
        ([UP, DOWN], "cannot tell", "mixed: better on a; worse on b"),
        ([ALIKE, ALIKE], "equivalent", "equivalent on a, b"),
        ([ALIKE, UNCLEAR], "cannot tell", "equivalent on a; cannot tell on b"),
        ([], "cannot tell", "cannot tell: there is no suite to tell by"),
    ],
)
def test_over_all_suites_no_loss_hides_a_gain_and_no_gain_a_loss(
    counts: list[Counts], wanted: Verdict, reason: str
) -> None:
    found, _ = over_all(dict(zip("ab", counts, strict=False)))
    assert (found.verdict, found.reason) == (wanted, reason)
    named = {*found.better, *found.worse, *found.equivalent, *found.unclear}
    assert named == set("ab"[: len(counts)])


def test_a_loss_that_is_seen_and_not_ruled_out_forbids_better() -> None:
    found, suites = over_all({"g1": (0, 4, 16), "g2": ALIKE, "g3": UP})
    assert [d.verdict for d in suites] == ["cannot tell", "equivalent", "better"]
    assert (found.verdict, found.doubtful, found.together_worse) == ("cannot tell", ["g1"], [])
    assert found.reason == (
        "better on g3, but losses cannot be ruled out: g1 (-20 points, 0 won, 4 lost of 20); "
        "equivalent on g2"
    )


def test_losses_that_no_suite_proves_count_together() -> None:
    """The review's case: six lost of twenty on two suites, each p = .062 after Holm."""
    found, suites = over_all({"g1": (0, 6, 14), "g2": (0, 6, 14), "g3": UP})
    assert [d.verdict for d in suites] == ["cannot tell", "cannot tell", "better"]
    assert (found.verdict, found.together_worse) == ("cannot tell", ["g1", "g2"])
    assert found.reason == (
        "mixed: better on g3; together worse on g1, g2 (-30 points, 0 won, 12 lost of 40 items, "
        "p = .0005)"
    )
    alone, _ = over_all({"g1": (0, 6, 14), "g2": (6, 0, 14), "g3": UP})
    assert alone.verdict == "cannot tell" and "together" not in alone.reason


COUNTS = st.tuples(st.integers(0, 14), st.integers(0, 14), st.integers(0, 120))


@settings(max_examples=80, deadline=None)
@given(st.lists(COUNTS, max_size=3))
def test_better_over_all_means_that_no_loss_is_seen_anywhere(others: list[Counts]) -> None:
    found, suites = over_all({"up": (20, 0, 40), **dict(zip("abc", others, strict=False))})
    lost = [d for d in suites if d.verdict == "worse" or (d.value is not None and d.value < -0.05)]
    assert not (lost and found.verdict == "better")
    if found.verdict == "better":
        assert found.better and not (found.worse or found.doubtful or found.together_worse)
    if all(d.verdict in ("better", "equivalent") for d in suites) and not found.together_worse:
        assert found.verdict == "better"


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (1.0, "p = 1"),
        (0.03125, "p = .031"),
        (0.0004, "p = .0004"),
        (1e-9, "p < .0001"),
        (0.05, "p = .050"),
        (0.04997, "p = .04997"),
        (0.5, "p = .500"),
    ],
)
def test_a_p_value_stays_on_its_side_of_the_line(p: float, text: str) -> None:
    assert p_text(p) == text


def test_shares_are_said_as_points() -> None:
    assert [signed(v) for v in (0.27, -0.031, 0.0, 0.004)] == [
        *("+27 points", "-3 points", "0 points", "+0.4 points"),
    ]
    assert points(0.01) == "1 point"
