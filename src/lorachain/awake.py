"""A long run and the computer around it: it is kept from sleeping, and may be made to give way.

Windows goes to sleep when nobody types, however busy it is. The request below needs no
administrator, counts for this process alone and ends with it. It does not keep the screen on, nor
the computer awake when its lid is closed or the user sends it to sleep. Power plans and the GPU's
limits are left alone. On Linux and macOS nothing is done (`systemd-inhibit COMMAND` and
`caffeinate -i COMMAND` do the same there).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

log = logging.getLogger("lorachain")

ES_CONTINUOUS = 0x80000000  # winbase.h: until the next call, not for this moment alone
ES_SYSTEM_REQUIRED = 0x00000001

Priority = Literal["below-normal", "low"]
PRIORITIES: tuple[str, ...] = get_args(Priority)
_NICENESS = {"below-normal": 10, "low": 19}


@contextmanager
def kept_awake() -> Iterator[None]:
    """Keep Windows from going to sleep for lack of input, until the block ends, however it ends.

    The request belongs to the thread that makes it, so enter and leave in the same one. Blocks may
    stand in each other. A refusal is a warning.
    """
    ask = execution_state()
    before = ask(ES_CONTINUOUS | ES_SYSTEM_REQUIRED) if ask else 0
    if ask and not before:
        log.warning(
            "Windows did not take the request to stay awake. Should it go to sleep, wake it: the "
            "run goes on; or run the same command again."
        )
    try:
        yield
    finally:
        if ask and before:
            ask(before if before & ES_CONTINUOUS else ES_CONTINUOUS)


def execution_state() -> Callable[[int], int] | None:
    """Windows' SetThreadExecutionState: takes flags, returns those before, 0 when it failed. None
    on other systems."""
    ask: Callable[[int], int] | None = None
    if sys.platform == "win32":
        import ctypes

        ask = ctypes.WinDLL("kernel32").SetThreadExecutionState
        ask.argtypes, ask.restype = [ctypes.c_uint32], ctypes.c_uint32
    return ask


def give_way(priority: Priority) -> None:
    """Let other programs of this computer go first: this process and those that it starts."""
    import psutil  # type: ignore[import-untyped,unused-ignore]

    if os.name == "nt":
        classes = {"below-normal": "BELOW_NORMAL_PRIORITY_CLASS", "low": "IDLE_PRIORITY_CLASS"}
        psutil.Process().nice(getattr(psutil, classes[priority]))
        return
    process = psutil.Process()
    process.nice(max(process.nice(), _NICENESS[priority]))  # a user may only ever raise it
