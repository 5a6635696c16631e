"""How far a stage is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

log = logging.getLogger("lorachain")
SECONDS_BETWEEN_LINES = 15.0


class StageProgress:
    """A context manager, so that the bar is closed on every way out."""

    def __init__(
        self,
        name: str,
        total: int,
        done: int,
        terminal: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._total = total
        self._done = done
        self._made = 0
        self._clock = clock
        self._began = self._spoke = clock()
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._bar: Any = None

    def __enter__(self) -> StageProgress:
        if self._terminal:
            from tqdm import tqdm

            self._bar = tqdm(
                total=self._total, initial=self._done, desc=self._name, unit="row", file=sys.stderr
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def row(self, accepted: int, cost_usd: float) -> None:
        """One more row is finished."""
        self._done += 1
        self._made += 1
        state = f"{accepted} accepted, ${cost_usd:.4f}"
        if self._bar is not None:
            self._bar.set_postfix_str(state, refresh=False)
            self._bar.update()
            return
        now = self._clock()
        if now - self._spoke >= SECONDS_BETWEEN_LINES or self._done == self._total:
            self._spoke = now
            log.info("%s: %d of %d, %s%s", self._name, self._done, self._total, state, self._rate())

    def _rate(self) -> str:
        seconds = self._clock() - self._began
        if seconds <= 0 or self._done == self._total:
            return ""
        rate = self._made / seconds
        left = (self._total - self._done) / rate
        return f", {60 * rate:.0f} rows a minute, {left / 60:.0f} min left"
