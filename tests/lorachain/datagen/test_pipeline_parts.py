"""What the pipeline chooses, and what it says of files that are there."""

from __future__ import annotations

from pathlib import Path

import pytest
from datagen_support import plan_row

from lorachain.datagen.budget import Budget
from lorachain.datagen.lock import LOCK, Rule, write_lock
from lorachain.datagen.manifest import write_manifest
from lorachain.datagen.pipeline.job import Job
from lorachain.datagen.pipeline.places import DEFAULT_SPEC, FIRST, Places, places_of
from lorachain.datagen.pipeline.splitting import rule_for, suite_for, suite_size
from lorachain.datagen.pipeline.status import look_at, status_text
from lorachain.datagen.rowfiles import write_rows
from lorachain.datagen.rows import DraftRow
from lorachain.datagen.spec_file import load_spec
from lorachain.errors import UserError


@pytest.mark.parametrize(("rows", "test"), [(3, 0.2), (299, 0.2), (300, 0.1), (9000, 0.1)])
def test_a_small_dataset_gives_more_to_the_test(tmp_path: Path, rows: int, test: float) -> None:
    assert rule_for(rows, tmp_path).test == test


def test_what_a_folder_was_split_by_stays(tmp_path: Path) -> None:
    rule = Rule(7, 0.5, 0.25, 0.25)
    write_lock(tmp_path / LOCK, rule, [])
    assert rule_for(5, tmp_path) == rule_for(5000, tmp_path) == rule


@pytest.mark.parametrize(("rows", "size"), [(0, 20), (7, 20), (8, 8), (19, 19), (20, 20), (90, 20)])
def test_a_suite_has_20_prompts_or_all_or_is_not_worth_it(rows: int, size: int) -> None:
    assert suite_size(rows) == size


def test_a_suite_that_was_frozen_stays_the_suite(tmp_path: Path) -> None:
    assert suite_for("kits", tmp_path) is None
    (tmp_path / "kits_fixed17_v1.jsonl").touch()
    (tmp_path / "other_fixed20_v1.jsonl").touch()
    assert suite_for("kits", tmp_path) == tmp_path / "kits_fixed17_v1.jsonl"


def test_each_kind_of_run_has_folders_of_its_own(tmp_path: Path) -> None:
    def places(spec: str, *, sample: bool = False, dry_run: bool = False) -> Places:
        return places_of(
            spec, tmp_path, tmp_path / "suites", sample=sample, dry_run=dry_run, tag="v1"
        )

    assert load_spec(DEFAULT_SPEC).spec.id == FIRST
    found = [
        places(FIRST),
        places(FIRST, sample=True),
        places(FIRST, dry_run=True),
        places(FIRST, sample=True, dry_run=True),
        places("bikes"),
        places("bikes", sample=True),
    ]
    for name in ("interim", "processed"):
        assert len({getattr(one, name) for one in found}) == len(found)
    assert found[0].interim == tmp_path / "interim" and found[4].suites == tmp_path / "suites"
    assert tmp_path / "suites" not in {one.suites for one in found[1:4]}
    with pytest.raises(UserError, match="cannot have the id sample"):
        places("sample")


def test_status_tells_begun_from_finished_and_fresh_from_stale(tmp_path: Path) -> None:
    places = Places(tmp_path / "interim", tmp_path / "processed", tmp_path / "suites")
    assert {one.state for one in look_at(places)} == {"not begun"}
    write_rows(places.plan, [plan_row(n) for n in range(4)])
    write_manifest(places.plan, stage="plan", inputs=[], settings={}, counts={"rows": 4})
    drafts = [DraftRow(f"row-{n:04d}", n, {}, "x", "none", {}) for n in range(4)]
    write_rows(places.drafts, drafts[:3])
    plan, found, *_ = look_at(places)
    assert (plan.state, found.state, found.rows, found.planned) == ("done", "part", 3, 4)
    assert "did not come to its end" in found.note
    write_rows(places.drafts, drafts)
    run = {"answers_paid": 5, "answers_stored": 1, "cost_usd": 0.5}
    write_manifest(
        places.drafts,
        stage="draft",
        inputs=[places.plan],
        settings={},
        counts={"accepted": 4, "cost_usd": 0.25, "prompt_tokens": 10, "output_tokens": 20},
        failed={},
        runs=[run, run],
    )
    found = look_at(places)[1]
    assert (found.state, found.paid, found.stored, found.spent_usd) == ("done", 10, 2, 1.0)
    write_rows(places.plan, [plan_row(n, prompt="another") for n in range(4)])
    stages = look_at(places)
    assert (stages[1].state, stages[1].stale) == ("stale", [places.plan.name])
    text = status_text(places, stages, "this command")
    assert "stale (changed since: prompt_plan_v1.jsonl)" in text
    assert "answers cost $0.2500; all finished runs spent $1.0000" in text
    assert text.endswith("Next: this command")


def test_what_a_stage_spent_is_what_came_after_the_last_one() -> None:
    budget = Budget(max_usd=5.0, max_calls=9, spent_usd=1.0, calls=3, prompt_tokens=10)
    earlier = budget.copy()
    budget.spent_usd, budget.calls = 1.75, 5
    budget.count_tokens(4, 2)
    own = budget.since(earlier)
    assert (own.spent_usd, own.calls, own.prompt_tokens, own.output_tokens) == (0.75, 2, 4, 2)
    assert (own.max_usd, own.max_calls) == (5.0, 9)


def test_a_command_names_the_files_that_are_not_the_usual_ones(tmp_path: Path) -> None:
    assert Job().command("--full").endswith("run_pipeline.py --full")
    said = Job(data=tmp_path / "d", gating_mode="strict").command("--full")
    assert f"--data {tmp_path / 'd'}" in said and "--gating-mode strict" in said
