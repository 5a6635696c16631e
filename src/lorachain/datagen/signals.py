"""Ctrl-C ends a stage in good order: answers that are under way are waited for, since they cost."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from typing import Any

from lorachain.datagen.limits import Pace

log = logging.getLogger("lorachain")


class StopOnSignal:
    """Use it around the work, in the loop's own thread. `asked` says whether a signal came.

    The first one (Ctrl-C, or what a system sends when it shuts down) lets nothing new begin; a
    second Ctrl-C drops what is under way.
    """

    def __init__(self, pace: Pace) -> None:
        self.asked = False
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        self._previous: dict[int, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> StopOnSignal:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
                number = getattr(signal, name, None)
                if number is not None:
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: Any) -> None:
        if self.asked:
            if number != getattr(signal, "SIGTERM", None):
                raise KeyboardInterrupt
            return
        self.asked = True
        self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self._pace.in_flight:
            log.info("Stopping: waiting for answers under way (Ctrl-C again drops them).")
        task = self._loop.create_task(self._pace.stop())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
