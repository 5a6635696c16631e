"""Schemas are checked when they are loaded, and say all that is wrong with a value, with paths."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorachain.answers import (
    Schema,
    SchemaProblem,
    check_answer,
    compile_schema,
    load_schema,
    validate,
)
from lorachain.errors import UserError

DRAFT = "https://json-schema.org/draft/2020-12/schema"

CHECKLIST = {
    "$schema": DRAFT,
    "type": "object",
    "required": ["groups"],
    "additionalProperties": False,
    "properties": {
        "groups": {
            "type": "array",
            "items": {
                "properties": {"items": {"type": "array", "items": {"$ref": "#/$defs/item"}}}
            },
        }
    },
    "$defs": {
        "item": {
            "required": ["text", "priority"],
            "properties": {"text": {"type": "string"}, "priority": {"type": "integer"}},
        }
    },
}
ENVELOPE = {
    "$schema": DRAFT,
    "type": "object",
    "required": ["payload_type", "payload"],
    "properties": {"payload_type": {"enum": ["checklist", "note"]}},
    "allOf": [
        {
            "if": {"properties": {"payload_type": {"const": "checklist"}}},
            "then": {"properties": {"payload": {"$ref": "payload_checklist.schema.json"}}},
        },
        {
            "if": {"properties": {"payload_type": {"const": "note"}}},
            "then": {"properties": {"payload": {"type": "string"}}},
        },
    ],
}


def write(folder: Path, name: str, contents: Any) -> Path:
    path = folder / name
    text = contents if isinstance(contents, str) else json.dumps(contents)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose name needs quoting in a URI, with an envelope and its payload."""
    made = tmp_path / "schémas & more (x86) #1 100%"
    made.mkdir()
    write(made, "envelope.schema.json", ENVELOPE)
    write(made, "payload_checklist.schema.json", CHECKLIST)
    return made


def envelope(priority: Any = 1, **more: Any) -> dict[str, Any]:
    items = [{"text": "a", "priority": 1}, {"text": "b", "priority": 2}]
    items.append({"text": "c", "priority": priority})
    return {"payload_type": "checklist", "payload": {"groups": [{"items": items}]}, **more}


# --- what is wrong, and where -------------------------------------------------------------------


def test_a_valid_value_has_no_problems(folder: Path) -> None:
    schema = load_schema(folder / "envelope.schema.json")
    assert validate(envelope(), schema) == []
    assert schema.accepts(envelope())
    assert validate({"payload_type": "note", "payload": "text"}, schema) == []


def test_a_problem_behind_a_reference_has_its_whole_path(folder: Path) -> None:
    schema = load_schema(folder / "envelope.schema.json")
    assert validate(envelope(priority="high"), schema) == [
        SchemaProblem("payload.groups[0].items[2].priority", "type", "expected integer, got string")
    ]
    assert not schema.accepts(envelope(priority="high"))


def test_the_condition_chooses_the_payload(folder: Path) -> None:
    schema = load_schema(folder / "envelope.schema.json")
    problems = validate(envelope() | {"payload_type": "note"}, schema)
    assert [(p.path, p.kind) for p in problems] == [("payload", "type")]


def test_every_problem_is_listed_once_and_items_are_in_their_order(folder: Path) -> None:
    schema = load_schema(folder / "payload_checklist.schema.json")
    value = {"groups": [{"items": [{} for _ in range(11)]}], "zeta": 1, "extra": 2}
    problems = validate(value, schema)
    assert len(problems) == len(set(problems)) == 23
    assert problems[0] == SchemaProblem(
        "$", "additionalProperties", 'unexpected keys "zeta", "extra"'
    )
    assert [p.path for p in problems[1:]] == [f"groups[0].items[{i // 2}]" for i in range(22)]
    assert [p.message for p in problems[1:3]] == ["missing key 'priority'", "missing key 'text'"]
    assert validate(value, schema) == problems


def test_a_problem_that_two_branches_find_is_one_problem() -> None:
    branch = {"required": ["a"]}
    assert len(validate({}, {"allOf": [branch, branch]})) == 1


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (1, "$"),
        ([1], "[0]"),
        ({"a": [[1]]}, "a[0][0]"),
        ({"preço_2": {"b": 1}}, "preço_2.b"),
        ({"a b": {"c.d": 1}}, '["a b"]["c.d"]'),
        ({"$": 1}, '["$"]'),
        ({"0": 1}, '["0"]'),
        ({"": 1}, '[""]'),
        ({"\ud800": 1}, '["\\ud800"]'),
    ],
)
def test_a_path_names_the_place(value: Any, path: str) -> None:
    nothing_whole = {
        "not": {"type": "number"},
        "items": {"$ref": "#"},
        "additionalProperties": {"$ref": "#"},
    }
    problems = validate(value, nothing_whole)
    assert [(p.path, p.kind) for p in problems] == [(path, "not")]
    problems[0].path.encode("utf-8")


@pytest.mark.parametrize(
    ("schema", "value", "kind", "message"),
    [
        ({"type": ["string", "null"]}, 1, "type", "expected string or null, got integer"),
        ({"type": "integer"}, True, "type", "expected integer, got boolean"),
        ({"type": "integer"}, 1.5, "type", "expected integer, got number"),
        ({"type": "object"}, [1], "type", "expected object, got array"),
        ({"type": "object"}, None, "type", "expected object, got null"),
        ({"required": ["a"]}, {}, "required", "missing key 'a'"),
        ({"enum": ["x", 2]}, "y", "enum", '"y" is none of values "x", 2'),
        ({"enum": list(range(9))}, 9, "enum", "9 is none of values 0, 1, 2, 3, 4 and 4 more"),
        ({"const": {"a": 1}}, 2, "const", "2 is not object of 1"),
        ({"minimum": 3}, 2, "minimum", "2 fails minimum 3"),
        ({"pattern": "^a"}, "b", "pattern", '"b" fails pattern "^a"'),
        ({"minItems": 1}, [], "minItems", "array of 0 fails minItems 1"),
        ({"uniqueItems": True}, [1, 1], "uniqueItems", "array of 2 fails uniqueItems true"),
        ({"anyOf": [{"type": "null"}, False]}, 1, "anyOf", "1 fits none of the 2 alternatives"),
        ({"oneOf": [{"type": "null"}, False]}, 1, "oneOf", "1 fits none of the 2 alternatives"),
        ({"oneOf": [True, True]}, 1, "oneOf", "1 fits more than one of the 2 alternatives"),
        ({"properties": {"a": False}}, {"a": 1}, "false", "nothing is allowed here"),
        (
            {"additionalProperties": False, "patternProperties": {"^x": True}},
            {"x1": 1, "y": 2},
            "additionalProperties",
            'unexpected key "y"',
        ),
        (
            {"dependentRequired": {"a": ["b"]}},
            {"a": 1},
            "dependentRequired",
            "'b' is a dependency of 'a'",
        ),
    ],
)
def test_a_problem_is_said_in_few_words(
    schema: dict[str, Any], value: Any, kind: str, message: str
) -> None:
    (problem,) = validate(value, schema)
    assert (problem.kind, problem.message) == (kind, message)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "null"},
        {"const": 1},
        {"enum": [1]},
        {"required": ["k" * 10_000]},
        {"maxProperties": 1},
        {"maxLength": 1},
        {"pattern": "^$" * 1000},
        {"additionalProperties": False},
        {"unevaluatedProperties": False},
        {"anyOf": [False]},
        {"not": {}},
    ],
)
def test_no_message_holds_the_whole_value(schema: dict[str, Any]) -> None:
    values = ("x" * 100_000, {f"key{i}": "\ud800" * 1000 for i in range(1000)})
    problems = [problem for value in values for problem in validate(value, schema)]
    assert problems
    for problem in problems:
        assert 0 < len(problem.message) < 500
        problem.message.encode("utf-8")


def test_a_number_with_a_zero_fraction_is_an_integer_unless_asked_otherwise() -> None:
    schema = compile_schema({"$schema": DRAFT, "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {}}})
    assert schema.accepts([1.0], exact_integers=True)
    schema = compile_schema({"items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "integer"}}})
    assert validate([1.0], schema) == []
    assert not schema.accepts([1.0], exact_integers=True)
    assert schema.accepts([1], exact_integers=True)
    assert not schema.accepts([True], exact_integers=True)


def test_integers_are_exact_behind_a_reference_to_a_file_too(folder: Path) -> None:
    """A `$schema` in the other file must not bring the stock rule back."""
    schema = load_schema(folder / "envelope.schema.json")
    assert schema.accepts(envelope(priority=1.0))
    assert not schema.accepts(envelope(priority=1.0), exact_integers=True)


def test_format_is_not_checked() -> None:
    assert validate("no date", {"format": "date"}) == []


def test_a_value_nested_too_deeply_is_refused_not_raised() -> None:
    value: Any = 1
    for _ in range(3000):
        value = [value]
    schema = compile_schema({"items": {"$ref": "#"}})
    assert [p.kind for p in validate(value, schema)] == ["recursion"]
    assert not schema.accepts(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["groups", "items", "text", "priority"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(json_values)
def test_a_value_is_accepted_exactly_if_it_has_no_problem(value: Any) -> None:
    schema = compile_schema(CHECKLIST)
    problems = validate(value, schema)
    assert schema.accepts(value) is (problems == [])
    assert check_answer(json.dumps(value), schema).strict_valid is (problems == [])


def test_the_same_schema_is_compiled_once(folder: Path) -> None:
    assert compile_schema(CHECKLIST) is compile_schema(json.loads(json.dumps(CHECKLIST)))
    loaded = load_schema(folder / "envelope.schema.json")
    assert compile_schema(loaded) is loaded
    assert isinstance(loaded, Schema)
    assert loaded.name == "envelope.schema.json"
    assert loaded.contents == ENVELOPE


# --- loading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "https://example.org/schemas/"])
def test_ids_do_not_change_which_file_is_meant(folder: Path, prefix: str) -> None:
    for name, contents in [("envelope", ENVELOPE), ("payload_checklist", CHECKLIST)]:
        name = f"{name}.schema.json"
        write(folder, name, {**contents, "$id": prefix + name})
    schema = load_schema(folder / "envelope.schema.json")
    assert [p.path for p in validate(envelope(priority="high"), schema)] == [
        "payload.groups[0].items[2].priority"
    ]


def test_files_may_refer_to_each_other_in_a_circle(folder: Path) -> None:
    write(folder, "tree.json", {"properties": {"leaf": {"$ref": "leaf.json"}}})
    write(folder, "leaf.json", {"properties": {"tree": {"$ref": "tree.json"}}, "maxProperties": 1})
    schema = load_schema(folder / "tree.json")
    value = {"leaf": {"tree": {"leaf": {"a": 1, "b": 2}}}}
    assert [p.path for p in validate(value, schema)] == ["leaf.tree.leaf"]


def test_a_reference_may_lead_into_another_file(folder: Path) -> None:
    reference = {"$ref": "payload_checklist.schema.json#/$defs/item"}
    schema = load_schema(write(folder, "one.json", {"items": reference}))
    assert {p.path for p in validate([{}], schema)} == {"[0]"}


def test_a_reference_may_be_quoted_as_a_uri(folder: Path) -> None:
    write(folder, "one número.json", {"type": "number"})
    schema = load_schema(write(folder, "quoted.json", {"$ref": "one%20n%C3%BAmero.json"}))
    assert [p.kind for p in validate("x", schema)] == ["type"]


def test_an_embedded_schema_is_found_by_its_id() -> None:
    schema = {"$defs": {"n": {"$id": "number.json", "type": "number"}}, "$ref": "number.json"}
    assert [p.kind for p in validate("x", schema)] == ["type"]


def test_data_that_looks_like_a_reference_is_none(folder: Path) -> None:
    data = {"const": {"$ref": "nowhere.json"}, "properties": {"$ref": {"type": "string"}}}
    schema = load_schema(write(folder, "data.json", data))
    assert validate({"$ref": "nowhere.json"}, schema) == []


def test_a_byte_order_mark_is_accepted(folder: Path) -> None:
    path = write(folder, "bom.json", "\ufeff" + json.dumps({"type": "null"}))
    assert validate(None, load_schema(path)) == []


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "must be a JSON object, not array"),
        ({"type": "objekt"}, "not a valid schema: at type: "),
        ({"properties": {"a": {"minLength": "x"}}}, "at properties.a.minLength: expected integer"),
        ({"pattern": "("}, "at pattern: "),
        ({"required": "a"}, "at required: expected array, got string"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "draft-07"),
        ({"$schema": 7}, "$schema is 7"),
        ({"$ref": "missing.json"}, "'missing.json' names no file"),
        ({"$ref": "#/$defs/missing"}, "'#/$defs/missing' leads to nothing"),
        ({"$dynamicRef": "#missing"}, "'#missing' leads to nothing"),
        ('{"items":' * 400 + "{}" + "}" * 400, "nested too deeply"),
        ({"items": {"$ref": "payload_checklist.schema.json#/$defs/x"}}, "leads to nothing"),
        ({"$ref": "broken.json"}, "broken.json: the schema is not JSON"),
        ({"$ref": "../outside.json"}, "names no file"),
        ({"$ref": "..%2Foutside.json"}, "names no file"),
        ({"$ref": "sub/inside.json"}, "names no file"),
        ({"$ref": "file:///etc/hostname"}, "names no file"),
    ],
)
def test_a_bad_schema_is_refused_by_name(folder: Path, contents: Any, problem: str) -> None:
    write(folder, "broken.json", "{")
    write(folder.parent, "outside.json", {})
    (folder / "sub").mkdir()
    write(folder / "sub", "inside.json", {})
    path = write(folder, "bad.schema.json", contents)
    with pytest.raises(UserError) as caught:
        load_schema(path)
    assert problem in str(caught.value)
    assert "bad.schema.json" in str(caught.value) or "broken.json" in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(path))


def test_a_bad_neighbour_is_the_one_that_is_named(folder: Path) -> None:
    bad = write(folder, "payload_checklist.schema.json", {"type": "objekt"})
    with pytest.raises(UserError) as caught:
        load_schema(folder / "envelope.schema.json")
    assert str(bad) in str(caught.value)


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_a_file_that_cannot_be_read_is_named(folder: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot read the schema") as caught:
        load_schema(folder / name)
    assert str(folder / name) in str(caught.value)


def test_a_mapping_cannot_refer_to_files() -> None:
    with pytest.raises(UserError, match="leads outside the schema"):
        validate({}, {"$ref": "payload_checklist.schema.json"})


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A server on loopback that would hand out a schema, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}", asked
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_nothing_is_fetched_from_a_network(folder: Path, server: tuple[str, list[str]]) -> None:
    address, asked = server
    path = write(folder, "remote.json", {"$ref": f"{address}/schema.json"})
    with pytest.raises(UserError, match="names no file"):
        load_schema(path)
    with pytest.raises(UserError, match="leads outside"):
        validate({}, {"$ref": f"{address}/schema.json"})
    write(folder, "local.json", {"$id": f"{address}/local.json", "$ref": "absent.json"})
    with pytest.raises(UserError, match="names no file"):
        load_schema(folder / "local.json")
    assert asked == []
