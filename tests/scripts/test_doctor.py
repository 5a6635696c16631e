"""The doctor as a process: before the set-up, beside a torch that fails, and with nothing wrong."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stub_project import SCRIPTS, Project, make_project

ROOT = SCRIPTS.parent
posix_only = pytest.mark.skipif(os.name == "nt", reason="needs POSIX scripts or terminals")
Lines = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Project:
    """A checkout that was never set up."""
    return make_project(tmp_path_factory.mktemp("doctor") / "проект & (x86)", wheels)


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, wheels: Path, needs_bare_python: None
) -> Project:
    """One that was set up, with stub packages."""
    project = make_project(tmp_path_factory.mktemp("doctor") / "set up", wheels)
    done = project.run()
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def gpu(made: Project) -> Iterator[Project]:
    """The same, and an nvidia-smi on PATH."""
    program = made.bin / "nvidia-smi"
    program.write_text(
        '#!/bin/sh\ncase "$1" in --query*) echo "NVIDIA GeForce RTX 3060, 580.95, 8.6";;\n'
        '*) echo "| NVIDIA-SMI 580.95  Driver Version: 580.95  CUDA Version: 13.0 |";; esac\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    yield made
    program.unlink()


def ask(project: Project, *flags: str, **more: Any) -> tuple[int, Lines]:
    done = project.run("--json", *flags, script="doctor.py", **more)
    assert done.stdout.isascii() and not done.stderr, done.stderr
    found = json.loads(done.stdout)
    assert found["ok"] is (done.returncode == 0) is (found["errors"] == 0)
    return done.returncode, {line["check"]: line for line in found["lines"]}


def test_before_the_set_up_it_says_how_to_set_up_and_changes_nothing(bare: Project) -> None:
    code, lines = ask(bare)
    assert code == 2
    environment = lines["environment"]
    assert environment["state"] == "error"
    assert "there is no .venv yet" in environment["found"]
    assert environment["command"] == "python scripts/setup_env.py"
    assert {"Python", "NVIDIA driver", "disk", "long paths", "text", "model hub"} <= lines.keys()
    assert not {"torch", "bitsandbytes", "versions"} & lines.keys(), "nothing there can answer"
    assert all(line["state"] != "error" for name, line in lines.items() if name != "environment")
    assert not (bare.root / "logs").exists() and not bare.venv.exists()


def test_after_the_set_up_nothing_stops_a_training(made: Project) -> None:
    code, lines = ask(made)
    assert code == 0, lines
    assert lines["environment"]["state"] == lines["packages"]["state"] == "ok"
    assert lines["torch"]["found"].startswith("2.13.0+cpu, without CUDA")
    assert "No module named 'bitsandbytes'" in lines["bitsandbytes"]["found"]
    assert lines["bitsandbytes"]["state"] == "warning"  # on a CPU it is not needed


def test_row_29_a_library_that_windows_does_not_find(made: Project) -> None:
    code, lines = ask(made, STUB_TORCH_FAILS="[WinError 126] Error loading c10.dll")
    assert code == 2
    assert lines["torch"]["state"] == "error"
    assert "c10.dll" in lines["torch"]["found"]
    assert "Visual C++ Redistributable" in lines["torch"]["do"]
    assert "bitsandbytes" not in lines and lines["disk"]["state"] != "error"


@pytest.mark.parametrize(
    ("runs", "says"),
    [
        ("os._exit(77)", "it crashed (exit code 77)"),
        ("raise SystemExit('gone')", "it crashed (exit code 1): gone"),
        ("import time; time.sleep(60)", "it did not end within 2 s"),
        ("raise RuntimeError('odd')", "RuntimeError: odd"),
    ],
)
def test_a_torch_that_crashes_or_hangs_is_a_line(made: Project, runs: str, says: str) -> None:
    code, lines = ask(made, "--timeout", "2", STUB_TORCH_RUNS=runs)
    assert code == 2
    assert says in lines["torch"]["found"]
    assert lines["torch"]["command"] == "python scripts/setup_env.py --recreate"
    assert "disk" in lines


@posix_only
def test_row_29_a_torch_without_cuda_beside_a_gpu_names_the_build(gpu: Project) -> None:
    code, lines = ask(gpu)
    assert code == 2
    assert lines["torch"]["state"] == "error"
    assert "NVIDIA GeForce RTX 3060 is not used" in lines["torch"]["found"]
    assert lines["torch"]["command"] == "python scripts/setup_env.py --torch cu130"
    assert lines["NVIDIA driver"]["state"] == "ok"


def test_a_package_of_another_version_and_a_missing_one(made: Project) -> None:
    info = made.site_packages / "stubdep-1.0.dist-info"
    other = info.with_name("stubdep-9.9.dist-info")
    info.rename(other)
    try:
        _, lines = ask(made)
        assert lines["packages"]["state"] == "warning"
        assert "stubdep 9.9 (constraints.txt: 1.0)" in lines["packages"]["found"]
        other.rename(info.with_name("away"))
        _, lines = ask(made)
        assert lines["packages"]["state"] == "error"
        assert lines["packages"]["found"] == "not installed: stubdep"
    finally:
        left = info.with_name("away")
        (left if left.exists() else other).rename(info)


def test_no_secret_is_shown(made: Project) -> None:
    secrets = {"HF_TOKEN": "my-own-secret", "OPENROUTER_API_KEY": "another one"}
    said = "proxy http://me:pass@proxy.example my-own-secret hf_abcdefghijk another one"
    _, lines = ask(made, STUB_TORCH_FAILS=said, **secrets)
    text = json.dumps(lines)
    for secret in ("my-own-secret", "another one", "hf_abcdefghijk", "me:pass"):
        assert secret not in text
    assert "proxy http://***@proxy.example *** *** ***" in lines["torch"]["found"]
    assert lines["keys"]["found"] == "HF_TOKEN is set, OPENROUTER_API_KEY is set"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_marks_that_the_console_has(bare: Project, encoding: str) -> None:
    process = bare.start(script="doctor.py", PYTHONIOENCODING=encoding)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (2, "")
    assert ("✗ error" in out) is (encoding == "utf-8")
    assert out.isascii() or encoding == "utf-8"
    rows = [line for line in out.splitlines() if "  disk  " in line or "  keys  " in line]
    columns = {line.index(word) for line, word in zip(rows, ("disk", "keys"), strict=True)}
    assert len(columns) == 1, "the columns stand under each other"
    assert "\x1b" not in out, "colour is for terminals"


@posix_only
@pytest.mark.parametrize(("more", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_on_a_terminal_unless_it_is_not_wanted(
    bare: Project, more: dict[str, str], coloured: bool
) -> None:
    import pty

    ours, theirs = pty.openpty()
    script = bare.root / "scripts" / "doctor.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        env=bare.environment(TERM="xterm", PYTHONUTF8="1", **more),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        timeout=60,
        check=False,
    )
    os.close(theirs)
    out = os.read(ours, 65536)
    os.close(ours)
    assert done.returncode in (0, 2)
    assert (b"\x1b[3" in out) is coloured


def test_it_parses_on_pythons_that_are_too_old() -> None:
    files = [SCRIPTS / "doctor.py", *(SCRIPTS / "doctor_parts").glob("*.py")]
    assert len(files) > 5
    for path in files:
        ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))


def test_the_real_thing_multiplies_in_four_bits() -> None:
    """In the environment that runs these tests: torch, bitsandbytes, and its product."""
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "doctor.py"), "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = {line["check"]: line for line in json.loads(done.stdout)["lines"]}
    assert lines["torch"]["state"] == "ok", lines["torch"]
    assert lines["bitsandbytes"]["state"] == "ok", lines["bitsandbytes"]
    assert "a 4-bit (NF4) product" in lines["bitsandbytes"]["found"]
    assert lines["memory"]["found"].count("GB") == 2
