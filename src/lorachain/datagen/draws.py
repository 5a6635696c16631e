"""Chance without a state: every draw is a hash of what it is for, so it is the same everywhere.

`random` would do, but its draws depend on how many came before, and a row's may not.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, TypeVar

from lorachain.files import canonical_json

T = TypeVar("T")


def draw(*key: Any) -> int:
    """A number from 0 to 2**64 - 1 that depends on the key alone."""
    text = canonical_json(key).encode("utf-8", "surrogatepass")
    return int.from_bytes(sha256(text).digest()[:8])


def share(*key: Any) -> float:
    """A number from 0 up to, not including, 1, in steps that a double holds exactly."""
    return (draw(*key) >> 11) / (1 << 53)


def shuffled(values: Sequence[T], *key: Any) -> list[T]:
    """The values in an order that depends on the key."""
    order = sorted(range(len(values)), key=lambda i: draw(*key, i))
    return [values[i] for i in order]


def dealt(values: Sequence[T], place: int, *key: Any) -> T:
    """The value at a place of an endless deal: all values in some order, then all in another.

    Any stretch of the deal has each value about equally often, and a longer deal begins like a
    shorter one.
    """
    block, at = divmod(place, len(values))
    return shuffled(values, *key, block)[at]
