"""Training rows: one form for every answer, rows that cannot have it refused, the suite frozen."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from datagen_rows_support import envelope, finished, lines, question, suite_file
from hypothesis import given
from hypothesis import strategies as st

from lorachain.answers import compile_schema
from lorachain.datagen.fixed_suite import check_unseen, drawn, freeze, suite_rows
from lorachain.datagen.normalise import normalised
from lorachain.datagen.rows import SplitRow
from lorachain.datagen.sft_format import format_rows
from lorachain.errors import UserError
from lorachain.jsonl import write_objects
from lorachain.records import Message, read_training_data
from lorachain.schemas import find_schema
from lorachain.suites import read_suite

ENVELOPE = find_schema("envelope", Path())
SCHEMAS = {"envelope": ENVELOPE}
KEYS = list(envelope())


def placed(number: int, split: str = "train", group: str = "", **changes: Any) -> SplitRow:
    row = finished(number, **changes)
    return SplitRow(**row.as_dict() | {"split": split, "group": group or f"g{number}"})


@given(st.permutations(KEYS), st.sets(st.sampled_from(["assumptions", "next_steps"])))
def test_all_seven_keys_in_the_schemas_order(order: list[str], missing: set[str]) -> None:
    answer = {key: envelope()[key] for key in order if key not in missing}
    found, added = normalised(answer | {"metadata": {"a": 1}}, ENVELOPE)
    assert list(found) == [*KEYS, "metadata"]
    assert added == [key for key in KEYS if key in missing]
    assert found == envelope(metadata={"a": 1}) | {key: [] for key in missing}


def test_an_empty_value_is_one_of_the_keys_type() -> None:
    schema = compile_schema(
        {
            "properties": {
                "a": {"type": ["number", "null"]},
                "b": {"type": "boolean"},
                "c": {"type": "object"},
                "d": {"enum": ["x"]},
            },
            "required": ["d", "c", "b", "a"],
        }
    )
    assert normalised({}, schema) == ({"c": {}, "a": None}, ["c", "a"])
    assert normalised([1], schema) == ([1], [])


def test_added_values_are_nobodys_but_the_rows() -> None:
    one, other = (normalised({}, ENVELOPE)[0]["next_steps"] for _ in range(2))
    one.append("x")
    assert other == []


def test_rows_are_what_the_training_reads(tmp_path: Path) -> None:
    answer = {key: envelope()[key] for key in reversed(KEYS)}
    rows = [placed(1, answer=answer), placed(2, system="", schema=None, answer="Ça va?")]
    found = format_rows(rows, SCHEMAS, tmp_path)
    write_objects(tmp_path / "train_sft.jsonl", found.rows)
    read = read_training_data(tmp_path / "train_sft.jsonl")
    target = json.dumps(envelope(), separators=(",", ":"))
    assert [row.messages for row in read.rows] == [
        (
            Message("system", rows[0].system),
            Message("user", question(1)),
            Message("assistant", target),
        ),
        (Message("user", question(2)), Message("assistant", "Ça va?")),
    ]
    assert [(row.task, row.schema) for row in read.rows] == [
        ("checklist", "envelope"),
        ("checklist", ""),
    ]


def test_answers_that_cannot_be_made_whole_are_refused_by_name(tmp_path: Path) -> None:
    lacking = [{k: v for k, v in envelope().items() if k != key} for key in KEYS]
    rows = [placed(i, answer=answer) for i, answer in enumerate(lacking)]
    with pytest.raises(UserError) as caught:
        format_rows([*rows, placed(9, schema=None, answer=" ")], SCHEMAS, tmp_path / "train.jsonl")
    message = str(caught.value)
    # An empty text is no summary, and an empty object no payload; the lists and notes may be empty.
    refused = [0, KEYS.index("payload_type"), KEYS.index("payload"), 9]
    assert [i for i in range(10) if f"d1-checklist-{i:04d}:" in message] == refused
    assert "qa_pipeline.py" in message


def test_what_was_added_is_counted(tmp_path: Path) -> None:
    less = {k: v for k, v in envelope().items() if k != "next_steps"}
    found = format_rows([placed(1, answer=less), placed(2)], SCHEMAS, tmp_path)
    assert found.added == Counter(next_steps=1)
    assert found.answers[placed(1).id]["next_steps"] == []


def of_tasks(*tasks: str) -> list[SplitRow]:
    return [placed(i, "test", task=task, id=f"{task}-{i}") for i, task in enumerate(tasks)]


def test_a_suite_has_as_many_of_each_task_as_it_can() -> None:
    rows = of_tasks(*["a"] * 30, *["b"] * 30, *["c"] * 3)
    found = drawn(rows, 20, 42)
    assert Counter(row.task for row in found) == {"a": 9, "b": 8, "c": 3}
    assert found == drawn(rows[::-1], 20, 42) != drawn(rows, 20, 43)
    assert len(drawn(rows[:5], 20, 42)) == 5 and drawn([], 20, 42) == []


def test_near_rows_come_last_and_share_a_cluster() -> None:
    rows = [placed(i, "test", group="same") for i in range(5)]
    rows += [placed(i, "test") for i in range(5, 8)]
    for seed in range(9):
        assert Counter(row.group for row in drawn(rows, 4, seed))["same"] == 1
    items = suite_rows(drawn(rows, 8, 1), {row.id: row.answer for row in rows})
    assert Counter(item["cluster"] for item in items)["same"] == 5


def test_a_suite_is_written_once_and_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    rows = of_tasks("a", "b", "c")
    items = suite_rows(rows, {row.id: row.answer for row in rows})
    assert "3 test prompts frozen" in freeze(path, items) and "20 were asked for" in freeze(
        tmp_path / "other.jsonl", items
    )
    suite = read_suite(path)
    assert [(i.id, i.task, i.schema) for i in suite.items] == [
        (r.id, r.task, "envelope") for r in rows
    ]
    assert suite.items[0].reference == rows[0].answer
    assert suite.items[0].expected == {"payload_type": "checklist"}
    before = path.read_bytes()
    assert "stands as it was frozen, with 3 prompts" in freeze(path, items)
    assert "it would differ in 1 of 2 prompts" in freeze(path, [items[0], items[1] | {"id": "new"}])
    assert "is another suite" in freeze(path, [items[0] | {"id": "new"}])
    assert path.read_bytes() == before


def test_an_empty_test_split_freezes_nothing(tmp_path: Path) -> None:
    assert "no rows" in freeze(tmp_path / "s.jsonl", [])
    assert not (tmp_path / "s.jsonl").exists()


def test_a_suite_that_asks_what_is_trained_on_is_an_error(tmp_path: Path) -> None:
    path = suite_file(tmp_path / "s.jsonl", question(1), question(2), question(3))
    check_unseen(path, [placed(2, "test"), placed(4, "train")])
    rows = [placed(1, "train"), placed(2, "test"), placed(3, "val", prompt=question(3) + " Now")]
    with pytest.raises(UserError) as caught:
        check_unseen(path, rows)
    assert str(caught.value).count("is asked by") == 2
    assert "d1-checklist-0001 (train) is asked by item-0" in str(caught.value)
    assert "(val) is asked by item-2" in str(caught.value)
    check_unseen(tmp_path / "none.jsonl", rows)
    assert lines(path)
