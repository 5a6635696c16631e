"""The stages that need no teacher, as processes: files, flags in both spellings, refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from datagen_rows_support import (
    GARDEN,
    answered,
    chats,
    envelope,
    finished,
    lines,
    question,
    rows_file,
    spec_file,
    suite_file,
    version,
)
from rescore_support import make_comparison, write_suite

from lorachain.datagen.rowfiles import read_rows
from lorachain.datagen.rows import DatasetRow, PlanRow, SplitRow
from lorachain.paths import PROJECT_ROOT
from lorachain.records import read_training_data
from lorachain.suites import read_suite

SCRIPTS = ("plan_prompts.py", "qa_pipeline.py", "split_dataset.py", "prepare_sft_data.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with spaces and another alphabet, and no suites and versions but the test's own."""
    folder = tmp_path / "meine Daten (2) ü"
    (folder / "suites").mkdir(parents=True)
    (folder / "models").mkdir()
    return folder


def run(home: Path, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROJECT_ROOT / "src" / "data" / name), *map(str, arguments)],
        cwd=home,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def done(home: Path, name: str, *arguments: object) -> str:
    found = run(home, name, *arguments)
    assert found.returncode == 0, found.stderr
    return found.stdout


def refused(home: Path, name: str, *arguments: object) -> str:
    found = run(home, name, *arguments)
    assert found.returncode == 2 and "Traceback" not in found.stderr, found.stderr
    assert found.stderr.startswith("Error: ")
    return found.stderr


def split(home: Path, *more: object, out: str = "splits/v1", data: str = "d.jsonl") -> list[object]:
    own = ["--suites", "suites", "--models", "models"]
    return ["split_dataset.py", "--in-path", data, "--out-dir", out, *own, *more]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def dataset(home: Path, numbers: Iterable[int], name: str = "d.jsonl") -> Path:
    return rows_file(home / name, [finished(i) for i in numbers])


def test_from_a_spec_to_training_rows(home: Path) -> None:
    spec = PROJECT_ROOT / "data" / "specs" / "dataset_v1_spec.yaml"
    said = done(home, "plan_prompts.py", "--spec", spec, "--out_dir", "interim")
    assert (
        "120 prompts planned (itinerary 30, checklist 30, decision_tree 30, procedure 30)" in said
    )
    plan = read_rows(home / "interim" / "prompt_plan_v1.jsonl", PlanRow)
    rows_file(home / "d.jsonl", [answered(row) for row in plan])
    done(home, "qa_pipeline.py", "--in_path", "d.jsonl", "--out_clean", "clean.jsonl")
    said = done(
        home,
        *split(
            home, "--train_frac", 0.6, "--val_frac", 0.1, "--test_frac", 0.3, data="clean.jsonl"
        ),
    )
    assert "120 rows (train " in said
    said = done(
        home,
        "prepare_sft_data.py",
        "--splits_dir",
        "splits/v1",
        "--out_dir",
        "sft/v1",
        "--seed",
        42,
        "--suites",
        "suites",
    )
    suite = home / "suites" / "dataset_v1_fixed20_v1.jsonl"
    assert "20 test prompts frozen" in said
    train = read_training_data(home / "sft" / "v1" / "train_sft.jsonl").rows
    assert len(train) == len(read_rows(home / "splits" / "v1" / "train.jsonl", SplitRow)) > 50
    asked = {item.question for item in read_suite(suite).items}
    assert len(asked) == 20 and asked.isdisjoint(row.messages[1].content for row in train)
    # All of it again: the suite does not move the plan, and no byte changes but manifests' inputs.
    before = contents(home)
    done(home, "plan_prompts.py", "--spec", spec, "--out-dir", "interim", "--suites", "suites")
    done(home, "qa_pipeline.py", "--in-path", "d.jsonl", "--out-clean", "clean.jsonl")
    done(
        home,
        *split(
            home, "--train-frac", 0.6, "--val-frac", 0.1, "--test-frac", 0.3, data="clean.jsonl"
        ),
    )
    said = done(
        home,
        "prepare_sft_data.py",
        "--splits-dir",
        "splits/v1",
        "--out-dir",
        "sft/v1",
        "--suites",
        "suites",
    )
    assert "stands as it was frozen, with 20 prompts" in said
    changed = {name for name, data in contents(home).items() if before[name] != data}
    assert all(name.endswith(".manifest.json") for name in changed), changed


def test_a_limit_takes_the_first_rows_and_a_manifest_vouches_for_them(home: Path) -> None:
    spec_file(home)
    done(home, "plan_prompts.py", "--spec", "spec.yaml", "--out-dir", "a", "--suites", "suites")
    done(
        home,
        "plan_prompts.py",
        "--spec",
        "spec.yaml",
        "--out-dir",
        "b",
        "--suites",
        "suites",
        "--limit",
        3,
    )
    whole, some = (lines(home / n / "prompt_plan_v1.jsonl") for n in "ab")
    assert whole[:3] == some and len(whole) == 12
    manifest = json.loads((home / "b" / "prompt_plan_v1.jsonl.manifest.json").read_text("utf-8"))
    assert manifest["stage"] == "plan" and manifest["counts"]["rows"] == 3
    assert "../spec.yaml" in manifest["inputs"]


def test_a_plan_from_a_comparisons_failures(home: Path) -> None:
    answers = {"base": ["none"] * 4, "v1": ["none"] * 4}
    make_comparison(home / "compared", write_suite(home), answers)
    tasks = {"card": GARDEN["tasks"]["care"], "other": "Why is my {{ plant }} so small?"}
    spec_file(home, tasks=tasks, count=4)
    said = done(
        home,
        "plan_prompts.py",
        "--spec",
        "spec.yaml",
        "--out-dir",
        "i",
        "--limit",
        5,
        "--from-failures",
        "compared",
        "--suites",
        "suites",
    )
    rows = read_rows(home / "i" / "prompt_plan_after_v1.jsonl", PlanRow)
    assert [row.task for row in rows] == ["card"] * 5
    assert rows[0].because == {"kind": "no JSON", "task": "card", "share": 0.5, "version": "v1"}
    assert "Failed too, but not in this spec: short." in said


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_and_a_bad_flag_answer_at_once(home: Path, script: str) -> None:
    assert "usage:" in done(home, script, "--help")
    found = run(home, script, "--nonsense")
    assert found.returncode == 2 and "usage:" in found.stderr


def test_rows_of_a_dry_run_are_refused_by_every_stage(home: Path) -> None:
    rows_file(home / "d.jsonl", [finished(1), finished(2, dry_run=True)])
    placed = SplitRow(**finished(1, dry_run=True).as_dict() | {"split": "train", "group": "g"})
    for name in ("train", "val", "test"):
        rows_file(home / "s" / f"{name}.jsonl", [placed])
    for words in (
        ["qa_pipeline.py", "--in-path", "d.jsonl"],
        split(home),
        ["prepare_sft_data.py", "--splits-dir", "s", "--out-dir", "sft"],
    ):
        assert "is a row of a dry run: no teacher wrote it" in refused(home, *words)
    assert not (home / "splits" / "v1" / "train.jsonl").exists() and not (home / "sft").exists()


def test_qa_reports_what_it_drops(home: Path) -> None:
    rows_file(home / "d.jsonl", [finished(1), finished(2, prompt=question(1))])
    said = done(home, "qa_pipeline.py", "--in-path", "d.jsonl", "--report", "r/qa.json")
    assert "1 of 2 rows pass: d_clean.jsonl" in said and "1 dropped: duplicate" in said
    report = json.loads((home / "r" / "qa.json").read_text("utf-8"))
    assert [row["id"] for row in report["dropped_rows"]] == ["d1-checklist-0002"]
    assert [row.id for row in read_rows(home / "d_clean.jsonl", DatasetRow)] == [finished(1).id]


def test_qa_that_lets_nothing_pass_leaves_the_report_alone(home: Path) -> None:
    rows_file(home / "d.jsonl", [finished(1, answer=envelope(summary=""))])
    assert "None of the 1 rows" in refused(home, "qa_pipeline.py", "--in-path", "d.jsonl")
    assert (home / "d_clean.report.json").exists() and not (home / "d_clean.jsonl").exists()
    out = ["--out-clean", "d.jsonl"]
    assert "is the input itself" in refused(home, "qa_pipeline.py", "--in-path", "d.jsonl", *out)


def test_more_rows_leave_every_row_where_it_was(home: Path) -> None:
    dataset(home, range(30))
    done(home, *split(home))
    before = {row["id"]: row["split"] for row in lines(home / "splits/v1/splits.lock.jsonl")[1:]}
    dataset(home, range(60))
    said = done(home, *split(home))
    assert "30 of them stand where they stood before." in said
    placed = {
        row.id: row.split
        for n in ("train", "val", "test")
        for row in read_rows(home / f"splits/v1/{n}.jsonl", SplitRow)
    }
    assert before.items() <= placed.items() and len(placed) == 60
    said = done(
        home,
        *split(
            home,
            "--seed",
            7,
            "--train-frac",
            0.5,
            "--val-frac",
            0.25,
            "--test-frac",
            0.25,
            out="splits/v2",
        ),
    )
    assert "Places of earlier splits were kept" in said and "60 of them stand" in said


def test_other_fractions_for_the_same_folder_are_refused(home: Path) -> None:
    dataset(home, range(9))
    done(home, *split(home))
    before = contents(home)
    more = ["--train-frac", 0.6, "--val-frac", 0.2, "--test-frac", 0.2]
    said = refused(home, *split(home, *more))
    assert "was split with train 0.8, not 0.6, val 0.1, not 0.2" in said
    assert contents(home) == before


def test_leaks_are_named_and_refused_or_left_out(home: Path) -> None:
    dataset(home, range(12))
    suite_file(home / "suites" / "s.jsonl", question(1), question(5))
    seen = chats(home / "seen.jsonl", question(2))
    version(home / "models" / "v1", train=seen)
    all_train = ["--train-frac", 1, "--val-frac", 0, "--test-frac", 0]
    said = refused(home, *split(home, *all_train))
    assert "d1-checklist-0001 (train) is asked by" in said and "0005 (train)" in said
    assert not (home / "splits" / "v1" / "train.jsonl").exists()
    said = done(home, *split(home, *all_train, "--drop-leaks"))
    ids = {row.id for row in read_rows(home / "splits/v1/train.jsonl", SplitRow)}
    assert len(ids) == 10 and "Left out: d1-checklist-0001 (train) is asked by" in said
    lock = {row["id"] for row in lines(home / "splits/v1/splits.lock.jsonl")[1:]}
    assert lock == ids
    # Row 2 was trained on by v1: it may be trained on again, but not tested with.
    no_train = ["--train-frac", 0.01, "--val-frac", 0, "--test-frac", 0.99]
    said = refused(home, *split(home, *no_train, out="other/v1"))
    assert "d1-checklist-0002 (test) is what v1 was trained on" in said


def test_a_suite_that_is_there_is_kept(home: Path) -> None:
    dataset(home, range(40))
    done(home, *split(home))
    theirs = suite_file(home / "theirs.jsonl", question(900))
    before = theirs.read_bytes()
    sft = ["prepare_sft_data.py", "--splits-dir", "splits/v1", "--out-dir", "sft"]
    said = done(home, *sft, "--fixed-prompts-out", theirs)
    assert "is another suite, and was left as it is" in said and theirs.read_bytes() == before
    said = done(home, *sft, "--suites", "suites")
    assert "No suite was frozen" in said and not list((home / "suites").iterdir())
    taught = suite_file(home / "taught.jsonl", *(question(i) for i in range(40)))
    said = refused(home, *sft, "--fixed-prompts-out", taught)
    assert "asks what would be trained on" in said


def test_rows_in_another_splits_file_are_refused(home: Path) -> None:
    dataset(home, range(9))
    done(home, *split(home))
    (home / "splits/v1/val.jsonl").write_bytes((home / "splits/v1/train.jsonl").read_bytes())
    sft = ["prepare_sft_data.py", "--splits-dir", "splits/v1", "--out-dir", "sft"]
    assert "holds rows in another split's file" in refused(home, *sft)


def test_rejected_rows_are_not_split(home: Path) -> None:
    rows_file(home / "d.jsonl", [finished(1), finished(2, reasons=["critique: reject"])])
    said = refused(home, *split(home))
    assert "holds rows that were rejected" in said and "d1-checklist-0002: critique: reject" in said
