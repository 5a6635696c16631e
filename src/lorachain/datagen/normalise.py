"""Answers in one form: every key of the schema, in the schema's order.

A model learns the form that it sees. Where some rows leave a key out, and others put it last, it
learns that keys may be left out. So a required key that an answer lacks gets the empty value of its
type, where the schema takes one; where it does not (a summary must not be empty), the answer has
problems, and the row must be mended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lorachain.schemas import Schema

_EMPTY: Mapping[str, Any] = {"string": "", "array": [], "object": {}, "null": None}


def normalised(answer: Any, schema: Schema) -> tuple[Any, list[str]]:
    """An answer with all required keys in the schema's order, and the keys that were added.

    Required keys come first, then the others that the schema knows, then any other as it stood.
    What is no object, or has a schema of another kind, stays as it is.
    """
    properties = schema.contents.get("properties")
    if not isinstance(answer, dict) or not isinstance(properties, dict):
        return answer, []
    required = [str(key) for key in schema.contents.get("required") or ()]
    added = [
        key for key in required if key not in answer and _empty_of(properties.get(key)) is not _NONE
    ]
    filled = answer | {key: _empty_of(properties[key]) for key in added}
    order = dict.fromkeys([*required, *properties, *filled])
    return {key: filled[key] for key in order if key in filled}, added


_NONE = object()


def _empty_of(schema: Any) -> Any:
    """The empty value of a property's type, or _NONE where it has none that is clear."""
    kinds = schema.get("type") if isinstance(schema, dict) else None
    kinds = [kinds] if isinstance(kinds, str) else kinds or []
    kind = "null" if "null" in kinds else next((k for k in kinds if k in _EMPTY), None)
    if kind is None:
        return _NONE
    value = _EMPTY[kind]
    return value.copy() if isinstance(value, list | dict) else value
