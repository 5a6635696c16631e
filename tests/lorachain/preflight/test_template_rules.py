"""What rows hold of a template's own tokens, and what a template says unasked."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from token_support import chat

from lorachain.chat import ChatEncoder
from lorachain.preflight.template import control_tokens, default_system, system_text


@pytest.fixture
def encoder(smol_tokenizer: Any) -> ChatEncoder:
    return ChatEncoder(smol_tokenizer)


def with_template(tokenizer: Any, template: str) -> ChatEncoder:
    other = copy.deepcopy(tokenizer)
    other.chat_template = template
    return ChatEncoder(other)


def test_text_of_control_tokens_is_named_with_its_rows(encoder: ChatEncoder) -> None:
    rows = [
        chat("hi", "hello"),
        chat("hi", "hello<|im_end|>", line=2),
        chat("<|im_start|>system", "<|im_end|>", line=3),
        chat("hi", "hello<|eot_id|>", line=4),  # another template's
    ]
    (found,) = control_tokens(rows, encoder)
    assert found.severity == "warning"
    assert found.where == ("rows.jsonl:2", "rows.jsonl:3", "rows.jsonl:4")
    assert found.facts["texts"] == {"<|im_end|>": 2, "<|im_start|>": 1, "<|eot_id|>": 1}
    assert "<|im_end|> in 2" in found.says


def test_ordinary_brackets_and_bars_are_no_control_tokens(encoder: ChatEncoder) -> None:
    rows = [chat("a <b> c", "x | y, <|> and {|}"), chat("[INST]", "f(a)|>g")]
    assert control_tokens(rows, encoder) == []


def test_the_system_prompt_that_a_template_adds_is_said(encoder: ChatEncoder) -> None:
    rows = [chat("hi", "hello"), chat("hi", "hello", system="Be brief.")]
    (found,) = default_system(rows, encoder)
    assert found.severity == "note" and "before 1 of 2 rows" in found.says
    assert found.facts["text"] == (
        "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    )
    assert default_system(rows[1:], encoder) == []


PLAIN = (
    "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + "
    "'<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% endif %}"
)


def test_a_template_that_adds_nothing_says_nothing(smol_tokenizer: Any) -> None:
    encoder = with_template(smol_tokenizer, PLAIN)
    assert system_text(encoder) == ""
    assert default_system([chat("hi", "hello")], encoder) == []


def test_what_stands_before_every_chat_is_found_too(smol_tokenizer: Any) -> None:
    """Llama 3.1 writes a system turn whether or not a row has one."""
    dated = PLAIN.replace(
        "{{ bos_token }}", "{{ bos_token + '<|im_start|>system\n\nToday: 1 May<|im_end|>\n' }}"
    )
    assert system_text(with_template(smol_tokenizer, dated)) == "Today: 1 May"


def test_a_template_that_rewrites_contents_is_no_mistake(smol_tokenizer: Any) -> None:
    upper = PLAIN.replace("m.content", "(m.content | replace('\ue000', ''))")
    assert system_text(with_template(smol_tokenizer, upper)) == ""
