"""Character 5-grams of texts, without the wording that many of the texts share.

Rows that are made from a template share most of their characters and are still different rows. So
a run of RUN characters that stands in TEMPLATE different texts or more is wording: its 5-grams do
not count, and what is compared is what a text has of its own. Without that, rows of one long
instruction ("Classify ...") would all be near each other, and finding them would take quadratic
time.

All hashes are polynomials over code points, modulo 2**64, built for all positions at once by
doubling (Karp and Rabin 1987): h[2k](i) = h[k](i) * B**k + h[k](i + k).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

GRAM = 5
RUN = 32  # shorter runs are common in any language; templates are longer
TEMPLATE = 20  # so many copies of one prompt are a template, fewer are copies
BATCH = 1_000_000  # characters that are hashed at a time: about 100 MB of temporaries
_BASE = 0x9E3779B97F4A7C15
_SPREAD = np.uint64(0xFF51AFD7ED558CCD)
_PLACE_BITS = 40  # of 64; the rest number the texts of a batch
FEWEST_PLACES = 1 << 22
MOST = 1_000  # times that are counted: with a batch's texts on top, they fit 16 bits

Words = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]
Counts = npt.NDArray[np.uint16]


def own_shingles(texts: Sequence[str], bar: Any = None) -> list[npt.NDArray[np.uint32]]:
    """Each text's own 5-grams as hashes, sorted, each once. `texts` are different from each other.

    `bar` is a progress bar that is told of each text twice: counted, hashed.
    """
    times = _times(texts, bar)
    found: list[npt.NDArray[np.uint32]] = []
    for start, end in _batches(texts):
        found += _batch_shingles(texts[start:end], times)
        if bar is not None:
            bar.update(end - start)
    return found


def _batches(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    start = size = 0
    for i, text in enumerate(texts):
        size += len(text)
        if size >= BATCH:
            yield start, i + 1
            start, size = i + 1, 0
    if start < len(texts):
        yield start, len(texts)


def _codes(texts: Sequence[str]) -> tuple[Words, Positions, Positions]:
    """All code points, and for each the number of its text and the end of that text."""
    raw = "".join(texts).encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(raw, dtype="<u4").astype(np.uint64) + np.uint64(1)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    owner = np.repeat(np.arange(len(texts)), lengths)
    return codes, owner, np.cumsum(lengths)[owner]


def _doubled(hashes: Words, width: int) -> Words:
    """The hashes of windows twice as wide, from those of `width` characters."""
    power = np.uint64(pow(_BASE, width, 1 << 64))
    return hashes[:-width] * power + hashes[width:]


def _runs(codes: Words, ends: Positions, table: Counts) -> tuple[Positions, Positions]:
    """(start, place in the table) of all runs that stand inside one text."""
    hashes, width = codes, 1
    while width < RUN and len(hashes) > width:
        hashes, width = _doubled(hashes, width), 2 * width
    if width < RUN:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    starts = np.flatnonzero(np.arange(len(hashes)) + RUN <= ends[: len(hashes)])
    return starts, (_mixed(hashes[starts]) & np.uint64(len(table) - 1)).astype(np.int64)


def _mixed(hashes: Words) -> Words:
    """Spread over all bits, so that any of them may be picked."""
    hashes = (hashes ^ (hashes >> np.uint64(33))) * _SPREAD
    return hashes ^ (hashes >> np.uint64(33))


def _times(texts: Sequence[str], bar: Any) -> Counts:
    """In how many texts each run stands, up to MOST, at its hash: a table with room for all runs.

    A run that shares a place with a template's counts as wording too, in all copies of a text: one
    in 1,000 where a third of the characters are wording.
    """
    table = np.zeros(max(FEWEST_PLACES, 1 << sum(map(len, texts)).bit_length()), np.uint16)
    for start, end in _batches(texts):
        codes, owner, ends = _codes(texts[start:end])
        starts, places = _runs(codes, ends, table)
        once = _each_once(owner[starts] << _PLACE_BITS | places) & ((1 << _PLACE_BITS) - 1)
        np.add.at(table, once, 1)
        table[once] = np.minimum(table[once], MOST)
        if bar is not None:
            bar.update(end - start)
    return table


def _each_once(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values, sorted, each once. Many times faster than np.unique, which hashes."""
    values.sort()
    return values[np.concatenate(([True], values[1:] != values[:-1]))[: len(values)]]


def _batch_shingles(texts: Sequence[str], times: Counts) -> list[npt.NDArray[np.uint32]]:
    codes, owner, ends = _codes(texts)
    grams = len(codes) - GRAM + 1
    if grams < 1:
        return [np.empty(0, np.uint32) for _ in texts]
    four = _doubled(_doubled(codes, 1), 2)
    hashes = _mixed(four[:grams] * np.uint64(_BASE) + codes[GRAM - 1 :])
    kept = np.arange(grams) + GRAM <= ends[:grams]
    kept &= ~_covered(codes, ends, times)
    keys = owner[:grams][kept].astype(np.uint64) << np.uint64(32)
    keys = _each_once(keys | hashes[kept] >> np.uint64(32))
    cuts = np.searchsorted(keys >> np.uint64(32), np.arange(1, len(texts), dtype=np.uint64))
    return [part.astype(np.uint32) for part in np.split(keys, cuts)]


def _covered(codes: Words, ends: Positions, times: Counts) -> npt.NDArray[np.bool_]:
    """For each 5-gram, whether all of it stands in wording."""
    starts, places = _runs(codes, ends, times)
    starts = starts[times[places] >= TEMPLATE]
    depth = np.zeros(len(codes) + 1, np.int32)
    np.add.at(depth, starts, 1)
    np.add.at(depth, starts + RUN, -1)
    free = np.concatenate(([0], np.cumsum(np.cumsum(depth[:-1]) == 0)))
    return np.asarray(free[GRAM:] == free[:-GRAM])
