"""Texts that are near each other, all of them: what a split must not part.

Two texts are near when, folded to one spelling,

- of their runs of three words three quarters are common to both (Jaccard similarity 0.75), or
- of their runs of five letters nine tenths are, where there are enough of them: a typo or another
  ending breaks runs of words, and hardly those of letters.

This does not find the same question in other words or in another language.

MinHash finds such pairs with a chance, and a pair that it misses would stand in train and test. So
candidates come from a prefix filter instead (Chaudhuri, Ganti and Kaushik 2006; Bayardo, Ma and
Srikant 2007): of two near sets, the rarest few runs of one hold one of the rarest few of the other.
It misses none, and is quick because what a template repeats in every text is never rare.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence

from lorachain.preflight.texts import loose, tight

WORDS, LIKE_WORDS = 3, 0.75
LETTERS, LIKE_LETTERS = 5, 0.9
FEWEST_LETTERS = 20  # runs of letters; in fewer, any change makes another question
# Where words are written without spaces, each character counts as one.
_WORD = re.compile(r"[぀-ヿ㐀-䶿一-鿿豈-﫿]|[^\W぀-ヿ㐀-䶿一-鿿豈-﫿]+")


def word_runs(text: str) -> frozenset[str]:
    """Runs of three words; a shorter text is one run, and a text of marks alone is its marks."""
    words = _WORD.findall(tight(text)) or [tight(text)]
    starts = range(max(1, len(words) - WORDS + 1))
    return frozenset(" ".join(words[i : i + WORDS]) for i in starts)


def letter_runs(text: str) -> frozenset[str]:
    """Runs of five letters without white space and marks; none of a text that is too short."""
    letters = loose(text)
    runs = frozenset(letters[i : i + LETTERS] for i in range(len(letters) - LETTERS + 1))
    return runs if len(runs) >= FEWEST_LETTERS else frozenset()


class NearTexts:
    """A collection of texts that knows which of them are near a text."""

    def __init__(self, texts: Sequence[str], like: float = LIKE_WORDS) -> None:
        self._joins = (
            _Join(texts, word_runs, like),
            _Join(texts, letter_runs, max(like, LIKE_LETTERS)),
        )

    def near(self, text: str) -> list[int]:
        """The places of the texts near this one (itself too, if it is among them), in order."""
        return sorted(set().union(*(join.like(text) for join in self._joins)))


def near_pairs(texts: Sequence[str], like: float = LIKE_WORDS) -> Iterator[tuple[int, int]]:
    """(i, j), i < j, of all near texts."""
    known = NearTexts(texts, like)
    for j, text in enumerate(texts):
        yield from ((i, j) for i in known.near(text) if i < j)


class _Join:
    """Sets that are found by sets like them: a Jaccard similarity of `like` or more."""

    def __init__(
        self, texts: Sequence[str], runs: Callable[[str], frozenset[str]], like: float
    ) -> None:
        self._runs = runs
        self._like = like
        self._sets = [runs(text) for text in texts]
        self._times = Counter(run for found in self._sets for run in found)
        self._places: dict[str, list[int]] = defaultdict(list)
        for i, found in enumerate(self._sets):
            for run in self._rarest(found):
                self._places[run].append(i)

    def like(self, text: str) -> set[int]:
        found = self._runs(text)
        candidates = {i for run in self._rarest(found) for i in self._places.get(run, ())}
        return {i for i in candidates if _alike(found, self._sets[i], self._like)}

    def _rarest(self, found: Collection[str]) -> list[str]:
        """A set shares one of these with every set like it: all but `like` of it, and one more."""
        kept = len(found) - math.ceil(self._like * len(found) - 1e-9) + 1
        order = sorted(found, key=lambda run: (self._times[run], run))
        return order[:kept] if found else []


def _alike(one: frozenset[str], other: frozenset[str], like: float) -> bool:
    common = len(one & other)
    return common >= like * (len(one) + len(other) - common) - 1e-9
