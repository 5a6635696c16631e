"""What a continued stage takes from its parent, and what it says about every setting.

The base, how it is quantised, and the adapter's shape are the parent's. A default never contradicts
that; a value that the user asked for (in a config file that they named, by --set, by a flag) and
that differs from the parent's is an error that names the field, except where it can change without
changing the adapter's shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lorachain.adapters import adapter_config, lora_shape
from lorachain.config import KNOWN_KEYS, Resolved, flat, with_values
from lorachain.errors import UserError
from lorachain.lineage import Lineage

# Dropout and LoRA+'s ratio act in training alone, so a child may change them.
FREE = frozenset({"lora.lora_dropout", "lora.loraplus_lr_ratio"})


class Setting(NamedTuple):
    """One line of the table: the value, and inherited, overridden or as given."""

    key: str
    value: Any
    origin: str


def inherit(resolved: Resolved, parent: Lineage) -> tuple[Resolved, list[Setting]]:
    """The settings of a stage that goes on from `parent`, and where each comes from.

    Raises UserError that names every field in which another adapter shape was asked for.
    """
    before: dict[str, Any] = dict(_flat(parent.data.get("config", {})))
    fixed = lora_shape(adapter_config(parent.folder))
    fixed["lora.loraplus_lr_ratio"] = before.get("lora.loraplus_lr_ratio")
    asked_targets = resolved.config.lora.target_modules
    taken: dict[str, Any] = {}
    problems: list[str] = []
    now = flat(resolved.config)
    for key, value in fixed.items():
        if not resolved.asked(key) or (key == "lora.target_modules" and asked_targets == "auto"):
            taken[key] = value
        elif not _same(now[key], value) and key not in FREE:
            problems.append(
                f"{key} is {_text(now[key])}, but the parent's adapter has {_text(value)}"
            )
    if problems:
        raise UserError(
            f"An adapter keeps its shape along the chain, and {parent.name} has another one:\n"
            + "\n".join(f"  {problem}" for problem in problems)
            + "\nLeave these settings out, or train a new version 1 with fine_tune.py."
        )
    if not resolved.asked("model.base_model"):
        taken["model.base_model"] = parent.base_name
    merged = with_values(resolved, taken, "parent")
    held, source = _how_the_base_was_held(resolved, parent)
    merged = with_values(merged, held, source)
    return merged, _table(merged, before, taken | held)


def _how_the_base_was_held(resolved: Resolved, parent: Lineage) -> tuple[dict[str, Any], str]:
    """The parent's quantisation as it really was, unless another one was asked for, and whether it
    counts as asked for: 4 bits on a CPU do where the parent had them on a CPU too."""
    keys = {"quantization.load_in_4bit": "4bit", "quantization.load_in_8bit": "8bit"}
    if any(resolved.asked(key) for key in keys):
        return {}, "default"
    bits = str(parent.data["identity"]["precision"]).rpartition(", ")[2]
    on_cpu = parent.data.get("probe", {}).get("device") == "cpu"
    return {key: bits == name for key, name in keys.items()}, "parent" if on_cpu else "default"


def _table(merged: Resolved, before: Mapping[str, Any], taken: Mapping[str, Any]) -> list[Setting]:
    values = flat(merged.config)
    settings = []
    for key in KNOWN_KEYS:
        if key in taken:
            origin = "inherited"
        elif merged.asked(key) and key in before and not _same(before[key], values[key]):
            origin = "overridden"
        else:
            origin = "as given"
        settings.append(Setting(key, values[key], origin))
    return settings


def format_table(settings: list[Setting]) -> str:
    """The table as text: one setting a line."""
    width = max(len(setting.key) for setting in settings)
    return "\n".join(
        f"  {setting.key:<{width}}  {setting.origin:<10}  {_text(setting.value)}"
        for setting in settings
    )


def _flat(config: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{s}.{k}": v for s, keys in config.items() for k, v in keys.items()}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return sorted(a) == sorted(b)
    return bool(a == b)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "not set" if value is None else str(value)
