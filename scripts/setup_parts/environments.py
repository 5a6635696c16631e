"""The environment that the project runs in: where it is, whether it is whole, how it is mended."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setup_parts.failures import SetupError, explain
from setup_parts.running import child_environment
from setup_parts.torch_build import ask_nvidia_smi, find_nvidia_smi

FIRST, LAST = (3, 11), (3, 13)
STAMP = "lorachain-setup.json"
STAMP_FORMAT = 1

_PROBE = """
import json, sys, sysconfig
try:
    import pip
    version = pip.__version__
except Exception:
    version = None
print(json.dumps([sys.version_info[:3], sys.maxsize > 2**32, sys.implementation.name,
                  bool(sysconfig.get_config_var("Py_GIL_DISABLED")), version]))
"""


@dataclass(frozen=True)
class Environment:
    prefix: Path
    python: Path
    own: bool
    """It is the project's .venv, which set-up may mend and delete. Any other is the user's."""
    running: bool
    """This process runs in it."""


@dataclass(frozen=True)
class Probe:
    """What an environment's Python says of itself."""

    version: tuple[int, ...]
    pip: str | None
    unsupported: str | None


def unsupported(
    version: tuple[int, ...], is_64_bit: bool, implementation: str, free_threaded: bool
) -> str | None:
    """Why a Python cannot run this project; None where it can."""
    name = ".".join(str(part) for part in version[:3])
    if implementation != "cpython":
        return f"{implementation} {name}"
    if not FIRST <= tuple(version[:2]) <= LAST:
        return f"Python {name}"
    if free_threaded:
        return f"the free-threaded build of Python {name}"
    if not is_64_bit:
        return f"32-bit Python {name}"
    return None


def check_this_python() -> None:
    """Raise SetupError where the Python that runs this is not one of those that are supported."""
    reason = unsupported(
        tuple(sys.version_info[:3]),
        sys.maxsize > 2**32,
        sys.implementation.name,
        bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    )
    if reason:
        raise SetupError(
            f"This is {reason}, and lorachain needs 64-bit CPython 3.11, 3.12 or 3.13: install "
            "one from https://www.python.org/downloads/ and run the same command with it (such as "
            "`py -3.12` on Windows, `python3.12` elsewhere)."
        )


def locate(root: Path) -> Environment:
    """The environment that this process runs in, virtual or conda; else the project's .venv."""
    own_prefix = root / ".venv"
    prefix = Path(sys.prefix)
    if sys.prefix != sys.base_prefix or (prefix / "conda-meta").is_dir():
        own = prefix.resolve() == own_prefix.resolve()
        return Environment(prefix, Path(sys.executable), own, True)
    folder = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return Environment(own_prefix, own_prefix.joinpath(*folder), True, False)


def hashes(root: Path) -> dict[str, str]:
    """The files that decide what is installed, by name, with their sha256."""
    names = [path.name for path in root.glob("requirements*.txt")]
    names += ["constraints.txt", "pyproject.toml"]
    return {
        name: hashlib.sha256((root / name).read_bytes()).hexdigest()
        for name in sorted(names)
        if (root / name).is_file()
    }


def read_stamp(environment: Environment) -> dict[str, Any]:
    """What the last set-up wrote, finished or not; empty where there is none that can be read."""
    try:
        stamp = json.loads((environment.prefix / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    readable = isinstance(stamp, dict) and stamp.get("format") == STAMP_FORMAT
    return stamp if readable else {}


def write_stamp(environment: Environment, stamp: dict[str, Any]) -> None:
    path = environment.prefix / STAMP
    beside = path.with_suffix(".tmp")
    content = json.dumps({"format": STAMP_FORMAT, **stamp}, indent=1)
    beside.write_text(content, encoding="utf-8")
    beside.replace(path)


def problems(
    environment: Environment, root: Path, dev: bool = False, torch: str | None = None
) -> list[str]:
    """Why the environment is not ready; empty where it is. Reads a few small files, runs nothing.

    (With one exception: on Windows, where set-up saw no GPU though nvidia-smi is there, nvidia-smi
    is asked again.)
    """
    broken = structure_problem(environment)
    if broken:
        return [broken]
    stamp = read_stamp(environment)
    if not stamp.get("complete"):
        return ["set-up has not finished in it"]
    found = []
    if stamp["root"] != str(root):
        found.append(f"it was set up for another folder ({stamp['root']})")
    changed = sorted(_differences(stamp["files"], hashes(root)))
    if changed:
        found.append("changed since set-up: " + ", ".join(changed))
    if dev and not stamp["dev"]:
        found.append("the tools for tests and checks are not installed")
    if torch is not None and torch != stamp["torch"]["request"]:
        found.append(f"torch was set up as {stamp['torch']['request']}, not as {torch}")
    missing = sorted(set(stamp["distributions"]) - set(distributions(environment)))
    if missing:
        found.append("removed or replaced since set-up: " + ", ".join(missing))
    if _gpu_appeared(stamp):
        found.append("an NVIDIA GPU answers now, which was not so at set-up")
    return found


def _differences(before: dict[str, str], now: dict[str, str]) -> Iterator[str]:
    return (name for name in {*before, *now} if before.get(name) != now.get(name))


def structure_problem(environment: Environment) -> str | None:
    prefix = environment.prefix
    if environment.running:
        return None
    if not prefix.is_dir():
        return "there is no .venv yet"
    if not (prefix / "pyvenv.cfg").is_file():
        return "its pyvenv.cfg is missing"
    if not environment.python.is_file():
        return "its Python is missing or has moved"
    if not _base_is_there(prefix) and probe(environment) is None:
        return "the Python that it was made from is missing or has moved"
    return None


def _base_is_there(prefix: Path) -> bool:
    """Whether the Python that pyvenv.cfg names exists, as far as this can be seen.

    (The files of the Microsoft Store's Python cannot always be seen, so a No is no proof.)
    """
    home = configured(prefix, "home") or ""
    named = [configured(prefix, "executable"), configured(prefix, "base-executable")]
    named += [str(Path(home, name)) for name in ("python.exe", "python3", "python") if home]
    return any(os.path.isfile(path) for path in named if path)  # noqa: PTH113 (never raises)


def _gpu_appeared(stamp: dict[str, Any]) -> bool:
    return (
        platform.system() == "Windows"
        and stamp["torch"]["request"] == "auto"
        and not stamp["gpu"]
        and find_nvidia_smi() is not None
        and ask_nvidia_smi() is not None
    )


def site_packages(environment: Environment) -> list[Path]:
    if environment.running:
        return [Path(sysconfig.get_path("purelib"))]
    if os.name == "nt":
        return [environment.prefix / "Lib" / "site-packages"]
    return sorted(environment.prefix.glob("lib/python3.*/site-packages"))


def distributions(environment: Environment) -> list[str]:
    """The names of all *.dist-info folders: what is installed, in which version."""
    names: list[str] = []
    for folder in site_packages(environment):
        with contextlib.suppress(OSError):
            names += [path.name for path in folder.glob("*.dist-info")]
    return sorted(names)


def probe(environment: Environment) -> Probe | None:
    """Ask the environment's Python what it is; None where it does not run."""
    try:
        done = subprocess.run(
            [str(environment.python), "-I", "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            env=child_environment(os.environ),
            check=True,
        )
        version, is_64_bit, implementation, free_threaded, pip = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    reason = unsupported(tuple(version), is_64_bit, implementation, free_threaded)
    return Probe(tuple(version), pip, reason)


def configured(prefix: Path, key: str) -> str | None:
    """A value of pyvenv.cfg."""
    try:
        text = (prefix / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(rf"(?m)^\s*{key}\s*=\s*(.*?)\s*$", text)
    return found.group(1) if found else None


def explain_os_error(error: OSError) -> SetupError:
    """A failure of set-up's own reading and writing, as a sentence."""
    return SetupError(explain(str(error)) or f"Set-up could not read or write a file: {error}.")


def names(reasons: Iterable[str]) -> str:
    return "; ".join(reasons)
