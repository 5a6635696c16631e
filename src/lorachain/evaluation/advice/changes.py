"""What a rule changes in a stage's settings: values as they are, or formulas over one fact.

    training.lr_scheduler_type: constant_with_warmup
    training.learning_rate: {fact: training.learning_rate, times: 2.5, at_most: 2e-4}
    model.base_model: {fact: model.base_model, map: {small-model: larger-model}}

A formula is fact x times + plus, kept from at_least to at_most, and with `whole` (up, down)
rounded to a whole number. `map` takes one text for another and leaves the setting out for any
other; `optional: true` leaves it out where the fact is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from lorachain.config import KNOWN_KEYS, StageConfig
from lorachain.config import nearest as nearest_key
from lorachain.evaluation.advice.facts import fact, nearest
from lorachain.evaluation.advice.reader import Reader

_OPTIONS = ("fact", "times", "plus", "at_least", "at_most", "whole", "map", "optional")
_DIGITS = 9  # 2e-6 x 2.5 is 5e-6, not 4.999999999999999e-06


@dataclass(frozen=True)
class Formula:
    """A setting's new value out of one fact."""

    fact: str
    times: float = 1
    plus: float = 0
    at_least: float | None = None
    at_most: float | None = None
    whole: str | None = None
    map: Mapping[str, str] = field(default_factory=dict)
    optional: bool = False

    def value(self, known: Mapping[str, Any]) -> Any:
        """The new value; None where the setting is left out. The fact is known or optional."""
        old = known.get(self.fact)
        if old is None or self.map:
            return self.map.get(old) if old is not None else None
        if isinstance(old, str | bool):
            return old
        new = old * self.times + self.plus
        new = new if self.at_least is None else max(new, self.at_least)
        new = new if self.at_most is None else min(new, self.at_most)
        new = float(f"{new:.{_DIGITS}g}")
        if self.whole:
            return math.ceil(new) if self.whole == "up" else math.floor(new)
        return int(new) if new.is_integer() else new


def read_changes(value: Any, reader: Reader) -> dict[str, Any]:
    """A rule's `change:`, {dotted key: value or Formula}. Problems go to the reader's."""
    if not isinstance(value, dict):
        reader.problems.append(f"change must hold settings, got {value!r}")
        return {}
    found: dict[str, Any] = {}
    for key, new in value.items():
        if key not in KNOWN_KEYS:
            reader.problems.append(f"change: unknown setting {key}{nearest_key(str(key))}")
        elif isinstance(new, dict) and "fact" in new:
            if (formula := _formula(key, new, reader)) is not None:
                found[key] = formula
        elif problem := setting_problem(key, new):
            reader.problems.append(f"change: {problem}")
        else:
            found[key] = new
    return found


def setting_problem(key: str, value: Any) -> str | None:
    """Why a setting cannot have this value, whatever the other settings are; None if it can."""
    section, _, name = key.partition(".")
    model: Any = StageConfig.model_fields[section].annotation
    try:
        model.model_validate({name: value})
    except ValidationError as error:
        message = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        return f"{key}: {message}, got {value!r}"
    return None


def _formula(key: str, options: Mapping[str, Any], reader: Reader) -> Formula | None:
    before = len(reader.problems)

    def note(problem: str) -> None:
        reader.problems.append(f"change: {key}: {problem}")

    for option in options:
        if option not in _OPTIONS:
            note(f"unknown option {option}{nearest(str(option), _OPTIONS)}")
    name = str(options["fact"])
    known = reader.check_name(name)
    for option in ("times", "plus", "at_least", "at_most"):
        number = options.get(option)
        if number is not None and (isinstance(number, bool) or not isinstance(number, int | float)):
            note(f"{option} must be a number, got {number!r}")
    if options.get("whole") not in (None, "up", "down"):
        note(f"whole is up or down, got {options['whole']!r}")
    table = options.get("map", {})
    if not isinstance(table, dict) or not all(isinstance(t, str) for t in table.values()):
        note("map must hold texts")
    if not isinstance(options.get("optional", False), bool):
        note(f"optional is true or false, got {options['optional']!r}")
    if known:
        found = fact(name)
        assert found is not None
        counted = {*options} & {"times", "plus", "at_least", "at_most", "whole"}
        if found.kind != "number" and counted:
            note(f"{name} is no number, so {', '.join(sorted(counted))} cannot be applied")
        if found.kind != "text" and "map" in options:
            note(f"{name} is no text, so map cannot be applied")
    return Formula(**options) if len(reader.problems) == before else None
