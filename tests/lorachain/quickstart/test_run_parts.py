"""The quickstart's parts: what counts as done, how a stage is run and stopped, what is said."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lorachain import lineage
from lorachain.errors import Interrupted
from lorachain.files import sha256_file
from lorachain.paths import PROJECT_ROOT
from lorachain.quickstart.plan import Plan, make_plan, stage_data
from lorachain.quickstart.run import headline, is_done, run, train, verdicts

HASHES = ("config", "tokenizer", "template", "weights", "id")

# ---- what is done


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_plan(tmp_path, small=True)


def finish(plan: Plan, name: str = "v1") -> Path:
    """A version as training leaves it, by its files and hashes."""
    stage = next(s for s in plan.stages if s.name == name)
    folder = plan.version(name)
    folder.mkdir()
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        (folder / file).write_text(file, encoding="utf-8")
    data = [
        {"role": role, "path": str(path), "sha256": sha256_file(path), "rows": 1}
        for role, path in zip(("train", "validation"), stage_data(plan, stage), strict=True)
    ]
    lineage.write(
        folder,
        {
            "format": lineage.FORMAT,
            "name": name,
            "kind": "sft",
            "parent": None,
            "config": {},
            "identity": {"precision": "fp32, none"},
            "metrics": {"steps": 1, "validation_loss": {}},
            "finished": "2025-01-01T00:00:00+00:00",
            "base": {"name": "b", "fingerprint": dict.fromkeys(HASHES, "1")},
            "data": data,
            "files": {path.name: sha256_file(path) for path in folder.iterdir()},
        },
    )
    return folder


def test_a_whole_version_of_todays_data_is_done(plan: Plan) -> None:
    assert not is_done(plan, plan.stages[0])
    finish(plan)
    assert is_done(plan, plan.stages[0])


def test_an_unfinished_version_is_not_done(plan: Plan) -> None:
    (finish(plan) / "lineage.json").unlink()
    assert not is_done(plan, plan.stages[0])


def test_a_changed_adapter_is_not_done(plan: Plan) -> None:
    (finish(plan) / "adapter_model.safetensors").write_text("x", encoding="utf-8")
    assert not is_done(plan, plan.stages[0])


def test_other_data_than_it_was_made_from_is_not_done(plan: Plan) -> None:
    finish(plan)
    more = Plan(plan.folder, plan.base_model, plan.stages, rows_per_task=7, items_per_task=1)
    assert not is_done(more, more.stages[0])


def test_restart_moves_everything_aside_and_trains_again(
    plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    """The base is none, so the first stage that is trained says so: V1 is begun again."""
    finish(plan)
    nowhere = Plan(plan.folder, "./nowhere", plan.stages[:1], 6, 1)
    with caplog.at_level(logging.INFO, logger="lorachain"), pytest.raises(SystemExit) as stop:
        run(nowhere, restart=True)
    assert stop.value.code == 2
    assert "Training version v1" in caplog.text
    kept = plan.folder.with_name(f"{plan.folder.name}.before-restart-1")
    assert (kept / "v1" / "lineage.json").is_file()
    assert not lineage.is_finished(plan.version("v1"))


def test_data_that_was_only_deleted_is_made_again(plan: Plan) -> None:
    finish(plan)
    for path in (plan.folder / "data").iterdir():
        path.unlink()
    assert is_done(plan, plan.stages[0])


# ---- a stage's command


def test_a_stage_that_succeeds_returns_and_its_command_is_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="lorachain"):
        train(["-c", "import sys; sys.exit(0)", "a b"])
    assert ' -c "import sys; sys.exit(0)" "a b"' in caplog.text


@pytest.mark.parametrize("code", [1, 2, 3])
def test_a_stage_that_fails_passes_its_code_on(code: int) -> None:
    with pytest.raises(SystemExit) as stop:
        train(["-c", f"import sys; sys.exit({code})"])
    assert stop.value.code == code


def test_a_stage_that_was_stopped_says_how_to_go_on() -> None:
    with pytest.raises(Interrupted, match="Run the same command again to go on"):
        train(["-c", "import sys; sys.exit(130)"])


STAGE = """
import pathlib, signal, sys, time
asked = []
signal.signal(signal.SIGINT, lambda *_: asked.append(1))
pathlib.Path("began").touch()
while not asked:
    time.sleep(0.01)
time.sleep(1.5)  # the rest of the step, and the checkpoint
pathlib.Path("saved").touch()
sys.exit(CODE)
"""
PARENT = """
import sys
from lorachain import cli
from lorachain.quickstart.run import train
cli.run(lambda argv: train(["-c", sys.argv[1]]))
"""


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal to a process group")
@pytest.mark.parametrize("code", [130, 0])
def test_ctrl_c_lets_the_stage_finish_its_step_and_save(tmp_path: Path, code: int) -> None:
    """A terminal sends it to both. The stage decides when it is done: here after 1.5 seconds."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, STAGE.replace("CODE", str(code))],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "began").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (tmp_path / "saved").exists()
    assert process.returncode == 130
    assert "Run the same command again to go on." in err
    assert "Traceback" not in err


# ---- what is said


def rates(*values: float | None) -> dict[str, dict[str, Any]]:
    names = ("generation1_v1", "generation2_v1", "generation3_v1")
    return {name: {"strict_task_valid": value} for name, value in zip(names, values, strict=True)}


SUMMARY = {
    "base": rates(0.0, 0.0, 0.0),
    "v1": rates(1.0, 0.0, 0.0),
    "v2": rates(0.97, 0.95, 0.0),
    "v3": rates(0.97, 0.95, 0.9),
    "v3_no_replay": rates(0.5, 0.25, 0.92),
}


def test_the_verdicts_follow_from_the_numbers() -> None:
    lines = verdicts(make_plan(no_replay=True), SUMMARY)
    assert lines == [
        "v1: 1.0 on its own suite (0 before); forgot nothing.",
        "v2: .95 on its own suite (0 before); forgot: generation1_v1 1.0 -> .97.",
        "v3: .90 on its own suite (0 before); forgot nothing.",
        "v3_no_replay: .92 on its own suite (0 before); forgot: generation1_v1 .97 -> .50, "
        "generation2_v1 .95 -> .25.",
        "v3_no_replay is v3 trained without earlier rows: what it forgot is what replay keeps.",
        "",
    ]


def test_without_the_extra_version_nothing_is_said_of_it() -> None:
    summary = {name: found for name, found in SUMMARY.items() if name != "v3_no_replay"}
    assert not any("no_replay" in line for line in verdicts(make_plan(), summary))


def test_the_headline_is_version_by_suite() -> None:
    head, _, *rows = headline(SUMMARY).splitlines()
    assert head.split() == ["version", "generation1_v1", "generation2_v1", "generation3_v1"]
    assert [row.split() for row in rows][2] == ["v2", ".97", ".95", "0"]
    assert len(rows) == 5


# ---- the command line


def ran(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = PROJECT_ROOT / "scripts" / "quickstart.py"
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False)


def test_an_output_that_is_a_file_is_a_sentence_and_names_keep_their_underscores(
    tmp_path: Path,
) -> None:
    (tmp_path / "a_b").write_text("", encoding="utf-8")
    for flag in (["--output=a_b"], ["--output", "a_b"]):
        done = ran(tmp_path, *flag)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
        assert "a_b cannot be made: a file stands there" in done.stderr
    assert (tmp_path / "a_b").read_text(encoding="utf-8") == ""
