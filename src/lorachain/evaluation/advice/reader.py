"""Conditions from YAML: read, checked against the known facts, every problem gathered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lorachain import yamlfile
from lorachain.config import KNOWN_KEYS
from lorachain.evaluation.advice.conditions import OPERATORS, Compare, Condition, Joined, Named
from lorachain.evaluation.advice.facts import FACTS, fact, in_scope, nearest

_COMPARISON = re.compile(r"([\w.]+)\s*([<>=!~]+|\w+(?=\s|$))?\s*(.*)", re.DOTALL)


class Reader:
    """Reads conditions of one rule. What is wrong with them is gathered in `problems`."""

    def __init__(self, for_each: str | None, thresholds: Mapping[str, Any]) -> None:
        self.for_each = for_each
        self.thresholds = thresholds
        self.problems: list[str] = []

    def read(self, value: Any) -> Condition | None:
        """A condition as it stands in YAML: a text, a list (all), or all/any/not. None when it
        cannot be used."""
        if isinstance(value, str):
            return self._comparison(value)
        if isinstance(value, list):
            return self._joined("all", value)
        if isinstance(value, dict) and len(value) == 1:
            ((by, parts),) = value.items()
            if by in ("all", "any", "not"):
                return self._joined(by, parts if isinstance(parts, list) else [parts])
        self.problems.append(
            f"{value!r} is no condition; write `fact operator value`, or all:, any: or not:"
        )
        return None

    def _joined(self, by: Literal["all", "any", "not"], values: Sequence[Any]) -> Condition | None:
        if not values:
            self.problems.append(f"`{by}` is empty")
        parts = [part for part in map(self.read, values) if part is not None]
        if by == "not" and len(parts) > 1:
            parts = [Joined("all", tuple(parts))]
        return Joined(by, tuple(parts)) if parts else None

    def _comparison(self, text: str) -> Condition | None:
        match = _COMPARISON.fullmatch(text.strip())
        name, sign, rest = match.groups() if match else (text, None, "")
        before = len(self.problems)
        self.check_name(name)
        if sign not in OPERATORS:
            wrong = f"unknown operator {sign}" if sign else "no operator"
            self.problems.append(f"`{text}`: {wrong}; known are {', '.join(OPERATORS)}")
        if len(self.problems) > before:
            return None
        assert sign is not None
        try:
            right = self._right(name, sign, rest.strip())
        except ValueError as error:
            self.problems.append(f"`{text}`: {error}")
            return None
        return Compare(name, sign, right)

    def check_name(self, name: str) -> bool:
        """Whether a name is a fact of this rule; one that is not is noted."""
        if in_scope(name, self.for_each):
            return True
        if (found := fact(name)) is not None:
            self.problems.append(f"the fact {name} needs `for_each: {found.scope}`")
            return False
        usable = [n for n in (*FACTS, *KNOWN_KEYS) if in_scope(n, self.for_each)]
        self.problems.append(f"unknown fact {name}{nearest(name, usable)}")
        return False

    def _right(self, name: str, sign: str, text: str) -> tuple[Any, ...]:
        """Raises ValueError for operands that the fact cannot be compared with."""
        found = fact(name)
        assert found is not None
        if found.kind == "other":
            raise ValueError(f"{name} is a list or may be of several kinds: it is not comparable")
        if found.kind != "number" and sign not in ("==", "in"):
            raise ValueError(f"{name} is no number; use == or in")
        if not text:
            raise ValueError("nothing stands on the right")
        if sign == "in" and isinstance(self.thresholds.get(text), list):
            return tuple(self._checked(name, value) for value in self.thresholds[text])
        parts = [text]
        if sign == "in":
            parts = [part.strip() for part in text.split(",")]
        elif sign == "between":
            parts = re.split(r"\s+and\s+", text)
            if len(parts) != 2:
                raise ValueError("between needs two values: `between LOW and HIGH`")
        right = tuple(self._operand(name, part) for part in parts)
        numbers = not any(isinstance(operand, Named) for operand in right)
        if sign == "between" and numbers and right[0] > right[1]:
            raise ValueError("the lower end stands above the higher one")
        return right

    def _operand(self, name: str, text: str) -> Any:
        if text in self.thresholds:
            return self._checked(name, self.thresholds[text])
        found = fact(name)
        assert found is not None
        if found.kind == "number" and (other := fact(text)) is not None and other.kind == "number":
            self.check_name(text)
            return Named(text)
        return self._checked(name, _typed(text) if found.kind != "text" else text.strip("'\""))

    def _checked(self, name: str, value: Any) -> Any:
        """The value, when it is of the fact's kind."""
        found = fact(name)
        assert found is not None
        kinds = {"number": (int, float), "flag": (bool,), "text": (str,)}
        good = isinstance(value, kinds[found.kind])
        if not good or (found.kind == "number" and isinstance(value, bool)):
            wanted = {"number": "a number", "flag": "true or false", "text": "a text"}[found.kind]
            known = [*self.thresholds, *(n for n in FACTS if in_scope(n, self.for_each))]
            hint = nearest(value, known) if isinstance(value, str) else ""
            raise ValueError(f"{name} is {wanted}, got {value!r}{hint}")
        if found.choices and value not in found.choices:
            raise ValueError(
                f"{name} is never {value!r}{nearest(value, found.choices)}; "
                f"it is one of {', '.join(found.choices)}"
            )
        return value


def _typed(text: str) -> Any:
    try:
        return yamlfile.typed(text)
    except yamlfile.YAMLError:
        return text
