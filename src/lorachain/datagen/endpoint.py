"""One request to an OpenAI-compatible endpoint: the raw body of a success, a Fault for the rest."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from lorachain.datagen.limits import retry_after_seconds
from lorachain.datagen.reading import Fault, fault_of, read_error
from lorachain.datagen.secret import Secret
from lorachain.datagen.teacher_config import TeacherConfig

_NEVER_ARRIVED = {
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "ProxyError",
    "UnsupportedProtocol",
}


class Endpoint:
    """The openai client with its own retries off. Close it in the loop that used it."""

    def __init__(self, config: TeacherConfig, secret: Secret) -> None:
        import openai

        self._openai = openai
        self._secret = secret
        self._total_s = config.timeouts.total_s
        self._client = openai.AsyncOpenAI(
            api_key=secret.reveal() or "none",
            base_url=config.endpoint.base_url,
            timeout=openai.Timeout(config.timeouts.read_s, connect=config.timeouts.connect_s),
            max_retries=0,
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def post(
        self, model: str, messages: Sequence[Mapping[str, str]], body: Mapping[str, Any]
    ) -> str:
        """The body of a response with status 200, the key taken out of it. Raises Fault."""
        try:
            async with asyncio.timeout(self._total_s):
                response = await self._client.chat.completions.with_raw_response.create(
                    model=model,
                    messages=[dict(message) for message in messages],  # type: ignore[misc]
                    extra_body=dict(body),
                )
                return self._secret.hide(response.http_response.text)
        except TimeoutError:
            text = f"no whole answer within {self._total_s:g} s"
            raise Fault("transport", text, billed=True) from None
        except self._openai.APIStatusError as error:
            raise self._of_status(error) from None
        except self._openai.APITimeoutError as error:
            raise Fault("transport", "the endpoint says nothing", billed=_arrived(error)) from None
        except self._openai.APIConnectionError as error:
            reason = self._secret.hide(str(error.__cause__ or error))
            text = f"the connection failed: {reason or type(error.__cause__).__name__}"
            raise Fault("transport", text, billed=_arrived(error)) from None
        except self._openai.OpenAIError as error:
            raise Fault("transport", self._secret.hide(str(error)), billed=True) from None

    def _of_status(self, error: Any) -> Fault:
        """The fault of a status that is no success."""
        response = error.response
        try:
            body = json.loads(response.text)
        except (ValueError, RecursionError):
            body = None
        found = body.get("error", body.get("message")) if isinstance(body, dict) else None
        _, message, is_flagged = read_error(found if found is not None else response.text[:300])
        return fault_of(
            error.status_code,
            self._secret.hide(message),
            flagged=is_flagged,
            retry_after=retry_after_seconds(response.headers.get("retry-after")),
        )


def _arrived(error: BaseException) -> bool:
    """Whether the endpoint may have had the request, and so may charge for it."""
    return type(error.__cause__).__name__ not in _NEVER_ARRIVED
