"""How far the answering is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from lorachain.evaluation.evaluate import Version

log = logging.getLogger("lorachain")

SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Pass it as `on_progress`. A context manager, so that the bar is closed on every way out."""

    def __init__(
        self, terminal: bool | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._clock = clock
        self._bar: Any = None
        self._version: Version | None = None
        self._spoke = clock()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, version: Version, done: int, total: int) -> None:
        """`done` of `total` answers of this version are made."""
        if self._terminal:
            self._move(version, done, total)
        elif done == total or self._clock() - self._spoke >= SECONDS_BETWEEN_LINES:
            log.info("%s: %d of %d answers", version.name, done, total)
            self._spoke = self._clock()
        self._version = version

    def _move(self, version: Version, done: int, total: int) -> None:
        from tqdm import tqdm

        if version != self._version:
            if self._bar is not None:
                self._bar.close()
            self._bar = tqdm(
                total=total, initial=done - 1, desc=version.name, unit="answer", file=sys.stderr
            )
        self._bar.update(done - self._bar.n)
