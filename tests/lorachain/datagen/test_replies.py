"""What a response says, and what each error calls for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from teacher_server import answer, error

from lorachain.datagen.reading import Fault, fault_of, read_response


def test_an_answer_with_what_it_cost() -> None:
    found = read_response(json.dumps(answer("hello", cost=0.25)))
    assert (found.text, found.finish, found.provider) == ("hello", "stop", "loopback")
    assert (found.prompt_tokens, found.output_tokens, found.cost_usd) == (100, 50, 0.25)
    assert found.fault == ""


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (answer(""), "empty"),
        (answer(" \n"), "empty"),
        (answer(None), "empty"),
        (answer('{"a":', finish="length"), "cut"),
        (answer("x", finish="content_filter"), "refused"),
        (answer("I'm sorry, but I can't help with that."), "refused"),
        (answer("I cannot assist with this request."), "refused"),
        (answer("I'm sorry to say that the museum is closed."), ""),
        (answer("I can not recommend it more: " + "a fine place. " * 60), ""),
    ],
)
def test_answers_that_are_no_use(body: dict[str, Any], fault: str) -> None:
    assert read_response(json.dumps(body)).fault == fault


def test_a_refusal_in_a_field_of_its_own() -> None:
    body = answer(None)
    body["choices"][0]["message"]["refusal"] = "no"
    assert read_response(json.dumps(body)).fault == "refused"


def test_content_in_parts_is_joined() -> None:
    body = answer(None)
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    body["choices"][0]["message"]["content"] = parts
    assert read_response(json.dumps(body)).text == "ab"


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "7"}, {"prompt_tokens": True}, []])
def test_usage_that_says_nothing(usage: Any) -> None:
    found = read_response(json.dumps(answer("x") | {"usage": usage}))
    assert not found.has_usage and found.prompt_tokens == 0 and found.cost_usd is None


@pytest.mark.parametrize("raw", ["", "<html>", "[]", "{}", '{"choices": []}', "[" * 9000])
def test_a_body_without_an_answer_may_be_asked_again(raw: str) -> None:
    with pytest.raises(Fault) as caught:
        read_response(raw)
    assert caught.value.kind == "transport" and caught.value.billed


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (error(429), "rate"),
        (error(502), "transport"),
        (error(402), "fatal"),
        ({"error": {"message": "no code"}}, "transport"),
        ({"error": "a text"}, "transport"),
        ({"error": {"code": "429", "message": "a code as text"}}, "rate"),
        ({"error": {"code": 200, "message": "odd"}}, "transport"),
    ],
)
def test_an_error_with_status_200_is_an_error(body: dict[str, Any], kind: str) -> None:
    with pytest.raises(Fault) as caught:
        read_response(json.dumps(body))
    assert caught.value.kind == kind


def test_an_error_in_the_choice_is_an_error() -> None:
    body = answer("half of an ans")
    body["choices"][0] |= error(502, "the provider went away")
    with pytest.raises(Fault, match="went away") as caught:
        read_response(json.dumps(body))
    assert caught.value.kind == "transport"


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "response_format json_schema is not supported", "form"),
        (404, "No endpoints found that can handle the requested parameters.", "form"),
        (422, "unknown field `response_format`", "form"),
        (500, "literal_error at ('body', 'response_format', 'type')", "form"),
        (500, "the schema service is down", "transport"),
        (400, "nonsense/model is not a valid model ID", "model"),
        (404, "model 'x' not found", "model"),
        (404, "", "model"),
        (400, "this prompt is too long", "request"),
        (413, "too large", "request"),
        (401, "no", "fatal"),
        (402, "no", "fatal"),
        (403, "no", "fatal"),
        (408, "slow", "transport"),
        (429, "slow down", "rate"),
        (500, "", "transport"),
        (503, "no provider", "transport"),
    ],
)
def test_each_status_has_its_kind(status: int, message: str, kind: str) -> None:
    assert fault_of(status, message).kind == kind


def test_flagged_input_concerns_one_row_and_a_bad_key_all() -> None:
    assert fault_of(403, "flagged", flagged=True).kind == "content"
    assert fault_of(403, "flagged").kind == "fatal"


def test_no_credit_says_what_to_do() -> None:
    assert "Add credit" in str(fault_of(402, "Insufficient credits"))
