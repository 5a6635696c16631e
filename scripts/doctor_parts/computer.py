"""Python, the environment, its packages, the disk, long paths, the console, the hub's cache."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from setup_parts import environments
from setup_parts.environments import Environment
from setup_parts.failures import SetupError

from doctor_parts.lines import ERROR, OK, WARNING, Line, size

SET_UP = "python scripts/setup_env.py"
SHOWN_PACKAGES = ("transformers", "peft", "trl", "safetensors")
LOW_DISK, NO_DISK = 10e9, 2e9
LONGEST_INSIDE = 200
"""Characters that the longest path in .venv takes (171 of a package, and the folders above it)."""
LONG_PATHS_KEY = r"SYSTEM\CurrentControlSet\Control\FileSystem"


def python_line(environment_works: bool) -> Line:
    """The Python that runs this."""
    bits = 64 if sys.maxsize > 2**32 else 32
    found = f"{platform.python_version()}, {bits}-bit, {sys.executable}"
    try:
        environments.check_this_python()
    except SetupError as error:
        # A complete environment has a Python of its own, which the launchers use.
        return Line("Python", WARNING if environment_works else ERROR, found, error.sentence)
    return Line("Python", OK, found)


def environment_line(environment: Environment, root: Path) -> Line:
    """Whether set-up is complete."""
    reasons = environments.problems(environment, root)
    stamp = environments.read_stamp(environment)
    if not reasons:
        version = f"Python {stamp['python']}, torch {stamp['torch']['version']}"
        return Line("environment", OK, f"complete: {environment.prefix} ({version})")
    return Line(
        "environment",
        ERROR,
        f"not complete: {environment.prefix}: {environments.names(reasons)}",
        "Set it up; what is there already is kept:",
        SET_UP,
    )


def packages_line(environment: Environment, root: Path) -> Line:
    """Every installed package that constraints.txt pins, in which version."""
    pinned = pins(root / "constraints.txt")
    installed = {}
    for name in environments.distributions(environment):
        package, _, version = name[: -len(".dist-info")].rpartition("-")
        installed[_plain(package)] = version
    shown = ", ".join(f"{name} {installed[name]}" for name in SHOWN_PACKAGES if name in installed)
    missing = [name for name in _wanted(root) if name not in installed]
    other = [
        f"{name} {version} (constraints.txt: {pinned[name]})"
        for name, version in sorted(installed.items())
        if name in pinned and version.split("+")[0] != pinned[name]
    ]
    if missing:
        found = "not installed: " + ", ".join(missing)
        return Line("packages", ERROR, found, "Install what is missing:", SET_UP)
    if other:
        found = f"{shown}; another version than tested: " + ", ".join(other)
        return Line("packages", WARNING, found, "Install the tested ones:", SET_UP)
    known = sum(name in pinned for name in installed)
    return Line("packages", OK, f"{shown}; {known} packages as in constraints.txt")


def pins(path: Path) -> dict[str, str]:
    """{package: version} of a constraints file."""
    text = path.read_text(encoding="utf-8")
    found = re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", text)
    return {_plain(name): version for name, version in found}


def _wanted(root: Path) -> list[str]:
    text = (root / "requirements.txt").read_text(encoding="utf-8")
    return [_plain(name) for name in re.findall(r"(?m)^([A-Za-z][\w.-]*)", text)]


def _plain(name: str) -> str:
    """A package's name as all spellings of it compare."""
    return re.sub(r"[-_.]+", "-", name).lower()


def disk_line(models: Path) -> Line:
    """Room where the versions lie."""
    there = next(path for path in (models, *models.parents) if path.is_dir())
    free = shutil.disk_usage(str(there)).free
    found = f"{size(free)} free at {models}"
    do = "Make room: bases, checkpoints and versions are kept there, and every stage adds some."
    if free < NO_DISK:
        return Line("disk", ERROR, found, do)
    return Line("disk", WARNING if free < LOW_DISK else OK, found, do if free < LOW_DISK else "")


def long_paths_line(root: Path, enabled: bool | None) -> Line:
    """Whether Windows takes paths of more than 260 characters. `enabled` is what it says of that;
    None on other systems."""
    check = "long paths"
    if enabled is None:
        return Line(check, OK, "no limit that matters (this is not Windows)")
    if enabled:
        return Line(check, OK, "on")
    length = len(str(root))
    if length + LONGEST_INSIDE < 260:
        return Line(check, OK, f"off, and not needed: this folder's path has {length} characters")
    return Line(
        check,
        WARNING,
        f"off, and this folder's path has {length} characters: some packages may not fit under it",
        "Move the folder to a short path (such as C:\\lorachain), or turn long paths on: run this "
        "as administrator, then restart:",
        f'reg add "HKLM\\{LONG_PATHS_KEY}" /v LongPathsEnabled /t REG_DWORD /d 1 /f',
    )


def long_paths_enabled() -> bool | None:
    """What Windows' registry says; None on other systems."""
    if sys.platform != "win32":
        return None
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, LONG_PATHS_KEY) as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except OSError:
        return False


def encoding_line(stdout: str, utf8_mode: bool) -> Line:
    """How text goes to the console and into files that name no encoding."""
    found = f"stdout {stdout}, UTF-8 mode {'on' if utf8_mode else 'off'}"
    if utf8_mode or stdout.lower().replace("-", "").replace("_", "") == "utf8":
        return Line("text", OK, found)
    command = "set PYTHONUTF8=1" if os.name == "nt" else "export PYTHONUTF8=1"
    do = "The project's scripts write UTF-8 all the same. For other Python programs:"
    return Line("text", WARNING, found, do, command)


def hub_line(given: Mapping[str, str]) -> Line:
    """Where models of the hub are kept, and whether it may be asked. It is not asked now."""
    cache = hub_cache(given)
    there = "" if cache.is_dir() else " (not there yet)"
    offline = given.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    state = "set: nothing is fetched" if offline else "not set"
    return Line("model hub", OK, f"cache {cache}{there}; HF_HUB_OFFLINE is {state}")


def hub_cache(given: Mapping[str, str]) -> Path:
    """The folder that huggingface_hub keeps models in."""
    if given.get("HF_HUB_CACHE"):
        return Path(given["HF_HUB_CACHE"]).expanduser()
    home = given.get("HF_HOME") or os.path.join(  # noqa: PTH118 (an empty variable is none)
        given.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    return Path(home).expanduser() / "hub"


def keys_line(given: Mapping[str, str]) -> Line:
    """Which keys are set. Their values are never shown."""
    names = ("HF_TOKEN", "OPENROUTER_API_KEY")
    states = [f"{name} is {'set' if given.get(name) else 'not set'}" for name in names]
    return Line("keys", OK, ", ".join(states))
