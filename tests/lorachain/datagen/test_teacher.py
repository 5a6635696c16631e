"""The teacher against a real server that misbehaves as a script says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from datagen_support import KEY, config
from teacher_server import PRICE, Asked, Reply, TeacherServer, answer, error

from lorachain.datagen.ask import Ask, RowFailed, StopRun
from lorachain.datagen.budget import Budget, BudgetSpent
from lorachain.datagen.endpoint import Endpoint
from lorachain.datagen.limits import Pace
from lorachain.datagen.rows import Call
from lorachain.datagen.secret import Secret
from lorachain.datagen.store import CallStore
from lorachain.datagen.teacher import Teacher

SCHEMA = {"type": "object", "required": ["a"]}
GOOD = Reply(answer('{"a": 1}'))


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


def question(text: str = "hello", **changed: Any) -> Ask:
    messages = [{"role": "user", "content": text}]
    return Ask(**({"stage": "draft", "messages": messages} | changed))


def first(*replies: Reply) -> Callable[[Asked], Reply]:
    """These replies one after the other, then good ones."""
    return lambda asked: replies[asked.number - 1] if asked.number <= len(replies) else GOOD


class Bench:
    """Asks a teacher, each time in a process-like way of its own: new teacher, same store."""

    def __init__(self, server: TeacherServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.teacher: Any = None
        self.waits: list[float] = []

    def ask(
        self, *asks: Ask, budget: Budget | None = None, real: bool = False, **changed: Any
    ) -> list[Call]:
        """The answers, asked side by side."""
        return asyncio.run(self._ask(asks or (question(),), budget or Budget(), real, changed))

    async def _ask(
        self, asks: tuple[Ask, ...], budget: Budget, real: bool, changed: dict[str, Any]
    ) -> list[Call]:
        settings = config(self.server.url, self.folder / "store", **changed)
        now = 0.0

        async def sleep(seconds: float) -> None:
            nonlocal now
            self.waits.append(seconds)
            now += seconds
            await asyncio.sleep(0)

        pace = Pace(settings.limits.concurrency, None)
        if not real:
            pace = Pace(settings.limits.concurrency, settings.limits.rpm, lambda: now, sleep)
        endpoint = Endpoint(settings, Secret(KEY))
        try:
            with CallStore(settings.store) as store:
                self.teacher = Teacher(settings, endpoint, store, budget, pace)
                answers = [self.teacher.ask(ask) for ask in asks]
                found = await asyncio.gather(*answers, return_exceptions=True)
        finally:
            await endpoint.close()
        for wrong in found:
            if isinstance(wrong, BaseException):
                raise wrong
        return [call for call in found if isinstance(call, Call)]


@pytest.fixture
def server() -> Any:
    with TeacherServer(lambda _: GOOD) as running:
        yield running


@pytest.fixture
def bench(server: TeacherServer, tmp_path: Path) -> Bench:
    return Bench(server, tmp_path)


def test_what_is_sent(bench: Bench) -> None:
    provider = {"order": ["near"], "allow_fallbacks": False}
    prices = {"first": PRICE}
    bench.ask(question(schema=SCHEMA, schema_name="a", seed=5), provider=provider, prices=prices)
    (asked,) = bench.server.asked
    body = asked.body
    assert body["model"] == "first" and body["seed"] == 42 + 5
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.2, 0.9, 200)
    assert body["response_format"]["json_schema"] == {"name": "a", "schema": SCHEMA}
    assert body["provider"] == {**provider, "data_collection": "deny", "max_price": PRICE}
    assert asked.headers["authorization"] == f"Bearer {KEY}"


def test_a_plain_endpoint_is_sent_nothing_of_openrouters(bench: Bench) -> None:
    bench.ask()
    assert not {"provider", "usage", "response_format"} & bench.server.asked[0].body.keys()


def test_the_same_is_never_paid_for_twice(bench: Bench) -> None:
    (bought,) = bench.ask()
    (found,) = bench.ask()
    assert bought == found and bench.server.count == 1
    assert (bench.teacher.paid, bench.teacher.stored) == (0, 1)


def test_rows_that_ask_the_same_at_once_share_one_answer(bench: Bench) -> None:
    found = bench.ask(*[question()] * 4, question("other"))
    assert bench.server.count == 2
    assert len({call.key for call in found}) == 2


def test_a_parser_that_changed_costs_nothing(bench: Bench) -> None:
    bench.ask(question(check=lambda _: ""))
    seen: list[str] = []

    def other(text: str) -> str:
        seen.append(text)
        return ""

    bench.ask(question(check=other))
    assert bench.server.count == 1 and seen == ['{"a": 1}']


def test_an_answer_that_no_check_accepts_any_more_costs_only_the_next_attempt(
    bench: Bench,
) -> None:
    bench.ask()
    for _ in range(2):
        (found,) = bench.ask(question(check=lambda _: "unreadable"))
        assert found.fault == "unreadable"
    assert bench.server.count == 4  # 1, then the second attempt, then both of the second model


@pytest.mark.parametrize(
    "broken",
    [
        Reply(error(500), status=500),
        Reply(error(503), status=503),
        Reply("<html>bad gateway</html>", status=502),
        Reply(error(502)),
        Reply("no json at all"),
        Reply({"choices": []}),
        Reply(answer("x" * 500), cut=True),
    ],
    ids=["500", "503", "502", "error-with-200", "no-json", "no-choice", "cut"],
)
def test_what_may_go_better_is_asked_again(bench: Bench, broken: Reply) -> None:
    bench.server.script = first(broken, broken)
    (found,) = bench.ask()
    assert (found.text, found.model, found.attempt) == ('{"a": 1}', "first", 0)
    assert bench.server.count == 3


def test_a_stall_is_not_waited_for(bench: Bench) -> None:
    bench.server.script = first(Reply(None, stall=True))
    timeouts = {"connect_s": 5, "read_s": 0.2, "total_s": 20}
    (found,) = bench.ask(timeouts=timeouts, budget=(budget := Budget()), prices={"first": PRICE})
    assert found.text and bench.server.count == 2
    assert budget.unknown_usd > 0  # it may have been charged for


def test_an_answer_that_trickles_for_ever_ends_by_the_clock(bench: Bench) -> None:
    bench.server.script = first(Reply(None, stall=True))
    timeouts = {"connect_s": 5, "read_s": 20, "total_s": 0.2}
    (found,) = bench.ask(timeouts=timeouts)
    assert found.text and bench.server.count == 2


def test_too_many_requests_wait_as_long_as_they_are_told(bench: Bench) -> None:
    bench.server.script = first(Reply(error(429), status=429, headers={"Retry-After": "7"}))
    bench.ask(retries={"first_wait_s": 0.001, "longest_wait_s": 60})
    assert bench.waits[0] == 7.0 and bench.teacher.faults["rate"] == 1
    assert bench.teacher.pace.allowed < 4


def test_retry_after_may_be_a_date(bench: Bench) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=500), usegmt=True)
    bench.server.script = first(Reply(error(429), status=429, headers={"Retry-After": date}))
    bench.ask(retries={"first_wait_s": 0.001, "longest_wait_s": 600})
    assert 400 < bench.waits[0] <= 500


def test_who_says_tomorrow_is_not_waited_for(bench: Bench) -> None:
    bench.server.script = first(Reply(error(429), status=429, headers={"Retry-After": "86400"}))
    (found,) = bench.ask()
    assert found.model == "second" and max(bench.waits) < 1


@pytest.mark.parametrize(
    "useless",
    [
        Reply(answer("I'm sorry, but I can't help with that.")),
        Reply(answer("")),
        Reply(answer('{"a":', finish="length")),
        Reply(error(403, "flagged", metadata={"reasons": ["x"]}), status=403),
    ],
    ids=["refused", "empty", "cut", "flagged"],
)
def test_an_answer_of_no_use_is_asked_for_once_more_with_another_seed(
    bench: Bench, useless: Reply
) -> None:
    bench.server.script = first(useless)
    (found,) = bench.ask()
    assert (found.fault, found.attempt, found.model) == ("", 1, "first")
    assert [asked.body["seed"] for asked in bench.server.asked] == [42, 43]


def test_the_next_model_is_asked_where_one_is_no_use(bench: Bench) -> None:
    bench.server.script = lambda asked: Reply(answer("")) if asked.model == "first" else None
    (found,) = bench.ask()
    assert found.model == "second" and bench.server.count == 3


def test_where_all_are_no_use_the_last_answer_says_why_and_nothing_is_asked_again(
    bench: Bench,
) -> None:
    bench.server.script = lambda _: Reply(answer(""))
    (found,) = bench.ask()
    assert (found.fault, found.model) == ("empty", "second")
    assert bench.ask() == [found] and bench.server.count == 4


def test_a_model_that_is_not_to_be_had_is_asked_once_in_a_run(bench: Bench) -> None:
    bench.server.script = lambda asked: (
        Reply(error(404, "model 'first' not found"), status=404) if asked.model == "first" else GOOD
    )
    found = [bench.ask(question("a"), question("b"), limits={"concurrency": 1})]
    assert {call.model for call in found[0]} == {"second"}
    assert [asked.model for asked in bench.server.asked].count("first") <= 2


def test_no_model_to_be_had_stops_and_says_each_reason(bench: Bench) -> None:
    bench.server.script = lambda _: Reply(error(404, "no such model"), status=404)
    with pytest.raises(StopRun, match=r"first: 404: no such model; second: 404") as caught:
        bench.ask()
    assert "base_url" in str(caught.value)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_what_no_retry_mends_stops_at_once(bench: Bench, status: int) -> None:
    bench.server.script = lambda _: Reply(error(status, f"the key {KEY}, no"), status=status)
    with pytest.raises(StopRun) as caught:
        bench.ask()
    assert bench.server.count == 1 and KEY not in str(caught.value)


def test_no_credit_after_status_200_stops_too(bench: Bench) -> None:
    bench.server.script = lambda _: Reply(error(402, "Insufficient credits"))
    with pytest.raises(StopRun, match="no credit left"):
        bench.ask()
    assert bench.server.count == 1


@pytest.mark.parametrize("kind", ["json_schema", "json_object"])
def test_a_form_that_is_refused_gives_way_to_a_weaker_one_for_the_whole_run(
    bench: Bench, kind: str
) -> None:
    refused = {"json_schema"} if kind == "json_object" else {"json_schema", "json_object"}

    def script(asked: Asked) -> Reply:
        form = asked.body.get("response_format", {}).get("type")
        if form in refused:
            return Reply(error(400, f"response_format {form} is not supported"), status=400)
        return GOOD

    bench.server.script = script
    limits = {"concurrency": 1}
    bench.ask(question("a", schema=SCHEMA), question("b", schema=SCHEMA), limits=limits)
    forms = [a.body.get("response_format", {}).get("type") for a in bench.server.asked]
    taken = "json_object" if kind == "json_object" else None
    assert forms[-1] == taken and forms.count("json_schema") <= 2
    before = bench.server.count
    bench.ask(question("a", schema=SCHEMA))  # the key does not depend on what was taken
    assert bench.server.count == before


def test_a_bad_request_without_a_reason_is_tried_without_any_form(bench: Bench) -> None:
    bench.server.script = lambda asked: (
        Reply("Bad Request", status=400) if "response_format" in asked.body else GOOD
    )
    (found,) = bench.ask(question(schema=SCHEMA))
    assert found.text and bench.server.count == 2


def test_a_fixed_form_is_not_given_up(bench: Bench) -> None:
    bench.server.script = lambda _: Reply(error(400, "response_format: no"), status=400)
    request = {"structured_output": "json_schema", "max_tokens": 200}
    with pytest.raises(RowFailed, match="response_format"):
        bench.ask(question(schema=SCHEMA), request=request)
    assert bench.server.count == 2  # each model once


def test_a_row_without_any_answer_fails_after_so_many_requests(bench: Bench) -> None:
    bench.server.script = lambda _: Reply(error(500, "down"), status=500)
    with pytest.raises(RowFailed, match="500: down"):
        bench.ask(retries={"per_model": 3, "total": 5, "first_wait_s": 0.001})
    assert bench.server.count == 5


def test_the_raw_response_is_stored_before_it_is_read(bench: Bench, tmp_path: Path) -> None:
    bench.server.script = first(Reply(error(502, "half way")))
    bench.ask()
    text = (tmp_path / "store" / "calls-0001.jsonl").read_text(encoding="utf-8")
    raws = [json.loads(json.loads(line)["raw"]) for line in text.splitlines()]
    assert raws == [error(502, "half way"), GOOD.body]


def test_a_key_that_the_server_sends_back_is_not_stored(bench: Bench, tmp_path: Path) -> None:
    bench.server.script = first(Reply(answer(f"your key is {KEY}")))
    bench.ask()
    for path in (tmp_path / "store").iterdir():
        assert KEY not in path.read_text(encoding="utf-8")


def test_what_the_provider_charges_goes_before_the_price_table(bench: Bench) -> None:
    bench.server.script = first(Reply(answer("x", cost=0.125)))
    budget = Budget()
    prices = {"first": PRICE}
    found = bench.ask(question("a"), budget=budget, prices=prices)
    found += bench.ask(question("b"), budget=budget, prices=prices)
    assert [call.cost_usd for call in found] == [0.125, 0.0002]
    assert budget.spent_usd == 0.125 + 0.0002


def test_a_budget_is_never_exceeded_by_many_at_once(bench: Bench) -> None:
    """Each call costs 0.1 dollars of its worst case of 0.2; a dollar is there."""
    bench.server.script = lambda _: Reply(answer("x", cost=0.1))
    budget = Budget(max_usd=1.0)
    prices = {"first": {"prompt": 0.0, "completion": 1000.0}}
    asks = [question(f"number {n}") for n in range(40)]
    with pytest.raises(BudgetSpent):
        bench.ask(*asks, budget=budget, models=["first"], prices=prices, limits={"concurrency": 16})
    assert budget.spent_usd <= 1.0 and bench.server.count * 0.1 <= 1.0 + 1e-9
    assert bench.server.count >= 5


def test_calls_are_never_more_than_allowed_retries_included(bench: Bench) -> None:
    bench.server.script = lambda asked: Reply(error(500), status=500) if asked.number % 2 else GOOD
    asks = [question(f"number {n}") for n in range(20)]
    with pytest.raises(BudgetSpent, match="--max-calls 7"):
        bench.ask(*asks, budget=Budget(max_calls=7), limits={"concurrency": 8})
    assert bench.server.count == 7
