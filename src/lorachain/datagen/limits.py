"""How fast the teacher is asked: requests per minute, requests at once, and when it says stop.

On 429 the number of requests at once is halved, and comes back by one for each round that went well
(as TCP does it, RFC 5681); all wait as long as Retry-After says. Clock and sleep are passed in.
"""

from __future__ import annotations

import asyncio
import email.utils
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime


class Stopping(Exception):
    """No further request is wanted: Ctrl-C, a spent budget, or an error that no retry mends."""


class Pace:
    """Who may ask, and when. `stop` ends every wait with Stopping."""

    def __init__(
        self,
        concurrency: int,
        rpm: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        self.most = concurrency
        self.allowed = float(concurrency)
        self.in_flight = 0
        self._gap = 60 / rpm if rpm else 0.0
        self._next = -math.inf
        self._paused_until = -math.inf
        self._halved = -math.inf
        self._clock = clock
        self._stopped = asyncio.Event()
        self._freed = asyncio.Condition()
        self._sleep = sleep or self._sleep_or_stop

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """Wait for a place and a time; yields when it began, for `slow_down`."""
        await self._enter()
        try:
            yield await self._wait_for_time()
        finally:
            async with self._freed:
                self.in_flight -= 1
                self._freed.notify_all()

    async def wait(self, seconds: float) -> None:
        """Sleep, unless all is to stop."""
        if seconds > 0:
            await self._sleep(seconds)
        self.check()

    def check(self) -> None:
        """Raise Stopping where no further request is wanted."""
        if self._stopped.is_set():
            raise Stopping

    def slow_down(self, began: float, retry_after: float | None) -> None:
        """A request that began then was told that it is too many. Of those that were under way
        together only the first halves."""
        now = self._clock()
        if began >= self._halved:
            self.allowed = max(1.0, self.allowed / 2)
            self._halved = now
        if retry_after is not None:
            self._paused_until = max(self._paused_until, now + retry_after)

    def went_well(self) -> None:
        """One more at once for each round of requests that went well."""
        self.allowed = min(float(self.most), self.allowed + 1 / max(1.0, self.allowed))

    async def stop(self) -> None:
        """Let nobody ask any more, and wake all who wait. Requests under way go on."""
        self._stopped.set()
        async with self._freed:
            self._freed.notify_all()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    async def _enter(self) -> None:
        async with self._freed:
            while not self.stopped and self.in_flight >= max(1, int(self.allowed)):
                await self._freed.wait()
            self.check()
            self.in_flight += 1

    async def _wait_for_time(self) -> float:
        while True:
            self.check()
            now = self._clock()
            at = max(self._next, self._paused_until)
            if at <= now:
                self._next = now + self._gap
                return now
            await self._sleep(at - now)

    async def _sleep_or_stop(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            pass


def retry_after_seconds(value: str | None, now: datetime | None = None) -> float | None:
    """The seconds of a Retry-After header: a number, or an HTTP date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = email.utils.parsedate_to_datetime(value)
        except (TypeError, ValueError):
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        seconds = (when - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
