"""Lengths in tokens: what rows are made of, and what a length limit costs under each choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lorachain.preflight.inputs import Tokens

BINS = 24


@dataclass(frozen=True)
class Spread:
    """Of one count over all rows, in tokens."""

    p50: int = 0
    p95: int = 0
    most: int = 0
    least: int = 0
    total: int = 0


@dataclass(frozen=True)
class Histogram:
    """Rows by length: `edges` has one entry more than the counts, in tokens; a bin holds its lower
    edge and not its upper one."""

    edges: tuple[int, ...]
    rows: tuple[int, ...]
    prompts: tuple[int, ...]
    answers: tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """What one choice of `data.on_overlong` costs at the limit.

    rows           rows that are left out, whole
    cut            rows that are trained on in part
    answer_tokens  trained tokens that are lost
    ends           rows that lose the token that ends their last answer, and are trained on
    """

    rows: int = 0
    cut: int = 0
    answer_tokens: int = 0
    ends: int = 0


@dataclass(frozen=True)
class Lengths:
    """The tokens of one file's rows before any limit, and what the limit does to them.

    `prompt` counts the tokens of a row that are not trained (the template's own among them),
    `answer` those that are. `lossless` is the smallest limit that loses nothing.
    """

    rows: int
    whole: Spread
    prompt: Spread
    answer: Spread
    histogram: Histogram
    limit: int
    over: int
    lossless: int
    drop: Cost
    truncate: Cost

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Counted:
    """One row in numbers: its tokens, those that carry loss, and those of them within the limit.
    `cut_end` tells whether the part within the limit ends inside an answer."""

    tokens: int
    trained: int
    within: int
    cut_end: bool


def count(row: Tokens, limit: int) -> Counted:
    """Count a row. The first token has no context to be predicted from, so it carries no loss."""
    mask = bytes(row.trained)  # counted at the speed of memory, 100,000 rows in a second
    size = len(mask)
    cut = size > limit and mask[limit - 1] == 1 and mask[limit] == 1
    return Counted(size, mask.count(1, 1), mask.count(1, 1, limit), cut)


def measure(rows: Sequence[Tokens], limit: int) -> Lengths:
    """Count all rows of a file against a limit. Imports numpy."""
    counted = [count(row, limit) for row in rows]
    tokens = [row.tokens for row in counted]
    answers = [row.trained for row in counted]
    prompts = [row.tokens - row.trained for row in counted]
    over = [row for row in counted if row.tokens > limit]
    return Lengths(
        *(len(counted), _spread(tokens), _spread(prompts), _spread(answers)),
        _histogram(tokens, prompts, answers),
        *(limit, len(over), max(tokens, default=0)),
        drop=Cost(rows=len(over), answer_tokens=sum(row.trained for row in over)),
        truncate=Cost(
            rows=sum(row.within == 0 for row in over),
            cut=sum(row.within > 0 for row in over),
            answer_tokens=sum(row.trained - row.within for row in over),
            ends=sum(row.cut_end and row.within > 0 for row in over),
        ),
    )


def _spread(values: list[int]) -> Spread:
    import numpy as np

    if not values:
        return Spread()
    middle, high = np.percentile(values, (50, 95), method="higher")  # a length that a row has
    return Spread(int(middle), int(high), max(values), min(values), sum(values))


def _histogram(tokens: list[int], prompts: list[int], answers: list[int]) -> Histogram:
    import numpy as np

    width = max(1, -(-(max(tokens, default=0) + 1) // BINS))
    edges = [i * width for i in range(BINS + 1)]
    counts = (
        tuple(int(n) for n in np.histogram(values, bins=edges)[0])
        for values in (tokens, prompts, answers)
    )
    return Histogram(tuple(edges), *counts)
