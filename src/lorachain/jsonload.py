"""From a piece of JSON text to a value, with limits under which nothing escapes or runs away.

`decode` is `json.loads` (the deviations stand in `lorachain.answers`); `repair` is json_repair with
a meter. Neither raises on any text, and both are linear in its length.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn, SupportsIndex

MAX_DEPTH = 64
"""Levels of nesting. json.loads would give up somewhere near the interpreter's recursion limit."""

READS_PER_CHAR = 50
"""How often json_repair may look at each character. Ordinary broken answers need fewer than 10."""


class _NotStrict(ValueError):
    pass


class _DuplicateKey(ValueError):
    pass


def decode(text: str, *, strict: bool = False) -> Iterator[Any]:
    """The values that a whole text has as JSON: none, or one; two if a key is given twice.

    `strict` takes RFC 8259 and no more. Otherwise strings may hold raw line ends, what no double
    holds is null, and of a key that is given twice first the last value counts, then the first.
    """
    decoders = [_STRICT if strict else _ONCE]
    for decoder in decoders:
        try:
            value = decoder.decode(text)
        except _DuplicateKey:
            decoders += [] if strict else [_LAST, _FIRST]
        except (ValueError, RecursionError):
            return
        else:
            if not _too_deep(value):
                yield value


def repair(text: str) -> Any:
    """What json_repair makes of a text, as plain types under `decode`'s limits; None if nothing."""
    import json_repair

    metered = _Metered(text, [READS_PER_CHAR * len(text)])
    try:
        repaired = json_repair.repair_json(metered, return_objects=True, skip_json_loads=True)
        return next(decode(json.dumps(repaired)), None)
    except Exception:
        # Heuristics on arbitrary text may fail in any way; then the text has no such reading.
        return None


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for part in level
            if isinstance(part, dict | list)
            for item in (part.values() if isinstance(part, dict) else part)
        ]
    return any(isinstance(part, dict | list) for part in level)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _DuplicateKey
    return found


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _refuse(_: str) -> NoReturn:
    raise _NotStrict


def _null(_: str) -> None:
    return None


def _float(literal: str) -> float | None:
    value = float(literal)
    return value if math.isfinite(value) else None


def _int(literal: str) -> int | None:
    # Beyond doubles, float() of the value fails later on; beyond 4,300 digits, int() does here.
    return None if _float(literal) is None else int(literal)


def _strict_float(literal: str) -> float:
    value = _float(literal)
    return _refuse(literal) if value is None else value


def _strict_int(literal: str) -> int:
    value = _int(literal)
    return _refuse(literal) if value is None else value


_STRICT = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_constant=_refuse,
    parse_float=_strict_float,
    parse_int=_strict_int,
)
_ONCE, _LAST, _FIRST = (
    json.JSONDecoder(
        strict=False,
        object_pairs_hook=hook,
        parse_constant=_null,
        parse_float=_float,
        parse_int=_int,
    )
    for hook in (_unique, dict, _first_wins)
)


class _TooManyReads(Exception):
    pass


class _Metered(str):
    """Text that can be read only so often.

    On some texts json_repair takes cubic time (0.64: 47 seconds for `{“].` a thousand times). It
    reads its text by index and by slice, so counting those stops it in linear time.
    """

    reads: list[int]

    def __new__(cls, text: str, reads: list[int]) -> _Metered:
        metered = super().__new__(cls, text)
        metered.reads = reads
        return metered

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        part = super().__getitem__(key)
        self.reads[0] -= len(part) + 1
        if self.reads[0] < 0:
            raise _TooManyReads
        return _Metered(part, self.reads) if isinstance(key, slice) else part

    def __add__(self, other: str) -> str:
        return _Metered(super().__add__(other), self.reads)
