"""The quality gate: each reason on a row that has just that fault, and the shipped settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from datagen_rows_support import envelope, finished, question

from lorachain.datagen.qa import Checked, check_rows, find_schemas
from lorachain.datagen.qa_settings import QaSettings, read_qa_settings
from lorachain.datagen.rows import DatasetRow
from lorachain.errors import UserError

SHIPPED = read_qa_settings()
ANYTHING = QaSettings()


def gate(*rows: DatasetRow, settings: QaSettings = SHIPPED) -> Checked:
    return check_rows(rows, settings, find_schemas(rows))


def reasons(row: DatasetRow, settings: QaSettings = SHIPPED) -> list[str]:
    """Why a row is dropped; a sound one stands beside it."""
    found = gate(finished(0), row, settings=settings)
    assert finished(0) in found.kept
    return [reason.reason for _, why in found.dropped for reason in why]


def test_a_sound_row_passes() -> None:
    assert reasons(finished(1)) == []


def free(answer: Any, **changes: Any) -> DatasetRow:
    return finished(1, schema=None, expected={}, answer=answer, **changes)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (finished(1, prompt="Short?"), "prompt_length"),
        (free("x"), "answer_length"),
        (free("x" * 30_000), "answer_length"),
        (finished(1, answer=envelope(summary="")), "schema"),
        (finished(1, answer=[envelope()]), "schema"),
        (free({"a": "no schema was named"}), "schema"),
        (finished(1, answer=envelope("procedure")), "expected"),
        (finished(1, reasons=["form: no whole JSON object"]), "rejected"),
        (finished(1, answer=envelope(verification_steps=[])), "verification"),
        (finished(1, answer=envelope(verification_steps=[" "])), "verification"),
        (finished(1, answer=envelope(summary="TODO: write this part.")), "placeholder"),
        (finished(1, answer=envelope(next_steps=["Call [insert number]."])), "placeholder"),
        (finished(1, answer=envelope(summary="As an AI language model I may not.")), "placeholder"),
        (free("Você não deve levar uma mala grande para a viagem, mas uma pequena."), "language"),
    ],
)
def test_one_fault_is_one_reason(row: DatasetRow, reason: str) -> None:
    asked = {"prompt": "What do you think that they will have for the trip, and is it for you?"}
    row = DatasetRow(**row.as_dict() | (asked if reason == "language" else {}))
    assert set(reasons(row)) == {reason}


def test_todo_is_a_portuguese_word() -> None:
    assert reasons(free("A bateria dura o dia todo, e o preço é justo.")) == []


ABSOLUTE = "The ticket price is always 12 euros."


@pytest.mark.parametrize(
    ("answer", "flagged"),
    [
        (envelope(summary=ABSOLUTE, uncertainty_notes=""), True),
        (envelope(summary=ABSOLUTE, uncertainty_notes="  "), True),
        (envelope(summary=ABSOLUTE, uncertainty_notes="Prices change in spring."), False),
        (envelope(summary="The ticket price is 12 euros.", uncertainty_notes=""), False),
        (envelope(summary="Always carry water. The price is low.", uncertainty_notes=""), False),
        (envelope(summary="O preço é sempre o mesmo.", uncertainty_notes=""), True),
        (
            envelope(summary="Walk always onwards, despite pricey cafés.", uncertainty_notes=""),
            False,
        ),
        (envelope(assumptions=["You never need a visa."], uncertainty_notes=""), True),
    ],
)
def test_absolute_words_about_what_changes(answer: dict[str, Any], flagged: bool) -> None:
    assert reasons(finished(1, answer=answer)) == (["overconfidence"] if flagged else [])


def test_where_no_notes_are_asked_for_a_hedge_will_do() -> None:
    assert reasons(free("The museum always opens at nine.")) == ["overconfidence"]
    assert reasons(free("The museum always opens at nine. Check before you go.")) == []


def test_the_first_of_equal_prompts_is_kept() -> None:
    again = finished(2, prompt=question(1).upper())
    found = gate(again, finished(1))
    assert found.kept == [finished(1)]
    assert found.dropped[0][0] == again and found.dropped[0][1][0].reason == "duplicate"
    assert finished(1).id in found.dropped[0][1][0].detail


def test_a_broken_row_does_not_cost_the_good_one_after_it() -> None:
    broken = finished(1, answer=envelope(summary=""))
    found = gate(broken, finished(2, prompt=question(1)))
    assert [row.id for row in found.kept] == [finished(2).id]
    assert found.counts() == {"schema": 1}


NEAR = (
    "We arrive in Lima on a Tuesday in March with two children and would like to see birds, eat "
    "ceviche at the harbour and be back at the hotel for {} nights before the evening rain begins "
    "in the old town, where our friends have a small flat with a wide balcony"
)


def test_near_prompts_count_once_unless_their_numbers_differ() -> None:
    first = finished(1, prompt=NEAR.format(3))
    assert reasons(finished(2, prompt=NEAR.format(3) + " now")) == []
    found = gate(first, finished(2, prompt=NEAR.format(3) + " now"))
    assert found.counts() == {"near_duplicate": 1}
    assert gate(first, finished(2, prompt=NEAR.format(4) + " now")).counts() == {}


def test_a_task_may_not_have_more_than_its_cap() -> None:
    settings = QaSettings.model_validate({"balance": {"task": 1.5}})
    many = [finished(i) for i in range(9)]
    other = finished(9, task="other", id="o")
    found = gate(*many, other, settings=settings)
    # 10 rows of 2 tasks: 5 each would be even, so at most 8.
    assert [row.id for row in found.kept] == [row.id for row in (*many[:8], other)]
    assert found.counts() == {"over_cap": 1}
    assert gate(*many, settings=settings).counts() == {}  # one task cannot be uneven


def test_rows_that_were_planned_from_failures_are_uneven_on_purpose() -> None:
    settings = QaSettings.model_validate({"balance": {"task": 1}})
    rows = [finished(i, spec="d1-after-v2", task="a" if i < 8 else "b") for i in range(10)]
    assert gate(*rows, settings=settings).kept == rows
    own = [DatasetRow(**row.as_dict() | {"spec": "d1"}) for row in rows]
    assert gate(*own, settings=settings).counts() == {"over_cap": 3}


def test_categories_are_capped_and_rows_without_one_are_not() -> None:
    settings = QaSettings.model_validate({"balance": {"category": 1}})
    rows = [finished(i, category=c) for i, c in enumerate(["a", "a", "a", "b", "", ""])]
    found = gate(*rows, settings=settings)
    assert [row.category for row in found.kept] == ["a", "a", "a", "b", "", ""]
    rows = [finished(i, category=c) for i, c in enumerate(["a", "a", "a", "b"])]
    assert [row.category for row in gate(*rows, settings=settings).kept] == ["a", "a", "b"]


def test_the_report_names_every_dropped_row_and_counts_both_sides() -> None:
    rows = [finished(1), finished(2, prompt=question(1)), finished(3, answer=envelope(summary=""))]
    report = gate(*rows).report()
    assert (report["rows"], report["kept"], report["dropped"]) == (3, 1, 2)
    assert report["reasons"] == {"duplicate": 1, "schema": 1}
    assert [row["id"] for row in report["dropped_rows"]] == [rows[1].id, rows[2].id]
    assert report["balance"]["task"] == {"checklist": {"rows": 3, "kept": 1}}


def test_nothing_is_looked_at_that_the_settings_leave_out() -> None:
    answer = envelope(verification_steps=[], summary="TODO " + ABSOLUTE, uncertainty_notes="")
    assert reasons(finished(1, answer=answer), ANYTHING) == []


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"placeholders": ["("]}, "is no regular expression"),
        ({"lenght": {}}, "lenght: Extra inputs"),
        ({"balance": {"task": 0.5}}, "balance.task"),
        ({"languages": {"pt": ["no", False]}}, "languages.pt.1"),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, settings: dict[str, Any], part: str) -> None:
    path = tmp_path / "qa.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    with pytest.raises(UserError, match="cannot be used") as caught:
        read_qa_settings(path)
    assert part in str(caught.value)
