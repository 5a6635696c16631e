"""Named points at which a run can be made to fail, so that tests fail it there for real.

Every write, fsync, rename and removal of a checkpoint or a version passes through `reached`. With
no environment variable set that costs one look-up and does nothing.

LORACHAIN_FAULT=ACTION@POINT#N fails at the N-th time (default: the first) that POINT is reached;
several are separated by semicolons:

- kill       ends the process as `kill -9` does
- tear       cuts the file at hand to half its bytes, then kills: a write that power loss caught
- interrupt  is Ctrl-C
- full       is a full disk (OSError ENOSPC)

LORACHAIN_FAULT_TRACE=FILE appends each point to FILE as it is reached.
"""

from __future__ import annotations

import errno
import os
import re
import signal
from pathlib import Path

ACTION = "LORACHAIN_FAULT"
TRACE = "LORACHAIN_FAULT_TRACE"
_WORKING_NAME = re.compile(r"\.(checkpoint)-\d+\.tmp-\d+|(checkpoint)-\d+|\.(.+?)\.(?:\d+\.)?tmp")

_times: dict[str, int] = {}


def reached(what: str, path: Path) -> None:
    """Say that `what` (write, fsync, rename, remove, append) is about to happen to `path`."""
    action, trace = os.environ.get(ACTION), os.environ.get(TRACE)
    if action is None and trace is None:
        return
    point = f"{what} {place(path)}"
    _times[point] = count = _times.get(point, 0) + 1
    if trace is not None:
        with Path(trace).open("a", encoding="utf-8") as file:
            file.write(f"{point}#{count}\n")
    for one in action.split(";") if action else ():
        kind, _, wanted = one.partition("@")
        name, _, number = wanted.partition("#")
        if name == point and count == int(number or 1):
            _fail(kind, path)


def place(path: Path) -> str:
    """A file's or folder's name without what differs between runs: its checkpoint's step, the
    process's number."""
    names = [_plain(part) for part in path.parts[-3:]]
    if "checkpoint" in names:
        return "/".join(names[names.index("checkpoint") :])
    return names[-1]


def _plain(name: str) -> str:
    match = _WORKING_NAME.fullmatch(name)
    return next(group for group in match.groups() if group) if match else name


def _fail(kind: str, path: Path) -> None:
    if kind == "interrupt":
        signal.raise_signal(signal.SIGINT)
    elif kind == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    elif kind in ("kill", "tear"):
        if kind == "tear" and path.is_file():
            os.truncate(path, path.stat().st_size // 2)
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    else:
        raise ValueError(f"{ACTION}: no action {kind!r}")
