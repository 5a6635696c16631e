"""What a request holds, which key it has in the store, and what its answer cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lorachain.datagen.ask import Ask
from lorachain.datagen.budget import cost_of, worst_case
from lorachain.datagen.forms import Form, response_format
from lorachain.datagen.reading import Reading
from lorachain.datagen.rows import Call
from lorachain.datagen.store import call_key
from lorachain.datagen.teacher_config import TeacherConfig


class RequestMaker:
    """All of it follows from the teacher's config."""

    def __init__(self, config: TeacherConfig) -> None:
        self.config = config

    def key(self, ask: Ask, model: str, attempt: int) -> str:
        """Under which the store keeps the answer. The form that an endpoint happened to take is no
        part of it, nor is the price."""
        form: Mapping[str, Any] = {
            "structured_output": self.config.request.structured_output,
            "schema": ask.schema,
        }
        return call_key(
            stage=ask.stage,
            model=model,
            provider=self.config.provider_policy(),
            messages=ask.messages,
            parameters=self._parameters(ask, attempt),
            schema=form,
            attempt=attempt,
        )

    def body(self, ask: Ask, model: str, attempt: int, form: Form) -> dict[str, Any]:
        """All of a request but the model and the messages."""
        body = {**self._parameters(ask, attempt), **response_format(form, ask)}
        policy = self.config.provider_policy()
        if policy is not None:
            price = self.config.prices.get(model)
            if price is not None and "max_price" not in policy:
                policy["max_price"] = {"prompt": price.prompt, "completion": price.completion}
            body |= {"provider": policy, "usage": {"include": True}}
        return body

    def worst(self, ask: Ask, model: str, body: Mapping[str, Any]) -> float:
        """US dollars that a request costs at most."""
        price = self.config.prices.get(model)
        return worst_case(price, ask.messages, body, self.config.request.max_tokens)

    def cost(self, model: str, reading: Reading) -> float | None:
        """What the provider says that it cost, else what the price table does, else None."""
        price = self.config.prices.get(model)
        if reading.cost_usd is not None:
            return reading.cost_usd
        if price is None or not reading.has_usage:
            return None
        return cost_of(price, reading.prompt_tokens, reading.output_tokens)

    def call(self, ask: Ask, model: str, attempt: int, reading: Reading) -> Call:
        """An answer with where it is from."""
        return Call(
            key=self.key(ask, model, attempt),
            model=model,
            provider=reading.provider,
            prompt_sha256=ask.prompt_sha256,
            template_sha256=ask.template_sha256,
            finish=reading.finish,
            prompt_tokens=reading.prompt_tokens,
            output_tokens=reading.output_tokens,
            cost_usd=self.cost(model, reading),
            attempt=attempt,
            fault=reading.fault or ask.check(reading.text),
            text=reading.text,
        )

    def _parameters(self, ask: Ask, attempt: int) -> dict[str, Any]:
        request = self.config.request
        found: dict[str, Any] = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            "max_tokens": request.max_tokens,
            **request.extra,
        }
        if request.seed is not None:
            found["seed"] = (request.seed + ask.seed + attempt) % 2**31
        return found
