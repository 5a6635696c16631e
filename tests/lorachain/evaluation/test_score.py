"""Scores: strict beside lenient, and what cannot be scored is not 0."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lorachain.answers import compile_schema
from lorachain.evaluation.generated import Generated
from lorachain.evaluation.score import RATES, Score, Scored, by_task, score, summary
from lorachain.records import Message
from lorachain.suites import Item

SCHEMAS = {
    "card": compile_schema(
        {
            "type": "object",
            "properties": {"kind": {"enum": ["card", "list"]}, "age": {"type": "integer"}},
            "required": ["kind", "age"],
            "additionalProperties": False,
        }
    )
}
GOOD = {"kind": "card", "age": 31}


def item(**known: Any) -> Item:
    return Item(id=1, messages=(Message("user", "?"),), **known)


CARD = item(
    schema="card",
    expected={"kind": "card"},
    checks=({"path": "age", "value": 31}, {"path": "kind", "value": "ar", "match": "contains"}),
)


def scored(text: str, asked: Item = CARD) -> Score:
    return score(text, asked, SCHEMAS)


def rates(found: Score) -> dict[str, Any]:
    return {name: getattr(found, name) for name in RATES}


def test_a_perfect_answer() -> None:
    found = scored(json.dumps(GOOD))
    assert rates(found) == dict.fromkeys(RATES, True) | {"fields": 1.0}
    assert (found.tier, found.root_type, found.problems) == ("strict", "object", ())


def test_prose_around_it_is_not_strict() -> None:
    found = scored(f"Sure! ```json\n{json.dumps(GOOD)}\n```")
    assert (found.strict, found.strict_valid, found.strict_task_valid) == (False, False, False)
    assert (found.parse, found.schema_valid, found.task_valid) == (True, True, True)


def test_a_valid_answer_of_another_kind_is_not_task_valid() -> None:
    found = scored(json.dumps(GOOD | {"kind": "list"}))
    assert (found.schema_valid, found.task_valid, found.fields) == (True, False, 0.5)
    assert found.problems == (
        {"path": "kind", "kind": "expected"},
        {"path": "kind", "kind": "check"},
    )


def test_a_wrong_field_shows_in_fields_alone() -> None:
    found = scored(json.dumps(GOOD | {"age": 30}))
    assert (found.task_valid, found.fields, found.exact_fields) == (True, 0.5, False)


def test_an_array_root_is_a_failure_that_shows() -> None:
    found = scored(json.dumps([GOOD]))
    assert found.root_type == "array" and found.strict is True
    assert (found.parse, found.schema_valid, found.task_valid) == (False, False, False)
    assert (found.fields, found.exact_fields) == (0.0, False)


def test_a_cut_answer_scores_nothing_for_being_there() -> None:
    found = scored('{"kind": "card", "age": 31, "more": "and')
    assert found.truncated is True
    assert (found.strict, found.parse, found.schema_valid, found.task_valid) == (False,) * 4
    assert found.fields == 0.0


@pytest.mark.parametrize("text", ["", "I do not know.", "null", "31", "{" * 50_000])
def test_no_object_at_all(text: str) -> None:
    found = scored(text)
    assert (found.parse, found.schema_valid, found.task_valid, found.fields) == (
        *(False, False, False),
        0.0,
    )
    assert found.problems


def test_what_cannot_be_scored_is_none() -> None:
    found = scored("Canberra", item(answer="Canberra", topic="geography"))
    assert rates(found) == dict.fromkeys(RATES) and found.tier is None
    only_checks = scored(json.dumps(GOOD), item(checks=CARD.checks))
    assert (only_checks.schema_valid, only_checks.task_valid, only_checks.fields) == (
        *(None, None),
        1.0,
    )
    only_schema = scored(json.dumps(GOOD), item(schema="card"))
    assert (only_schema.task_valid, only_schema.fields, only_schema.exact_fields) == (
        *(True, None),
        None,
    )
    only_expected = scored("{}", item(expected={"kind": "card"}))
    assert (only_expected.schema_valid, only_expected.task_valid) == (None, False)


def answer(text: str, asked: Item, finish: Any = "eos") -> Scored:
    return Scored(asked, Generated(text, 10, 5, finish, 0.1, 8), scored(text, asked))


def test_a_summary_counts_what_was_scored() -> None:
    answers = [
        answer(json.dumps(GOOD), CARD),
        answer("no", CARD, "length"),
        answer("Canberra", item(topic="geography")),
    ]
    found = summary(answers)
    assert (found["n"], found["scored"], found["strict"], found["task_valid"]) == (3, 2, 0.5, 0.5)
    assert found["fields"] == 0.5 and found["finish"] == {"eos": 2, "length": 1}
    assert (found["input_tokens"], found["output_tokens"]) == (30, 15)
    nothing = summary([answers[2]])
    assert nothing["scored"] == 0 and all(nothing[name] is None for name in RATES)


def test_tasks_are_summed_up_apart() -> None:
    first, second = (item(task=name, schema="card") for name in ("a", "b"))
    found = by_task([answer(json.dumps(GOOD), first), answer("no", second), answer("no", second)])
    assert {name: (s["n"], s["schema_valid"]) for name, s in found.items()} == {
        "a": (1, 1.0),
        "b": (2, 0.0),
    }
    assert by_task([answer("?", item())]) == {}
