"""The words of the report: honest about rounding, plain about verdicts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorachain.evaluation.comparison import Interval, Overall
from lorachain.evaluation.report_text import (
    between,
    kind_label,
    kind_of,
    percent,
    percents,
    points,
    probability,
    sentence,
    why,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0%"), (1.0, "100%"), (0.999, "99%"), (0.001, "1%"), (0.625, "62%")],
)
def test_a_share_is_all_or_nothing_only_when_it_is(value: float | None, text: str) -> None:
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0"), (0.19, "+19"), (-0.4, "−40"), (-0.004, "−0.4"), (1e-9, "0")],
)
def test_points_have_their_sign(value: float | None, text: str) -> None:
    assert points(value) == text


@given(st.floats(-1, 1))
def test_a_difference_that_shows_has_the_sign_that_it_has(value: float) -> None:
    text = points(value)
    assert text == "0" or text.startswith("+" if value > 0 else "−")


@pytest.mark.parametrize(
    ("p", "text"),
    [(None, "–"), (0.00004, "< .0001"), (0.031, ".031"), (0.2, ".200"), (1.0, "1")],
)
def test_a_probability_is_short(p: float | None, text: str) -> None:
    assert probability(p) == text


@pytest.mark.parametrize("p", [0.0496, 0.04996, 0.0504, 0.0999])
def test_a_probability_stays_on_its_side_of_the_line(p: float) -> None:
    assert (float(probability(p)) < 0.05) == (p < 0.05)


def test_intervals_are_short() -> None:
    assert percents(Interval(0.71, 0.92)) == "71–92" and percents(None) == ""
    assert between(Interval(-0.05, 0.3)) == "−5 to +30" and between(None) == ""


def test_every_verdict_is_a_sentence() -> None:
    def of(verdict: str, **suites: list[str]) -> str:
        return sentence(Overall("v1", "v2", verdict, "", **suites), 0.05)  # type: ignore[arg-type]

    assert of("better") == "v2 is better than v1."
    assert of("worse") == "v2 is worse than v1."
    assert of("equivalent") == "v2 is as good as v1, within 5 points."
    assert of("cannot tell") == "These questions cannot tell whether v2 is better than v1."
    mixed = of("cannot tell", better=["a"], worse=["b"])
    assert mixed == "v2 is better than v1 on some suites and worse on others."
    assert kind_of(Overall("a", "b", "cannot tell", "", ["x"], ["y"])) == "mixed"
    doubted = of("cannot tell", better=["a"], unclear=["b"], doubtful=["b"])
    assert doubted == (
        "v2 is better than v1 on some suites, but losses on others cannot be ruled out."
    )
    together = {"better": ["a"], "unclear": ["b", "c"], "together_worse": ["b", "c"]}
    assert of("cannot tell", **together, doubtful=["b"]) == mixed
    assert kind_of(Overall("v1", "v2", "cannot tell", "", **together)) == "mixed"


def test_a_reason_does_not_repeat_its_verdict() -> None:
    assert why("worse", "worse: 0 won, 18 lost (-38 points)") == "0 won, 18 lost (−38 points)"
    assert why("cannot tell", "cannot tell from 20 items: 4 won") == "From 20 items: 4 won"
    assert why("better", "better on a; cannot tell on b-2") == "Better on a; cannot tell on b-2"


def test_kinds_of_failure_have_words() -> None:
    assert kind_label("root array") == "array instead of an object"
    assert kind_label("my_scorer") == "my_scorer"
