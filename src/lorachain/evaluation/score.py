"""Scores of one answer, and their summary over a suite and its tasks.

What cannot be scored is None, never 0: an item without schema or checks says nothing about how
well an answer fits them. `scorers` adds values of other kinds, by names that the user chose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lorachain.answers import Answer, Checked, Schema, check_answer, parse_answer
from lorachain.checks import check_holds
from lorachain.evaluation.generated import Generated
from lorachain.suites import Item

if TYPE_CHECKING:  # scorers stand on this file
    from lorachain.evaluation.scorers import Scorers

RATES = (
    *("strict", "parse", "strict_valid", "schema_valid", "strict_task_valid", "task_valid"),
    *("fields", "exact_fields"),
)
LENIENT = {"strict_task_valid": "task_valid", "strict_valid": "schema_valid", "strict": "parse"}
"""What stands beside each strict rate: the same after forgiving parsing."""
MAX_PROBLEMS = 20
MAX_REASONS = 5
MAX_PATH = 120


@dataclass(frozen=True)
class Score:
    """How good one answer is. Every field is None where the item does not ask for it.

    strict             the whole answer is JSON
    parse              some tier of the parser found a whole root object
    strict_valid       strict, and fits the schema
    schema_valid       what was found by any tier fits the schema
    strict_task_valid  strict, fits the schema, and is the kind of answer that the task expects
    task_valid         the same of what was found by any tier
    fields             the share of the item's checks that hold
    exact_fields       all of them hold
    values             what the scorers gave, from 0 to 1, by their names
    unscored           why a value is None, by the same names
    """

    strict: bool | None = None
    parse: bool | None = None
    strict_valid: bool | None = None
    schema_valid: bool | None = None
    strict_task_valid: bool | None = None
    task_valid: bool | None = None
    fields: float | None = None
    exact_fields: bool | None = None
    tier: str | None = None
    root_type: str | None = None
    truncated: bool | None = None
    ambiguous: bool | None = None
    problems: tuple[Mapping[str, str], ...] = ()
    values: Mapping[str, float | None] = field(default_factory=dict)
    unscored: Mapping[str, str] = field(default_factory=dict)

    def metric(self, name: str) -> float | None:
        """One of RATES, or a scorer's value, as a number; None where it could not be scored."""
        value = getattr(self, name) if name in RATES else self.values.get(name)
        return None if value is None else float(value)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        found["problems"] = [dict(problem) for problem in self.problems]
        return found | {"values": dict(self.values), "unscored": dict(self.unscored)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Score:
        """From `as_dict`, of this lorachain or of another: what it does not know is left out."""
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        return cls(**known | {"problems": tuple(data.get("problems", ()))})


@dataclass
class Reading:
    """One answer's text, parsed when first needed and once. The schema chooses between readings."""

    text: str
    schema: Schema | None = None

    @cached_property
    def checked(self) -> Checked:
        """The answer with its problems. Ask only where there is a schema."""
        assert self.schema is not None
        return check_answer(self.text, self.schema)

    @cached_property
    def answer(self) -> Answer:
        """The answer, parsed."""
        return parse_answer(self.text) if self.schema is None else self.checked.answer

    @property
    def value(self) -> Any:
        """The whole value, whatever its type; None where there is none or it was cut off."""
        return None if self.answer.truncated else self.answer.value

    @property
    def was_parsed(self) -> bool:
        """Whether anything asked for more than the text."""
        return "answer" in self.__dict__


def score(
    text: str, item: Item, schemas: Mapping[str, Schema], scorers: Scorers | None = None
) -> Score:
    """Score one answer against all that its item knows of a right one.

    `scorers` name what is scored, task by task; without them it is kind `schema` alone. Raises
    nothing, whatever the text.
    """
    own = schemas[item.schema] if item.schema else None
    if scorers is None:
        return _score_schema(Reading(text, own), item)
    chosen = scorers.of(task_of(item))
    other = next((s.schema_in_place for s in chosen if s.schema_in_place), None)
    reading = Reading(text, other or own)
    by_schema = any(s.kind == "schema" for s in chosen)
    found = _score_schema(reading, item) if by_schema else Score()
    outcomes = {s.metric: s.outcome(reading, item) for s in chosen if s.kind != "schema"}
    if not outcomes:
        return found
    wrong = [{"path": _short(p), "kind": name} for name, o in outcomes.items() for p in o.wrong]
    found = replace(
        found,
        values={name: outcome.value for name, outcome in outcomes.items()},
        unscored={name: o.reason for name, o in outcomes.items() if o.reason is not None},
        problems=(*found.problems, *wrong)[:MAX_PROBLEMS],
    )
    if found.tier is not None or not reading.was_parsed:
        return found
    return _with_parsing(found, reading.answer)


def task_of(item: Item) -> str | None:
    """What an item is counted and scored under: its task, or a question's topic."""
    return item.task or item.topic


def _score_schema(reading: Reading, item: Item) -> Score:
    schema = reading.schema
    if schema is None and not item.expected and not item.checks:
        return Score()
    problems: list[Mapping[str, str]] = []
    schema_valid = strict_valid = None
    if schema is not None:
        checked = reading.checked
        schema_valid, strict_valid = checked.lenient_valid, checked.strict_valid
        problems += [{"path": p.path, "kind": p.kind} for p in checked.problems]
    answer = reading.answer
    value = answer.value if answer.lenient else None
    unexpected = [p for p, v in item.expected.items() if not _equals(value, p, v)]
    failed = [check["path"] for check in item.checks if not check_holds(value, check)]
    problems += [{"path": path, "kind": "expected"} for path in unexpected]
    problems += [{"path": path, "kind": "check"} for path in failed]
    right = schema_valid is not False and not unexpected
    task_valid = None if schema is None and not item.expected else right
    found = Score(
        strict=answer.strict,
        parse=answer.lenient,
        strict_valid=strict_valid,
        schema_valid=schema_valid,
        strict_task_valid=None if task_valid is None else task_valid and answer.strict,
        task_valid=task_valid,
        fields=1 - len(failed) / len(item.checks) if item.checks else None,
        exact_fields=not failed if item.checks else None,
        problems=tuple(problems[:MAX_PROBLEMS]),
    )
    return _with_parsing(found, answer)


def _short(path: str) -> str:
    """A path that can be written down: its keys may be the model's, of any length and letters."""
    return path[:MAX_PATH].encode("utf-8", "backslashreplace").decode("utf-8")


def _with_parsing(found: Score, answer: Answer) -> Score:
    return replace(
        found,
        tier=answer.tier,
        root_type=answer.root_type,
        truncated=answer.truncated,
        ambiguous=answer.ambiguous,
    )


@dataclass(frozen=True)
class Scored:
    """An item with one version's answer to it, scored."""

    item: Item
    generated: Generated
    score: Score


def summary(answers: Sequence[Scored]) -> dict[str, Any]:
    """Rates from 0 to 1 (None where nothing could be scored), finish counts and tokens.

    `values` are the scorers' means by name, over what they could score; `unscored` counts what
    they could not, by name and reason.
    """
    rates = {name: _rate(getattr(a.score, name) for a in answers) for name in RATES}
    names = dict.fromkeys(name for a in answers for name in a.score.values)
    finish = {kind: sum(a.generated.finish == kind for a in answers) for kind in ("eos", "length")}
    return {
        "n": len(answers),
        "scored": sum(_was_scored(a.score) for a in answers),
        **rates,
        "values": {name: _rate(a.score.values.get(name) for a in answers) for name in names},
        "unscored": {name: why for name in names if (why := _reasons(name, answers))},
        "finish": finish,
        "input_tokens": sum(a.generated.prompt_tokens for a in answers),
        "output_tokens": sum(a.generated.output_tokens for a in answers),
    }


def by_task(answers: Sequence[Scored]) -> dict[str, dict[str, Any]]:
    """The summary of each task (of each topic, for questions), by name."""
    groups: dict[str, list[Scored]] = {}
    for answer in answers:
        name = task_of(answer.item)
        if name:
            groups.setdefault(name, []).append(answer)
    return {name: summary(group) for name, group in sorted(groups.items())}


def _rate(values: Iterable[bool | float | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None


def _was_scored(found: Score) -> bool:
    return found.parse is not None or any(v is not None for v in found.values.values())


def _reasons(name: str, answers: Sequence[Scored]) -> dict[str, int]:
    """How often a scorer could not score, by reason; the rarer ones together."""
    counted = Counter(a.score.unscored[name] for a in answers if name in a.score.unscored)
    found = dict(counted.most_common(MAX_REASONS))
    others = counted.total() - sum(found.values())
    return found | ({"other reasons": others} if others else {})


def _equals(answer: Any, path: str, value: Any) -> bool:
    return check_holds(answer, {"path": path, "value": value})
