"""Pairs of near texts: MinHash and LSH find candidates, their true Jaccard similarity decides.

Broder 1997, "On the resemblance and containment of documents"; datasketch has both parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from datasketch import MinHash, MinHashLSH
from tqdm import tqdm

from lorachain.preflight.shingles import own_shingles

# One word changed in 300 characters leaves as much. Two questions of one template that differ in a
# name alone reach 0.76 in the sample data.
NEAR = 0.9
# One letter changes five 5-grams: in texts with fewer than this, any change makes another question,
# and "Hi" is near nothing.
FEWEST = 20
PERMUTATIONS = 64
BANDS = (8, 8)  # candidates at 0.9: 99 in 100; at 0.95: all but 2 in 10,000; at 0.5: 3 in 100
COMPARED = 100_000  # characters of each text; a book's copy shows in its first pages
# Two sets at 0.9 agree in 58 of 64 permutations, give or take 2.4: fewer than this are not near.
_AGREE = 48
_AT_A_TIME = 4_096  # 5-grams that are permuted at once, to 1 MB


def near_pairs(
    texts: Sequence[str], wanted: Callable[[int, int], bool], *, progress: bool = True
) -> Iterator[tuple[int, int]]:
    """(i, j), i < j, of near texts. `texts` are different; `wanted` says which pairs matter."""
    with tqdm(
        total=3 * len(texts),
        desc="Comparing rows",
        unit="row",
        delay=1.0,
        leave=False,
        disable=not progress,
    ) as bar:
        sets = own_shingles([text[:COMPARED] for text in texts], bar)
        index = MinHashLSH(num_perm=PERMUTATIONS, params=BANDS)
        signatures = np.zeros((len(sets), PERMUTATIONS), np.uint32)
        blank = MinHash(num_perm=PERMUTATIONS, hashfunc=_as_it_is)
        for j, shingles in enumerate(sets):
            bar.update()
            if len(shingles) < FEWEST:
                continue
            minhash = blank.copy()
            for start in range(0, len(shingles), _AT_A_TIME):
                minhash.update_batch(shingles[start : start + _AT_A_TIME].tolist())
            signatures[j] = minhash.hashvalues
            candidates = np.array(sorted(index.query(minhash)), np.int64)
            agree = np.count_nonzero(signatures[candidates] == signatures[j], axis=1)
            for i in candidates[agree >= _AGREE].tolist():
                if wanted(i, j) and are_near(sets[i], shingles):
                    yield i, j
            index.insert(j, minhash, check_duplication=False)


def are_near(one: npt.NDArray[np.uint32], other: npt.NDArray[np.uint32]) -> bool:
    """Whether the Jaccard similarity of two sets, each sorted and not empty, is NEAR or more."""
    small, large = sorted((len(one), len(other)))
    if small < NEAR * large:  # the similarity is at most small / large
        return False
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common >= NEAR * (small + large - common)


def _as_it_is(value: int) -> int:
    return value
