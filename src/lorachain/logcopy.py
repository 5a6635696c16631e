"""A copy of what a script says, in the file that LORACHAIN_LOG names. The launchers set it.

It takes what Python writes to stdout and stderr, tracebacks included, and the Python stack of a
crash in native code; what a library written in C prints past Python is not in it.
"""

from __future__ import annotations

import atexit
import faulthandler
import os
import sys
import time
from contextlib import suppress
from typing import Any, TextIO

VARIABLE = "LORACHAIN_LOG"


class Copied:
    """A stream that also writes into a log. Of a progress bar the log gets the last state."""

    def __init__(self, stream: TextIO, log: TextIO) -> None:
        self._stream = stream
        self._log = log
        self._line = ""

    def write(self, text: str) -> int:
        """Write to both; the log gets whole lines."""
        written = self._stream.write(text)
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._keep(line)
        if "\r" in self._line:
            self._line = self._line[self._line.rindex("\r") :]
        return written

    def finish(self) -> None:
        """Put a last line without an end into the log."""
        if self._line:
            self._keep(self._line)
            self._line = ""

    def _keep(self, line: str) -> None:
        with suppress(OSError, ValueError):  # a full disk must not end a run for its log's sake
            self._log.write(line.rstrip("\r").rpartition("\r")[2] + "\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def begin() -> None:
    """Copy stdout and stderr from here on, where the launcher asks for it."""
    path = os.environ.get(VARIABLE)
    if not path or isinstance(sys.stderr, Copied):
        return
    try:
        log = open(path, "a", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: PTH123, SIM115
        log.write(f"== {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(sys.argv)}\n")
    except OSError:
        return
    faulthandler.enable(log)
    out, err = Copied(sys.stdout, log), Copied(sys.stderr, log)
    sys.stdout, sys.stderr = out, err
    atexit.register(out.finish)
    atexit.register(err.finish)
