"""Differences of two texts: nothing lost, nothing invented, never slow."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorachain.evaluation import textdiff
from lorachain.evaluation.textdiff import MAX_PIECE, MAX_WORDS, Piece, side_by_side

WORDS = st.lists(st.sampled_from(["a", "bc", " ", "\n", "{", "}", '"', "é", "<b>"]), max_size=60)


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces if piece.kind != "left out")


@given(WORDS, WORDS)
def test_the_pieces_of_each_side_are_its_text(a: list[str], b: list[str]) -> None:
    left, right = side_by_side("".join(a), "".join(b))
    assert (text_of(left), text_of(right)) == ("".join(a), "".join(b))


@given(WORDS, WORDS)
def test_what_is_the_same_is_the_same_on_both_sides(a: list[str], b: list[str]) -> None:
    left, right = side_by_side("".join(a), "".join(b))
    same = [[p.text for p in side if p.kind == "same"] for side in (left, right)]
    assert "".join(same[0]) == "".join(same[1])


def test_a_changed_word_is_marked_and_no_more() -> None:
    left, right = side_by_side('{"kind": "list", "n": 1}', '{"kind": "plan", "n": 1}')
    assert left == [
        Piece("same", '{"kind": "'),
        Piece("changed", "list"),
        Piece("same", '", "n": 1}'),
    ]
    assert [piece.text for piece in right if piece.kind == "changed"] == ["plan"]


def test_a_stray_space_between_changes_is_no_landmark() -> None:
    left, right = side_by_side("one two three", "four five six")
    assert left == [Piece("changed", "one two three")]
    assert right == [Piece("changed", "four five six")]


def test_equal_texts_have_no_mark() -> None:
    assert side_by_side("same", "same") == ([Piece("same", "same")], [Piece("same", "same")])
    assert side_by_side("", "") == ([], [])


def test_a_long_equal_stretch_is_left_out_with_its_length() -> None:
    left, _ = side_by_side("word " * 20_000 + "a", "word " * 20_000 + "b")
    assert [piece.kind for piece in left] == ["same", "left out", "same", "changed"]
    assert left[1].text == "98,800 equal characters"


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("x" * 100_000, "y" * 100_000),
        ("a b " * 25_000, "b a c " * 16_000),
        ("{[" * 50_000, "[{" * 50_000),
        (" ".join(map(str, range(20_000))), " ".join(map(str, range(1, 40_000, 2)))),
    ],
)
def test_the_work_is_bounded_whatever_the_length(
    earlier: str, later: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []

    def watched(junk: None, a: list[str], b: list[str]) -> object:
        compared.append(max(len(a), len(b)))
        return SequenceMatcher(junk, a, b)

    monkeypatch.setattr(textdiff, "SequenceMatcher", watched)
    left, right = side_by_side(earlier, later)
    assert max(compared) <= MAX_WORDS
    assert sum(len(piece.text) for piece in left + right) < 40 * MAX_PIECE
    gone = sum(int(re.sub(r"\D", "", p.text)) for p in left if p.kind == "left out")
    assert gone + len(text_of(left)) == len(earlier)
