"""No text makes the parser raise, hang, or take a part for the whole."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lorachain.answers import (
    MAX_CHARS,
    MAX_REPAIR_CHARS,
    check_answer,
    parse_answer,
)
from lorachain.jsonload import MAX_DEPTH, repair
from lorachain.jsontext import MAX_ROOTS

INTEGER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
NUMBER = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}


def same(found: Any, wanted: Any) -> bool:
    """Equal as JSON, types included: 1000 is not 1000.0, and true is not 1."""
    return json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True)


# --- never raises, never hangs ------------------------------------------------------------------

TOKENS = [
    "{",
    "}",
    "[",
    "]",
    '"',
    "'",
    ":",
    ",",
    '"a"',
    '"b":',
    "1",
    "4,5",
    "1,000",
    "1.234,56",
    "NaN",
    "null",
    "None",
    "true",
    " ",
    "\n",
    "\\",
    '\\"',
    "```",
    "```json\n",
    "<think>",
    "</think>",
    "//",
    "/*",
    "*/",
    "#",
    "# ",
    "“",
    "”",
    "\x00",
    "\ud800",
    "é",
    "-",
    "1e999",
    "text",
    '{"a": 1}',
    '{"b":',
]

json_like = st.lists(st.sampled_from(TOKENS), max_size=40).map("".join)
any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=200)


def assert_sound(text: str, schema: Any = None) -> None:
    answer = parse_answer(text, schema)
    assert (
        answer.root_type
        == {
            dict: "object",
            list: "array",
            str: "string",
            bool: "boolean",
            int: "number",
            float: "number",
            type(None): "none" if answer.tier == "none" else "null",
        }[type(answer.value)]
    )
    json.dumps(answer.candidates, allow_nan=False)
    for candidate in answer.candidates:
        check_answer(json.dumps(candidate), INTEGER)
    if answer.tier == "none":
        assert answer.candidates == ()
    else:
        assert any(same(answer.value, candidate) for candidate in answer.candidates)
    if answer.strict:
        assert same(answer.value, json.loads(text))
        assert not (answer.truncated or answer.ambiguous)


@settings(max_examples=300, deadline=None)
@given(st.one_of(any_text, json_like))
@example("{'a': \ud800}")
@example('{"a": "\ud800", "b": 4,5}')
@example("(" * 3000 + "{a: (1}")
def test_no_text_raises(text: str) -> None:
    assert_sound(text)
    assert_sound(text, NUMBER)


ADVERSARIAL = [
    "{",
    "[",
    '"',
    '{"',
    '["',
    '{"a":',
    "[{",
    '"a":',
    '{"a": 1}',
    "{}",
    "[]",
    "{a:}",
    "}{",
    "]",
    "\\",
    "<think>",
    "</think>",
    "```",
    "```{",
    "/*",
    "//",
    '{"a": 1,000}',
    '{"a":1,"a":2}',
    "1,",
    '":{',
    '"  :  ',
    "{ ",
    " ",
    ":1,5",
    '{"a":"\\',
    "{'",
    "“",
    "{“].",
    "1 234",
    '{"a": 4,5, "b',
    "#",
    "(",
]


@pytest.mark.parametrize("unit", ADVERSARIAL)
def test_long_texts_neither_raise_nor_take_more_than_linear_time(unit: str) -> None:
    """Four times the text, about four times the time (sixteen if it were quadratic).

    A run under the floor passes as it is: rescanning 160,000 characters takes far longer.
    """
    floor, small = 0.5, 40_000

    def seconds(size: int) -> float:
        text = (unit * (size // len(unit) + 1))[:size]
        best = math.inf
        for _ in range(3):
            began = time.process_time()
            parse_answer(text, NUMBER)
            best = min(best, time.process_time() - began)
            if best < floor:
                break
        return best

    larger = seconds(4 * small)
    assert larger < floor or larger < 10 * seconds(small)


@pytest.mark.parametrize("opening", ["{", '{"a":', "{'a': 4,5, ", "[", "<think></think>{"])
@pytest.mark.parametrize("unit", ["{“].", '"', "'1", "{]a", ": ", "1,5", "(", "/* ", ","])
def test_a_root_that_no_tier_can_read_costs_linear_time(opening: str, unit: str) -> None:
    text = (opening + unit * MAX_CHARS)[:MAX_CHARS]
    began = time.process_time()
    parse_answer(text)
    assert time.process_time() - began < 5


# After a key that comes twice json_repair goes on with a text of its own, made from pieces.
@pytest.mark.parametrize("opening", ["{", "[{a: 1, a: 1}, "])
def test_json_repair_is_stopped_before_its_cubic_time(opening: str) -> None:
    """3,000 of these characters take json_repair alone about 20 seconds."""
    began = time.process_time()
    assert repair(opening + "{“]." * 750) is None
    assert time.process_time() - began < 5


def test_the_meter_leaves_json_repair_room_for_a_long_ordinary_answer() -> None:
    items = [{"texto": 'diga "olá", por favor', "n": i} for i in range(250)]
    text = json.dumps({"itens": items}, ensure_ascii=False).replace('\\"', '"')
    assert 10_000 < len(text) < MAX_REPAIR_CHARS
    assert parse_answer(text).value == {"itens": items}


def test_repair_is_given_a_bounded_amount_of_text() -> None:
    whole = "{'a': 1}"
    padded = "{'a': '" + "x" * MAX_REPAIR_CHARS + "'}"
    assert parse_answer(whole).tier == "repair"
    assert parse_answer(padded).tier == "none"


@pytest.mark.parametrize("bracket", ["[]", "{}"])
def test_nesting_is_read_up_to_a_fixed_depth(bracket: str) -> None:
    def nested(depth: int) -> str:
        opening = "[" if bracket == "[]" else '{"a":'
        return opening * depth + ("1" if bracket == "[]" else "null") + bracket[1] * depth

    assert parse_answer(nested(MAX_DEPTH)).strict
    assert parse_answer("So: " + nested(MAX_DEPTH)).tier == "scan"
    for depth in (MAX_DEPTH + 1, 5000, 100_000):
        assert parse_answer(nested(depth)).tier == "none"
        assert parse_answer("So: " + nested(depth)).tier == "none"


def test_a_strict_answer_may_be_longer_than_what_is_scanned() -> None:
    text = json.dumps({"a": "x" * MAX_CHARS})
    assert parse_answer(text).strict
    cut = parse_answer("So: " + text)
    assert (cut.tier, cut.truncated) == ("none", True)
    assert parse_answer(" " * MAX_CHARS + 'So: {"a": 1}').tier == "none"


def test_the_number_of_candidates_is_bounded() -> None:
    many = " ".join(f'{{"a": {i}}}' for i in range(1000))
    assert len(parse_answer(many).candidates) == MAX_ROOTS
    footnotes = " ".join(f"[{i}]" for i in range(1000))
    assert parse_answer(footnotes + '{"a": 1}').value == {"a": 1}


# --- properties ---------------------------------------------------------------------------------

# Strings that hold what the walk looks for; no thoughts, which would end the prose around them.
marks = st.lists(st.sampled_from([*"\"{}[],:'\\\n a", "```", "//", "/*", "# "]), max_size=8)
plain = st.text(st.characters(codec="utf-8", exclude_characters="<"), max_size=12) | marks.map(
    "".join
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | plain
    | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain, inner, max_size=4),
    max_leaves=15,
)
objects = st.dictionaries(plain, values, min_size=1, max_size=4)
indents = st.sampled_from([None, 2])


@settings(max_examples=200, deadline=None)
@given(values, st.booleans(), indents)
def test_every_json_value_comes_back_strict(value: Any, ascii_only: bool, indent: Any) -> None:
    answer = parse_answer(json.dumps(value, ensure_ascii=ascii_only, indent=indent))
    assert answer.tier == "strict"
    assert same(answer.value, value)


@settings(max_examples=200, deadline=None)
@given(
    objects, st.sampled_from(["Sure: %s Done.", "```json\n%s\n```", "<think>{</think>%s", "%s }"])
)
def test_every_object_is_found_in_what_surrounds_it(value: dict[str, Any], around: str) -> None:
    answer = parse_answer(around.replace("%s", json.dumps(value, ensure_ascii=False)))
    assert answer.tier == "scan"
    assert same(answer.value, value)
    assert answer.lenient
    assert not answer.ambiguous


@settings(max_examples=300, deadline=None)
@given(st.data(), objects, indents)
def test_no_part_of_an_object_that_was_cut_off_counts_as_the_object(
    data: st.DataObject, value: dict[str, Any], indent: Any
) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    answer = parse_answer(cut)
    assert answer.truncated
    assert not answer.lenient
    assert answer.root_type in ("object", "none")


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.decimals(-999, 999, places=2) | st.lists(st.integers(-9, 999), max_size=5),
        min_size=1,
    ).filter(lambda d: any(not isinstance(v, list) for v in d.values()))
)
def test_decimal_commas_are_read_and_arrays_are_left_alone(value: dict[str, Any]) -> None:
    written = {
        key: json.dumps(v, separators=(",", ":"))
        if isinstance(v, list)
        else str(v).replace(".", ",")
        for key, v in value.items()
    }
    text = "{" + ",".join(f'"{key}":{v}' for key, v in written.items()) + "}"
    answer = parse_answer(text)
    assert answer.tier == "numbers"
    assert answer.value == {k: v if isinstance(v, list) else float(v) for k, v in value.items()}
    assert not answer.ambiguous
