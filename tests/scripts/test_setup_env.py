"""Set-up with real environments: it makes, leaves alone, mends and recreates the .venv.

One stub project is set up and then damaged, over and over; nothing is downloaded.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from stub_project import BARE_PYTHON, Project, make_project

pytestmark = pytest.mark.usefixtures("needs_bare_python")
posix_only = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals, links or scripts")

SEVERAL = r"""
import sys, time
import setup_env
setup_env.reexec_inside()
import stubdep
try:
    print(sys.prefix, *sys.argv[1:], sep="|", flush=True)
    if "wait" in sys.argv:
        time.sleep(30)
except KeyboardInterrupt:
    print("saved", flush=True)
    sys.exit(130)
sys.exit(3)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Project:
    project = make_project(tmp_path_factory.mktemp("setup") / "проект ü & (x86)", wheels)
    (project.root / "scripts" / "several.py").write_text(SEVERAL, encoding="utf-8")
    done = project.run()
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def project(made: Project) -> Project:
    """The project, complete again whatever the last test did to it."""
    done = made.run()
    assert done.returncode == 0, done.stderr
    return made


def test_fresh_set_up_installs_torch_first_and_all_as_pinned(project: Project) -> None:
    assert {"torch-2.13.0+cpu", "stubdep-1.0", "lorachain-0.1.0"} <= project.installed()
    assert "stubdep-2.0" not in project.installed()
    constraint = (project.venv / "lorachain-torch.txt").read_text(encoding="utf-8")
    assert constraint == "torch==2.13.0+cpu\n"
    where = [str(project.python), "-c", "import lorachain; print(lorachain.__file__)"]
    done = subprocess.run(where, capture_output=True, check=True, encoding="utf-8", cwd="/")
    assert Path(done.stdout.strip()) == project.root / "src" / "lorachain" / "__init__.py"


def test_second_run_is_fast_and_calls_no_pip(project: Project) -> None:
    before = project.log.stat().st_mtime_ns
    seconds = []
    for _ in range(3):  # the best of three: other work on this machine is not our time
        started = time.monotonic()
        done = project.run()
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 1.0
    assert done.returncode == 0
    assert done.stdout.startswith(f"Ready: {project.venv} (Python 3.1")
    assert done.stderr == ""
    assert project.log.stat().st_mtime_ns == before


def test_check_tells_the_state_and_changes_nothing(project: Project) -> None:
    done = project.run("--check")
    assert (done.returncode, done.stdout.split(":")[0]) == (0, "Complete")

    requirements = project.root / "requirements.txt"
    text = requirements.read_text(encoding="utf-8")
    requirements.write_text(text + "# a change\n", encoding="utf-8")
    done = project.run("--check")
    requirements.write_text(text, encoding="utf-8")
    assert done.returncode == 2
    assert "changed since set-up: requirements.txt" in done.stdout
    assert project.run("--check").returncode == 0

    config = project.venv / "pyvenv.cfg"
    config.rename(project.venv / "away")
    done = project.run("--check")
    (project.venv / "away").rename(config)
    assert "its pyvenv.cfg is missing" in done.stdout
    assert project.run("--check").returncode == 0


def test_dev_tools_are_added_and_then_kept(project: Project) -> None:
    if "stubdev-1.0" not in project.installed():
        done = project.run("--check", "--dev")
        assert done.returncode == 2
        assert "the tools for tests and checks are not installed" in done.stdout
        assert project.run("--dev").returncode == 0
    assert "stubdev-1.0" in project.installed()
    assert project.run("--check", "--dev").returncode == 0
    assert project.stamp["dev"] is True


def remove_pip(project: Project) -> None:
    for path in project.site_packages.glob("pip*"):
        shutil.rmtree(path)


def remove_pyvenv_cfg_and_python(project: Project) -> None:
    (project.venv / "pyvenv.cfg").unlink()
    remove_python(project)


def remove_python(project: Project) -> None:
    """As when the Python that it was made from was uninstalled or upgraded."""
    if os.name == "nt":
        project.python.unlink()
        return
    for link in project.python.parent.glob("python*"):
        link.unlink()
        link.symlink_to("/nowhere/python3")


def cut_a_package_short(project: Project) -> None:
    """What a pip that was killed leaves: a package in name only, and a half-removed one."""
    (project.site_packages / "torch" / "version.py").write_text("", encoding="utf-8")
    (project.site_packages / "stubdep-1.0.dist-info" / "RECORD").unlink()
    (project.site_packages / "~tubdev").mkdir()
    (project.venv / "lorachain-setup.json").unlink()


@pytest.mark.parametrize("damage", [remove_pip, remove_pyvenv_cfg_and_python, cut_a_package_short])
def test_damaged_environment_is_mended_in_place(
    project: Project, damage: Callable[[Project], None]
) -> None:
    kept = project.site_packages / "kept.txt"
    kept.write_text("here before", encoding="utf-8")
    damage(project)
    if damage is remove_pip:  # pip is needed by the next installation only
        requirements = project.root / "requirements.txt"
        requirements.write_text(
            requirements.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8"
        )
    assert project.run("--check").returncode == 2

    done = project.run()

    assert done.returncode == 0, done.stderr
    assert kept.exists(), "it was recreated, not mended"
    assert project.run("--check").returncode == 0
    assert {"torch-2.13.0+cpu", "stubdep-1.0", "lorachain-0.1.0"} <= project.installed()
    assert not (project.site_packages / "~tubdev").exists()
    check = "import torch, stubdep, lorachain, pip; print(torch.__version__)"
    output = subprocess.check_output([str(project.python), "-c", check], encoding="utf-8")
    assert output.strip() == "2.13.0+cpu"


def test_beyond_mending_is_recreated_though_killed_meanwhile_and_nothing_else_deleted(
    project: Project,
) -> None:
    mine = project.root / "models" / "fine_tuned" / "adapter_model.safetensors"
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_bytes(b"weights")
    (project.site_packages / "kept.txt").write_text("here before", encoding="utf-8")
    remove_python(project)
    config = project.venv / "pyvenv.cfg"
    config.write_text("home = /nowhere\nversion = 3.9.1\n", encoding="utf-8")
    assert "its Python is missing or has moved" in project.run("--check").stdout

    process = project.start()
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("Installing"):
            break
    process.kill()  # pip lives on for a while, as it does when only one process is ended
    process.communicate()
    assert f"Deleting {project.venv}, to make it anew.\n" in said
    assert "set-up has not finished" in project.run("--check").stdout

    done = project.run()

    assert done.returncode == 0, done.stderr
    assert project.run("--check").returncode == 0
    assert not (project.site_packages / "kept.txt").exists()
    assert mine.read_bytes() == b"weights"


@posix_only
def test_a_venv_that_is_a_link_is_left_alone(tmp_path: Path, wheels: Path) -> None:
    project = make_project(tmp_path / "project", wheels)
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine", encoding="utf-8")
    project.venv.symlink_to(other, target_is_directory=True)
    for arguments in ([], ["--recreate"]):
        done = project.run(*arguments)
        assert done.returncode == 2
        assert "is a link or a file, which set-up leaves alone" in done.stderr
    assert [path.name for path in other.iterdir()] == ["mine.txt"]


def test_package_replaced_behind_our_back_is_noticed_and_put_right(project: Project) -> None:
    """As when another project's instructions replaced the CUDA build of torch."""
    subprocess.run(
        [str(project.python), "-m", "pip", "install", "-q", "torch==2.14.0"],
        env=project.environment(),
        check=True,
    )
    done = project.run("--check")
    assert done.returncode == 2
    assert "removed or replaced since set-up: torch-2.13.0+cpu.dist-info" in done.stdout
    assert project.run().returncode == 0
    assert "torch-2.13.0+cpu" in project.installed()


def test_two_at_once_the_second_waits_and_finds_it_done(project: Project) -> None:
    (project.venv / "lorachain-setup.json").unlink()
    runs = [project.start(), project.start()]
    outputs = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    said = sorted((err for _, err in outputs), key=len)
    assert "is at work in this folder; waiting for it." in said[0]
    assert "Installing" not in said[0]
    assert "Installing torch" in said[1]


def test_script_goes_on_inside_with_its_arguments_and_exit_code(project: Project) -> None:
    arguments = ["two words", "ü & 日本", "--flag=a|b", ""]
    done = project.run(*arguments, script="several.py")
    assert done.returncode == 3, done.stderr
    assert done.stdout.rstrip("\n") == "|".join([str(project.venv), *arguments])

    inside = project.run(script="several.py", python=project.python)
    assert (inside.returncode, inside.stdout) == (3, f"{project.venv}\n")


@posix_only
def test_ctrl_c_reaches_the_script_and_exits_130(project: Project) -> None:
    process = project.start("wait", script="several.py")
    assert process.stdout is not None
    assert process.stdout.readline().endswith("|wait\n")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "saved\n")


@pytest.mark.parametrize("code", [0, 3, 255])
def test_attached_run_passes_the_exit_code_on(code: int) -> None:
    from setup_parts.running import run_attached

    assert run_attached([sys.executable, "-c", f"raise SystemExit({code})"]) == code


@posix_only
def test_attached_run_waits_for_a_child_that_is_saving() -> None:
    """Ctrl-C reaches both; the parent must not run away from a child that needs a moment."""
    child = (
        "import sys, time\ntry:\n    print('up', flush=True); time.sleep(30)\n"
        "except KeyboardInterrupt:\n    time.sleep(0.5); print('saved', flush=True); sys.exit(130)"
    )
    parent = (
        "import sys\nfrom setup_parts.running import run_attached\n"
        f"sys.exit(run_attached([sys.executable, '-c', {child!r}]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent],
        cwd=Path(__file__).resolve().parents[2] / "scripts",
        stdout=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "saved\n")


def test_inside_another_environment_that_one_is_used(project: Project, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run([str(BARE_PYTHON), "-m", "venv", "--without-pip", str(other)], check=True)
    python = other / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = project.run("--check", python=python)
    assert done.returncode == 2
    assert done.stdout.startswith(f"Not complete: {other}: set-up has not finished in it")
    done = project.run("--recreate", python=python)
    assert done.returncode == 2
    assert "cannot be recreated from within" in done.stderr
    assert other.is_dir()


def test_pip_failure_is_one_sentence_its_last_lines_and_the_log(project: Project) -> None:
    constraints = project.root / "constraints.txt"
    text = constraints.read_text(encoding="utf-8")
    constraints.write_text(text.replace("stubdep==1.0", "stubdep==9.9"), encoding="utf-8")
    done = project.run()
    constraints.write_text(text, encoding="utf-8")
    assert done.returncode == 2
    assert "Error: The package index has not what requirements*.txt and" in done.stderr
    assert "The user requested (constraint) stubdep==9.9" in done.stderr
    assert str(project.log) in done.stderr
    assert "Traceback" not in done.stderr
    log = project.log.read_text(encoding="utf-8")
    assert "Requirement already satisfied: torch==2.13.0" in log
    assert "The user requested (constraint) stubdep==9.9" in log


def test_no_network_is_said_in_a_sentence(project: Project) -> None:
    """A real pip and a real connection that is refused."""
    shutil.rmtree(project.site_packages / "torch-2.13.0+cpu.dist-info")
    settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
    done = project.run(**settings, PIP_RETRIES="1")
    assert done.returncode == 2
    assert "Error: The package index was not reached: check the network connection" in done.stderr


def test_row_29_torch_that_does_not_load_names_the_missing_library(project: Project) -> None:
    (project.venv / "lorachain-setup.json").unlink()
    done = project.run(STUB_TORCH_FAILS="[WinError 126] Error loading c10.dll")
    assert done.returncode == 2
    assert "Visual C++ Redistributable" in done.stderr
    assert project.run("--check").returncode == 2, "a set-up that failed must not pass for done"


@posix_only
def test_row_29_gpu_with_a_torch_that_has_no_cuda_is_an_error(project: Project) -> None:
    """A real nvidia-smi answers (a script with its output); the index has a CPU build only."""
    program = project.bin / "nvidia-smi"
    program.write_text(
        '#!/bin/sh\ncase "$1" in --query*) echo "NVIDIA GeForce RTX 3060, 580.95, 8.6";;\n'
        '*) echo "| NVIDIA-SMI 580.95  Driver Version: 580.95  CUDA Version: 13.0 |";; esac\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    try:
        (project.venv / "lorachain-setup.json").unlink()
        done = project.run()
        assert done.returncode == 2
        assert "torch 2.13.0+cpu was installed, which has no CUDA" in done.stderr
        assert "NVIDIA GeForce RTX 3060" in done.stderr

        assert project.run("--torch", "cpu").returncode == 0  # the way on that the sentence names
        assert project.run().returncode == 0, "the choice is remembered"
    finally:
        program.unlink()
        assert project.run("--torch", "auto").returncode == 0


def test_help_and_a_wrong_flag_need_no_set_up(tmp_path: Path, wheels: Path) -> None:
    project = make_project(tmp_path / "project", wheels)
    done = project.run("--help")
    assert done.returncode == 0
    assert "--recreate" in done.stdout
    assert project.run("--recreat").returncode == 2
    assert not project.venv.exists()
    assert not project.log.exists()
