"""Steps, epochs and rates: what is too little is said, and the value that is named mends it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from lorachain.config import resolve
from lorachain.preflight.finding import Finding
from lorachain.preflight.inputs import Schedule
from lorachain.preflight.schedule import check_schedule, facts, plan


def planned(rows: int, *sets: str, **more: Any) -> Schedule:
    config = resolve(None, sets=[f"training.{text}" for text in sets]).config
    return plan(config, rows, **{"fresh_adapter": True, "has_validation": True, **more})


def check(rows: int, *sets: str, **more: Any) -> dict[str, Finding]:
    found = check_schedule(planned(rows, *sets, **more))
    assert len({f.code for f in found}) == len(found)
    return {f.code: f for f in found}


def advised(finding: Finding) -> list[list[str]]:
    """What each alternative of a finding's advice says to set, without `training.`."""
    alternatives = re.split(r"; (?:or )?", finding.do)
    pattern = r'--set (?:"training\.([^"]+)"|training\.(\S+?)(?=[\s.;)]|$))'
    found = [[a or b for a, b in re.findall(pattern, part)] for part in alternatives]
    return [sets for sets in found if sets]


def test_a_schedule_that_is_fine_says_nothing() -> None:
    assert check(160, "gradient_accumulation_steps=2", "lr_scheduler_type=linear") == {}


# --- few-steps ---


def test_ten_steps_are_too_few_and_each_way_out_gives_fifty() -> None:
    """160 rows, 16 a step, one epoch: what a project trained its second version with."""
    sets = ("num_train_epochs=1", "gradient_accumulation_steps=16")
    found = check(160, *sets)["few-steps"]
    assert found.severity == "warning" and "10 optimizer steps in all" in found.says
    ways = advised(found)
    assert ways == [["gradient_accumulation_steps=2"], ["num_train_epochs=5"]]
    for way in ways:
        after = planned(160, *sets, *way)
        assert after.steps >= 50 and f"gives {after.steps}" in found.do
        assert "few-steps" not in check(160, *sets, *way)


def test_a_large_batch_is_made_smaller_where_there_is_no_accumulation() -> None:
    sets = ("per_device_train_batch_size=16", "gradient_accumulation_steps=1", "num_train_epochs=1")
    for way in advised(check(160, *sets)["few-steps"]):
        assert "few-steps" not in check(160, *sets, *way)
    assert "per_device_train_batch_size=2" in check(160, *sets)["few-steps"].do


def test_max_steps_is_what_to_raise_where_it_decides() -> None:
    (way,) = advised(check(4000, "max_steps=20")["few-steps"])
    assert way == ["max_steps=50"]
    assert "few-steps" not in check(4000, *way)


@pytest.mark.parametrize(("rows", "ways"), [(20, 1), (3, 0)])
def test_no_number_of_max_steps_is_advised_that_learns_few_rows_by_heart(
    rows: int, ways: int
) -> None:
    """20 rows, 16 a step: 50 steps would be 25 epochs."""
    found = check(rows, "max_steps=5")["few-steps"]
    assert len(advised(found)) == ways
    for way in advised(found):
        assert "few-steps" not in check(rows, "max_steps=5", *way)
        assert planned(rows, "max_steps=5", *way).epochs <= 10
    assert ("rows are too few" in found.do) == (not ways)


def test_rows_that_are_too_few_for_any_setting_are_said_to_be() -> None:
    found = check(4, "num_train_epochs=1")["few-steps"]
    assert advised(found) == [] and "add rows" in found.do


def test_fifty_steps_are_enough() -> None:
    assert "few-steps" not in check(800, "num_train_epochs=1")
    assert "few-steps" in check(784, "num_train_epochs=1")


# --- partial-epoch ---

SEEN = ("max_steps=200", "per_device_train_batch_size=2", "gradient_accumulation_steps=1")


def test_a_part_of_an_epoch_is_said_with_its_share_and_both_ways_out_see_it_all() -> None:
    found = check(2963, *SEEN)["partial-epoch"]
    assert found.severity == "warning"
    assert "13.5% of an epoch" in found.says and "2,563 of 2,963 rows" in found.says
    ways = advised(found)
    assert ways == [["max_steps=1482"], ["max_steps=null"]]
    for way in ways:
        assert "partial-epoch" not in check(2963, *SEEN, *way)


def test_half_an_epoch_by_num_train_epochs() -> None:
    found = check(2000, "num_train_epochs=0.5")["partial-epoch"]
    assert advised(found) == [["num_train_epochs=1"]]
    assert "partial-epoch" not in check(2000, "num_train_epochs=1")


def test_nearly_all_of_an_epoch_is_a_note() -> None:
    assert check(1600, "max_steps=95")["partial-epoch"].severity == "note"
    assert "partial-epoch" not in check(1600, "max_steps=100")


# --- dead-tail ---


def test_a_cosine_tail_of_zeros_is_noted_and_both_ways_out_have_none() -> None:
    found = check(1480, *SEEN)["dead-tail"]
    assert found.severity == "note" and "11 of 200 steps (5.5%)" in found.says
    ways = advised(found)
    assert len(ways) == 2
    for way in ways:
        assert "dead-tail" not in check(1480, *SEEN, *way)


@pytest.mark.parametrize(
    "sets",
    [
        ("lr_scheduler_type=polynomial", "lr_scheduler_kwargs={power: 3, lr_end: 0}"),
        (
            "lr_scheduler_type=warmup_stable_decay",
            "lr_scheduler_kwargs={num_stable_steps: 20, num_decay_steps: 60}",
        ),
    ],
)
def test_a_tail_that_is_mostly_dead_is_a_warning_that_can_be_mended(sets: tuple[str, ...]) -> None:
    found = check(1480, *SEEN, *sets)["dead-tail"]
    assert found.severity == "warning" and found.facts["share"] > 0.1
    for way in advised(found):
        assert "dead-tail" not in check(1480, *SEEN, *sets, *way)


@pytest.mark.parametrize("name", ["linear", "constant_with_warmup", "inverse_sqrt"])
def test_a_rate_that_stays_above_one_percent_has_no_dead_tail(name: str) -> None:
    assert "dead-tail" not in check(1480, *SEEN, f"lr_scheduler_type={name}")


def test_the_low_rates_of_a_warmup_are_no_dead_tail() -> None:
    sets = ("max_steps=300", "lr_scheduler_type=constant_with_warmup", "warmup_steps=299")
    assert "dead-tail" not in check(1480, *sets)


# --- no-warmup ---


@pytest.mark.parametrize(
    "sets",
    [
        ("warmup_ratio=0",),
        ("warmup_steps=0",),
        ("lr_scheduler_type=constant",),  # which passes over warmup_ratio
        ("lr_scheduler_type=linear", "warmup_steps=0"),
    ],
)
def test_a_fresh_adapter_without_warmup_is_warned_about(sets: tuple[str, ...]) -> None:
    found = check(1600, *sets)["no-warmup"]
    assert found.severity == "warning" and found.facts["suggested"] == 20
    (way,) = advised(found)
    assert "no-warmup" not in check(1600, *sets, *way)
    assert "no-warmup" not in check(1600, *sets, fresh_adapter=False)


def test_a_scheduler_without_a_curve_has_no_warmup_either() -> None:
    sets = ("lr_scheduler_type=reduce_lr_on_plateau",)
    found = check(1600, *sets)
    assert list(found) == ["no-warmup"]
    (way,) = advised(found["no-warmup"])
    assert check(1600, *sets, *way).keys() <= {"dead-tail"}


def test_a_warmup_is_a_warmup() -> None:
    assert "no-warmup" not in check(1600, "warmup_ratio=0.05")


# --- long-warmup ---


@pytest.mark.parametrize("sets", [("warmup_steps=5000",), ("warmup_ratio=0.6",)])
def test_a_warmup_that_takes_most_steps_is_warned_about(sets: tuple[str, ...]) -> None:
    found = check(1600, *sets)["long-warmup"]
    assert found.severity == "warning" and "there are 200 in all" in found.says
    (way,) = advised(found)
    assert check(1600, *sets, *way).keys() <= {"dead-tail"}


def test_a_single_step_at_a_rate_of_zero_is_warned_about() -> None:
    found = check(16, "max_steps=1", "warmup_steps=1")["long-warmup"]
    assert "the highest rate that is reached is 0," in found.says
    assert "long-warmup" not in check(16, "max_steps=1", "warmup_steps=0")


@pytest.mark.parametrize(
    "sets",
    [
        ("warmup_ratio=0.5",),
        ("lr_scheduler_type=constant", "warmup_ratio=0.9"),  # which passes over it
        ("lr_scheduler_type=reduce_lr_on_plateau", "warmup_ratio=0.9"),
    ],
)
def test_half_of_the_steps_and_no_warmup_at_all_are_not_long(sets: tuple[str, ...]) -> None:
    assert "long-warmup" not in check(1600, *sets)


# --- no-validation and the facts ---


def test_no_validation_is_a_warning() -> None:
    found = check(160, "gradient_accumulation_steps=2", has_validation=False)["no-validation"]
    assert found.severity == "warning" and "--val-data" in found.do


def test_the_facts_hold_the_curve_in_few_points_with_both_ends() -> None:
    schedule = planned(16_000, "num_train_epochs=3")
    found = facts(schedule)
    assert json.loads(json.dumps(found)) == found
    curve = found["curve"]
    assert curve[0][0] == 1 and curve[-1][0] == 3000 and len(curve) <= 201
    assert [rate for _, rate in curve] == [schedule.rates[step - 1] for step, _ in curve]
    assert found["epochs"] == 3 and found["times_each_row_is_seen"] == 3


def test_without_a_curve_the_facts_say_so() -> None:
    found = facts(planned(160, "lr_scheduler_type=reduce_lr_on_plateau"))
    assert (found["peak"], found["last"], found["curve"]) == (None, None, [])


def test_two_processes_take_half_the_steps() -> None:
    assert planned(160, processes=2).steps_per_epoch == 5
    assert planned(160).steps_per_epoch == 10
