"""Who belongs where: a country, or a review, is in one split for ever, by a hash of its name.

A row that is added later therefore never moves a test entity into training.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

SALT = "lorachain sample data 1"
TRAIN, VALIDATION, TEST = "train", "val", "test"
# Of 100 entities: 58 train, 12 validate, 30 test.
TRAIN_BELOW, VALIDATION_BELOW = 58, 70

T = TypeVar("T")


def split_of(entity: str) -> str:
    """`train`, `val` or `test`."""
    digest = hashlib.sha256(f"{SALT}:{entity}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") % 100
    if place < TRAIN_BELOW:
        return TRAIN
    return VALIDATION if place < VALIDATION_BELOW else TEST


def random_for(*names: object) -> random.Random:
    """A generator of its own for each purpose: one more draw here changes nothing there."""
    return random.Random(":".join([SALT, *map(str, names)]))


def shuffled(values: Iterable[T], *names: object) -> list[T]:
    mixed = list(values)
    random_for("shuffle", *names).shuffle(mixed)
    return mixed


def spread(values: Sequence[T], entities: Sequence[str], *names: object) -> list[T]:
    """Shuffled, with one value of each entity before the second of any."""
    pairs = shuffled(zip(entities, values, strict=True), *names)
    seen: dict[str, int] = {}
    turns = []
    for entity, value in pairs:
        seen[entity] = seen.get(entity, 0) + 1
        turns.append((seen[entity], value))
    return [value for _, value in sorted(turns, key=lambda turn: turn[0])]
