"""Fields of a JSON value: what stands at a path, what is equal to what, what is a number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from lorachain.checks import value_at


def leaves(value: Any) -> dict[tuple[str | int, ...], Any]:
    """Every value that holds no other, by its way from the root: {("a", 0, "b"): 1}."""
    return dict(_walk(value, ()))


def spelled(way: tuple[str | int, ...]) -> str:
    """A way as the path that `checks` reads, `$` for the root itself."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in way)
    return "".join(parts).removeprefix(".") or "$"


def has(reference: Any, path: str) -> bool:
    """Whether a reference has anything at a path."""
    return at(reference, path) is not NOTHING


def _walk(value: Any, way: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict | list) and value:
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _walk(below, (*way, key))
    else:
        yield way, value


class _Nothing:
    """What stands where nothing stands: null is something."""


NOTHING = _Nothing()


def at(value: Any, path: str | None) -> Any:
    """The value at a path, all of it without one, `NOTHING` where the path leads nowhere."""
    try:
        return value if path is None else value_at(value, path)
    except (LookupError, TypeError):
        return NOTHING


def same(found: Any, wanted: Any) -> bool:
    """Equal and of the same type, all the way down: as in `checks`, 4 is neither 4.0 nor true."""
    if type(found) is not type(wanted):
        return False
    if isinstance(found, dict):
        return found.keys() == wanted.keys() and all(same(found[k], wanted[k]) for k in found)
    if isinstance(found, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    return bool(found == wanted)


def number_of(value: Any) -> float | None:
    """A finite number as a float; None for anything else, which is near nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # 400 digits
        return None
    return number if math.isfinite(number) else None


def is_near(found: float, wanted: float, absolute: float, relative: float) -> bool:
    """Whether two finite numbers differ by no more than either tolerance, `relative` to `wanted`.

    2.1 is within 0.1 of 2.0, although their doubles differ by a little more.
    """
    room = max(absolute, relative * abs(wanted))
    rounding = 4 * math.ulp(max(abs(found), abs(wanted))) if room else 0.0
    return abs(found - wanted) <= room + rounding
