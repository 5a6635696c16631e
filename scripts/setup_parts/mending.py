"""Making the environment, mending a damaged one, recreating one that cannot be mended."""

from __future__ import annotations

import contextlib
import csv
import os
import platform
import re
import shutil
import sys
from pathlib import Path

from setup_parts.environments import (
    Environment,
    Probe,
    configured,
    probe,
    read_stamp,
    site_packages,
    structure_problem,
)
from setup_parts.failures import SetupError
from setup_parts.running import Runner


def make_ready(environment: Environment, runner: Runner, recreate: bool = False) -> Probe:
    """Make, mend or (where it cannot be mended) recreate the environment, up to a working pip."""
    if environment.running or not environment.own:
        if recreate:
            raise SetupError(
                f"This runs inside {environment.prefix}, which cannot be recreated from within: "
                "leave it (`deactivate`) and run the same command with another Python."
            )
        return _add_pip(environment, runner)
    _refuse_odd_venv(environment.prefix)
    if recreate:
        _delete(environment, runner)
    found = _mend(environment, runner) if environment.prefix.is_dir() else None
    if found is None:
        runner.say(f"Making {environment.prefix} with Python {platform.python_version()}.")
        _make(environment, runner)
        found = probe(environment)
    if found is None or found.pip is None:
        raise runner.error(
            "The new .venv does not work: run `python scripts/setup_env.py --recreate` with "
            "another Python installation (one from python.org)."
        )
    return found


def _add_pip(environment: Environment, runner: Runner) -> Probe:
    found = probe(environment)
    if found is not None and found.pip is None:
        command = [str(environment.python), "-I", "-m", "ensurepip", "--upgrade"]
        runner.must(command, "adding pip", "pip could not be added to this environment.")
        found = probe(environment)
    if found is None or found.pip is None:
        raise runner.error(
            f"The environment {environment.prefix} has no working pip: mend it, or leave it "
            "(`deactivate`) and run the same command, which then makes a .venv."
        )
    return found


def _mend(environment: Environment, runner: Runner) -> Probe | None:
    """Bring a .venv back to a working Python and pip; None where it had to be deleted."""
    for name in drop_broken(environment):
        runner.log.write(f"incomplete, to be installed again: {name}\n")
    found = probe(environment)
    # Where the folder was moved, `activate` still names the old place.
    stayed = read_stamp(environment).get("root", str(runner.root)) == str(runner.root)
    whole = found is not None and stayed and structure_problem(environment) is None
    if found is not None and whole and not found.unsupported and found.pip:
        return found
    if found is not None and found.unsupported:
        runner.say(f"The .venv has {found.unsupported}, which is not supported.")
    elif _version_of(environment) == sys.version_info[:2]:
        runner.say(f"Mending {environment.prefix}.")
        for link in environment.python.parent.glob("python*"):
            if link.is_symlink():  # venv leaves links alone, dangling ones too
                link.unlink()
        # `venv` over a folder writes what is missing and keeps what is installed. Where it cannot,
        # recreating tells why.
        with contextlib.suppress(SetupError):
            _make(environment, runner)
            found = probe(environment)
            if found is not None and found.pip and not found.unsupported:
                return found
    _delete(environment, runner)
    return None


def _make(environment: Environment, runner: Runner) -> None:
    runner.must(
        [sys.executable, "-I", "-X", "utf8", "-m", "venv", str(environment.prefix)],
        "making the environment",
        "The .venv could not be made: run the same command with another Python installation (one "
        "from python.org).",
    )


def _version_of(environment: Environment) -> tuple[int, int] | None:
    """The Python version that a .venv was made for, as its files tell it."""
    text = configured(environment.prefix, "version") or configured(
        environment.prefix, "version_info"
    )
    if text is None and os.name != "nt":
        folders = list(environment.prefix.glob("lib/python3.*"))
        text = folders[0].name[len("python") :] if len(folders) == 1 else None
    if text is None:
        text = str(read_stamp(environment).get("python", ""))
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found.group(1)), int(found.group(2))) if found else None


def _refuse_odd_venv(prefix: Path) -> None:
    if prefix.is_symlink() or (prefix.exists() and not prefix.is_dir()):
        raise SetupError(
            f"{prefix} is a link or a file, which set-up leaves alone: move it away, or activate "
            "the environment that it stands for, then run the same command again."
        )


def _delete(environment: Environment, runner: Runner) -> None:
    """Delete the project's own .venv, and nothing else."""
    prefix = environment.prefix
    if not environment.own or environment.running or prefix.name != ".venv":
        raise AssertionError(f"not the project's own .venv: {prefix}")
    _refuse_odd_venv(prefix)
    if not prefix.exists():
        return
    runner.say(f"Deleting {prefix}, to make it anew.")
    try:
        shutil.rmtree(prefix)
    except OSError as error:
        raise runner.error(
            f"{prefix} could not be deleted: close the programs that use it (terminals, editors, "
            f"a running training), then run the same command again ({error})."
        ) from error


def drop_broken(environment: Environment) -> list[str]:
    """Make pip forget the packages in the own .venv whose files are missing or cut short.

    A killed pip can leave a package that it later takes for installed. The *.dist-info folder is
    removed, so that pip installs over the rest; also the `~name` folders of a killed uninstall.
    """
    dropped = []
    for folder in site_packages(environment):
        for info in sorted(folder.glob("*.dist-info")):
            if not _is_whole(info):
                shutil.rmtree(info, ignore_errors=True)
                dropped.append(info.name)
        for leftover in folder.glob("~*"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
    return dropped


def _is_whole(info: Path) -> bool:
    try:
        with (info / "RECORD").open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, ValueError, csv.Error):
        return False
    return all(_is_there(info.parent, row) for row in rows)


def _is_there(folder: Path, row: list[str]) -> bool:
    """Whether the file of one RECORD row (path, hash, size) is there in its full size."""
    path = row[0]
    if path.endswith(".pyc"):
        return True
    try:
        size = (folder / path).stat().st_size
    except OSError:
        return False
    return len(row) < 3 or not row[2].isdigit() or size == int(row[2])
