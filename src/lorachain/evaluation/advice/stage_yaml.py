"""The next stage's YAML: only what changes, from one rule or from all that hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from lorachain.config import Resolved, StageConfig, with_values
from lorachain.errors import UserError
from lorachain.paths import quoted

# A setting that, where it is set, decides over another one: both in one file say two things.
OVERRULES = {
    "training.max_steps": "training.num_train_epochs",
    "training.warmup_steps": "training.warmup_ratio",
}


def stage_yaml(config: Mapping[str, Any], version: str, rules: Iterable[str]) -> str:
    """Settings by dotted keys as a file for --config, with a comment that says how to use it."""
    sections: dict[str, dict[str, Any]] = {}
    for key, value in config.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = value
    flags = " ".join(f"--set {quoted(f'{key}={scalar(value)}')}" for key, value in config.items())
    comments = (
        f"Changes against the settings of {version}, by: {', '.join(rules)}.",
        f"As --config alone it leaves all others at their defaults. Beside {version}'s own YAML:",
        f"  {flags}",
    )
    lines = [f"# {''.join(c if c.isprintable() else '?' for c in line)}" for line in comments]
    body = yaml.safe_dump(sections, sort_keys=False, allow_unicode=True, width=1000)
    return "\n".join([*lines, body])


def scalar(value: Any) -> str:
    """A setting's value as YAML writes it in one line."""
    return value if isinstance(value, str) else json.dumps(value)


def contradiction(config: Mapping[str, Any]) -> str | None:
    """Why no stage could take these settings beside the defaults; None if one could."""
    parent = {"model.source_model": "parent"} if "replay.share" in config else {}
    try:
        with_values(Resolved(StageConfig(), {}), {**parent, **config}, "advice")
    except UserError as error:
        return str(error)
    return None


def union(changes: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[dict[str, Any], list[str]]:
    """All of (rule, its settings) together, and a sentence for each conflict.

    Where two rules set one key differently, or one sets a key that overrules the other's, the
    first one's stays.
    """
    taken: dict[str, tuple[Any, str]] = {}
    conflicts: list[str] = []
    for rule, config in changes:
        for key, value in config.items():
            other = _in_the_way(key, value, rule, taken)
            if other is None:
                taken.setdefault(key, (value, rule))
                continue
            kept, first = taken[other]
            conflicts.append(
                f"{rule} sets {key} to {scalar(value)}, but {first} sets {other} to "
                f"{scalar(kept)}: {first} stands first in the rules and is kept."
            )
    config = {key: value for key, (value, _) in taken.items()}
    if problem := contradiction(config):
        conflicts.append(f"Together these settings cannot be used. {problem}")
    return config, list(dict.fromkeys(conflicts))


def _in_the_way(
    key: str, value: Any, rule: str, taken: Mapping[str, tuple[Any, str]]
) -> str | None:
    """The key, taken by an earlier rule, beside which this one cannot stand."""
    if key in taken:
        return None if taken[key][0] == value else key
    pairs = {**OVERRULES, **{ruled: ruler for ruler, ruled in OVERRULES.items()}}
    other = pairs.get(key)
    if other is None or other not in taken or value is None:
        return None
    kept, first = taken[other]
    return other if kept is not None and first != rule else None
