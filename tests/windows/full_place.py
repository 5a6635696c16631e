"""The Wine 10 place: Debian 13 in a folder, and in its Wine what lorachain needs to set itself up.

`python tests/windows/full_place.py` makes it, or says why it cannot (exit code 2). All of it lies
in ~/.cache/lorachain-tests/wine-10 (about 5 GB) and is kept; remove that folder to start anew. It
needs root: Debian's packages are unpacked with debootstrap, and Wine runs with that folder as its
root, in a mount namespace of its own, so that nothing stays mounted.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from place import Place, Unavailable, end, start_services
from windows_python import lay_out_python, pip

PROJECT = Path(__file__).resolve().parents[2]
CACHE = Path.home() / ".cache" / "lorachain-tests" / "wine-10"
DEBIAN = CACHE / "debian"
HERE = CACHE / "place"
DRIVE = HERE / "prefix" / "drive_c"
ROOT = DRIVE / "lorachain"  # the project, as a user has it
MIRROR, RELEASE = "http://deb.debian.org/debian", "trixie"
GIGABYTES = 7
# Wine 10 cannot import numpy 2 ("unimplemented function ucrtbase.dll.crealf"), so this is the last
# one before it, with the last pandas and pyarrow that take it.
INSTEAD = {"numpy": "1.26.4", "pandas": "2.3.3", "pyarrow": "25.0.0"}
BESIDES = "setuptools>=77,<82\npip>=25,<27\npytz==2025.2\nsix==1.17.0\n"  # no constraint names them

# Without /sys: where Wine 10 sees it, OpenMP asks for NUMA nodes, a call that Wine has not.
ENTER = """
set -e
mount -t proc proc "$0/proc"
mount --rbind /dev "$0/dev"
for folder in "$1" "$2" "$3"; do mkdir -p "$0$folder"; mount --bind "$folder" "$0$folder"; done
debian=$0; shift 3
exec chroot "$debian" "$@"
"""
COMMAND = ("unshare", "--mount", "--propagation", "private", "sh", "-c")


class Wine10(Place):
    """A place whose C: is a folder of ours."""

    def path(self, path: Path) -> str:
        """A path as Windows programs know it."""
        if path.is_relative_to(DRIVE):
            return "C:\\" + str(path.relative_to(DRIVE)).replace("/", "\\")
        return super().path(path)


def wine_10() -> Wine10:
    """The place, made or not."""
    seen = (str(HERE), str(PROJECT), tempfile.gettempdir())  # at the same paths inside
    enter = (*COMMAND, ENTER, str(DEBIAN), *seen)
    return Wine10(DRIVE / "Python311" / "python.exe", HERE / "prefix", enter)


@contextmanager
def full_place() -> Iterator[Wine10]:
    """Make (or find) the place; in the end, end what runs there. One user at a time.

    Raises Unavailable.
    """
    _need()
    import fcntl

    HERE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place = wine_10()
        try:
            _make(place)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            said = (getattr(error, "stderr", None) or b"")[-1500:].decode("utf-8", "replace")
            raise Unavailable(f"it could not be made: {error}\n{said}") from error
        try:
            yield place
        finally:
            end(place)


def _need() -> None:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise Unavailable("this needs Linux and root, to unpack a Debian and to run in it")
    missing = [name for name in ("debootstrap", "unshare", "chroot") if not shutil.which(name)]
    if missing:
        raise Unavailable(f"{', '.join(missing)} missing: apt-get install debootstrap util-linux")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        raise Unavailable("this root may not make a mount namespace")
    CACHE.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(CACHE).free / 1e9
    if not (ROOT / ".venv").is_dir() and free < GIGABYTES:
        raise Unavailable(f"{CACHE} has {free:.1f} GB free, and {GIGABYTES} GB are needed")


def _make(place: Wine10) -> None:
    if not DEBIAN.is_dir():
        _say("Unpacking Debian 13 with Wine 10 (1.4 GB).")
        _make_debian()
    if not place.python.is_file():
        _say("Laying out a Windows Python.")
        start_services(place, fresh=True)
        with tempfile.TemporaryDirectory(dir=HERE) as folder:
            lay_out_python(Path(folder))
            (Path(folder) / "python").rename(place.python.parent)
    else:
        start_services(place, fresh=False)
    _say("Fetching the Windows packages that constraints.txt names.")
    _fetch_wheels()
    copy_project()


def _make_debian() -> None:
    # What debootstrap mounts in the folder is gone with the namespace.
    folder = Path(tempfile.mkdtemp(prefix="debian-", dir=CACHE))
    wanted = "--include=ca-certificates,wine,wine64"
    command = ["debootstrap", "--variant=minbase", wanted, RELEASE, str(folder), MIRROR]
    subprocess.run(
        ["unshare", "--mount", "--propagation", "private", *command],
        capture_output=True,
        timeout=1800,
        check=True,
    )
    folder.chmod(0o755)
    folder.rename(DEBIAN)


def _fetch_wheels() -> None:
    """Put a wheel of everything that constraints.txt names, for Windows, into C:\\wheels."""
    wanted = HERE / "wanted.txt"
    text = constraints() + BESIDES
    if wanted.is_file() and wanted.read_text(encoding="utf-8") == text:
        return
    asked = HERE / "asked.txt"
    asked.write_text(text, encoding="utf-8")
    pip(
        *("download", "--no-deps", "--platform", "win_amd64", "--python-version", "3.11"),
        *("--only-binary", ":all:", "-d", str(DRIVE / "wheels"), "-r", str(asked)),
    )
    asked.rename(wanted)


def constraints() -> str:
    """The project's constraints, with the changes that Wine needs."""
    text = (PROJECT / "constraints.txt").read_text(encoding="utf-8")
    for name, version in INSTEAD.items():
        text = re.sub(rf"(?m)^{name}==.*$", f"{name}=={version}", text)
    return text


def copy_project() -> None:
    """Make C:\\lorachain what the working tree is; its .venv and models stay."""
    listed = subprocess.run(
        ["git", "-C", str(PROJECT), "ls-files", "-co", "--exclude-standard", "-z"],
        capture_output=True,
        check=True,
    )
    for path in ROOT.glob("*"):
        if path.name not in (".venv", "models", "logs"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (PROJECT / name).is_file():
            (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, ROOT / name)
    (ROOT / "constraints.txt").write_text(constraints(), encoding="utf-8")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    try:
        with full_place():
            _say(f"Ready: {CACHE}")
    except Unavailable as reason:
        print(f"Wine 10 is not to be had here: {reason}", file=sys.stderr)
        sys.exit(2)
