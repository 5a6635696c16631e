"""Pace and budget: by a clock of the test's own, nothing sleeps."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from lorachain.datagen.budget import Budget, BudgetSpent, check_prices, cost_of, worst_case
from lorachain.datagen.limits import Pace, Stopping, retry_after_seconds
from lorachain.datagen.teacher_config import PriceSection
from lorachain.errors import UserError

PRICE = PriceSection(prompt=1.0, completion=2.0)


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def paced(concurrency: int = 1, rpm: float | None = None) -> tuple[Pace, Clock]:
    clock = Clock()
    return Pace(concurrency, rpm, clock, clock.sleep), clock


def test_requests_per_minute_are_spread() -> None:
    async def run() -> list[float]:
        pace, _ = paced(rpm=15)
        times = []
        for _ in range(4):
            async with pace.turn() as began:
                times.append(began)
        return times

    assert asyncio.run(run()) == [0.0, 4.0, 8.0, 12.0]


def test_too_many_requests_halve_once_for_those_under_way_and_come_back_slowly() -> None:
    pace, clock = paced(16)
    began = clock.now
    clock.now = 1.0
    for _ in range(16):
        pace.slow_down(began, None)
    assert pace.allowed == 8
    clock.now = 2.0
    pace.slow_down(clock.now, None)
    assert pace.allowed == 4
    for _ in range(4):
        pace.went_well()
    assert 4.8 < pace.allowed < 5
    for _ in range(1000):
        pace.went_well()
    assert pace.allowed == 16


def test_never_fewer_than_one() -> None:
    pace, clock = paced(2)
    for _ in range(5):
        clock.now += 1
        pace.slow_down(clock.now, None)
    assert pace.allowed == 1


def test_retry_after_holds_everybody_back() -> None:
    async def run() -> float:
        pace, _ = paced(4)
        pace.slow_down(0.0, 30.0)
        async with pace.turn() as began:
            return began

    assert asyncio.run(run()) == 30.0


def test_no_more_at_once_than_allowed() -> None:
    async def run() -> int:
        pace, _ = paced(3)
        most = 0

        async def one() -> None:
            nonlocal most
            async with pace.turn():
                most = max(most, pace.in_flight)
                await asyncio.sleep(0)

        await asyncio.gather(*(one() for _ in range(20)))
        return most

    assert asyncio.run(run()) == 3


def test_stop_wakes_whoever_waits() -> None:
    async def run() -> list[BaseException | None]:
        pace = Pace(1, None)
        held = asyncio.Event()

        async def hold() -> None:
            async with pace.turn():
                held.set()
                await asyncio.sleep(0.05)

        async def queue() -> None:
            async with pace.turn():
                raise AssertionError("it must not begin")

        async def back_off() -> None:
            await pace.wait(3600)

        tasks = [asyncio.create_task(hold())]
        await held.wait()
        tasks += [asyncio.create_task(queue()), asyncio.create_task(back_off())]
        await asyncio.sleep(0)
        await pace.stop()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(run())
    assert found[0] is None
    assert [type(error) for error in found[1:]] == [Stopping, Stopping]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Fri, 02 Jan 2026 00:01:30 GMT", 90.0),
        ("Thu, 01 Jan 2026 00:00:00 GMT", 0.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, datetime(2026, 1, 2, tzinfo=UTC)) == seconds


def test_a_call_is_not_made_where_its_worst_case_does_not_fit() -> None:
    async def run() -> None:
        budget = Budget(max_usd=1.0)
        await budget.reserve(0.6)
        budget.settle(0.6, 0.5)
        with pytest.raises(BudgetSpent, match=r"--max-usd 1 is reached: \$0.5000 spent"):
            await budget.reserve(0.6)
        await budget.reserve(0.5)
        budget.settle(0.5, 0.5)
        assert budget.spent_usd == 1.0 and budget.calls == 2

    asyncio.run(run())


def test_what_a_call_under_way_gives_back_is_waited_for() -> None:
    async def run() -> None:
        budget = Budget(max_usd=1.0)
        await budget.reserve(0.9)
        waiting = asyncio.create_task(budget.reserve(0.9))
        await asyncio.sleep(0)
        assert not waiting.done()
        budget.settle(0.9, 0.01)
        await waiting
        assert budget.calls == 2

    asyncio.run(run())


def test_a_call_that_is_not_made_after_all_counts_nowhere() -> None:
    async def run() -> None:
        budget = Budget(max_usd=1.0, max_calls=1)
        await budget.reserve(1.0)
        budget.give_back(1.0)
        await budget.reserve(1.0)
        assert (budget.calls, budget.spent_usd) == (1, 0.0)

    asyncio.run(run())


def test_a_call_of_unknown_cost_counts_at_its_worst() -> None:
    async def run() -> None:
        budget = Budget(max_usd=1.0)
        await budget.reserve(0.7)
        budget.settle(0.7, None)
        assert (budget.spent_usd, budget.unknown_usd) == (0.7, 0.7)

    asyncio.run(run())


def test_calls_are_counted_before_they_are_made() -> None:
    async def run() -> None:
        budget = Budget(max_calls=2)
        await budget.reserve(0.0)
        await budget.reserve(0.0)
        with pytest.raises(BudgetSpent, match="--max-calls 2 is reached"):
            await budget.reserve(0.0)

    asyncio.run(run())


def test_the_worst_case_has_a_token_for_each_byte() -> None:
    messages = [{"role": "user", "content": "ü" * 1000}]
    worst = worst_case(PRICE, messages, {}, 500)
    assert worst > cost_of(PRICE, 2000, 500)
    assert worst_case(None, messages, {}, 500) == 0.0


def test_a_price_that_is_not_known_refuses_max_usd_alone() -> None:
    check_prices(["a", "b"], {"a": PRICE}, None)
    check_prices(["a"], {"a": PRICE}, 1.0)
    with pytest.raises(UserError, match=r"--max-usd needs the price .* b has none"):
        check_prices(["a", "b"], {"a": PRICE}, 1.0)
