"""The schemas under configs/schemas say what the travel guide's contract says, key by key."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from lorachain.answers import load_schema, validate
from lorachain.paths import SCHEMAS

PAYLOADS: dict[str, dict[str, Any]] = {
    "checklist": {
        "title": "Packing",
        "groups": [
            {
                "name": "Papers",
                "items": [
                    {
                        "text": "Passport",
                        "priority": "must",
                        "when": "a week before",
                        "done": False,
                        "notes": "valid for six months",
                    }
                ],
            }
        ],
    },
    "itinerary": {
        "title": "A day in Lima",
        "trip_days": [
            {
                "day": 1,
                "summary": "The old town",
                "items": [
                    {
                        "time_block": "morning",
                        "activity": "Plaza Mayor",
                        "location": "Cercado",
                        "transport": {"mode": "bus", "details": "line 4"},
                        "cost_estimate": {"currency": "PEN", "amount": 12.5},
                        "booking_needed": False,
                        "warnings": ["Watch your bag."],
                    }
                ],
            }
        ],
    },
    "decision_tree": {
        "title": "Train or plane?",
        "nodes": [
            {"id": "q", "type": "question", "question": "Under 4 hours?", "options": ["yes", "no"]},
            {"id": "d", "type": "decision", "text": "Compare prices", "action": "look"},
            {"id": "o", "type": "outcome", "text": "Take the train"},
        ],
        "edges": [{"from": "q", "to": "o", "label": "yes"}],
        "root_question": "q",
    },
    "procedure": {
        "title": "Buy a SIM card",
        "steps": [
            {
                "step": 1,
                "instruction": "Go to a shop",
                "why": "They register you",
                "warning": "Bring your passport",
                "requires": ["passport"],
            }
        ],
        "estimated_time": "20 minutes",
        "preconditions": ["an unlocked phone"],
        "postchecks": ["call a friend"],
    },
}
ENVELOPE: dict[str, Any] = {
    "summary": "How to travel.",
    "assumptions": ["You are an adult."],
    "uncertainty_notes": "",
    "next_steps": [],
    "verification_steps": ["Ask the embassy."],
    "payload_type": "checklist",
    "payload": PAYLOADS["checklist"],
}
# What may be left out; all other keys of the contract are required.
OPTIONAL = {
    "checklist": {"groups[0].items[0].when", "groups[0].items[0].done", "groups[0].items[0].notes"},
    "itinerary": {
        "trip_days[0].summary",
        *(
            f"trip_days[0].items[0].{key}"
            for key in ("location", "transport", "cost_estimate", "booking_needed", "warnings")
        ),
        "trip_days[0].items[0].transport.details",
    },
    "decision_tree": {
        *("nodes[0].options", "nodes[1].action"),
        *("edges", "edges[0].label", "root_question"),  # one of edges and root_question: see below
    },
    "procedure": {
        *("estimated_time", "preconditions", "postchecks"),
        *(f"steps[0].{key}" for key in ("why", "warning", "requires")),
    },
}
ENUMS = [
    ("checklist", "groups[0].items[0].priority", ["must", "should", "nice_to_have"]),
    ("decision_tree", "nodes[1].type", ["question", "decision", "outcome"]),
]


def objects(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object in a value, with its path."""
    if isinstance(value, dict):
        yield path, value
        for key, inner in value.items():
            yield from objects(inner, f"{path}.{key}".lstrip("."))
    if isinstance(value, list):
        for i, inner in enumerate(value):
            yield from objects(inner, f"{path}[{i}]")


def keys(value: Any) -> list[tuple[str, str]]:
    """(path of an object, one of its keys), all of them."""
    return [(path, key) for path, found in objects(value) for key in found]


def at(value: Any, path: str) -> dict[str, Any]:
    return next(found for where, found in objects(value) if where == path)


def problems(kind: str, payload: Any) -> list[tuple[str, str]]:
    schema = load_schema(SCHEMAS / f"payload_{kind}.schema.json")
    return [(problem.path, problem.kind) for problem in validate(payload, schema)]


def envelope_problems(**changes: Any) -> list[tuple[str, str]]:
    schema = load_schema(SCHEMAS / "envelope.schema.json")
    return [(problem.path, problem.kind) for problem in validate(ENVELOPE | changes, schema)]


@pytest.mark.parametrize("kind", PAYLOADS)
def test_a_payload_with_every_key_of_the_contract_is_valid(kind: str) -> None:
    assert problems(kind, PAYLOADS[kind]) == []
    assert problems(kind, PAYLOADS[kind] | {"extra": {"anything": [1, {"at": "all"}]}}) == []
    assert envelope_problems(payload_type=kind, payload=PAYLOADS[kind]) == []


@pytest.mark.parametrize(
    ("kind", "path", "key"),
    [(k, *where) for k, payload in PAYLOADS.items() for where in keys(payload)],
)
def test_a_key_is_required_unless_the_contract_lets_it_go(kind: str, path: str, key: str) -> None:
    payload = copy.deepcopy(PAYLOADS[kind])
    del at(payload, path)[key]
    found = problems(kind, payload)
    # A node needs `text` or `question`: losing the one that it has breaks an anyOf.
    wanted = "anyOf" if key in ("text", "question") and kind == "decision_tree" else "required"
    optional = f"{path}.{key}".lstrip(".") in OPTIONAL[kind]
    assert found == ([] if optional else [(path or "$", wanted)])


@pytest.mark.parametrize(
    ("kind", "path"), [(k, path) for k, payload in PAYLOADS.items() for path, _ in objects(payload)]
)
def test_a_key_that_nobody_knows_is_refused_everywhere(kind: str, path: str) -> None:
    """But on edges, which may say more than from and to."""
    payload = copy.deepcopy(PAYLOADS[kind])
    at(payload, path)["time_buffer"] = "1 h"
    expected = [] if path == "edges[0]" else [(path or "$", "additionalProperties")]
    assert problems(kind, payload) == expected


@pytest.mark.parametrize(("kind", "path", "values"), ENUMS)
def test_enumerations_hold_these_words_and_no_others(
    kind: str, path: str, values: list[str]
) -> None:
    where, _, key = path.rpartition(".")
    for value in (*values, "urgent"):
        payload = copy.deepcopy(PAYLOADS[kind])
        at(payload, where)[key] = value
        assert problems(kind, payload) == ([] if value in values else [(path, "enum")])


@pytest.mark.parametrize(
    ("kind", "path", "key", "value"),
    [
        ("itinerary", "trip_days[0]", "day", 0),
        ("itinerary", "trip_days[0]", "day", "1"),
        ("itinerary", "trip_days[0].items[0].cost_estimate", "amount", "12 PEN"),
        ("procedure", "steps[0]", "step", 0),
        ("procedure", "steps[0]", "requires", "passport"),
        ("checklist", "groups[0].items[0]", "done", "no"),
        ("checklist", "", "title", ""),
    ],
)
def test_numbers_count_from_one_and_types_hold(kind: str, path: str, key: str, value: Any) -> None:
    payload = copy.deepcopy(PAYLOADS[kind])
    at(payload, path)[key] = value
    assert [where for where, _ in problems(kind, payload)] == [f"{path}.{key}".lstrip(".")]


def test_a_decision_tree_needs_edges_or_a_root_question() -> None:
    tree = PAYLOADS["decision_tree"]
    for key in ("edges", "root_question"):
        assert problems("decision_tree", {k: v for k, v in tree.items() if k != key}) == []
    neither = {k: v for k, v in tree.items() if k not in ("edges", "root_question")}
    assert problems("decision_tree", neither) == [("$", "anyOf")]


@pytest.mark.parametrize("key", ENVELOPE)
def test_the_envelope_needs_all_seven_keys(key: str) -> None:
    schema = load_schema(SCHEMAS / "envelope.schema.json")
    less = {k: v for k, v in ENVELOPE.items() if k != key}
    assert [(p.path, p.kind) for p in validate(less, schema)] == [("$", "required")]
    assert set(schema.contents["required"]) == set(ENVELOPE) and len(ENVELOPE) == 7


def test_the_envelope_takes_metadata_and_no_other_key() -> None:
    assert envelope_problems(metadata={"anything": 1}) == []
    assert envelope_problems(metadata="text") == [("metadata", "type")]
    assert envelope_problems(notes="x") == [("$", "additionalProperties")]
    assert envelope_problems(summary="") == [("summary", "minLength")]
    assert envelope_problems(assumptions=[1]) == [("assumptions[0]", "type")]


def test_a_payload_is_judged_by_its_type() -> None:
    found = envelope_problems(payload_type="procedure")
    assert {path for path, _ in found} == {"payload"} and ("payload", "required") in found
    assert envelope_problems(payload_type="poem") == [("payload_type", "enum")]
    schema = load_schema(SCHEMAS / "envelope.schema.json")
    kinds = schema.contents["properties"]["payload_type"]["enum"]
    # The contract's four, and this project's own for values found in a text.
    assert set(kinds) == {*PAYLOADS, "extraction"}
