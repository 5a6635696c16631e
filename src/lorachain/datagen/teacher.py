"""The teacher: a chain of models behind one endpoint, asked until one of them gives an answer.

A response goes to the store before it is read, and what the store holds is never asked for again.
What is asked again, how often and when: `reading` has the kinds of fault, the config the numbers.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lorachain.datagen.ask import Ask, RowFailed, StopRun
from lorachain.datagen.budget import Budget, check_prices
from lorachain.datagen.endpoint import Endpoint
from lorachain.datagen.limits import Pace
from lorachain.datagen.purchase import Buyer, Purchase, Question
from lorachain.datagen.reading import Fault, Reading, read_response
from lorachain.datagen.request import RequestMaker
from lorachain.datagen.rows import Call
from lorachain.datagen.store import CallStore
from lorachain.datagen.teacher_config import TeacherConfig


class Teacher:
    """Ask it from one event loop. `paid` and `stored` count answers, `faults` by kind."""

    def __init__(
        self,
        config: TeacherConfig,
        endpoint: Endpoint,
        store: CallStore,
        budget: Budget,
        pace: Pace,
    ) -> None:
        check_prices(config.models, config.prices, budget.max_usd)
        self.config = config
        self.budget = budget
        self.pace = pace
        self.paid = 0
        self.stored = 0
        self._store = store
        self._maker = RequestMaker(config)
        self._buyer = Buyer(self._maker, endpoint, store, budget, pace)
        self._gone: dict[str, str] = {}  # models that are not to be had, and why
        self._locks: dict[str, asyncio.Lock] = {}

    @property
    def faults(self) -> Counter[str]:
        """How many requests and answers went wrong, by kind."""
        return self._buyer.faults

    async def ask(self, ask: Ask) -> Call:
        """The first answer that is of use, from the store or for money; else the last that is not.

        Raises RowFailed where no model gave any, StopRun where none ever will, Stopping and
        BudgetSpent where no request may be made.
        """
        found = self._stored_answer(ask)
        if found is not None:
            self.stored += 1
            return found
        question = Question(ask)
        for model in self.config.models:
            call = await self._ask_model(question, model)
            if call is not None:
                return call
        if question.useless is not None:
            return question.useless
        if len(self._gone) == len(self.config.models):
            reasons = "; ".join(f"{model}: {why}" for model, why in self._gone.items())
            raise StopRun(
                f"No model can be used at {self.config.endpoint.base_url} ({reasons}). Check "
                "models: and endpoint.base_url in the teacher's config."
            )
        raise RowFailed(question.faults[-1] if question.faults else "no model was left to ask")

    def _stored_answer(self, ask: Ask) -> Call | None:
        """The first answer of use that the store holds, in the order in which it would be asked."""
        for model in self.config.models:
            for attempt in range(self.config.retries.answers):
                call = self._look_up(ask, model, attempt)
                if call is not None and not call.fault:
                    return call
        return None

    def _look_up(self, ask: Ask, model: str, attempt: int) -> Call | None:
        """What the store has for exactly this. An error in place of an answer is nothing."""
        stored = self._store.get(self._maker.key(ask, model, attempt))
        if stored is None:
            return None
        try:
            reading = read_response(stored.raw)
        except Fault as fault:
            if fault.kind != "content":
                return None
            reading = _refusal(fault)
        return self._maker.call(ask, model, attempt, reading)

    async def _ask_model(self, question: Question, model: str) -> Call | None:
        """One model's answer of use, None where it has none; what it said is in `question`."""
        ask = question.ask
        for attempt in range(self.config.retries.answers):
            if model in self._gone:
                return None
            key = self._maker.key(ask, model, attempt)
            async with self._alone(key):  # rows that ask the same wait for one answer
                call = self._look_up(ask, model, attempt)
                if call is None:
                    try:
                        reading = await self._buyer.buy(Purchase(question, model, attempt, key))
                        self.paid += 1
                    except Fault as fault:
                        if fault.kind != "content":
                            self._note(question, model, fault)
                            return None
                        reading = _refusal(fault)
                    call = self._maker.call(ask, model, attempt, reading)
            if not call.fault:
                return call
            question.useless = call
            self.faults["content"] += 1
        return None

    def _note(self, question: Question, model: str, fault: Fault) -> None:
        """What follows from a fault that no retry mended."""
        question.faults.append(f"{model}: {fault}")
        if fault.kind == "fatal":
            raise StopRun(f"The teacher cannot be asked: {fault}.") from None
        if fault.kind == "model":
            self._gone[model] = str(fault)

    @asynccontextmanager
    async def _alone(self, key: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._locks.pop(key, None)


def _refusal(fault: Fault) -> Reading:
    """The input was refused: an answer that is none."""
    return Reading(
        text="",
        finish="content_filter",
        model="",
        provider="",
        prompt_tokens=0,
        output_tokens=0,
        cost_usd=0.0,
        has_usage=False,
        fault=str(fault),
    )
