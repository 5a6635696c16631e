"""What comes out of a model's answer: its value, its tier, and what is wrong with it.

The cases are the faults that small models make (decimal commas, fences, thoughts, cut ends,
quotes that are not escaped, a list where an object was asked for) and the texts that have made
parsers return something that nobody said. What makes them hang or raise is in
test_answers_limits.py, the schemas are in test_schemas.py.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import Any

import pytest

from lorachain.answers import (
    Answer,
    check_answer,
    parse_answer,
)
from lorachain.errors import UserError
from lorachain.jsontext import find_roots, number_readings

INTEGER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
NUMBER = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}


def same(found: Any, wanted: Any) -> bool:
    """Equal as JSON, types included: 1000 is not 1000.0, and true is not 1."""
    return json.dumps(found, sort_keys=True) == json.dumps(wanted, sort_keys=True)


# --- strict -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "root_type"),
    [
        ('{"a": 1}', {"a": 1}, "object"),
        (' \r\n\t{"a": [1, 2.5, null, true]}\n', {"a": [1, 2.5, None, True]}, "object"),
        ("{}", {}, "object"),
        ("[1,2,3]", [1, 2, 3], "array"),
        ("[1,5, 2,0]", [1, 5, 2, 0], "array"),  # valid JSON: four integers, no decimals
        ('[{"a": 1}]', [{"a": 1}], "array"),
        ('"{\\"a\\": 1}"', '{"a": 1}', "string"),  # JSON in a string is a string
        ("42", 42, "number"),
        ("-0.5e-3", -0.0005, "number"),
        ("true", True, "boolean"),
        ("null", None, "null"),
        ('{"a": "use <think> and ``` and }"}', {"a": "use <think> and ``` and }"}, "object"),
        ('{"preco": 1.234}', {"preco": 1.234}, "object"),  # what is JSON is never read otherwise
    ],
)
def test_valid_json_is_strict(text: str, value: Any, root_type: str) -> None:
    answer = parse_answer(text)
    assert answer.tier == "strict"
    assert answer.strict
    assert same(answer.value, value)
    assert answer.root_type == root_type
    assert (answer.truncated, answer.ambiguous) == (False, False)
    assert same(answer.candidates, [value])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": NaN}', {"a": None}),
        ('{"a": [Infinity, -Infinity]}', {"a": [None, None]}),
        ('{"a": 1e999}', {"a": None}),
        pytest.param('{"a": 1' + "0" * 400 + "}", {"a": None}, id="400 digits"),
        pytest.param('{"a": 1' + "0" * 5000 + "}", {"a": None}, id="5000 digits"),
        ('{"a": 1, "a": 1}', {"a": 1}),
        ('{"a": "raw\nline\tends\x00"}', {"a": "raw\nline\tends\x00"}),
        ('\ufeff{"a": 1}', {"a": 1}),
        ('\u00a0{"a": 1}', {"a": 1}),  # a space for people is none for JSON
    ],
)
def test_what_json_loads_forgives_is_not_strict(text: str, value: Any) -> None:
    answer = parse_answer(text)
    assert (answer.tier, answer.strict) == ("scan", False)
    assert same(answer.value, value)


def test_a_nan_satisfies_no_schema_that_asks_for_a_number() -> None:
    bounded = {"type": "object", "properties": {"n": {"type": "number", "minimum": 0}}}
    checked = check_answer('{"n": NaN}', bounded)
    assert [(p.path, p.kind) for p in checked.problems] == [("n", "type")]


def test_a_key_given_twice_is_two_readings() -> None:
    answer = parse_answer('{"n": "x", "n": 2}')
    assert (answer.value, answer.ambiguous) == ({"n": 2}, True)
    assert answer.candidates == ({"n": 2}, {"n": "x"})
    settled = parse_answer('{"n": 1, "n": "x"}', INTEGER)
    assert (settled.value, settled.ambiguous) == ({"n": 1}, False)


# --- realistic broken answers -------------------------------------------------------------------

Case = tuple[str, str, Any]

# Numbers written for people.
NUMBERS: list[Case] = [
    ("decimal comma", '{"nota": 4,5}', {"nota": 4.5}),
    (
        "decimal comma beside compact arrays",
        '{"ids":[1,2,3,4],"nota":3,5}',
        {"ids": [1, 2, 3, 4], "nota": 3.5},
    ),
    (
        "decimal commas before each kind of end",
        '{"a":4,5,"b":{"c":0,25},"d":-1,5\n}',
        {"a": 4.5, "b": {"c": 0.25}, "d": -1.5},
    ),
    (
        "an object in an array keeps its own rule",
        '{"l": [{"n": 4,5}, 1,2]}',
        {"l": [{"n": 4.5}, 1, 2]},
    ),
    ("points and comma", '{"preco": 1.234,56}', {"preco": 1234.56}),
    ("commas and point", '{"price": 1,234.56}', {"price": 1234.56}),
    ("several groups", '{"n": 1.234.567, "m": 7,654,321}', {"n": 1234567, "m": 7654321}),
    ("spaces", '{"n": 1 234 567,8}', {"n": 1234567.8}),
    ("thousands or decimals", '{"n": 1,000}', {"n": 1000}),
    (
        "decimals, as the other number shows",
        '{"lat": -23,435, "nota": 4,5}',
        {"lat": -23.435, "nota": 4.5},
    ),
    ("leading zero: decimals only", '{"n": 0,500}', {"n": 0.5}),
    ("four digits: decimals only", '{"n": 1234,567}', {"n": 1234.567}),
    ("plus sign", '{"n": +4,5}', {"n": 4.5}),
    ("with an exponent", '{"n": 4,5e3}', {"n": 4500.0}),
    ("in a string it is text", '{"n": 4,5, "t": "a: 4,5"}', {"n": 4.5, "t": "a: 4,5"}),
    ("with NaN", '{"n": 4,5, "m": NaN}', {"n": 4.5, "m": None}),
    ("fence and decimal comma", '```json\n{"nota": 4,5}\n```', {"nota": 4.5}),
    ("a list, then a decimal comma", '[1, 2]\n{"a": 4,5}', {"a": 4.5}),
]
# What stands around the object.
SCAN: list[Case] = [
    ("fence", '```json\n{"a": 1}\n```', {"a": 1}),
    ("fence and prose", 'Sure!\n```json\n{"a": 1}\n```\nHope it helps.', {"a": 1}),
    ("fence and NaN", 'Here:\n```\n{"a": NaN}\n```', {"a": None}),
    ("fence that never closes", '```json\n{"a": 1}', {"a": 1}),
    ("prose", 'The answer is {"a": {"b": [1, 2]}}.', {"a": {"b": [1, 2]}}),
    ("a set in prose", 'Of {"a", "b"} I take {"a": 1}', {"a": 1}),
    ("braces in prose", 'Use {braces} or { this. {"a": 1}', {"a": 1}),
    ("apostrophes in prose", "Here's what it's: {\"a\": 1}", {"a": 1}),
    ("notes in prose", '[Note] see [1] and - [ ] todo {"a": 1}', {"a": 1}),
    ("an empty object in prose", 'Not {} but {"a": 1}', {"a": 1}),
    ("thought", '<think>{"a": 0} or {</think>\n{"a": 1}', {"a": 1}),
    ("empty thought", '<think>\n</think>\n\n{"a": 1}', {"a": 1}),
    ("thought begun in the prompt", 'maybe {"a": 0, {x "</think>{"a": 1}', {"a": 1}),
    ("and an open quote in it", 'I write {"name: x </think>{"a": 1}', {"a": 1}),
    ("a thought's end in a string", '{"a": "</think>"}.', {"a": "</think>"}),
    ("thought, spelt otherwise", '<Thinking>{"a": 0}</Thinking>{"a": 1}', {"a": 1}),
    ("thought afterwards", '{"a": 1}<think>{x</think> Done.', {"a": 1}),
    ("thought afterwards, cut", '{"a": 1}<think>{"a": 0}', {"a": 1}),
    ("two thoughts", '<think>a</think>{"a": 0}<think>b</think>{"a": 1}', {"a": 1}),
    ("thought inside an object", '{"a": 0, </think> {"a": 1}', {"a": 1}),
    ("a tag in a string", 'So: {"a": "<think>"}', {"a": "<think>"}),
    ("a model that does not stop", '{"a": 1}\nuser\nNext?\nassistant\n{"a": 1}', {"a": 1}),
    ("one brace too many", '{"a": 1}}', {"a": 1}),
    ("trailing comma after it", '{"a": 1},', {"a": 1}),
    ("two objects: the first", '{"a": 1} {"b": 2}', {"a": 1}),
    ("a list, then an object", '[1, 2]\n{"a": 1}', {"a": 1}),
    ("a whole answer, then a cut one", '{"a": 1}\n{"a": 2, "b', {"a": 1}),
    (
        "a cut fence, then a whole one",
        '```json\n{"a": {"b": 1}\n```\nAgain:\n```json\n{"c": 1}\n```',
        {"c": 1},
    ),
    ("closed by one brace too many", '{"a": {"b": 1}}}, "c": 2}', {"a": {"b": 1}}),
    ("closed too early", '{"a": {"b": 1}}, "c": {"d": 2}}', {"a": {"b": 1}}),
]
# What is wrong inside it.
REPAIR: list[Case] = [
    ("with a trailing comma", '{"n": 4,5,}', {"n": 4.5}),
    ("with single quotes", "{'n': 4,5, 'm': NaN}", {"n": 4.5, "m": None}),
    ("with a missing value", '{"n": 4,5, "m": }', {"n": 4.5, "m": None}),
    ("NaN in a list", "{'l': [NaN, -Infinity, 1]}", {"l": [None, None, 1]}),
    ("a footnote, then single quotes", "[1] {'a': 1}", {"a": 1}),
    ("trailing comma", '{"a": [1, 2,],}', {"a": [1, 2]}),
    ("single quotes", "{'a': 'it is', 'b': \"x\"}", {"a": "it is", "b": "x"}),
    ("brace in a single-quoted string", "{'a': 'x } y', 'b': 1}", {"a": "x } y", "b": 1}),
    ("Python words", '{"a": None, "b": True, "c": False}', {"a": None, "b": True, "c": False}),
    ("line comments", '{"a": 1, // don\'t {\n "b": 2 # nor "}\n}', {"a": 1, "b": 2}),
    ("brace in a comment", '{"a": 1, # {\n "b": 2}', {"a": 1, "b": 2}),
    ("line comment after a string", '{"a": "x" // }\n}', {"a": "x"}),
    ("block comment after a string", '{"a": "x" /* } */}', {"a": "x"}),
    ("block comment", '{"a": /* } " */ 1}', {"a": 1}),
    (
        "unescaped quotes",
        '{"a": "he said "hi" to me", "b": 2}',
        {"a": 'he said "hi" to me', "b": 2},
    ),
    (
        "unescaped quotes and a brace",
        '{"a": "say "hi {" now", "b": 2}',
        {"a": 'say "hi {" now', "b": 2},
    ),
    ("an inch sign", '{"a": "5\'9"", "b": 1}', {"a": "5'9\"", "b": 1}),
    ("missing comma", '{"a": "x"\n "b": "y"}', {"a": "x", "b": "y"}),
    ("bare keys", "{a: 1, b: [1, 2]}", {"a": 1, "b": [1, 2]}),
    ("typographic quotes", "{“a”: “b”}", {"a": "b"}),
    ("escaped quotes", '{\\"a\\": 1}', {"a": 1}),
    ("doubled braces", '{{"a": 1}}', {"a": 1}),
    ("semicolons", '{"a": 1; "b": 2}', {"a": 1, "b": 2}),
    ("missing bracket", '{"a": [1, 2}', {"a": [1, 2]}),
    ("missing value", '{"a": , "b": 1, \'c\': undefined}', {"a": None, "b": 1, "c": None}),
    ("a bare URL", "{u: http://x.y/z, n: 1}", {"u": "http://x.y/z", "n": 1}),
    ("a URL in a broken object", "{'u': 'http://x.y/z', 'n': 1}", {"u": "http://x.y/z", "n": 1}),
    ("closed too early by a missing bracket", '{"a": [1, 2}, "b": 3}', {"a": [1, 2]}),
]
# Cut off: closed by guess, and marked. An object without its root is none.
CUT: list[Case] = [
    ("cut in a string", '{"a": 1, "b": "cut he', {"a": 1, "b": "cut he"}),
    ("cut after a colon", '{"a": 1, "b":', {"a": 1, "b": None}),
    ("cut in an inner object", '{"a": {"b": 1}, "c": {"d": 2}', {"a": {"b": 1}, "c": {"d": 2}}),
    ("cut before a fence", '```json\n{"a": {"b": 1}\n```\nDone.', {"a": {"b": 1}}),
    ("cut with a decimal comma", '{"n": 4,5, "m": [', {"n": 4.5, "m": []}),
    ("cut in a thought", '<think>hm {"a": 1}', None),
    ("cut in a thought about thoughts", '<think>a <think> tag: {"a": 1}', None),
    ("nothing but the brace", "{", None),
    ("nothing but the bracket", "[", None),
    (
        "looping until the limit",
        '{"groups": [' + '{"t": "again", "n": 1}, ' * 40 + '{"t": "aga',
        {"groups": [{"t": "again", "n": 1}] * 40 + [{"t": "aga"}]},
    ),
]
# Nothing there, or parts of an object that has lost its root.
NONE: list[Case] = [
    ("a quoted word before a colon is a key", 'Don\'t say "no": {"a": 1}', None),
    ("beginning lost", '"a": {"b": 1}, "c": {"d": 2}}', None),
    ("prose only", "I cannot answer that.", None),
    ("equals signs, of which json_repair makes keys", '{"a" = "x",\n"b" = "y"\n}', None),
    ("no key at all", '{"a"\n1}', None),
    ("a set is no object", 'Choose from {"a", "b"}.', None),
    ("a placeholder is no object", "Dear {name}, meet {x} and { y }.", None),
    ("empty", "", None),
]
AMBIGUOUS = {
    "thousands or decimals",
    "decimals, as the other number shows",
    "two objects: the first",
    "a whole answer, then a cut one",
    "a cut fence, then a whole one",
    "closed by one brace too many",
    "closed too early",
    "closed too early by a missing bracket",
}


def cases(tier: str, table: list[Case]) -> list[Any]:
    return [pytest.param(text, value, tier, name, id=name) for name, text, value in table]


@pytest.mark.parametrize(
    ("text", "value", "tier", "name"),
    cases("numbers", NUMBERS) + cases("scan", SCAN) + cases("repair", REPAIR) + cases("none", NONE),
)
def test_a_broken_answer(text: str, value: Any, tier: str, name: str) -> None:
    answer = parse_answer(text)
    assert answer.tier == tier
    assert same(answer.value, value)
    assert answer.root_type == ("none" if tier == "none" else "object")
    assert answer.ambiguous is (name in AMBIGUOUS)
    assert not answer.truncated
    assert answer.lenient is (tier != "none")
    assert not answer.strict


@pytest.mark.parametrize(("text", "value"), [case[1:] for case in CUT], ids=[c[0] for c in CUT])
def test_an_answer_that_was_cut_off(text: str, value: Any) -> None:
    answer = parse_answer(text)
    assert answer.truncated
    assert same(answer.value, value)
    assert answer.tier == ("none" if value is None else "repair")
    assert answer.root_type == ("none" if value is None else "object")
    assert not (answer.strict or answer.lenient)


@pytest.mark.parametrize(
    ("text", "value", "tier", "truncated"),
    [
        ('Here you are: [{"a": 1}]', [{"a": 1}], "scan", False),
        ('```json\n[{"a": 1}, {"b": 2}]\n```', [{"a": 1}, {"b": 2}], "scan", False),
        ('[{"n": 4,5}]', [{"n": 4.5}], "numbers", False),
        ("[{'a': 1}]", [{"a": 1}], "repair", False),
        ('[{"a": 1}, {"b": 2', [{"a": 1}, {"b": 2}], "repair", True),
        ('[{"a": 1}], where {a: the id}', [{"a": 1}], "scan", False),  # no guess hides the list
        ('[[{"a": 1}]', [[{"a": 1}]], "repair", True),
    ],
)
def test_an_array_that_holds_the_object_is_an_array(
    text: str, value: Any, tier: str, truncated: bool
) -> None:
    answer = parse_answer(text)
    assert (answer.tier, answer.root_type, answer.truncated) == (tier, "array", truncated)
    assert same(answer.value, value)
    assert not answer.lenient


@pytest.mark.parametrize(
    ("text", "value", "root_type"),
    [
        ("```json\n42\n```", 42, "number"),
        ("<think>well</think> true", True, "boolean"),
        ('```\n"text"\n```', "text", "string"),
        ("<think>well</think>\nnull", None, "null"),
    ],
)
def test_a_lone_scalar_is_found_in_a_fence_or_after_a_thought(
    text: str, value: Any, root_type: str
) -> None:
    answer = parse_answer(text)
    assert (answer.value, answer.tier, answer.root_type) == (value, "scan", root_type)


def test_null_differs_from_nothing() -> None:
    assert parse_answer("null").root_type == "null"
    assert parse_answer("nothing") == Answer(None, "none", "none")
    assert parse_answer(None) == Answer(None, "none", "none")


@pytest.mark.parametrize("text", ["4,5", "[4,5 6]", "NaN", "x: 4,5"])
def test_a_comma_is_a_decimal_comma_in_object_values_only(text: str) -> None:
    answer = parse_answer(text)
    assert answer.tier not in ("strict", "numbers")
    assert 4.5 not in (answer.value if isinstance(answer.value, list) else [answer.value])


def test_only_what_follows_a_key_is_rewritten() -> None:
    (root,) = find_roots('{"l": [4,5, {"n": 4,5}, "k": 4,5], "t": 4,5, 4,5}').found
    assert [root.text[edit.start - 5 : edit.end] for edit in root.edits] == ['"n": 4,5', '"t": 4,5']


# --- readings and the schema --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "readings"),
    [
        ("4,5", ["4.5"]),
        ("1,000", ["1000", "1.000"]),
        ("-12,345", ["-12345", "-12.345"]),
        ("1.234,56", ["1234.56"]),
        ("1.234.567,8", ["1234567.8"]),
        ("1,234.56", ["1234.56"]),
        ("1,234,567", ["1234567"]),
        ("1.234.567", ["1234567"]),
        ("1 234", ["1234"]),
        ("1\u202f234,5", ["1234.5"]),
        ("+5", ["5"]),
        ("+1.234", ["1.234"]),
        ("0,5", ["0.5"]),
        ("0,500", ["0.500"]),
        ("4,5e-3", ["4.5e-3"]),
        ("1,000e3", ["1.000e3"]),
        ("1,234.567", ["1234.567"]),
        ("1234,567", ["1234.567"]),
        # JSON as it is, or nothing that anybody writes
        ("5", []),
        ("1.234", []),
        ("4.5e3", []),
        ("007", []),
        ("+007", []),
        ("1.234 567,8", []),
        ("00,5", []),
        ("1,5,2", []),
        ("1.2,3", []),
        ("12,34.5", []),
        ("0,123,456", []),
        ("1,234.567.8", []),
        ("1 23", []),
    ],
)
def test_the_readings_of_a_number(written: str, readings: list[str]) -> None:
    assert list(number_readings(written)) == readings


def test_ambiguous_readings_are_kept_apart() -> None:
    answer = parse_answer('{"n": 1,000}')
    assert answer.ambiguous
    assert same(answer.candidates, [{"n": 1000}, {"n": 1.0}])


def test_an_integer_schema_settles_thousands() -> None:
    """jsonschema takes 1.0 as an integer, so both readings are valid; only one is meant."""
    answer = parse_answer('{"n": 1,000}', INTEGER)
    assert same(answer.value, {"n": 1000})
    assert not answer.ambiguous
    assert len(answer.candidates) == 2


def test_an_integer_schema_settles_against_the_other_numbers_habit() -> None:
    schema = {"properties": {"n": {"type": "integer"}, "lat": {"type": "number", "minimum": -90}}}
    answer = parse_answer('{"n": 1,000, "lat": -23,435, "nota": 4,5}', schema)
    assert same(answer.value, {"n": 1000, "lat": -23.435, "nota": 4.5})
    assert not answer.ambiguous


def test_bounds_settle_decimals() -> None:
    schema = {"properties": {"n": {"type": "number", "maximum": 5}}}
    answer = parse_answer('{"n": 4,125}', schema)
    assert (answer.value, answer.ambiguous) == ({"n": 4.125}, False)


def test_what_the_schema_does_not_settle_stays_ambiguous() -> None:
    answer = parse_answer('{"n": 4,125}', NUMBER)
    assert (answer.value, answer.ambiguous) == ({"n": 4125}, True)


def test_an_integer_schema_still_takes_a_whole_float_if_nothing_else_fits() -> None:
    schema = {"properties": {"n": {"type": "integer", "maximum": 5}}}
    answer = parse_answer('{"n": 1,000}', schema)
    assert same(answer.value, {"n": 1.0})
    assert not answer.ambiguous


def test_many_ambiguous_numbers_are_read_all_one_way_or_all_the_other() -> None:
    text = "{" + ", ".join(f'"k{i}": {i + 1},250' for i in range(9)) + "}"
    answer = parse_answer(text)
    assert len(answer.candidates) == 2
    assert same(answer.candidates[0], {f"k{i}": (i + 1) * 1000 + 250 for i in range(9)})
    assert same(answer.candidates[1], {f"k{i}": i + 1.25 for i in range(9)})


def test_the_schema_chooses_between_objects() -> None:
    text = 'Format: {"n": "a number"}. Answer: {"n": 7}'
    assert parse_answer(text).ambiguous
    answer = parse_answer(text, INTEGER)
    assert (answer.value, answer.ambiguous) == ({"n": 7}, False)
    assert answer.candidates == ({"n": "a number"}, {"n": 7})


def test_two_valid_objects_are_ambiguous_and_the_first_counts() -> None:
    answer = parse_answer('{"n": 1} or {"n": 2}', INTEGER)
    assert (answer.value, answer.ambiguous) == ({"n": 1}, True)


def test_a_broken_answer_after_an_example_is_repaired_if_the_schema_asks_for_it() -> None:
    text = 'Format: {"n": "a number"}. Answer: {\'n\': 7}'
    assert parse_answer(text).value == {"n": "a number"}
    assert parse_answer(text).ambiguous
    answer = parse_answer(text, INTEGER)
    assert (answer.value, answer.tier, answer.ambiguous) == ({"n": 7}, "repair", False)


def test_no_guess_hides_a_list_from_the_schema() -> None:
    answer = parse_answer('[{"n": "x"}] where {n: y}', INTEGER)
    assert (answer.tier, answer.root_type) == ("scan", "array")
    assert {"n": "y"} in answer.candidates


def test_a_schema_settles_whether_an_object_was_closed_too_early() -> None:
    text = '{"n": 1}, "m": {"k": 2}}'
    assert parse_answer(text).ambiguous
    assert not parse_answer(text, INTEGER).ambiguous


def test_the_schema_may_ask_for_a_list() -> None:
    answer = parse_answer('{"x": 1} [1, 2]', {"type": "array"})
    assert (answer.value, answer.root_type) == ([1, 2], "array")


def test_a_strict_answer_is_not_chosen_by_the_schema() -> None:
    answer = parse_answer('{"n": 1.5}', INTEGER)
    assert (answer.value, answer.tier) == ({"n": 1.5}, "strict")


# --- checked answers: what the scores are made of -----------------------------------------------


@pytest.mark.parametrize(
    ("text", "strict", "lenient", "strict_valid", "lenient_valid"),
    [
        ('{"n": 1}', True, True, True, True),
        ('{"n": "x"}', True, True, False, False),
        ('```json\n{"n": 1}\n```', False, True, False, True),
        ('{"n": 1,000}', False, True, False, True),
        ("{'n': 1}", False, True, False, True),
        ('[{"n": 1}]', True, False, False, False),
        ('Here: [{"n": 1}]', False, False, False, False),
        ('{"n": 1, "m": "cut', False, False, False, False),  # valid as closed, and no answer
        ("null", True, False, False, False),
        ("no", False, False, False, False),
        (None, False, False, False, False),
    ],
)
def test_strict_and_lenient_stand_beside_each_other(
    text: str | None, strict: bool, lenient: bool, strict_valid: bool, lenient_valid: bool
) -> None:
    checked = check_answer(text, INTEGER)
    assert (checked.answer.strict, checked.answer.lenient) == (strict, lenient)
    assert (checked.strict_valid, checked.lenient_valid) == (strict_valid, lenient_valid)


def test_an_answer_without_a_value_has_a_problem_even_where_null_is_valid() -> None:
    checked = check_answer("nothing", {})
    assert [(p.path, p.kind) for p in checked.problems] == [("$", "parse")]
    assert not check_answer("null", {}).problems


def test_a_bad_schema_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="type"):
        parse_answer("{}", {"type": "objekt"})


# --- by itself ---------------------------------------------------------------------------------


def test_parsing_has_no_memory() -> None:
    text = "{\"n\": 1,000} [1] {'a': 1}"
    first = copy.deepcopy(parse_answer(text, INTEGER))
    parse_answer(text, NUMBER)
    assert parse_answer(text, INTEGER) == first


def test_json_repair_is_imported_only_when_it_is_needed() -> None:
    script = (
        "import sys; from lorachain.answers import parse_answer; "
        "parse_answer('{\"a\": 4,5}'); parse_answer('[' * 1000); "
        "assert 'json_repair' not in sys.modules; "
        "parse_answer(\"{'a': 1}\"); assert 'json_repair' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
