"""Chats to tokens, for the shapes of template that instruct models come with.

Every shape holds the same promises: the mask covers the answers and the tokens that end them and
nothing else, a prompt's tokens are those that stand before the answer in training, and no text in
a row ever becomes a control token.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorachain.chat import ChatEncoder, EncodedChat, template_hash
from lorachain.errors import UserError
from lorachain.records import Message


@dataclass(frozen=True)
class Shape:
    """A template, and what it makes of an answer."""

    name: str
    template: str
    eos: str
    end: str  # what is trained after an answer
    bos: str = "<|endoftext|>"
    special: tuple[str, ...] = ()
    system: bool = True
    trims: bool = False
    lead: str = ""  # what is trained before every answer
    last_lead: str = ""  # and before the last one only
    inner_end: str | None = None  # what is trained after an earlier answer, where it differs

    def says(self, messages: Sequence[Message]) -> list[str]:
        """The texts that are trained, answer by answer."""
        answers = [m.content for m in messages if m.role == "assistant"]
        answers = [a.strip() for a in answers] if self.trims else answers
        inner = self.end if self.inner_end is None else self.inner_end
        ends = [inner] * (len(answers) - 1) + [self.end]
        leads = [self.lead] * (len(answers) - 1) + [self.lead + self.last_lead]
        return [lead + a + end for lead, a, end in zip(leads, answers, ends, strict=True)]


CHATML = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant."
    "<|im_end|>\n' }}{% endif %}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + "
    "m.content + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\n' + system_message + '\n<</SYS>>\n\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}"
    "{% endif %}{% endfor %}"
)
LLAMA3 = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}"
    "{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
    "{{ '<|user|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'system' %}\n"
    "{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n"
    "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
NO_END = (
    "{% for m in messages %}{{ '### ' + m.role + ':\n' + m.content + '\n\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### assistant:\n' }}{% endif %}"
)
# As Qwen3: an earlier turn loses its thoughts, and the last one always has a place for them.
THINKING = (
    "{%- set ns = namespace(last=-1) %}{%- for m in messages %}{%- if m.role == 'user' %}"
    "{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}{%- for m in messages %}"
    "{%- if m.role == 'assistant' %}{%- set content = m.content %}{%- set thoughts = '' %}"
    "{%- if '</think>' in content %}"
    "{%- set thoughts = content.split('</think>')[0].rstrip('\n').split('<think>')[-1]"
    ".lstrip('\n') %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
    "{%- if loop.index0 > ns.last %}{{- '<|im_start|>assistant\n<think>\n' + "
    "thoughts.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') + '<|im_end|>\n' }}"
    "{%- else %}{{- '<|im_start|>assistant\n' + content + '<|im_end|>\n' }}{%- endif %}"
    "{%- else %}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{%- endif %}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
# As the first Vicuna: the end token stands after the answers, and roles are plain words.
NO_NEWLINE = (
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{{ 'ASSISTANT: ' + m.content + eos_token }}"
    "{% else %}{{ m.role | upper + ': ' + m.content + ' ' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)

SHAPES = (
    Shape("chatml", CHATML, "<|im_end|>", "<|im_end|>"),
    Shape("llama2", LLAMA2, "</s>", " </s>", "<s>", ("<s>", "</s>"), trims=True, lead=" "),
    Shape(
        "llama3",
        LLAMA3,
        "<|end_of_text|>",
        "<|eot_id|>",
        "<|begin_of_text|>",
        (
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
        ),
        trims=True,
    ),
    Shape(
        "gemma",
        GEMMA,
        "<eos>",
        "<end_of_turn>",
        "<bos>",
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        system=False,
        trims=True,
    ),
    Shape("zephyr", ZEPHYR, "</s>", "</s>", "<s>", ("<s>", "</s>")),
    Shape("no end token", NO_END, "<|endoftext|>", "<|endoftext|>", inner_end=""),
    Shape("thinking", THINKING, "<|im_end|>", "<|im_end|>", last_lead="<think>\n\n</think>\n\n"),
    Shape("vicuna", NO_NEWLINE, "</s>", "</s>", "<s>", ("<s>", "</s>"), lead=" "),
)


def make_encoder(tokenizer: Any, shape: Shape) -> ChatEncoder:
    from tokenizers import AddedToken

    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_tokens([AddedToken(t, special=True) for t in shape.special], special_tokens=True)
    tokenizer.eos_token, tokenizer.bos_token = shape.eos, shape.bos
    tokenizer.chat_template = shape.template
    return ChatEncoder(tokenizer)


@pytest.fixture(scope="module")
def encoders(smol_tokenizer: Any) -> dict[str, ChatEncoder]:
    return {shape.name: make_encoder(smol_tokenizer, shape) for shape in SHAPES}


@pytest.fixture(params=SHAPES, ids=lambda shape: shape.name)
def shape(request: pytest.FixtureRequest) -> Shape:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def encoder(shape: Shape, encoders: dict[str, ChatEncoder]) -> ChatEncoder:
    return encoders[shape.name]


def chat(*contents: str, system: str | None = None) -> list[Message]:
    roles = ("user", "assistant")
    turns = [Message(roles[i % 2], content) for i, content in enumerate(contents)]
    return turns if system is None else [Message("system", system), *turns]


def trained_texts(encoder: ChatEncoder, encoded: EncodedChat) -> list[str]:
    """The text of each stretch of trained tokens."""
    pairs = zip(encoded.ids, encoded.trained, strict=True)
    return [
        encoder.tokenizer.decode([i for i, _ in stretch])
        for trained, stretch in groupby(pairs, key=lambda pair: pair[1])
        if trained
    ]


def control_ids(encoder: ChatEncoder, ids: Sequence[int]) -> list[int]:
    special = set(encoder.tokenizer.convert_tokens_to_ids(list(encoder.control_tokens)))
    return [i for i in ids if i in special]


def check_promises(shape: Shape, encoder: ChatEncoder, messages: list[Message]) -> None:
    encoded = encoder.encode(messages)
    assert trained_texts(encoder, encoded) == shape.says(messages)
    text = encoder.tokenizer.decode(list(encoded.ids))
    rendered = encoder.render(messages, generation=False)
    if shape.inner_end is None:
        assert rendered.startswith(text)
        assert not rendered[len(text) :].strip()  # only what follows the last end token is left out
    else:
        assert text == rendered.removesuffix("\n\n") + shape.eos
    for i, message in enumerate(messages):
        if message.role == "assistant" and i < len(messages) - 1:
            again = encoder.encode_prompt(messages[:i])
            assert encoder.encode(messages[: i + 1]).ids[: len(again)] == tuple(again)
    prompt = encoder.encode_prompt(messages[:-1])
    assert encoded.ids[: len(prompt)] == tuple(prompt)
    assert not any(encoded.trained[: len(prompt) - 1]) or len(messages) > 3
    assert all(encoded.trained[len(prompt) :])
    # Whatever the contents are, the control tokens are those of a chat about nothing.
    plain = [Message(m.role, "x") for m in messages]
    assert control_ids(encoder, encoded.ids) == control_ids(encoder, encoder.encode(plain).ids)
    assert encoded.escaped == any(t in m.content for m in messages for t in encoder.control_tokens)


# --- the promises, shape by shape ---


def test_one_answer(shape: Shape, encoder: ChatEncoder) -> None:
    check_promises(shape, encoder, chat("What is 2 + 2?", "It is 4."))


def test_several_turns(shape: Shape, encoder: ChatEncoder) -> None:
    check_promises(shape, encoder, chat("One?", "First.", "Two?", "Second.", "Three?", "Third."))


def test_system_prompt(shape: Shape, encoder: ChatEncoder) -> None:
    messages = chat("Who?", "Me.", "Sure?", "Yes.", system="You answer briefly.")
    if not shape.system:
        with pytest.raises(UserError, match="refuses these turns \\(system, user, assistant"):
            encoder.encode(messages)
        return
    check_promises(shape, encoder, messages)
    assert "You answer briefly." in encoder.tokenizer.decode(list(encoder.encode(messages).ids))


@pytest.mark.parametrize(
    "text",
    [
        "Grüße, 世界! 👩‍👩‍👧 مرحبا",
        '{\n  "a": [1, 2.5],\n  "b": null\n}',
        "e\u0301 \u00a0 \u200d \ue0001\ue001 \x00",
        "line\r\nline\r\n\r\nline",
    ],
)
def test_other_alphabets_and_odd_characters(shape: Shape, encoder: ChatEncoder, text: str) -> None:
    check_promises(shape, encoder, chat(text, text, text, text))


@pytest.mark.parametrize("text", ["\n\nindented", "  spaced", "trailing \n", " \n both \n "])
def test_white_space_around_contents(shape: Shape, encoder: ChatEncoder, text: str) -> None:
    """Blank edges meet the template's own: the place where tokens merge if they are let."""
    if shape.name == "thinking":  # strips new lines before an answer: it rewrites contents
        text = text.lstrip("\n")
    check_promises(shape, encoder, chat(text, text, text, text))


@pytest.mark.parametrize("where", [0, 1, 2, 3])
def test_control_tokens_in_a_row_stay_text(shape: Shape, encoder: ChatEncoder, where: int) -> None:
    """Fault 20: all of a template's control tokens, in every turn, never reach its ids."""
    for token in sorted(encoder.control_tokens):
        contents = ["One?", "First.", "Two?", "Second."]
        contents[where] = f"a {token}{token} b\n{token}"
        messages = chat(*contents)
        check_promises(shape, encoder, messages)
        encoded = encoder.encode(messages)
        assert encoded.escaped
        assert encoder.tokenizer.decode(list(encoded.ids)).count(f"{token}{token}") >= 1


FRAGMENTS = (
    *("<|im_end|>", "<|im_start|>assistant\n", "</s>", "<s>", "[/INST]", "<|eot_id|>"),
    *("<end_of_turn>", "<|endoftext|>", "### assistant:\n", "<|", "|>", "<", ">", "\n", " "),
    "\ue0000\ue001",
)
# Without surrogates (records.py refuses them) and what SmolLM2's vocabulary has no byte for.
CHARACTERS = st.characters(
    exclude_categories=["Cs"],
    exclude_characters="\x04\x06\x13\x14\x16\x1d",
    max_codepoint=0x3FFFF,
)
CONTENT = (
    st.lists(st.sampled_from(FRAGMENTS) | st.text(CHARACTERS, max_size=8), max_size=6)
    .map("".join)
    .filter(lambda text: bool(text.strip()))
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(CONTENT, min_size=4, max_size=4))
def test_any_content(shape: Shape, encoder: ChatEncoder, contents: list[str]) -> None:
    if shape.name == "thinking":  # strips new lines before an answer: it rewrites contents
        contents = [content.lstrip("\n") for content in contents]
    check_promises(shape, encoder, chat(*contents))


# --- stop tokens ---


def test_stop_ids_are_the_end_token_and_what_ends_a_turn(
    shape: Shape, encoder: ChatEncoder
) -> None:
    names = encoder.tokenizer.convert_ids_to_tokens(encoder.stop_ids)
    assert set(names) == {shape.eos, shape.end.strip()}


def test_the_last_trained_token_stops_generation(shape: Shape, encoder: ChatEncoder) -> None:
    assert encoder.encode(chat("Hi", "Hello")).ids[-1] in encoder.stop_ids


# --- templates that rewrite contents ---


def test_thoughts_of_earlier_turns_are_gone_and_not_trained(
    encoders: dict[str, ChatEncoder],
) -> None:
    encoder = encoders["thinking"]
    messages = chat(
        "One?", "<think>\nhm\n</think>\n\nFirst.", "Two?", "<think>\nah\n</think>\n\nSecond."
    )
    encoded = encoder.encode(messages)
    assert trained_texts(encoder, encoded) == [
        "First.<|im_end|>",
        "<think>\nah\n</think>\n\nSecond.<|im_end|>",
    ]
    prompt = encoder.encode_prompt(messages[:-1])
    assert encoded.ids[: len(prompt)] == tuple(prompt)


def test_control_token_in_a_rewritten_content_is_refused(
    encoders: dict[str, ChatEncoder],
) -> None:
    messages = chat("One?", "<think>x</think>Say <|im_end|>", "Two?", "Yes.")
    with pytest.raises(UserError, match=r"control token '<\|im_end\|>'.*Remove it"):
        encoders["thinking"].encode(messages)


def test_a_prompt_that_is_written_otherwise_once_answered_is_refused(
    smol_tokenizer: Any,
) -> None:
    """As DeepSeek-R1's: the prompt opens thoughts that the answered chat does not show."""
    template = CHATML.replace("'<|im_start|>assistant\n'", "'<|im_start|>assistant\n<think>\n'")
    assert template != CHATML
    encoder = make_encoder(smol_tokenizer, Shape("r1", template, "<|im_end|>", "<|im_end|>"))
    with pytest.raises(UserError, match="writes a prompt differently once it is answered"):
        encoder.encode(chat("One?", "First."))


def test_a_template_that_moves_the_system_prompt(smol_tokenizer: Any) -> None:
    """As Mistral's: system text goes to the last question, so an answered chat is another one."""
    template = (
        "{% if messages[0].role == 'system' %}{% set s = messages[0].content + '\n\n' %}"
        "{% set rest = messages[1:] %}{% else %}{% set s = '' %}{% set rest = messages %}"
        "{% endif %}{% for m in rest %}{% if m.role == 'user' %}"
        "{% if loop.last or loop.revindex == 2 %}{{ '[INST]' + s + m.content + '[/INST]' }}"
        "{% else %}{{ '[INST]' + m.content + '[/INST]' }}{% endif %}"
        "{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}"
    )
    moved = Shape("mistral", template, "</s>", "</s>", "<s>", ("<s>", "</s>", "[INST]", "[/INST]"))
    encoder = make_encoder(smol_tokenizer, moved)
    check_promises(moved, encoder, chat("One?", "First.", system="Be brief."))
    with pytest.raises(UserError, match="writes a prompt differently"):
        encoder.encode(chat("One?", "First.", "Two?", "Second.", system="Be brief."))
    with pytest.raises(UserError, match="writes a prompt differently"):  # equal texts hide nothing
        encoder.encode(chat("same", "same", "same", "same", system="same"))


def test_end_token_after_the_last_answer_only(smol_tokenizer: Any) -> None:
    """The text after an earlier answer is not taken for its end token."""
    template = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ 'Q: ' + m.content + '\nA: ' }}"
        "{% else %}{{ m.content }}{% if loop.last %}{{ '<|im_end|>' }}{% else %}{{ '\n' }}"
        "{% endif %}{% endif %}{% endfor %}"
    )
    one = Shape("one end", template, "<|im_end|>", "<|im_end|>", inner_end="")
    encoder = make_encoder(smol_tokenizer, one)
    encoded = encoder.encode(chat("One?", "First.", "Two?", "Second."))
    assert trained_texts(encoder, encoded) == ["First.", "Second.<|im_end|>"]
    assert (
        encoder.tokenizer.decode(list(encoded.ids))
        == "Q: One?\nA: First.\nQ: Two?\nA: Second.<|im_end|>"
    )


def test_a_rewriting_template_without_end_tokens(smol_tokenizer: Any) -> None:
    template = NO_END.replace("m.content", "m.content | upper")
    shout = Shape("shout", template, "<|endoftext|>", "<|endoftext|>")
    encoder = make_encoder(smol_tokenizer, shout)
    encoded = encoder.encode(chat("One?", "First."))
    assert trained_texts(encoder, encoded)[-1].startswith("FIRST.")
    with pytest.raises(UserError, match="cannot be told apart"):
        encoder.encode(chat("One?", "First.", "Two?", "Second."))


# --- what a base must have ---


def test_no_template_or_no_end_token_is_refused(smol_tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(smol_tokenizer)
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="no end token"):
        ChatEncoder(tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(UserError, match="no chat template"):
        ChatEncoder(tokenizer)


# --- the real base ---


def test_the_real_base(smol_tokenizer: Any) -> None:
    """SmolLM2's own template: the ids are those of apply_chat_template, cut after the end token."""
    encoder = ChatEncoder(smol_tokenizer)
    messages = chat("What is 2 + 2?", "It is 4.", "And 12 * 12?", "144.", system="Count.")
    expected = smol_tokenizer.apply_chat_template(
        [m._asdict() for m in messages], tokenize=True, return_dict=False
    )
    encoded = encoder.encode(messages)
    assert list(encoded.ids) == expected[: len(encoded.ids)]
    assert smol_tokenizer.decode(expected[len(encoded.ids) :]) == "\n"
    assert trained_texts(encoder, encoded) == ["It is 4.<|im_end|>", "144.<|im_end|>"]
    assert encoded.trained_tokens == sum(encoded.trained) == sum(encoded.trained[1:])
    assert encoder.stop_ids == [smol_tokenizer.eos_token_id]
    assert smol_tokenizer.pad_token_id not in encoded.ids


def test_template_hash_changes_with_the_template(smol_tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(smol_tokenizer)
    assert template_hash(tokenizer) == template_hash(smol_tokenizer)
    tokenizer.chat_template += " "
    assert template_hash(tokenizer) != template_hash(smol_tokenizer)


def test_rows_share_the_objects_of_their_tokens(smol_tokenizer: Any) -> None:
    """Of many rows, ids of their own would take four times the memory."""
    encoder = ChatEncoder(smol_tokenizer)
    texts = ["A lighthouse keeper counted vessels.", "Seven vessels were counted by a keeper."]
    one, other = (encoder.encode([Message("user", t), Message("assistant", t)]) for t in texts)
    seen = {i: i for i in one.ids}
    large = [i for i in other.ids if i in seen and i > 256]  # smaller ones Python shares itself
    assert large and all(seen[i] is i for i in large)
