"""An answer's envelope and payload are judged apart, and together they are the whole schema."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorachain.evaluation.contract import Contract, Kept, keep, read_contract
from lorachain.paths import SUITES
from lorachain.suites import find_schema, read_suite

ENVELOPE = read_contract("envelope", find_schema("envelope"))
ITEMS = read_suite(SUITES / "fixed20_v1.jsonl").items
REFERENCES = [item.reference for item in ITEMS]
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.builds(list), st.builds(dict),
    st.sampled_from(["checklist", "procedure", "poem"]),
)  # fmt: skip


def judged(value: Any, contract: Contract = ENVELOPE) -> Kept:
    return keep(value if isinstance(value, str) else json.dumps(value), contract)


def test_every_reference_keeps_all_of_it() -> None:
    for reference in REFERENCES:
        found = judged(reference)
        assert (found.whole, found.strict, found.envelope, found.payload) == (True,) * 4
        assert found.missing == () and found.failures == ()


@settings(max_examples=150)
@given(st.data())
def test_the_whole_is_the_envelope_and_the_payload(data: st.DataObject) -> None:
    """Keys lost, added or of another value, in the envelope and in the payload's top."""
    value = copy.deepcopy(data.draw(st.sampled_from(REFERENCES)))
    for _ in range(data.draw(st.integers(0, 3))):
        payload = value.get("payload")
        place = data.draw(
            st.sampled_from([value, payload] if isinstance(payload, dict) else [value])
        )
        key = data.draw(st.sampled_from([*place, "extra", "metadata", "poem"]))
        if key in place and data.draw(st.booleans()):
            del place[key]
        else:
            place[key] = data.draw(VALUES)
    found = judged(value)
    assert found.whole == (found.envelope and found.payload) == (not found.failures)
    parts = {failure["part"] for failure in found.failures}
    if found.envelope:
        assert parts <= {"payload"}
    if found.payload:
        assert parts <= {"envelope"}
    assert found.missing == tuple(key for key in ENVELOPE.required if key not in value)


@pytest.mark.parametrize("text", ["", "No.", "[1, 2]", '"text"', "null", "[{}]"])
def test_what_is_no_object_keeps_nothing(text: str) -> None:
    found = judged(text)
    assert (found.whole, found.envelope, found.payload) == (False, False, False)
    assert found.missing == ENVELOPE.required and found.failures


def test_a_list_around_the_right_answer_is_a_list() -> None:
    found = judged([REFERENCES[0]])
    assert found.answer.root_type == "array" and found.envelope is False
    assert [(f["path"], f["kind"]) for f in found.failures] == [("$", "type")]


def test_an_answer_that_is_cut_off_keeps_nothing_and_says_why() -> None:
    text = json.dumps(REFERENCES[0])[:-1]
    assert keep(text, ENVELOPE).failures[-1]["kind"] == "unclosed"
    found = keep(text, ENVELOPE, cut=True)
    assert found.failures[-1]["kind"] == "cut" and not found.whole and not found.payload


def test_a_schema_without_payloads_has_one_part(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text('{"type": "object", "required": ["payload"]}', encoding="utf-8")
    contract = read_contract(str(path), find_schema(str(path)))
    found = judged({"payload_type": "checklist"}, contract)
    assert (found.envelope, found.payload, found.whole) == (None, None, False)
    assert found.missing == ("payload",) and found.failures[0]["part"] == "envelope"


def test_a_users_own_envelope_is_taken_apart_too(tmp_path: Path) -> None:
    kinds = {"properties": {"payload_type": {"enum": ["a", "b"]}, "payload": {"type": "object"}}}
    where = {"$ref": "payload_a.schema.json"}
    chosen = {"if": {"properties": {"payload_type": {"const": "a"}}}, "then": {}}
    chosen["then"] = {"properties": {"payload": where}}
    (tmp_path / "mine.json").write_text(json.dumps({**kinds, "allOf": [chosen]}))
    (tmp_path / "payload_a.schema.json").write_text('{"required": ["x"]}')
    contract = read_contract(str(tmp_path / "mine.json"), find_schema(str(tmp_path / "mine.json")))
    found = judged({"payload_type": "a", "payload": {}}, contract)
    assert (found.envelope, found.payload) == (True, False)
    assert [(f["part"], f["path"]) for f in found.failures] == [("payload", "payload")]
    assert judged({"payload_type": "a", "payload": {"x": 1}}, contract).payload is True
