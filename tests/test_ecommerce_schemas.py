"""The schemas of the Portuguese e-commerce tasks: a whole answer fits, each fault is found."""

from __future__ import annotations

from typing import Any

import pytest

from lorachain.answers import load_schema, parse_answer, validate
from lorachain.paths import SCHEMAS

ANSWERS: dict[str, dict[str, Any]] = {
    "extraction": {
        "sentiment": "positivo",
        "sentiment_score": 4.5,
        "complaint_category": "nenhuma",
        "product": "air fryer de 4 litros",
        "amount_brl": 1249.9,
        "delivery_days": 7,
        "would_recommend": True,
        "summary": "Gostou do produto.",
    },
    "sql_qa": {
        "sql": "SELECT state, AVG(score) FROM reviews GROUP BY state",
        "tables": ["reviews"],
        "columns": ["state", "score"],
        "explanation": "Média por estado.",
    },
    "insights": {
        "headline": "Atrasos caíram.",
        "insights": [
            {
                "finding": "Menos atrasos",
                "evidence": "9,9% para 3,3%",
                "action": "Manter",
                "priority": "alta",
            }
        ],
        "caveats": [],
    },
    "push": {"title": "Seu pedido saiu", "body": "Chega hoje.", "cta": "Ver", "tone": "amigável"},
}
FAULTS = [
    ("extraction", "sentiment", "positive", "enum"),
    ("extraction", "sentiment_score", 5.5, "maximum"),
    ("extraction", "sentiment_score", "4,5", "type"),
    ("extraction", "delivery_days", 2.5, "type"),
    ("extraction", "amount_brl", -1, "minimum"),
    ("extraction", "summary", "", "minLength"),
    ("sql_qa", "sql", "DELETE FROM orders", "pattern"),
    ("sql_qa", "tables", [], "minItems"),
    ("insights", "insights", [], "minItems"),
    ("insights", "insights", ANSWERS["insights"]["insights"] * 6, "maxItems"),
    ("push", "title", "x" * 46, "maxLength"),
    ("push", "body", "x" * 121, "maxLength"),
]


def kinds(task: str, answer: Any) -> list[str]:
    schema = load_schema(SCHEMAS / f"ecommerce_{task}.schema.json")
    return [problem.kind for problem in validate(answer, schema)]


@pytest.mark.parametrize("task", ANSWERS)
def test_a_whole_answer_fits_and_every_key_is_needed(task: str) -> None:
    answer = ANSWERS[task]
    assert kinds(task, answer) == []
    assert kinds(task, answer | {"extra": 1}) == ["additionalProperties"]
    for key in answer:
        assert kinds(task, {k: v for k, v in answer.items() if k != key}) == ["required"]


@pytest.mark.parametrize(("task", "key", "value", "kind"), FAULTS)
def test_a_fault_is_found(task: str, key: str, value: Any, kind: str) -> None:
    assert kinds(task, ANSWERS[task] | {key: value}) == [kind]


@pytest.mark.parametrize("key", ["product", "amount_brl", "delivery_days", "would_recommend"])
def test_what_a_review_does_not_say_is_null(key: str) -> None:
    assert kinds("extraction", ANSWERS["extraction"] | {key: None}) == []


def test_a_decimal_comma_is_read_as_the_number_it_is() -> None:
    schema = load_schema(SCHEMAS / "ecommerce_extraction.schema.json")
    text = (
        '{"sentiment": "neutro", "sentiment_score": 3,5, "complaint_category": "entrega", '
        '"product": null, "amount_brl": 1.249,90, "delivery_days": 7, "would_recommend": null, '
        '"summary": "Ok."}'
    )
    found = parse_answer(text, schema)
    assert found.tier == "numbers"
    assert (found.value["sentiment_score"], found.value["amount_brl"]) == (3.5, 1249.9)
