"""One prompt of a task: axes dealt, a wording chosen, its slots drawn, the template filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lorachain.datagen.draws import dealt, draw, shuffled
from lorachain.datagen.spec import AXES, Slot
from lorachain.datagen.spec_file import Loaded
from lorachain.datagen.wordings import Wording, render
from lorachain.errors import UserError

SAME_WORDING = 20  # tries with the wording that was dealt; the later ones take any


@dataclass(frozen=True)
class Filled:
    """A prompt and what it was made of."""

    prompt: str
    wording: Wording
    axes: Mapping[str, str]
    slots: Mapping[str, Any]


class Filler:
    """The endless line of prompts of one task. `name` is the plan's, which every draw depends on.

    Prompt number k depends on k alone, so more prompts begin with the same ones. `attempt` counts
    the tries for one number: axes stay, slots are drawn again.
    """

    def __init__(self, loaded: Loaded, task: str, name: str) -> None:
        self._key = (name, loaded.spec.seed, task)
        self._wordings = loaded.wordings[task]
        self._used = {w.name: loaded.used(task, w.names) for w in self._wordings}
        self._axes = {axis: values for axis in AXES if (values := loaded.axis(task, axis))}

    def fill(self, number: int, attempt: int = 0) -> Filled:
        """Raises UserError where a template cannot be filled."""
        axes = {
            axis: dealt(values, number, *self._key, axis) for axis, values in self._axes.items()
        }
        if attempt < SAME_WORDING:
            chosen = dealt(self._wordings, number, *self._key, "wording")
        else:
            place = draw(*self._key, "wording", number, attempt) % len(self._wordings)
            chosen = self._wordings[place]
        values: dict[str, Any] = dict(axes)
        for name, slot in self._used[chosen.name].items():
            values[name] = self._value(name, slot, number, attempt, values)
        text = render(chosen.source, values, f"The template {chosen.name}").strip()
        if not text:
            raise UserError(f"The template {chosen.name} gave an empty prompt; mend it.")
        return Filled(text, chosen, axes, {k: v for k, v in values.items() if k not in axes})

    def _value(
        self, name: str, slot: Slot, number: int, attempt: int, above: Mapping[str, Any]
    ) -> Any:
        key = (*self._key, "slot", name)
        if slot.range is not None:
            low, high, step = (Decimal(str(n)) for n in (*slot.range[:2], slot.step))
            at = draw(*key, number, attempt) % (int((high - low) / step) + 1)
            value = low + at * step
            return int(value) if value == int(value) else float(value)
        values = slot.values or []
        if slot.pick is not None:
            fewest, most = slot.picks
            many = fewest + draw(*key, "many", number, attempt) % (most - fewest + 1)
            found: Any = shuffled(values, *key, number, attempt)[:many]
        elif slot.by is not None:
            of = slot.of or {}
            chosen = str(above[slot.by])
            if chosen not in of:
                raise UserError(f"slots.{name}.of has nothing for {slot.by} {chosen!r}; add it.")
            found = of[chosen][draw(*key, number, attempt) % len(of[chosen])]
        elif attempt == 0:
            found = dealt(values, number, *key)
        else:
            found = values[draw(*key, number, attempt) % len(values)]
        return _filled(found, above, f"slots.{name}")


def _filled(value: Any, above: Mapping[str, Any], where: str) -> Any:
    """A value whose texts may be templates themselves."""
    if isinstance(value, str):
        return render(value, above, where) if "{" in value else value
    if isinstance(value, list):
        return [_filled(inner, above, where) for inner in value]
    if isinstance(value, dict):
        return {key: _filled(inner, above, where) for key, inner in value.items()}
    return value
