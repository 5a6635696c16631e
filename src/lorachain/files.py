"""Files that are whole or not there: atomic writes, hashes, renames that retry, a lock."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from lorachain.errors import UserError
from lorachain.faults import reached
from lorachain.oserrors import held_elsewhere
from lorachain.oserrors import is_disk_full as is_disk_full

LOCK = ".lock"
_RETRY_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
_LEFTOVER = re.compile(r"\..+\.(safetensors|\d+)\.tmp")  # of write_text, and of an adapter
_HELD_ELSEWHERE = {errno.EACCES, errno.EAGAIN, errno.EDEADLK, errno.EWOULDBLOCK}


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """The SHA-256 of a text's UTF-8 bytes, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def canonical_json(value: Any) -> str:
    """One spelling for one value: sorted keys, no spaces. For hashing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def read_json(path: Path, what: str) -> Any:
    """Parse a JSON file. `what` names it in the UserError when it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{what} not found: {path}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{what} cannot be read: {path}: {error}") from None


def dump_json(path: Path, value: Any) -> None:
    """Write a JSON file in place, for a folder that is renamed when all of it is there."""
    reached("write", path)
    path.write_text(json.dumps(value), encoding="utf-8")


def load_json(path: Path) -> Any:
    """Parse a JSON file that a manifest vouches for."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically: a reader sees the old one or the new one, never half."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically (newlines stay as they are), flushed to disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        reached("write", path)
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            reached("fsync", temporary)
            os.fsync(file.fileno())
        replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    fsync_folder(path.parent)


def fsync_file(path: Path) -> None:
    """Push one file's bytes to the disk itself."""
    reached("fsync", path)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def fsync_folder(path: Path) -> None:
    """Push a folder's entries to the disk. Windows has no such call and needs none."""
    if os.name == "nt":
        return
    reached("fsync", path)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _retried(action: Callable[[], object]) -> None:
    """Do it again after a sharing violation: Windows refuses while another program looks on."""
    for seconds in _RETRY_SECONDS:
        try:
            action()
            return
        except OSError as error:
            if not held_elsewhere(error):
                raise
            time.sleep(seconds)
    action()


def replace(source: Path, target: Path) -> None:
    """`Path.replace`, retried with back-off while the target is open elsewhere (Windows)."""
    reached("rename", target)
    _retried(lambda: source.replace(target))


def make_folder(path: Path) -> None:
    """Make a folder and those above it. Raises UserError where that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = "a file stands there" if path.is_file() else error.strerror or error
        raise UserError(f"{path} cannot be made: {what}. Choose another folder.") from None


def remove_folder(path: Path) -> None:
    """Remove a folder with all it holds, retried while a file in it is open elsewhere."""
    if path.is_symlink():
        raise UserError(f"{path} is a link, not a folder; it was left alone.")
    if path.exists():
        reached("remove", path)
        _retried(lambda: shutil.rmtree(path))


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process was about to rename in `folder`. Hold its lock."""
    for path in folder.iterdir():
        if _LEFTOVER.fullmatch(path.name) and not path.is_symlink():
            if path.is_dir():
                remove_folder(path)
            else:
                _retried(path.unlink)


class InUse(UserError):
    """Another process holds a folder."""


@contextmanager
def folder_lock(folder: Path, what: str) -> Iterator[None]:
    """Hold `folder` for this process; a second process gets InUse, a UserError that says so.

    Raises UserError where the folder cannot be made or written to.

    The lock is the operating system's own (flock, or a locked byte on Windows), so it ends with
    the process, however that ends: a file left behind by a killed run locks nobody out.
    """
    with _locked(folder, what) as file:
        try:
            yield
        finally:
            _unlock(file.fileno())


def _locked(folder: Path, what: str) -> TextIO:
    """The folder's lock file, locked. Another process may remove or move it between its opening
    and its locking, so the one that is held must be the one that is there."""
    while True:
        make_folder(folder)
        path = folder / LOCK
        try:
            file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"{folder} cannot be written to: {error.strerror or error}. Choose another folder."
            ) from None
        try:
            _lock(file.fileno())
        except OSError as error:
            file.close()
            if error.errno not in _HELD_ELSEWHERE:
                raise UserError(
                    f"{folder} lies on a file system that cannot lock files ({error.strerror}), so "
                    "two runs could write there at once. Choose another folder."
                ) from None
            raise InUse(
                f"{what} is in use by another run: {folder}. Wait until it ends, or choose "
                "another --output."
            ) from None
        with suppress(OSError):
            if os.name == "nt" or os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()


if os.name == "nt":  # pragma: no cover
    import msvcrt

    def _lock(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]

    def _unlock(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]
else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
