"""Near texts: what MinHash finds is what comparing every pair finds, templates left out."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest

from lorachain.preflight import shingles
from lorachain.preflight.near import FEWEST, NEAR, are_near, near_pairs
from lorachain.preflight.shingles import GRAM, RUN, TEMPLATE, own_shingles


def anything(i: int, j: int) -> bool:
    return True


def grams(text: str) -> set[str]:
    return {text[i : i + GRAM] for i in range(len(text) - GRAM + 1)}


def random_text(rng: random.Random, size: int) -> str:
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyzäß好مрик😀", k=size))


def changed(rng: random.Random, text: str, letters: int) -> str:
    letters_of = list(text)
    for place in rng.sample(range(len(text)), letters):
        letters_of[place] = "#"
    return "".join(letters_of)


def test_each_text_has_as_many_shingles_as_different_5_grams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = random.Random(1)
    texts = [random_text(rng, size) for size in (0, 1, 4, 5, 6, 31, 32, 33, 500)] + ["a" * 99]
    expected = [len(grams(text)) for text in texts]
    for batch in (1, 40, 1_000_000):
        monkeypatch.setattr(shingles, "BATCH", batch)
        found = own_shingles(texts)
        assert [len(part) for part in found] == expected
        assert all((np.diff(part.astype(np.int64)) > 0).all() for part in found)


def test_shingles_are_those_of_the_text_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(2)
    one, other = random_text(rng, 300), random_text(rng, 300)
    together = own_shingles([one + other, one, other])
    assert set(together[1]) | set(together[2]) < set(together[0])
    assert not set(together[1]) & set(together[2])
    monkeypatch.setattr(shingles, "BATCH", 1)
    assert all(map(np.array_equal, own_shingles([one + other, one, other]), together))


def test_wording_of_many_texts_is_left_out_and_what_is_their_own_stays() -> None:
    rng = random.Random(3)
    wording = random_text(rng, 200)
    own = [random_text(rng, 60) for _ in range(TEMPLATE)]
    for number, counts in ((TEMPLATE - 1, True), (TEMPLATE, False)):
        found = own_shingles([text + wording for text in own[:number]])
        alone = own_shingles([text + wording[: GRAM - 1] for text in own[:number]])
        assert [len(part) for part in alone] == [60] * number
        assert [np.array_equal(*pair) for pair in zip(found, alone, strict=True)] == (
            [not counts] * number
        )


def test_short_wording_stays() -> None:
    rng = random.Random(4)
    wording = random_text(rng, RUN - 1)
    texts = [random_text(rng, 60) + wording for _ in range(2 * TEMPLATE)]
    assert [len(part) for part in own_shingles(texts)] == [len(grams(text)) for text in texts]


def test_a_run_that_one_text_repeats_is_no_template() -> None:
    text = random_text(random.Random(5), 2 * RUN) * TEMPLATE
    assert len(own_shingles([text])[0]) == len(grams(text))


def test_the_pairs_are_those_that_comparing_all_of_them_gives() -> None:
    rng = random.Random(6)
    sources = [random_text(rng, rng.randint(150, 600)) for _ in range(60)]
    texts = sources + [changed(rng, text, n) for text in sources[:30] for n in (1, 2)]
    sets = [grams(text) for text in texts]
    expected = {
        (i, j)
        for i, j in combinations(range(len(texts)), 2)
        if len(sets[i] & sets[j]) >= NEAR * len(sets[i] | sets[j])
    }
    assert 30 < len(expected) < 90
    assert set(near_pairs(texts, anything, progress=False)) == expected


def test_unwanted_pairs_are_left_out() -> None:
    text = random_text(random.Random(7), 300)
    texts = [text, text + "x", text + "y"]
    assert set(near_pairs(texts, anything, progress=False)) == {(0, 1), (0, 2), (1, 2)}
    assert list(near_pairs(texts, lambda i, j: (i, j) == (0, 2), progress=False)) == [(0, 2)]


def test_texts_with_too_few_5_grams_are_near_nothing() -> None:
    text = "abcdefghijklmnopqrstuvwxyz0123456789"
    enough = text[: FEWEST + GRAM - 1]
    assert list(near_pairs([enough, enough + "_"], anything, progress=False)) == [(0, 1)]
    few = enough[:-1]
    assert list(near_pairs([few, few + "_", "", "a"], anything, progress=False)) == []


def test_no_texts() -> None:
    assert list(near_pairs([], anything, progress=False)) == []


def test_near_is_a_jaccard_similarity_of_nine_tenths() -> None:
    hundred = np.arange(100, dtype=np.uint32)
    assert are_near(hundred, np.arange(90, dtype=np.uint32))
    assert not are_near(hundred, np.arange(89, dtype=np.uint32))
    assert not are_near(hundred, np.arange(6, 106, dtype=np.uint32))
    assert are_near(np.arange(5, 105, dtype=np.uint32), hundred)
