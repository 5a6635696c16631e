"""How long the quickstart took and how much memory, over all of its runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lorachain.files import read_json, write_json

INTERVAL = 0.2  # seconds between two looks at the memory
FILE = "steps.json"


class PeakMemory:
    """The largest resident memory of this process and its children together, in bytes."""

    def __init__(self) -> None:
        self.bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil

        me = psutil.Process()
        while not self._stop.wait(INTERVAL):
            total = 0
            with suppress(psutil.Error):
                for process in [me, *me.children(recursive=True)]:
                    with suppress(psutil.Error):
                        total += process.memory_info().rss
            self.bytes = max(self.bytes, total)


class Steps:
    """Seconds and peak memory of each finished step, kept on disk between interruptions."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.done: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            self.done = read_json(self.path, "The quickstart's record")

    @contextmanager
    def step(self, name: str, clock: Callable[[], float]) -> Iterator[None]:
        """Measure one step and record it, also when it is cut short: the time was spent."""
        began = clock()
        with PeakMemory() as memory:
            try:
                yield
            finally:
                before = self.done.get(name, {"seconds": 0.0, "peak_mb": 0})
                self.done[name] = {
                    "seconds": round(before["seconds"] + clock() - began, 1),
                    "peak_mb": max(before["peak_mb"], round(memory.bytes / 2**20)),
                }
                write_json(self.path, self.done)

    @property
    def seconds(self) -> float:
        """Of all steps together."""
        return round(sum(float(step["seconds"]) for step in self.done.values()), 1)

    @property
    def peak_mb(self) -> int:
        """The largest of any step, in MiB."""
        return max((step["peak_mb"] for step in self.done.values()), default=0)
