"""An answer for money: within pace and budget, retried, and in the store before it is read."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_base, wait_random_exponential

from lorachain.datagen.ask import Ask
from lorachain.datagen.budget import Budget
from lorachain.datagen.endpoint import Endpoint
from lorachain.datagen.forms import Form, first_form, weaker
from lorachain.datagen.limits import Pace
from lorachain.datagen.manifest import now
from lorachain.datagen.reading import RETRIED, Fault, Reading, read_response
from lorachain.datagen.request import RequestMaker
from lorachain.datagen.rows import Call
from lorachain.datagen.store import CallStore, Stored


@dataclass
class Question:
    """One question, and what became of it so far."""

    ask: Ask
    requests: int = 0
    faults: list[str] = field(default_factory=list)
    useless: Call | None = None  # the last answer that was no use


@dataclass
class Purchase:
    """What is bought: one model's answer number `attempt`."""

    question: Question
    model: str
    attempt: int
    key: str
    began: float = field(default_factory=time.monotonic)
    requests: int = 0


class Buyer:
    """Asks the endpoint. `faults` are counted by kind."""

    def __init__(
        self, maker: RequestMaker, endpoint: Endpoint, store: CallStore, budget: Budget, pace: Pace
    ) -> None:
        self.faults: Counter[str] = Counter()
        self._maker = maker
        self._config = maker.config
        self._endpoint = endpoint
        self._store = store
        self._budget = budget
        self._pace = pace
        self._forms: dict[str, Form] = {}  # by model: the form that it takes

    async def buy(self, purchase: Purchase) -> Reading:
        """The answer, in the strongest form that the model takes. Raises Fault."""
        while True:
            form = self._forms.get(purchase.model) or first_form(
                self._config, purchase.question.ask
            )
            try:
                return await self._buy_in(form, purchase)
            except Fault as fault:
                lesser = weaker(form)
                if lesser is None or not self._may_be_form(fault):
                    raise
                if fault.names_form:
                    self._forms[purchase.model] = lesser
                    continue
                reading = await self._buy_in("text", purchase)
                self._forms[purchase.model] = "text"  # so it was the form
                return reading

    def _may_be_form(self, fault: Fault) -> bool:
        """Whether a weaker form may be taken where this one was refused, and is allowed."""
        is_fixed = self._config.request.structured_output in ("json_schema", "json_object")
        is_unclear = fault.kind == "request" and fault.status in (400, 422)
        return not is_fixed and (fault.kind == "form" or is_unclear)

    async def _buy_in(self, form: Form, purchase: Purchase) -> Reading:
        """The same request until there is an answer, as often as the config allows."""
        retries = self._config.retries
        left = retries.total - purchase.question.requests
        if left < 1:
            raise Fault("request", f"retries.total: {retries.total} requests were made in vain")
        waits = wait_random_exponential(retries.first_wait_s, retries.longest_wait_s)
        async for turn in AsyncRetrying(
            stop=stop_after_attempt(min(retries.per_model, left)),
            wait=_Waits(waits),
            retry=retry_if_exception(self._is_worth_it),
            sleep=self._pace.wait,
            reraise=True,
        ):
            with turn:
                return await self._try(form, purchase)
        raise AssertionError("tenacity returns or raises")

    def _is_worth_it(self, error: BaseException) -> bool:
        """Whether the same request may be answered later, and not all too late."""
        if not isinstance(error, Fault) or error.kind not in RETRIED:
            return False
        return (error.retry_after or 0) <= self._config.retries.longest_wait_s

    async def _try(self, form: Form, purchase: Purchase) -> Reading:
        """One request, its response stored before it is read."""
        purchase.requests += 1
        purchase.question.requests += 1
        try:
            raw = await self._post(form, purchase)
            reading = read_response(raw)
        except Fault as fault:
            self.faults[fault.kind] += 1
            raise
        self._pace.went_well()
        return reading

    async def _post(self, form: Form, purchase: Purchase) -> str:
        """The raw response, paid for and stored."""
        ask = purchase.question.ask
        body = self._maker.body(ask, purchase.model, purchase.attempt, form)
        worst = self._maker.worst(ask, purchase.model, body)
        async with self._pace.turn() as began:
            await self._budget.reserve(worst)
            if self._pace.stopped:  # while it waited for what others give back
                self._budget.give_back(worst)
                self._pace.check()
            cost: float | None = None
            try:
                raw = await self._endpoint.post(purchase.model, ask.messages, body)
                self._keep(purchase, raw)
                cost = self._cost(purchase.model, raw)
            except Fault as fault:
                if not fault.billed:
                    cost = 0.0
                if fault.kind == "rate":
                    self._slow_down(began, fault)
                raise
            finally:
                self._budget.settle(worst, cost)
            try:
                read_response(raw)
            except Fault as fault:
                if fault.kind == "rate":
                    self._slow_down(began, fault)
        return raw

    def _keep(self, purchase: Purchase, raw: str) -> None:
        self._store.put(
            Stored(
                key=purchase.key,
                stage=purchase.question.ask.stage,
                model=purchase.model,
                attempt=purchase.attempt,
                raw=raw,
                created=now(),
                seconds=round(time.monotonic() - purchase.began, 3),
                attempts=purchase.requests,
            )
        )

    def _cost(self, model: str, raw: str) -> float | None:
        """What a response cost; None where it does not say so, and the worst case stands."""
        try:
            reading = read_response(raw)
        except Fault:
            return None
        self._budget.count_tokens(reading.prompt_tokens, reading.output_tokens)
        cost = self._maker.cost(model, reading)
        if cost is None and model not in self._config.prices:
            self._budget.unpriced += 1
        return cost

    def _slow_down(self, began: float, fault: Fault) -> None:
        longest = self._config.retries.longest_wait_s
        after = fault.retry_after
        self._pace.slow_down(began, after if after is None else min(after, longest))


class _Waits(wait_base):
    """Retry-After where the endpoint names it, else longer each time."""

    def __init__(self, otherwise: wait_base) -> None:
        self._otherwise = otherwise

    def __call__(self, retry_state: RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        after = error.retry_after if isinstance(error, Fault) else None
        return self._otherwise(retry_state) if after is None else after
