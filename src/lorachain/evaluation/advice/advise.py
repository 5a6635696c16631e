"""Every rule asked about one version: does it hold, on what evidence, and what follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from lorachain.errors import UserError
from lorachain.evaluation.advice.changes import Formula
from lorachain.evaluation.advice.collect import Facts, facts_of
from lorachain.evaluation.advice.conditions import (
    Condition,
    comparisons,
    decisive,
    judge,
    text_of,
    undecided,
)
from lorachain.evaluation.advice.facts import Fact, fact
from lorachain.evaluation.advice.items import AdviceItem
from lorachain.evaluation.advice.lacking import more_items
from lorachain.evaluation.advice.rules import Rule
from lorachain.evaluation.advice.scores import Known
from lorachain.evaluation.advice.stage_yaml import contradiction, stage_yaml, union
from lorachain.evaluation.comparison import Comparison
from lorachain.paths import shown

# the fact that names what a rule is asked for
_ENTITY = {"task": "task", "suite": "old_suite", "tested_suite": "tested_suite"}


def advise(comparison: Comparison, version: str, rules: Iterable[Rule]) -> list[AdviceItem]:
    """Every rule's answer for one version, in the order of the rules.

    A rule for each task or suite gives an item for each that it holds for, or one if for none.
    Raises UserError for a version that was not compared, and for a rule whose sentence or settings
    cannot be made of these facts.
    """
    return advise_on(facts_of(comparison, version), rules)


def advise_on(facts: Facts, rules: Iterable[Rule]) -> list[AdviceItem]:
    """`advise`, for facts that were collected already."""
    return [item for rule in rules for item in _apply(rule, facts)]


def next_config(items: Sequence[AdviceItem]) -> tuple[str, list[str]]:
    """The changes of all rules that hold as one stage's YAML, and a sentence for each conflict.

    Of two rules that contradict each other the one that stands first in the file wins. ("", [])
    where nothing is to be set.
    """
    held = [item for item in items if item.holds == "yes" and item.config]
    if not held:
        return "", []
    config, conflicts = union((item.rule, item.config) for item in held)
    rules = dict.fromkeys(
        i.rule for i in held if any(config.get(k) == v for k, v in i.config.items())
    )
    return stage_yaml(config, held[0].version, rules), conflicts


def _apply(rule: Rule, facts: Facts) -> list[AdviceItem]:
    found = [_judged(rule, facts, known) for known in facts.each(rule.for_each)]
    if held := [item for item in found if item.holds == "yes"]:
        return held
    if not found:
        return [_of_nothing(rule, facts)]
    rest = [item for item in found if item.holds == "unknown"] or found
    evidence = dict.fromkeys(sentence for item in rest for sentence in item.evidence)
    do = dict.fromkeys(item.do for item in rest if item.do)
    item = _item(rule, facts, rest[0].holds, tuple(evidence), " ".join(do))
    return [replace(item, lacks_items=any(each.lacks_items for each in rest))]


def _of_nothing(rule: Rule, facts: Facts) -> AdviceItem:
    """The answer of a rule for each task or suite where there is none."""
    if rule.for_each == "suite" and facts.first:
        why = f"{facts.version} stands on the base alone: there is nothing to forget (its lineage)"
        return _item(rule, facts, "no", (why,), "")
    return _item(rule, facts, "unknown", (), _to_measure([_ENTITY[str(rule.for_each)]]))


def _judged(rule: Rule, facts: Facts, known: Mapping[str, Known]) -> AdviceItem:
    """One rule for the version, or for one of its tasks or suites."""
    import jinja2

    values = {name: found.value for name, found in known.items()}
    holds = judge(rule.when, values)
    if holds is False:
        return _item(rule, facts, "no", _evidence(decisive(rule.when, values), known), "")
    evidence, missing = _evidence(rule.when, known), undecided(rule.when, values)
    if rule.enough is not None:
        evidence += _evidence(rule.enough, known)
        if judge(rule.enough, values) is False:
            lacking = decisive(rule.enough, values)
            because, more = "; ".join(_evidence(lacking, known)), more_items(lacking, values)
            then = more or "Measure it again with more to go by."
            item = _item(rule, facts, "unknown", evidence, f"Too little to tell: {because}. {then}")
            return replace(item, lacks_items=more is not None)
        missing += undecided(rule.enough, values)
    missing += [name for name in rule.needs if name not in values]
    if not missing:
        try:
            do, config = rule.sentence(values), _changes(rule, facts, values)
            return _item(rule, facts, "yes", evidence, do, config, known)
        except jinja2.UndefinedError:
            missing = [name for name in rule.mentions if name not in values]
    return _item(rule, facts, "unknown", evidence, _to_measure(missing))


def _item(
    rule: Rule,
    facts: Facts,
    holds: Literal["yes", "no", "unknown"],
    evidence: Sequence[str],
    do: str,
    config: Mapping[str, Any] | None = None,
    known: Mapping[str, Known] | None = None,
) -> AdviceItem:
    entity = (known or {}).get(_ENTITY.get(str(rule.for_each), ""))
    return AdviceItem(
        rule=rule.id,
        title=f"{rule.title} ({entity.value})" if entity else rule.title,
        source=rule.source,
        holds=holds,
        evidence=tuple(evidence),
        do=do,
        config=dict(config or {}),
        config_yaml=stage_yaml(config, facts.version, [rule.id]) if config else "",
        version=facts.version,
    )


def _evidence(condition: Condition, known: Mapping[str, Known]) -> tuple[str, ...]:
    """A sentence for each fact that a condition asks for and that is known."""
    asks: dict[str, list[str]] = {}
    for test, wanted in comparisons(condition):
        asks.setdefault(test.name, []).append(str(test) if wanted else f"not {test}")
    sentences = []
    for name, tests in asks.items():
        if name in known:
            found, (value, source) = _fact(name), known[name]
            entity = known.get(_ENTITY.get(found.scope, ""))
            of = f" of {entity.value}" if entity and name not in _ENTITY.values() else ""
            measured = f"{text_of(value)} {found.unit}".rstrip()
            sentences.append(f"{name}{of} = {measured} ({source}); asks for {' and '.join(tests)}")
    return tuple(sentences)


def _to_measure(names: Iterable[str]) -> str:
    """What to do to know these facts, those with the same way together."""
    by_way: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        by_way.setdefault(_fact(name).how, []).append(name)
    return " ".join(f"To know {', '.join(group)}: {how}." for how, group in by_way.items())


def _changes(rule: Rule, facts: Facts, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that become others than the version was trained with."""
    changed: dict[str, Any] = {}
    for key, new in rule.change.items():
        value = new.value(values) if isinstance(new, Formula) else new
        left_out = value is None and isinstance(new, Formula)
        if not left_out and value != facts.settings.get(key):
            changed[key] = value
    if problem := contradiction(changed):
        raise UserError(f"{shown(rule.path)}: rule {rule.id}: change: {problem}")
    return changed


def _fact(name: str) -> Fact:
    found = fact(name)
    assert found is not None, name  # the rules were checked when they were read
    return found
