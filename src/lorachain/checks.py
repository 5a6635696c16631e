"""Checks of an answer by path: is the value that was asked for where it was asked for?

    {"path": "payload.title", "value": "Gabon", "match": "contains"}    a text that holds another
    {"path": "payload.fields.latitude", "value": 0.46, "tolerance": 0.001}    a number near another
    {"path": "payload.steps[0].step", "value": 1, "match": "exact"}    equal, and of the same type

A path is keys joined by dots, each with any number of `[index]`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

INDEX = re.compile(r"\[(\d+)\]")
_PATH = re.compile(r"(?:[^.\[\]]+|(?=\[))(?:\[\d+\])*(?:\.[^.\[\]]+(?:\[\d+\])*)*")
_KEYS = {"path", "value", "match", "tolerance"}


def value_at(answer: object, path: str) -> Any:
    """The value at `payload.groups[0].name`. Raises LookupError or TypeError without one."""
    found: Any = answer
    for part in path.split("."):
        name = part.partition("[")[0]
        if name:
            found = _typed(found, dict)[name]
        for index in INDEX.findall(part):
            found = _typed(found, list)[int(index)]
    return found


def check_holds(answer: object, check: Mapping[str, Any]) -> bool:
    """Whether the answer has what the check asks for, where it asks for it."""
    try:
        found = value_at(answer, check["path"])
    except (LookupError, TypeError):
        return False
    wanted = check["value"]
    if "tolerance" in check:
        if isinstance(found, bool) or not isinstance(found, int | float):
            return False
        return bool(abs(found - wanted) <= check["tolerance"])
    if check.get("match") == "contains":
        return isinstance(found, str) and wanted in found
    return type(found) is type(wanted) and bool(found == wanted)


def check_problem(check: object) -> str | None:
    """What is wrong with a check itself, or None."""
    if not isinstance(check, Mapping) or not {"path", "value"} <= check.keys():
        return "needs `path` and `value`"
    if unknown := sorted(check.keys() - _KEYS):
        return f"has unknown keys: {', '.join(unknown)}"
    if not isinstance(check["path"], str) or not _PATH.fullmatch(check["path"]):
        return f"`path` {check['path']!r} is no path such as payload.items[0].name"
    if "tolerance" in check:
        if not (_is_number(check["tolerance"]) and _is_number(check["value"])):
            return "`tolerance` and `value` must be numbers"
        return "`tolerance` and `match` exclude each other" if "match" in check else None
    match = check.get("match", "exact")
    if match not in ("exact", "contains"):
        return f"`match` is {match!r}; known are exact and contains"
    if match == "contains" and not isinstance(check["value"], str):
        return "`match` contains needs a text as `value`"
    return None


def _typed(value: Any, wanted: type) -> Any:
    """The value, if it is what a path's next part goes into: a text is no list of letters."""
    if not isinstance(value, wanted):
        raise TypeError(f"expected {wanted.__name__}, got {type(value).__name__}")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
