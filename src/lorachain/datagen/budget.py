"""What a run may cost: the worst case is set aside before a call and settled after it.

The limits are hard. A call's worst case is one token for each byte of what is sent (no byte-level
tokenizer makes more) and `max_tokens` of answer, at the price table's prices. What a request cost
that broke off is not known, so its worst case counts. A price table that is too low would break the
promise: on OpenRouter the table is therefore sent along as `provider.max_price`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lorachain.datagen.teacher_config import PriceSection
from lorachain.errors import UserError

_MILLION = 1_000_000
_TOKENS_PER_MESSAGE = 16  # what a chat template puts around one
_CHARACTERS_PER_TOKEN = 3.5  # a guess, for estimates alone


class BudgetSpent(Exception):
    """The next call does not fit into what is left. The message says which limit, and how far."""


@dataclass
class Budget:
    """One run's limits and what was spent so far, in all of its stages. None is no limit."""

    max_usd: float | None = None
    max_calls: int | None = None
    spent_usd: float = 0.0
    calls: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    unknown_usd: float = 0.0  # of `spent_usd`: requests that broke off, at their worst case
    unpriced: int = 0  # calls that nothing names a price for
    _reserved: float = 0.0
    _in_flight: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def reserve(self, worst: float) -> None:
        """Set aside what a call may cost at worst, and count it. Waits for calls under way where
        what they give back may be enough. Raises BudgetSpent."""
        while True:
            if self.max_calls is not None and self.calls >= self.max_calls:
                raise BudgetSpent(f"--max-calls {self.max_calls} is reached")
            if self.max_usd is None or self.spent_usd + self._reserved + worst <= self.max_usd:
                break
            if self._in_flight == 0:
                raise BudgetSpent(
                    f"--max-usd {self.max_usd:g} is reached: ${self.spent_usd:.4f} spent, and the "
                    f"next call may cost up to ${worst:.4f}"
                )
            self._changed.clear()
            await self._changed.wait()
        self.calls += 1
        self._in_flight += 1
        self._reserved += worst

    def settle(self, worst: float, cost: float | None) -> None:
        """A call is over. `cost` None: nothing says what it cost, so the worst case stands."""
        self._in_flight -= 1
        self._reserved = self._reserved - worst if self._in_flight else 0.0
        self.spent_usd += worst if cost is None else cost
        if cost is None:
            self.unknown_usd += worst
        self._changed.set()

    def give_back(self, worst: float) -> None:
        """A call that was reserved is not made after all."""
        self.calls -= 1
        self.settle(worst, 0.0)

    def enter_loop(self) -> None:
        """Call it at the start of each stage: an event belongs to the loop that waited for it."""
        self._changed = asyncio.Event()

    def copy(self) -> Budget:
        """What was spent so far, for `since`."""
        return replace(self)

    def since(self, earlier: Budget) -> Budget:
        """What was spent after `earlier`, a copy of it then."""
        return Budget(
            *(self.max_usd, self.max_calls),
            self.spent_usd - earlier.spent_usd,
            self.calls - earlier.calls,
            self.prompt_tokens - earlier.prompt_tokens,
            self.output_tokens - earlier.output_tokens,
            self.unknown_usd - earlier.unknown_usd,
            self.unpriced - earlier.unpriced,
        )

    def count_tokens(self, prompt: int, output: int) -> None:
        """Add to the tokens that were paid for."""
        self.prompt_tokens += prompt
        self.output_tokens += output


def check_prices(
    models: Sequence[str], prices: Mapping[str, PriceSection], max_usd: float | None
) -> None:
    """Raise UserError where --max-usd is asked for and a model's price is not known."""
    unknown = [name for name in models if name not in prices]
    if max_usd is not None and unknown:
        raise UserError(
            f"--max-usd needs the price of every model, and {', '.join(unknown)} has none. Name it "
            "under prices: in the config (0 for a server of your own), or leave --max-usd "
            "out."
        )


def worst_case(
    price: PriceSection | None, messages: Sequence[Mapping[str, str]], body: Any, max_tokens: int
) -> float:
    """US dollars that a call costs at most; 0 where nothing names a price."""
    if price is None:
        return 0.0
    size = len(json.dumps([list(messages), body], ensure_ascii=False).encode("utf-8", "replace"))
    return cost_of(price, size + _TOKENS_PER_MESSAGE * len(messages), max_tokens)


def cost_of(price: PriceSection, prompt_tokens: int, output_tokens: int) -> float:
    """US dollars by the price table."""
    return (prompt_tokens * price.prompt + output_tokens * price.completion) / _MILLION


def likely_tokens(text: str) -> int:
    """About how many tokens a text has. For estimates alone."""
    return round(len(text) / _CHARACTERS_PER_TOKEN)
