"""A row as one line of JSON, and back: strict about keys and types, in sentences."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, TypeVar, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from lorachain.datagen.rows import Row

R = TypeVar("R", bound=Row)


def dumped(row: Row) -> str:
    """A row as one line of JSON. Keys stand in the order of the class, so equal rows are equal."""
    return json.dumps(row.as_dict(), ensure_ascii=False, allow_nan=False)


def is_json(line: bytes) -> bool:
    """Whether a line is JSON."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def parsed(line: bytes, kind: type[R]) -> R:
    """A row from its line. Raises ValueError that says what is wrong."""
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")
    unknown = sorted(value.keys() - _fields(cast(Hashable, kind)).keys())
    if unknown:
        raise ValueError(f"no such key: {', '.join(unknown)}")
    return _validated(value, kind)


def _validated(value: Mapping[str, Any], kind: type[R]) -> R:
    fields = _fields(cast(Hashable, kind))
    found = [f"{name}: is missing" for name in sorted(_required(kind) - value.keys())]
    for name, given in value.items():
        try:
            fields[name].validate_python(given, strict=True)
        except ValidationError as error:
            found.append(f"{name}: {error.errors()[0]['msg']}")
    if value.get("id") == "":
        found.append("id: is empty")
    if found:
        raise ValueError("; ".join(found))
    return kind(**value)


@cache
def _fields(kind: Any) -> dict[str, TypeAdapter[Any]]:
    return {name: TypeAdapter(hint) for name, hint in get_type_hints(kind).items()}


def _required(kind: Any) -> set[str]:
    return {
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
