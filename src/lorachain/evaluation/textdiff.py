"""Two texts side by side with their differences marked by word, at a bounded cost.

`difflib` is quadratic at best, and an answer that never stopped has 100,000 characters. So what is
equal at both ends is taken off first, only the first `MAX_WORDS` words of the rest are compared,
and long stretches are left out with a word that says how much.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

MAX_WORDS = 1500  # of each side's differing middle; more are left out
MAX_PIECE = 2400  # characters of one marked or equal stretch
CONTEXT = 600  # characters kept on each side of an equal stretch that is longer

Kind = Literal["same", "changed", "left out"]
Blocks = list[tuple[bool, list[str], list[str]]]  # (equal, earlier words, later words)

_WORD = re.compile(r"\w+|\s+|[^\w\s]")
_FILLING = 3  # an equal stretch of so few characters between two changes is no landmark


@dataclass(frozen=True)
class Piece:
    """A stretch of one side's text. For "left out", `text` says what is missing."""

    kind: Kind
    text: str


def side_by_side(earlier: str, later: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts as pieces: equal ones, changed ones, and what was left out because it is long."""
    a, b = _WORD.findall(earlier), _WORD.findall(later)
    start = _equal_length(a, b)
    end = _equal_length(a[start:][::-1], b[start:][::-1])
    tail = a[len(a) - end :]
    a_middle, b_middle = a[start : len(a) - end], b[start : len(b) - end]
    blocks = [(True, a[:start], a[:start])]
    blocks += _compared(a_middle[:MAX_WORDS], b_middle[:MAX_WORDS])
    left, right = list(_pieces(blocks, 1)), list(_pieces(blocks, 2))
    left += _rest(a_middle[MAX_WORDS:])
    right += _rest(b_middle[MAX_WORDS:])
    closing = list(_pieces([(True, tail, tail)], 1))
    return left + closing, right + closing


def _equal_length(a: Sequence[str], b: Sequence[str]) -> int:
    length = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        length += 1
    return length


def _compared(a: list[str], b: list[str]) -> Blocks:
    """Equal and changed stretches in turn; small equal ones between changes are swallowed."""
    matcher = SequenceMatcher(None, a, b)  # with autojunk: without it, time grows by the square
    found: Blocks = []
    for name, a1, a2, b1, b2 in matcher.get_opcodes():
        equal = name == "equal" and (a2 == len(a) or len("".join(a[a1:a2])) > _FILLING)
        if found and not equal and not found[-1][0]:
            found[-1] = (False, found[-1][1] + a[a1:a2], found[-1][2] + b[b1:b2])
        else:
            found.append((equal, a[a1:a2], b[b1:b2]))
    return found


def _pieces(blocks: Blocks, side: Literal[1, 2]) -> Iterator[Piece]:
    for block in blocks:
        text = "".join(block[side])
        kind: Kind = "same" if block[0] else "changed"
        if len(text) <= MAX_PIECE:
            if text:
                yield Piece(kind, text)
            continue
        missing = f"{len(text) - 2 * CONTEXT:,} {'equal' if block[0] else 'changed'} characters"
        yield Piece(kind, text[:CONTEXT])
        yield Piece("left out", missing)
        yield Piece(kind, text[-CONTEXT:])


def _rest(words: list[str]) -> list[Piece]:
    length = sum(map(len, words))
    return [Piece("left out", f"{length:,} more characters, not compared")] if words else []
