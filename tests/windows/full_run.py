"""The real scripts under a Windows Python, with Windows' torch, from set-up to comparison.

Not collected by itself: `python scripts/test_windows_full.py` runs it in the Wine 10 place, in the
order of this file, where each test stands on what the one before it made. The figures are written
last, so that they exist means that all of it held.
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from chain_support import largest_difference, lineage
from full_place import INSTEAD, PROJECT, ROOT
from full_support import STEPS, Bench, on_linux, seconds_per_step

from lorachain import lineage as lineages
from lorachain.checkpoint import PICKLES
from lorachain.files import write_json
from lorachain.soak.checks import left_behind
from lorachain.soak.places import resumed_from

SUITE = ROOT / "eval" / "suites" / "generation1_v1.jsonl"
REPORT = PROJECT / "benchmarks" / "results" / "windows_wine10.json"


def test_set_up_installs_all_of_it_and_the_doctor_finds_nothing_wrong(bench: Bench) -> None:
    done = bench.script("scripts/setup_env.py", python=bench.windows.python)
    assert done.returncode == 0, done.stdout + done.stderr
    doctor = bench.script("scripts/doctor.py", "--json")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    bench.figures["doctor"] = {
        line["check"]: line["state"] for line in json.loads(doctor.stdout)["lines"]
    }


def test_version_1_by_its_launcher(bench: Bench) -> None:
    """train_v1.bat, without a stop: what the killed run is compared with."""
    done = bench.launcher("train_v1", *bench.v1("whole")[1:])
    assert done.returncode == 0, done.stderr[-3000:]
    assert lineage(bench.folder("whole"))["metrics"]["steps"] == STEPS
    bench.finished("whole")


def test_a_run_that_is_ended_in_the_middle_goes_on_and_ends_the_same(bench: Bench) -> None:
    """TerminateProcess, as the Task Manager's End task and `taskkill /F` do."""
    ended = bench.with_checkpoint(bench.v1("v1"), 4, "kill")
    assert ended["code"] == 1, ended["text"][-3000:]
    assert not lineages.is_finished(bench.folder("v1"))
    done = bench.script(*bench.v1("v1"))
    assert done.returncode == 0, done.stderr[-3000:]
    step = resumed_from(done.stdout + done.stderr)
    assert step is not None and 4 <= step < STEPS
    assert lineage(bench.folder("v1"))["resumed_from_step"] == step
    bench.finished("v1")
    gap = largest_difference(bench.folder("whole"), bench.folder("v1"))
    bench.figures |= {"went_on_from_step": step, "difference_from_the_run_without_a_stop": gap}
    assert gap == 0.0


def test_row_26_a_checkpoint_that_another_program_holds_open_does_not_stop_a_training(
    bench: Bench,
) -> None:
    held = bench.with_checkpoint(
        [*bench.v1("held"), "--set", "checkpoint.save_total_limit=1"],
        2,
        "adapter_model.safetensors",
    )
    assert held["code"] == 0, held["text"][-3000:]
    assert "could not be removed now" in held["text"]
    assert largest_difference(bench.folder("whole"), bench.folder("held")) == 0.0
    # It was held to the end, so it is still there, out of the way of whatever reads the version.
    left = left_behind(bench.folder("held"))
    assert len(left) == 1 and left[0].startswith(".checkpoint-2.tmp-")
    bench.figures["left_where_a_file_was_held_to_the_end"] = left
    shutil.rmtree(bench.folder("held") / left[0])


def test_version_2_goes_on_from_version_1_with_replay(bench: Bench) -> None:
    done = bench.script(*bench.v2("v1", "v2"), "--replay-share", "0.2")
    assert done.returncode == 0, done.stderr[-3000:]
    made = lineage(bench.folder("v2"))
    assert made["parent"]["name"] == "v1"
    bench.finished("v2")


def test_base_and_both_versions_are_asked_and_compared(bench: Bench) -> None:
    output = bench.work / "answers.json"
    folders = [bench.windows.path(bench.folder(name)) for name in ("v1", "v2")]
    models = [word for folder in folders for word in ("--model", folder)]
    done = bench.script(
        *("batch_test_model.py", *models, "--base", "--limit", "3", "--max-new-tokens", "8"),
        *("--output", bench.windows.path(output)),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert output.is_file()
    done = bench.script(
        *("src/evaluation/compare_versions.py", "--chain", bench.windows.path(bench.folder("v2"))),
        *("--suites", bench.windows.path(SUITE), "--limit", "4", "--max-new-tokens", "8"),
        *("--output", bench.windows.path(bench.work / "comparison")),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (bench.work / "comparison" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["whole", "v1", "held", "v2"])
def test_linux_finds_every_hash_as_recorded_no_pickle_and_nothing_left_behind(
    bench: Bench, name: str
) -> None:
    folder = bench.folder(name)
    found = lineages.read(folder)
    assert "adapter_model.safetensors" in found.data["files"]
    assert lineages.changed_files(found) == []
    assert [path for path in folder.rglob("*") if path.suffix.lower() in PICKLES] == []
    assert left_behind(folder) == []
    assert found.data["system"].startswith("Windows")


def test_linux_goes_on_from_the_version_that_windows_made(bench: Bench) -> None:
    """Which compares the base's fingerprint, every hash, and what the parent answers."""
    shutil.rmtree(bench.folder("v2_on_linux"), ignore_errors=True)
    done = on_linux(bench, bench.v2("v1", "v2_on_linux"), "--base-model", str(bench.base))
    assert done.returncode == 0, done.stderr[-3000:]
    done = on_linux(bench, bench.v1("v1_on_linux"))
    assert done.returncode == 0, done.stderr[-3000:]
    bench.figures["difference_from_the_same_run_on_linux"] = largest_difference(
        bench.folder("v1"), bench.folder("v1_on_linux")
    )
    bench.figures["seconds_per_step_on_linux"] = seconds_per_step(bench.folder("v1_on_linux"))


def test_the_figures_are_written(bench: Bench) -> None:
    made = lineage(bench.folder("v1"))
    assert bench.figures.keys() >= {"doctor", "went_on_from_step", "seconds_per_step_on_linux"}
    write_json(
        REPORT,
        {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "wine": bench.wine_version(),
            "python": made["python"],
            "packages": made["packages"],
            "otherwise_than_in_constraints": INSTEAD,
            "steps": STEPS,
            "seconds_per_step": {
                name: seconds_per_step(bench.folder(name)) for name in ("whole", "v1", "v2")
            },
            "figures": bench.figures,
            "ran": bench.ran,
        },
    )


@pytest.fixture(scope="module")
def bench(windows: object, tiny_base: Path) -> Bench:
    return Bench.make(windows, tiny_base)
