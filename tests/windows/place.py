"""A place to run Windows programs in: Windows itself, or Wine with a real Windows Python.

The Python (windows_python.py) and the Wine prefix are made once and kept under
~/.cache/lorachain-tests. What Wine 8 does not do as Windows does: see NOT_IN_WINE_8.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from windows_python import lay_out_python

CACHE = Path.home() / ".cache" / "lorachain-tests" / "wine-1"
WINE_10 = os.environ.get("LORACHAIN_WINE") == "10"
NOT_IN_WINE_8 = (
    "Wine 8's cmd drops % from arguments and knows neither CMDCMDLINE nor !NAME:~-3!; links, "
    "Ctrl-C and a closing console are not Windows' either"
)

# Runs inside: Wine gives a Unix process's 8 bits of an exit code, and here are all 32.
INSIDE = """
import json, os, subprocess, sys
asked = json.load(sys.stdin)
system = os.environ["SYSTEMROOT"]
path = [*asked["path"], system + "\\\\system32", system]
done = subprocess.run(
    asked["command"],
    cwd=asked["cwd"],
    env={**os.environ, "PATH": os.pathsep.join(path), **asked["variables"]},
    input=b"\\r\\n",
    capture_output=True,
    timeout=asked["timeout"],
)
out, err = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
print(json.dumps([done.returncode, out.replace("\\r\\n", "\\n"), err.replace("\\r\\n", "\\n")]))
"""


class Unavailable(Exception):
    """There is no Windows here, for the reason that the message gives."""


@dataclass(frozen=True)
class Place:
    """Where Windows programs run. `prefix` None: this is Windows. `enter` starts a command in the
    system that Wine is in, where that is another one than ours."""

    python: Path
    prefix: Path | None
    enter: tuple[str, ...] = ()

    def path(self, path: Path) -> str:
        """A path as Windows programs know it."""
        return str(path) if self.prefix is None else "Z:" + str(path).replace("/", "\\")

    def run(
        self,
        command: Sequence[str] | str,
        cwd: Path,
        on_path: Sequence[Path] = (),
        timeout: int = 120,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run a Windows program with pipes; its whole exit code, unsigned as Windows has it."""
        asked = {
            "command": command if isinstance(command, str) else list(command),
            "cwd": self.path(cwd),
            "path": [self.path(folder) for folder in on_path],
            "variables": variables,
            "timeout": timeout,
        }
        done = subprocess.run(
            [*self._wine(), self.path(self.python), "-I", "-X", "utf8", "-c", INSIDE],
            input=json.dumps(asked).encode(),
            capture_output=True,  # Wine's Python starts with three pipes only
            env=self.environment(),
            timeout=timeout + 30,
        )
        if done.returncode != 0:
            raise AssertionError(done.stderr.decode("utf-8", "replace"))
        code, out, err = json.loads(done.stdout)
        return subprocess.CompletedProcess(command, code, out, err)

    def run_code(
        self, code: str, cwd: Path, *arguments: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run Python code there; it must succeed."""
        command = [self.path(self.python), "-X", "utf8", "-c", code, *arguments]
        done = self.run(command, cwd, **variables)
        assert done.returncode == 0, done.stderr
        return done

    def _wine(self) -> list[str]:
        return [] if self.prefix is None else [*self.enter, "wine"]

    def environment(self) -> dict[str, str]:
        """Nothing of ours but what Wine needs: a test says itself what its program sees."""
        if self.prefix is None:
            gone = ("PIP_", "PYTHON", "CI", "NO_PAUSE")
            return {k: v for k, v in os.environ.items() if not k.upper().startswith(gone)}
        return wine_environment(self.prefix)


def wine_environment(prefix: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    quiet = {"WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree=;mshtml="}
    return kept | quiet | {"WINEPREFIX": str(prefix), "LC_ALL": "C.UTF-8"}


@contextmanager
def windows_place() -> Iterator[Place]:
    """Make (or find) the place and, in Wine, end what runs there with the last user of it.

    Raises Unavailable.
    """
    if os.name == "nt":
        yield Place(Path(getattr(sys, "_base_executable", None) or sys.executable), None)
        return
    _need_wine()
    import fcntl

    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place = Place(CACHE / "python" / "python.exe", CACHE / "prefix")
        try:
            _make(place)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise Unavailable(f"the Windows Python could not be made: {error}") from error
        fcntl.flock(lock, fcntl.LOCK_SH)  # other test processes use the same prefix
        try:
            yield place
        finally:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                pass  # the last one of them ends it
            else:
                end(place)


def _need_wine() -> None:
    if shutil.which("wine"):
        return
    if os.environ.get("LORACHAIN_INSTALL_WINE") == "1" and os.geteuid() == 0:
        packages = ["install", "-y", "--no-install-recommends", "wine", "wine64"]
        subprocess.run(["apt-get", *packages], capture_output=True, timeout=600, check=False)
    if not shutil.which("wine"):
        raise Unavailable(
            "Wine is not installed: apt-get install --no-install-recommends wine wine64 "
            "(LORACHAIN_INSTALL_WINE=1 lets root's tests do it)"
        )


def _make(place: Place) -> None:
    assert place.prefix is not None
    if not place.python.is_file():
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            lay_out_python(Path(folder))
            (Path(folder) / "python").rename(place.python.parent)
    made = CACHE / "made"
    start_services(place, fresh=not made.is_file())
    if not made.is_file():
        packages = place.path(place.python.parent / "Lib" / "site-packages")
        place.run([place.path(place.python), "-m", "compileall", "-q", packages], CACHE)
        made.write_text("")


def start_services(place: Place, fresh: bool) -> None:
    """Start Wine's services, in a `fresh` prefix after making it.

    The first program starts them; a later one would lend them its pipes for ever.
    """
    _quietly(place, "wineserver", "-p")
    if fresh:
        _quietly(place, "wineboot", "-i")
        _quietly(place, "wine", "winecfg", "-v", "win10")
    _quietly(place, "wine", "cmd", "/c", "exit")


def end(place: Place) -> None:
    """End every program of this prefix."""
    _quietly(place, "wineserver", "-k")


def _quietly(place: Place, *command: str) -> None:
    assert place.prefix is not None
    subprocess.run(
        [*place.enter, *command],
        env=wine_environment(place.prefix),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        timeout=180,
        check=False,
    )


def shim_folder(folder: Path, shims: Mapping[str, str]) -> Path:
    """A folder of batch files to put on PATH: {name: body}."""
    folder.mkdir(parents=True)
    for name, body in shims.items():
        (folder / f"{name}.bat").write_bytes(f"@echo off\r\n{body}\r\n".encode())
    return folder
