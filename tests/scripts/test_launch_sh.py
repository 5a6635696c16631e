"""The .sh launchers, run as they are, in a stub project: nothing is downloaded."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from launch_stub import NAMES, TARGETS, finish, make_launched, said
from stub_project import BARE_PYTHON, Project

pytestmark = [
    pytest.mark.usefixtures("needs_bare_python"),
    pytest.mark.skipif(os.name == "nt", reason="these are for Linux and macOS"),
]

ODD = [
    "two words",
    'a "quote"',
    "it's",
    "100%",
    "%PATH%",
    "--set=a.b=c",
    "ü 日本",
    "a&b|c",
    "$HOME",
    "",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Project:
    project = make_launched(tmp_path_factory.mktemp("launch") / "проект ü & (x86) $1 !", wheels)
    for name in ("dirname", "cat", "sh"):
        (project.bin / name).symlink_to(shutil.which(name) or name)
    shim(project, "python3", f'exec "{BARE_PYTHON}" "$@"')
    return project


@pytest.fixture
def project(made: Project) -> Project:
    shutil.rmtree(made.root / "models", ignore_errors=True)
    return made


def shim(project: Project, name: str, body: str) -> Path:
    path = project.bin / name
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def launch(
    project: Project, name: str, *arguments: str, cwd: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(project.root / f"{name}.sh"), *arguments],
        cwd=cwd or project.root.parent,
        env=project.environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


def test_the_first_launch_sets_up_and_the_script_gets_every_argument(project: Project) -> None:
    done = launch(project, "train_v1", *ODD)
    assert done.returncode == 0, done.stderr
    about = said(done.stdout)
    assert about["arguments"] == ODD
    assert about["script"] == str(project.root / TARGETS["train_v1"])
    assert about["folder"] == str(project.root.parent)
    assert (about["prefix"], about["utf8"]) == (str(project.venv), 1)

    again = launch(project, "train_v1", "--x")
    assert "Setting up" not in again.stderr


@pytest.mark.parametrize("name", [name for name in NAMES if name != "compare"])
def test_without_arguments_it_runs_its_script_in_its_own_folder(
    project: Project, name: str, tmp_path: Path
) -> None:
    done = launch(project, name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    about = said(done.stdout)
    assert about["script"] == str(project.root / TARGETS[name])
    assert about["folder"] == str(project.root)
    if name == "train_v3":
        models, data = project.root / "models", project.root / "data" / "processed"
        assert about["arguments"] == [
            *("--source-model", str(models / "fine_tuned_v2")),
            *("--output", str(models / "fine_tuned_v3")),
            *("--train-data", str(data / "train_finetune3.jsonl")),
            *("--val-data", str(data / "val_finetune3.jsonl")),
            *("--replay-share", "0.2"),
        ]
    else:
        assert about["arguments"] == []


@pytest.mark.parametrize("code", [0, 1, 2, 3, 130, 255])
def test_row_28_the_exit_code_is_the_scripts(project: Project, code: int) -> None:
    done = launch(project, "train_v2", STUB_EXIT=str(code))
    assert done.returncode == code
    log = project.root / "logs" / "train_v2.log"
    assert (f"The whole output: {log}" in done.stderr) == (code not in (0, 130))
    # The last lines are shown again only where no sentence of the script's own ends them.
    assert done.stderr.count("last words: é 日本") == (1 if code in (0, 2, 130) else 2)
    assert "20 %" not in log.read_text(encoding="utf-8")


def test_a_script_that_was_killed_is_called_killed(project: Project) -> None:
    done = launch(project, "train_v1", STUB_SIGNAL="9")
    assert done.returncode == 137
    assert "train_v1 ended with exit code 137: it was killed, as a system does" in done.stderr
    assert "    last words: é 日本\n" in done.stderr


def test_row_27_a_half_made_environment_is_mended_by_the_next_launch(project: Project) -> None:
    launch(project, "train_v1")
    (project.venv / "lorachain-setup.json").unlink()
    for path in project.site_packages.glob("pip*"):
        shutil.rmtree(path)
    done = launch(project, "train_v1", "--x")
    assert done.returncode == 0, done.stderr
    assert "Setting up" in done.stderr
    assert said(done.stdout)["arguments"] == ["--x"]


def test_row_27_a_set_up_that_fails_says_why_and_runs_nothing(project: Project) -> None:
    launch(project, "train_v1")
    (project.venv / "lorachain-setup.json").unlink()
    done = launch(project, "train_v1", STUB_TORCH_FAILS="libcudart.so.13: cannot open")
    assert (done.returncode, done.stdout) == (2, "")
    assert "torch is installed but cannot be imported" in done.stderr
    assert f"The whole output: {project.log}" in done.stderr
    assert launch(project, "train_v1").returncode == 0


def test_what_only_looks_like_a_python_is_passed_over(project: Project) -> None:
    shims = [
        shim(project, "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127"),
        shim(project, "python3.12", "exit 0"),  # says nothing
        shim(project, "python3.11", "echo 'Python 2.7.18'; exit 0"),
    ]
    try:
        done = launch(project, "train_v1", "--x")
    finally:
        for path in shims:
            path.unlink()
    assert done.returncode == 0, done.stderr
    assert said(done.stdout)["arguments"] == ["--x"]


def test_row_27_no_python_says_what_to_install(project: Project) -> None:
    launch(project, "train_v1")
    (project.bin / "python3").rename(project.bin / "away")
    try:
        beside = launch(project, "train_v1", "--x")
        project.venv.rename(project.root / "venv away")
        done = launch(project, "train_v1", "--x")
    finally:
        (project.root / "venv away").rename(project.venv)
        (project.bin / "away").rename(project.bin / "python3")
    assert said(beside.stdout)["arguments"] == ["--x"], "the environment's own Python does as well"
    assert (done.returncode, done.stdout) == (2, "")
    assert "winget install Python.Python.3.12" in done.stderr
    assert 'tick "Add python.exe to PATH"' in done.stderr


def test_compare_takes_the_one_chain_that_there_is(project: Project) -> None:
    models = project.root / "models"
    done = launch(project, "compare")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no finished version under models yet. Train one first: ./train_v1.sh" in done.stderr

    finish(models / "fine_tuned")
    finish(models / "fine_tuned_v2", "../fine_tuned")
    done = launch(project, "compare")
    assert said(done.stdout)["arguments"] == ["--chain", str(models / "fine_tuned_v2")]

    finish(models / "quick start" / "v1", finished="2026-02-02")
    done = launch(project, "compare")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[1:] == [
        "  ./compare.sh --chain 'models/quick start/v1'",
        "  ./compare.sh --chain models/fine_tuned_v2",
    ]

    done = launch(project, "compare", "--chain", "models/x")
    assert said(done.stdout)["arguments"] == ["--chain", "models/x"]
