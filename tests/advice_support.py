"""Comparisons and facts for the tests of advice, made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lorachain.config import KNOWN_KEYS, StageConfig
from lorachain.evaluation.advice import Facts, Known
from lorachain.evaluation.advice.facts import FACTS
from lorachain.evaluation.comparison import (
    Cell,
    Comparison,
    Difference,
    Interval,
    SuiteInfo,
    Verdict,
    VersionInfo,
)

METRIC = "schema_valid"


def config(**changed: Any) -> dict[str, dict[str, Any]]:
    """A whole stage's settings as lineage.json holds them; changed ones as training__max_steps."""
    found = StageConfig().model_dump(mode="json")
    for name, value in changed.items():
        section, _, key = name.partition("__")
        found[section][key] = value
    return found


def version(
    name: str, parent: str | None = "base", own_suite: str | None = None, **facts: Any
) -> VersionInfo:
    """A version of a comparison; its folder is named like it, and the base has none."""
    return VersionInfo(
        name=name,
        folder=None if name == "base" else f"models/{name}",
        sha256=name,
        parent=None if name == "base" else parent,
        fingerprint="f",
        settings={},
        own_suite=own_suite,
        facts=facts,
    )


def suite(name: str, n: int = 120, tasks: Sequence[str] = (), headline: str = METRIC) -> SuiteInfo:
    """A suite of n items."""
    return SuiteInfo(name, f"eval/suites/{name}.jsonl", "0" * 64, n, headline, [headline], tasks)


def cell(
    of: str,
    on: str,
    value: float | None,
    *,
    task: str | None = None,
    metric: str = METRIC,
    n: int = 120,
    cut: int = 0,
) -> Cell:
    """One version's mean on a suite."""
    interval = None if value is None else Interval(max(value - 0.1, 0), min(value + 0.1, 1))
    return Cell(of, on, task, metric, n, 0 if value is None else n, value, interval, cut)


def difference(
    earlier: str,
    later: str,
    on: str,
    value: float | None,
    verdict: Verdict,
    *,
    task: str | None = None,
    items_needed: int | None = None,
    n: int = 120,
) -> Difference:
    """The later version minus the earlier one; only what advice reads is told apart."""
    return Difference(
        earlier=earlier,
        later=later,
        suite=on,
        task=task,
        metric=METRIC,
        n=n,
        clusters=None,
        wins=0,
        losses=0,
        ties=n,
        value=value,
        interval=None,
        test="mcnemar",
        p=None,
        p_holm=None,
        family="suites",
        smallest_visible=None,
        items_needed=items_needed,
        verdict=verdict,
        reason="",
    )


def comparison(
    versions: Sequence[VersionInfo],
    suites: Sequence[SuiteInfo],
    cells: Sequence[Cell] = (),
    differences: Sequence[Difference] = (),
    failures: Mapping[str, Mapping[str, Mapping[str, int]]] | None = None,
    backward_transfer: Mapping[str, Mapping[str, float | None]] | None = None,
) -> Comparison:
    """A comparison of these."""
    return Comparison(
        created="2025-01-01T00:00:00+00:00",
        base="Qwen/Qwen2.5-0.5B-Instruct",
        versions=versions,
        suites=suites,
        cells=cells,
        differences=differences,
        overall=[],
        broken=[],
        backward_transfer=backward_transfer or {},
        failures=failures or {},
        margin=0.05,
        scoring={},
    )


def facts(values: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> Facts:
    """Facts of version v2 with these values, each in its place: the version's, one task's, one
    older suite's, one tested suite's. The settings that are not named are those of no one:
    unknown."""
    known = {name: Known(value, "a test") for name, value in values.items()}
    scope = {name: FACTS[name].scope if name in FACTS else "version" for name in values}
    return Facts(
        "v2",
        {n: k for n, k in known.items() if scope[n] == "version"},
        _one(known, scope, "task"),
        _one(known, scope, "suite"),
        {**(settings or {}), **{n: v for n, v in values.items() if n in KNOWN_KEYS}},
        first=False,
        tested=_one(known, scope, "tested_suite"),
    )


def _one(known: Mapping[str, Known], scope: Mapping[str, str], wanted: str) -> list[Any]:
    found = {name: value for name, value in known.items() if scope[name] == wanted}
    return [found] if found else []
