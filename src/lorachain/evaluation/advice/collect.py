"""From a Comparison to the facts of one version, each with where it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lorachain.config import KNOWN_KEYS
from lorachain.errors import UserError
from lorachain.evaluation.advice.facts import FACTS, nearest
from lorachain.evaluation.advice.line import line_steps, old_suites, suites_worse
from lorachain.evaluation.advice.scores import (
    Known,
    by_name,
    measured,
    score_facts,
    tested_suites,
)
from lorachain.evaluation.comparison import Comparison, VersionInfo

MIN_CURVE = 4  # points of a validation curve: fewer say nothing about where it was best


@dataclass(frozen=True)
class Facts:
    """What is known of one version. `tasks`, `suites` (those of older versions) and `tested` (all
    that it was scored on) hold one mapping for each of them. `settings` are those it was trained
    with, by dotted keys, those that are null too. `first` says that it is known to stand on the
    base alone, so that there is nothing to forget."""

    version: str
    general: Mapping[str, Known]
    tasks: Sequence[Mapping[str, Known]]
    suites: Sequence[Mapping[str, Known]]
    settings: Mapping[str, Any]
    first: bool
    tested: Sequence[Mapping[str, Known]] = ()

    def each(self, scope: str | None) -> list[Mapping[str, Known]]:
        """All facts, once for each task or suite; a single mapping where `scope` is None."""
        if scope is None:
            return [self.general]
        found = {"task": self.tasks, "suite": self.suites, "tested_suite": self.tested}[scope]
        return [{**self.general, **own} for own in found]


def facts_of(comparison: Comparison, version: str) -> Facts:
    """The facts of one version. Raises UserError for a version that was not compared."""
    names = [info.name for info in comparison.versions]
    info = next((info for info in comparison.versions if info.name == version), None)
    if info is None:
        raise UserError(
            f"{version} is not in this comparison{nearest(version, names)}; it has "
            f"{', '.join(names)}."
        )
    trained, settings = _trained(info)
    scores, tasks = score_facts(comparison, info)
    tested, old = list(tested_suites(comparison, info)), list(old_suites(comparison, info))
    general = trained | scores | suites_worse(tested, old) | line_steps(comparison, info)
    parent = by_name(comparison, info.parent)
    if parent is not None and parent.folder is not None:
        general["parent_folder"] = Known(parent.folder, f"lineage of {version}")
    on_base = info.parent is None or (parent is not None and parent.folder is None)
    first = on_base and "steps" in trained  # without its record nobody knows
    return Facts(version, general, tasks, old, settings, first, tested)


def _trained(info: VersionInfo) -> tuple[dict[str, Known], dict[str, Any]]:
    """What training recorded, and the settings by dotted keys."""
    record, of_settings = f"training record of {info.name}", f"settings of {info.name}"
    given = dict(info.facts)
    settings = {
        f"{section}.{key}": value
        for section, keys in dict(given.get("config") or {}).items()
        for key, value in dict(keys).items()
    }
    settings |= {key: value for key, value in given.items() if key in KNOWN_KEYS}
    given |= {k: v for k, v in _derived(given).items() if given.get(k) is None}
    facts = {name: Known(given[name], record) for name in FACTS if name in given}
    facts["version"] = Known(info.name, "the comparison")
    if given.get("answers_cut") is not None:
        counts = (
            f"{given['answers_cut']} of {given['own_rows']} rows, "
            f"{given['lost_answer_tokens']} answer tokens lost"
        )
        share = given["truncated_answer_share"]
        facts["truncated_answer_share"] = Known(share, f"{counts}: {record}")
    facts |= {key: Known(value, of_settings) for key, value in settings.items()}
    return measured(facts), settings


def _derived(given: Mapping[str, Any]) -> dict[str, Any]:
    """Facts that follow from others; none for those whose grounds are missing."""
    found: dict[str, Any] = {}
    steps, rows, best = given.get("steps"), given.get("rows"), given.get("best_step")
    if steps and rows:
        found["steps_per_row"] = steps / rows
    curve = [(step, loss) for step, loss in given.get("validation_curve") or ()]
    if len(curve) >= MIN_CURVE:
        step, lowest = min(curve, key=lambda point: point[1])
        best = step if best is None else best
        found["best_step"] = best
        if lowest > 0:
            found["validation_rise"] = curve[-1][1] / lowest - 1
    if best is not None and steps:
        found["best_step_share"] = best / steps
    return found
