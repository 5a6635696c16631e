"""Scores of one answer, and their summary over a suite and its tasks.

What cannot be scored is None, never 0: an item without schema or checks says nothing about how
well an answer fits them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from lorachain.answers import Schema, check_answer, parse_answer
from lorachain.checks import check_holds
from lorachain.evaluation.generated import Generated
from lorachain.evaluation.suites import Item

RATES = ("strict", "parse", "schema_valid", "strict_valid", "task_valid", "fields", "exact_fields")
MAX_PROBLEMS = 20


@dataclass(frozen=True)
class Score:
    """How good one answer is. Every field is None where the item does not ask for it.

    strict        the whole answer is JSON
    parse         some tier of the parser found a whole root object
    schema_valid  that object fits the schema
    strict_valid  strict, and fits the schema
    task_valid    it fits the schema and is the kind of answer that the task expects
    fields        the share of the item's checks that hold
    exact_fields  all of them hold
    """

    strict: bool | None = None
    parse: bool | None = None
    schema_valid: bool | None = None
    strict_valid: bool | None = None
    task_valid: bool | None = None
    fields: float | None = None
    exact_fields: bool | None = None
    tier: str | None = None
    root_type: str | None = None
    truncated: bool | None = None
    ambiguous: bool | None = None
    problems: tuple[Mapping[str, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return found | {"problems": [dict(problem) for problem in self.problems]}


def score(text: str, item: Item, schemas: Mapping[str, Schema]) -> Score:
    """Score one answer against all that its item knows of a right one."""
    schema = schemas[item.schema] if item.schema else None
    if schema is None and not item.expected and not item.checks:
        return Score()
    problems: list[Mapping[str, str]] = []
    schema_valid = strict_valid = None
    if schema is not None:
        checked = check_answer(text, schema)
        answer = checked.answer
        schema_valid, strict_valid = checked.lenient_valid, checked.strict_valid
        problems += [{"path": p.path, "kind": p.kind} for p in checked.problems]
    else:
        answer = parse_answer(text)
    value = answer.value if answer.lenient else None
    unexpected = [p for p, v in item.expected.items() if not _equals(value, p, v)]
    failed = [check["path"] for check in item.checks if not check_holds(value, check)]
    problems += [{"path": path, "kind": "expected"} for path in unexpected]
    problems += [{"path": path, "kind": "check"} for path in failed]
    task = None if schema is None and not item.expected else schema_valid is not False
    return Score(
        strict=answer.strict,
        parse=answer.lenient,
        schema_valid=schema_valid,
        strict_valid=strict_valid,
        task_valid=None if task is None else task and not unexpected,
        fields=1 - len(failed) / len(item.checks) if item.checks else None,
        exact_fields=not failed if item.checks else None,
        tier=answer.tier,
        root_type=answer.root_type,
        truncated=answer.truncated,
        ambiguous=answer.ambiguous,
        problems=tuple(problems[:MAX_PROBLEMS]),
    )


@dataclass(frozen=True)
class Scored:
    """An item with one version's answer to it, scored."""

    item: Item
    generated: Generated
    score: Score


def summary(answers: Sequence[Scored]) -> dict[str, Any]:
    """Rates from 0 to 1 (None where nothing could be scored), finish counts and tokens."""
    rates = {name: _rate(getattr(a.score, name) for a in answers) for name in RATES}
    finish = {kind: sum(a.generated.finish == kind for a in answers) for kind in ("eos", "length")}
    return {
        "n": len(answers),
        "scored": sum(a.score.parse is not None for a in answers),
        **rates,
        "finish": finish,
        "input_tokens": sum(a.generated.prompt_tokens for a in answers),
        "output_tokens": sum(a.generated.output_tokens for a in answers),
    }


def by_task(answers: Sequence[Scored]) -> dict[str, dict[str, Any]]:
    """The summary of each task (of each topic, for questions), by name."""
    groups: dict[str, list[Scored]] = {}
    for answer in answers:
        name = answer.item.task or answer.item.topic
        if name:
            groups.setdefault(name, []).append(answer)
    return {name: summary(group) for name, group in sorted(groups.items())}


def _rate(values: Iterable[bool | float | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None


def _equals(answer: Any, path: str, value: Any) -> bool:
    return check_holds(answer, {"path": path, "value": value})
