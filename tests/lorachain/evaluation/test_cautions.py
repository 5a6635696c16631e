"""Notes of a comparison: batches of other sizes, and scorers that fail."""

from __future__ import annotations

import pytest
from judged_support import RIGHT, Answers, judged

from lorachain.evaluation.cautions import limit_notes
from lorachain.evaluation.comparison import Comparison
from lorachain.evaluation.score import Score


def batches(*sizes: int) -> Answers:
    return [(RIGHT, size) for size in sizes]


def of_batches(found: Comparison) -> list[str]:
    return [note for note in found.notes if "batches" in note]


def test_a_limit_is_said() -> None:
    assert limit_notes(None) == []
    assert limit_notes(1) == ["Asked of each suite: the first item only (--limit 1)."]
    assert limit_notes(9) == ["Asked of each suite: the first 9 items only (--limit 9)."]


def test_batches_that_were_halved_are_said_with_versions_sizes_and_items() -> None:
    whole, halved = batches(*[8] * 16), batches(*[8] * 6, *[4] * 10)
    left = batches(*[8] * 15, 1)
    found = judged(
        s={"base": whole, "v1": whole, "v2": halved},
        t={"base": whole, "v1": whole, "v2": left},
    )
    assert of_batches(found) == [
        "10 of the 16 items of s were answered in batches of different sizes (base, v1: 8; v2: 4), "
        "as happens after memory ran out. That alone can change an answer: compare_versions.py "
        "--exact shows what batches change, or compare again with a smaller --batch-size."
    ], "one left over in t is no news"


@pytest.mark.parametrize(("differ", "said"), [(7, False), (8, True)])
def test_as_many_as_a_batch_are_no_left_over_batch(differ: int, said: bool) -> None:
    other = batches(*[8] * (16 - differ), *[7] * differ)
    assert bool(of_batches(judged(s={"base": batches(*[8] * 16), "v1": other}))) is said


def test_small_batches_that_are_the_same_for_all_say_nothing() -> None:
    halved = batches(*[4] * 16)
    assert of_batches(judged(s={"base": halved, "v1": halved})) == []


def test_batches_that_were_asked_for_are_settings_and_said_once() -> None:
    answers = {"base": batches(*[8] * 16), "v1": batches(*[1] * 16)}
    notes = judged(s=answers, asked={"v1": 1}).notes
    assert [note for note in notes if "batch" in note] == [
        "The answers were made under different settings: batch_size is not the same for all "
        "(base: 8; v1: 1). What differs between those versions may come from that."
    ]


def by_polite(value: float | None) -> tuple[Score, int]:
    reasons = {} if value is not None else {"polite": "KeyError: 'tone'"}
    return Score(values={"polite": value}, unscored=reasons), 8


def test_a_scorer_that_failed_on_all_answers_is_not_taken_for_items_without_a_right_one() -> None:
    failed = [by_polite(None)] * 4
    notes = judged(s={"base": failed, "v1": failed}).notes
    assert "polite could not score 4 of 4 items of s (KeyError: 'tone')." in notes
    assert (
        "Nothing in s could be scored: polite gave no value for any answer. Mend what scores and "
        "run rescore.py; no answer is made again." in notes
    )
    assert not any("right answer" in note for note in notes)
    nothing = judged(s={"base": [(Score(), 8)], "v1": [(Score(), 8)]}).notes
    assert "Nothing in s could be scored: no item knows of a right answer." in nothing


def test_what_a_scorer_left_out_is_said_once() -> None:
    some = [by_polite(1.0)] * 3 + [by_polite(None)]
    notes = [n for n in judged(s={"base": some, "v1": some}).notes if "polite" in n]
    assert notes == ["polite could not score 1 of 4 items of s (KeyError: 'tone')."]
