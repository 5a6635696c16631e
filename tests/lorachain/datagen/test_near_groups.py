"""Near texts: every pair that the definition names is found, and no other."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorachain.datagen.draws import dealt, draw, share, shuffled
from lorachain.datagen.near import NearTexts, letter_runs, near_pairs, word_runs

WORDS = st.sampled_from(["plan", "three", "days", "in", "Lima", "for", "two", "birds", "ü", "?"])
TEXTS = st.lists(st.lists(WORDS, max_size=12).map(" ".join), max_size=12)


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


@given(TEXTS)
def test_all_near_pairs_are_found_and_no_others(texts: list[str]) -> None:
    by_definition = {
        (i, j)
        for (i, one), (j, other) in combinations(enumerate(texts), 2)
        if jaccard(word_runs(one), word_runs(other)) >= 0.75
        or jaccard(letter_runs(one), letter_runs(other)) >= 0.9
    }
    assert set(near_pairs(texts)) == by_definition


@given(TEXTS)
def test_the_order_of_texts_does_not_matter(texts: list[str]) -> None:
    turned = texts[::-1]
    last = len(texts) - 1
    assert {(last - j, last - i) for i, j in near_pairs(turned)} == set(near_pairs(texts))


LONG = (
    "We arrive in Lima on a Tuesday in March with two children and would like to see birds, eat "
    "ceviche and be back at the hotel before the evening rain begins"
)


@pytest.mark.parametrize(
    ("other", "near"),
    [
        (LONG.upper() + "!!", True),
        (LONG.replace("birds", "ruins"), True),
        (LONG.replace("March", "May").replace("birds", "ruins").replace("Lima", "Quito"), False),
        ("Something else altogether, about a harbour in winter and what it costs", False),
    ],
)
def test_what_counts_as_near(other: str, near: bool) -> None:
    assert NearTexts([LONG]).near(other) == ([0] if near else [])


def test_a_typo_hides_no_pair() -> None:
    text = (
        "Which vaccination certificates does our granddaughter need for the overnight ferry from "
        "Valparaíso to Montevideo next September"
    )
    other = text.replace("granddaughter", "grandaughter") + "??"
    assert jaccard(word_runs(text), word_runs(other)) < 0.75
    assert NearTexts([text]).near(other) == [0]


def test_short_texts_and_marks_are_near_their_equals_alone() -> None:
    known = NearTexts(["Hi", "?!", "", "東京の天気は"])
    assert [known.near(text) for text in ("hi", "?!", "Hi you", "東京の天気は")] == [
        [0],
        [1],
        [],
        [3],
    ]
    assert known.near("東京の天気が") == []


def test_draws_depend_on_their_key_alone() -> None:
    assert draw("a", 1) == draw("a", 1) != draw("a", 2)
    # Fixed for good: a changed draw would move every row of every split.
    assert draw("split", 42, "0123456789abcdef") == 6243575503072405587
    assert shuffled(list("abcdef"), 7) == shuffled(list("abcdef"), 7)
    assert sorted(shuffled(list("abcdef"), 7)) == list("abcdef")


@given(st.lists(st.integers(), min_size=1, max_size=7), st.integers(0, 40))
def test_a_deal_gives_every_value_before_any_comes_again(values: list[int], places: int) -> None:
    found = [dealt(values, place, "key") for place in range(places)]
    for start in range(0, places - places % len(values), len(values)):
        assert sorted(found[start : start + len(values)]) == sorted(values)


def test_shares_lie_between_0_and_1_and_spread() -> None:
    found = [share("x", i) for i in range(2_000)]
    assert min(found) >= 0 and max(found) < 1
    assert 0.45 < sum(found) / len(found) < 0.55
