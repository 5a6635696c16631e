"""How alike two texts are, in any alphabet: answers and references, a mistyped word and a key."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

_WORD = re.compile(
    # Han, kana and the scripts of South-East Asia have no spaces between words: each letter is one.
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
    "|[^\\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff]+"
)


def normalised(text: str, *, case: bool = True, punctuation: bool = False) -> str:
    """A text in one spelling: Unicode NFKC, and one space for all white space.

    `case` folds letters; `punctuation` reads each mark as a space, so that `3.5` is not 35.
    """
    text = unicodedata.normalize("NFKC", text)
    if case:
        text = unicodedata.normalize("NFKC", text.casefold())
    if punctuation:
        text = "".join(" " if unicodedata.category(c).startswith("P") else c for c in text)
    return " ".join(text.split())


def words(text: str) -> list[str]:
    """The words of a text, without punctuation."""
    return _WORD.findall(text)


def rouge_l(answer: str, reference: str) -> float | None:
    """ROUGE-L (Lin 2004): F1 of the longest common subsequence of words, from 0 to 1.

    None for a reference without words. There is no stemming, and every alphabet counts:
    rouge-score's own tokenizer keeps a to z and 0 to 9 alone.
    """
    from rapidfuzz.distance import Indel

    wanted = words(reference)
    if not wanted:
        return None
    numbers: dict[str, int] = {}
    ids = [[numbers.setdefault(w, len(numbers)) for w in text] for text in (words(answer), wanted)]
    # Insertions and deletions alone leave the common subsequence: 1 - (m+n-2L)/(m+n) = 2L/(m+n).
    return float(Indel.normalized_similarity(*ids))


def nearest(word: str, known: Iterable[str]) -> str:
    """' (did you mean ...?)' for a mistyped word, or nothing when none is near."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]}?)" if found else ""
