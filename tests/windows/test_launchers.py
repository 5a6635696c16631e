"""The .bat launchers under cmd, with a real Windows Python, in folders with every odd letter."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from launch_stub import NAMES, TARGETS, finish, make_launched, said
from place import NOT_IN_WINE_8, WINE_10, Place, shim_folder
from stub_project import Project

not_in_wine_8 = pytest.mark.skipif(os.name != "nt" and not WINE_10, reason=NOT_IN_WINE_8)
ODD = ["two words", "a&b c", "it's x", "--set=a.b=c", "ü 日本 ж", "c^d e", "!x! y", "(a) b", "last"]
CRASH = 0xC0000005


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, wheels: Path, windows: Place) -> Project:
    """A project that is set up, in a folder whose name has what cmd stumbles over."""
    folder = tmp_path_factory.mktemp("win") / "it's (x86) & ü !a! b^c"
    project = make_launched(folder, wheels)
    links = "file:///" + windows.path(wheels).replace("\\", "/").replace(" ", "%20")
    config = f"[global]\nno-index = true\nfind-links = {links}\n"
    (project.root / "pip.conf").write_text(config, encoding="utf-8")
    done = launch(windows, project, "train_v1")
    assert done.returncode == 0, done.stderr
    assert "Setting up" in done.stderr
    return project


@pytest.fixture
def project(made: Project) -> Project:
    shutil.rmtree(made.root / "models", ignore_errors=True)
    return made


def launch(
    windows: Place,
    project: Project,
    name: str,
    *arguments: str,
    cwd: Path | None = None,
    on_path: list[Path] | None = None,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    variables = {"CI": "1", "PIP_CONFIG_FILE": windows.path(project.root / "pip.conf"), **variables}
    return windows.run(
        [windows.path(project.root / f"{name}.bat"), *arguments],
        cwd or project.root.parent,
        [windows.python.parent] if on_path is None else on_path,
        **variables,
    )


def python_shim(windows: Place) -> str:
    return f'"{windows.path(windows.python)}" %*'


def test_row_28_the_script_gets_every_argument_and_stands_where_the_user_does(
    windows: Place, project: Project
) -> None:
    done = launch(windows, project, "train_v1", *ODD)
    assert done.returncode == 0, done.stderr
    about = said(done.stdout)
    assert about["arguments"] == ODD
    assert about["script"] == windows.path(project.root / TARGETS["train_v1"]).replace(
        "src/training/", "src\\training\\"
    )
    assert about["folder"] == windows.path(project.root.parent)
    assert (about["prefix"], about["utf8"]) == (windows.path(project.venv), 1)
    assert "Setting up" not in done.stderr


def test_a_quote_in_an_argument_arrives(windows: Place, project: Project) -> None:
    done = launch(windows, project, "train_v1", 'say "hi"', "x")
    assert said(done.stdout)["arguments"] == ['say "hi"', "x"]


@not_in_wine_8
def test_a_percent_sign_in_an_argument_arrives(windows: Place, project: Project) -> None:
    done = launch(windows, project, "train_v1", "50%", "%OS% x")
    assert said(done.stdout)["arguments"] == ["50%", "%OS% x"]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "compare"])
def test_without_arguments_it_runs_its_script_in_its_own_folder(
    windows: Place, project: Project, name: str
) -> None:
    done = launch(windows, project, name)
    assert done.returncode == 0, done.stderr
    about = said(done.stdout)
    assert about["folder"] == windows.path(project.root)
    assert Path(about["script"].replace("\\", "/")).name == Path(TARGETS[name]).name
    assert ("--replay-share" in about["arguments"]) == (name == "train_v3")


def test_compare_takes_the_one_chain_that_there_is(windows: Place, project: Project) -> None:
    models = project.root / "models"
    finish(models / "fine_tuned")
    finish(models / "fine_tuned_v2", "../fine_tuned")
    done = launch(windows, project, "compare")
    assert said(done.stdout)["arguments"] == ["--chain", windows.path(models / "fine_tuned_v2")]
    finish(models / "other chain", finished="2026-02-02")
    done = launch(windows, project, "compare")
    assert (done.returncode, done.stdout) == (2, "")
    assert '  .\\compare --chain "models\\other chain"\n' in done.stderr


@pytest.mark.parametrize("code", [0, 1, 2, 3, 130, 255, CRASH, 0xFFFFFFFF])
def test_row_28_the_exit_code_is_the_scripts(windows: Place, project: Project, code: int) -> None:
    signed = code - (1 << 32) if code >= 1 << 31 else code
    done = launch(windows, project, "train_v2", STUB_EXIT=str(signed))
    assert done.returncode == code
    log = windows.path(project.root / "logs" / "train_v2.log")
    assert (f"The whole output: {log}" in done.stderr) == (code not in (0, 130))
    assert done.stderr.count("last words: é 日本") == (1 if code in (0, 2, 130) else 2)
    assert ("(0xC0000005): it crashed in native code" in done.stderr) == (code == CRASH)


@pytest.mark.parametrize("name", ["plain", "a space", "(x86)", "a & b", "!x!", "a^b", "日本 ж"])
def test_row_28_in_a_folder_of_any_name_started_from_elsewhere(
    windows: Place, project: Project, tmp_path: Path, name: str
) -> None:
    """Up to launch.py and back: so far the name matters to cmd. Quoted as Explorer quotes it."""
    folder = tmp_path / name
    (folder / "scripts" / "launch_parts").mkdir(parents=True)
    shutil.copy(project.root / "train_v3.bat", folder)
    for name in ("launch.bat", "launch_parts/this_python.py"):
        shutil.copy(project.root / "scripts" / name, folder / "scripts" / name)
    (folder / "scripts" / "launch.py").write_text(
        "import sys\nprint(ascii(sys.argv))\nsys.exit(3)", encoding="utf-8"
    )
    command = f'cmd /c ""{windows.path(folder / "train_v3.bat")}" "a b""'
    done = windows.run(command, tmp_path, [windows.python.parent], CI="1")
    script = windows.path(folder / "scripts" / "launch.py")
    assert (done.returncode, done.stdout) == (3, ascii([script, "train_v3", "a b"]) + "\n")


def test_row_27_a_half_made_environment_is_mended_by_the_next_launch(
    windows: Place, project: Project
) -> None:
    (project.venv / "lorachain-setup.json").unlink()
    packages = project.venv / "Lib" / "site-packages"
    (packages / "stubdep-1.0.dist-info" / "RECORD").unlink()
    shutil.rmtree(packages / "pip")
    done = launch(windows, project, "train_v1", "--x")
    assert done.returncode == 0, done.stderr
    assert "Mending" in done.stderr
    assert said(done.stdout)["arguments"] == ["--x"]
    assert "Setting up" not in launch(windows, project, "train_v1").stderr


def test_row_27_a_set_up_that_fails_says_why_and_runs_nothing(
    windows: Place, project: Project
) -> None:
    (project.venv / "lorachain-setup.json").unlink()
    broken = "[WinError 126] Error loading c10.dll"
    done = launch(windows, project, "train_v1", STUB_TORCH_FAILS=broken)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Visual C++ Redistributable" in done.stderr
    assert f"The whole output: {windows.path(project.log)}" in done.stderr
    assert launch(windows, project, "train_v1").returncode == 0, "the next run goes on"


def test_row_27_no_python_says_what_to_install_and_where(
    windows: Place, project: Project, tmp_path: Path
) -> None:
    """With none at all, and with the alias that only opens the Microsoft Store."""
    alias = "echo Python was not found; run without arguments to install.>&2\r\nexit /b 9009"
    store = shim_folder(tmp_path / "store", {"python": alias})
    project.venv.rename(project.root / "venv away")
    try:
        outcomes = [launch(windows, project, "train_v1", on_path=path) for path in ([], [store])]
    finally:
        (project.root / "venv away").rename(project.venv)
    for done in outcomes:
        assert (done.returncode, done.stdout) == (2, "")
        assert "No Python was found that lorachain can use" in done.stderr
        assert "winget install Python.Python.3.12" in done.stderr
        assert "python.org/downloads/windows" in done.stderr


def test_the_environments_own_python_is_the_last_resort(windows: Place, project: Project) -> None:
    done = launch(windows, project, "train_v1", "--x", on_path=[])
    assert done.returncode == 0, done.stderr
    assert said(done.stdout)["arguments"] == ["--x"]


def test_row_27_a_python_bat_that_stands_for_python_is_seen_through(
    windows: Place, project: Project, tmp_path: Path
) -> None:
    """As pyenv has it: a batch file that was called plainly would end the launcher silently."""
    folder = shim_folder(tmp_path / "shims", {"python": python_shim(windows)})
    done = launch(windows, project, "train_v1", *ODD, on_path=[folder], STUB_EXIT="3")
    assert done.returncode == 3, done.stderr
    assert said(done.stdout)["arguments"] == ODD


def test_row_27_pythons_are_tried_in_order_by_running_them(
    windows: Place, project: Project, tmp_path: Path
) -> None:
    """The launcher py has 3.12 alone; a 2.7 and a talking stub stand in the way."""
    log = tmp_path / "tried.txt"
    py = (
        f'echo py %1>>"{windows.path(log)}"\r\n'
        'if "%1"=="-3.13" echo No suitable Python runtime found\r\n'
        'if not "%1"=="-3.12" exit /b 103\r\n'
        f'"{windows.path(windows.python)}" %2'
    )
    python = f'echo python>>"{windows.path(log)}"\r\necho PYTHON 2.7'
    folder = shim_folder(tmp_path / "shims", {"py": py, "python": python})
    done = launch(windows, project, "train_v1", "--x", on_path=[folder])
    assert done.returncode == 0, done.stderr
    assert said(done.stdout)["arguments"] == ["--x"]
    assert log.read_text(encoding="utf-8").split() == ["py", "-3.13", "py", "-3.12"]


def test_a_launcher_alone_says_to_unpack_the_folder(windows: Place, tmp_path: Path) -> None:
    """What Explorer does with a double click inside a .zip: it unpacks that one file."""
    shutil.copy(Path(__file__).resolve().parents[2] / "train_v1.bat", tmp_path)
    command = [windows.path(tmp_path / "train_v1.bat")]
    done = windows.run(command, tmp_path, [windows.python.parent], CI="1")
    assert done.returncode == 2
    assert done.stderr.startswith("Unpack the whole folder first")


@not_in_wine_8
def test_it_waits_for_a_key_after_a_double_click_only(windows: Place, project: Project) -> None:
    """Explorer's command line ends in quote, space, quote; a shell's does not."""
    bat = windows.path(project.root / "train_v1.bat")
    clicked = f'cmd.exe /c ""{bat}" "'

    def waited(command: str, **variables: str) -> bool:
        config = windows.path(project.root / "pip.conf")
        on_path = [windows.python.parent]
        if WINE_10:  # its cmd does not say what started it
            variables["CMDCMDLINE"] = command
        done = windows.run(command, project.root, on_path, PIP_CONFIG_FILE=config, **variables)
        return "\n" in done.stdout.strip()  # `pause` speaks after the script's one line

    assert waited(clicked)
    assert not waited(clicked, CI="1")
    assert not waited(clicked, NO_PAUSE="1")
    assert not waited(f'cmd.exe /c ""{bat}""')
