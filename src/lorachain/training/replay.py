"""Replay: rows of a parent's whole line mixed into a later stage, against forgetting.

Rows are drawn by seed and evenly over the sources (each earlier version's tasks, each extra file):
the next row always comes from the source that has given the fewest trained tokens so far. Drawn at
large, a small task can vanish from the mix, and with it from the model.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lorachain.training.dataset import Example


@dataclass(frozen=True)
class Source:
    """Rows that may be replayed, and where they come from."""

    name: str  # a version's name, or a file's
    examples: Sequence[Example]


@dataclass(frozen=True)
class Replay:
    """The drawn rows and how many of them (and of their trained tokens) each source gave."""

    examples: tuple[Example, ...]
    rows: dict[str, int]
    trained_tokens: int
    wanted_tokens: int

    @property
    def exhausted(self) -> bool:
        """Whether the sources held fewer tokens than were wanted."""
        return self.trained_tokens < self.wanted_tokens


def draw(own: Sequence[Example], sources: Iterable[Source], share: float, seed: int) -> Replay:
    """Draw replayed rows until they make `share` of all trained tokens.

    A row that the stage has itself, or that another source gave, is not drawn again. With
    `share` 0 every row of the sources is taken.
    """
    own_tokens = sum(example.trained_tokens for example in own)
    wanted = round(share / (1 - share) * own_tokens) if share else 0
    seen: set[object] = {example.row.key for example in own}
    sources = list(sources)
    names = [source.name for source in sources]
    pools = _pools(sources, seen, seed)
    drawn: list[Example] = []
    given = dict.fromkeys(pools, 0)
    rows: dict[str, int] = {}
    total = 0
    while pools and (not share or total < wanted):
        key = min(pools, key=lambda k: (given[k], k))
        example = pools[key].pop()
        drawn.append(example)
        name = names[key[0]]
        rows[name] = rows.get(name, 0) + 1
        given[key] += example.trained_tokens
        total += example.trained_tokens
        if not pools[key]:
            del pools[key]
    return Replay(tuple(drawn), rows, total, wanted)


def _pools(
    sources: Iterable[Source], seen: set[object], seed: int
) -> dict[tuple[int, str], list[Example]]:
    """Shuffled rows by (source, task), without duplicates. A source counts by its place: a version
    or a file that is called otherwise gives the same rows."""
    pools: dict[tuple[int, str], list[Example]] = {}
    for place, source in enumerate(sources):
        for example in source.examples:
            if example.row.key not in seen:
                seen.add(example.row.key)
                pools.setdefault((place, example.row.task), []).append(example)
    for key in sorted(pools):
        random.Random(f"{seed}/{key[0]}/{key[1]}").shuffle(pools[key])
    return pools
