"""One set-up at a time in a folder. The lock is the system's: it falls when its holders die."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    # Windows forbids reading a locked byte: one far behind the process id is locked.
    _BYTE = 1 << 30

    def _try_lock(descriptor: int) -> bool:
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP):
                return True  # a network folder without locks: set-up goes on unguarded
            raise
        return True

    def _unlock(descriptor: int) -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
def locked(path: Path, say: Callable[[str], None], poll_seconds: float = 0.3) -> Iterator[int]:
    """Hold the lock file at `path`, waiting (and saying so) while another process holds it.

    Yields the file descriptor. A child process that inherits it keeps the lock on POSIX after its
    parent was killed, so an orphaned pip is waited for as well.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        waiting = False
        while not _try_lock(descriptor):
            if not waiting:
                say(f"Another set-up ({_holder(path)}) is at work in this folder; waiting for it.")
                waiting = True
            time.sleep(poll_seconds)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"process {os.getpid()}".ljust(31).encode("ascii") + b"\n")
        try:
            yield descriptor
        finally:
            _unlock(descriptor)
    finally:
        os.close(descriptor)


def _holder(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(32).decode("ascii", "replace").strip() or "process unknown"
