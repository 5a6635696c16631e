"""What a response says: an answer, or what is wrong and what that calls for.

A fault's kind decides:

    transport  the way there, or a server that is down: the same request again
    rate       too many requests: the same again, later and fewer at once
    content    an answer that is no use (refused, empty, cut, unreadable): ask once more, else the
               next model
    form       the endpoint does not take the form of answer that is asked for: ask for a weaker one
    request    this request is refused: the next model
    model      this model is not to be had here: the next one, for the whole run
    fatal      nothing will work: stop

Servers of OpenRouter's kind report what went wrong while a model was answering with HTTP status 200
and an `error` in the body, at the top or in the choice (https://openrouter.ai/docs/errors).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["transport", "rate", "content", "form", "request", "model", "fatal"]
RETRIED: frozenset[Kind] = frozenset({"transport", "rate"})

_FORM = re.compile(
    r"response_format|json_schema|json_object|structured|grammar|schema|requested parameters", re.I
)
_FORM_ITSELF = re.compile(r"response_format|json_schema")  # llama-cpp-python says so with a 500
_NO_MODEL = re.compile(
    r"model\b.*(not (a )?(valid|found|exist|available)|does not exist|unknown|unsupported)"
    r"|(unknown|invalid|no such) model|not a valid model|no endpoints found",
    re.I | re.S,
)
_REFUSAL = re.compile(
    r"\s*(i('m| am) (very |really )?sorry,? (but )?i (can('|no)t|am (not able|unable))"
    r"|i (can('|no)t|am (not able|unable) to) (help|assist|comply|provide|fulfil))",
    re.I,
)
_REFUSAL_LENGTH = 600
_MESSAGE_LENGTH = 300


class Fault(Exception):
    """What is wrong with a request or its answer. `billed` False: it surely cost nothing."""

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        retry_after: float | None = None,
        billed: bool = False,
        names_form: bool = False,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after
        self.billed = billed
        self.names_form = names_form
        self.status = status


@dataclass(frozen=True)
class Reading:
    """An answer as it was given. `fault` says why it is no use ("" if it is)."""

    text: str
    finish: str
    model: str
    provider: str
    prompt_tokens: int
    output_tokens: int
    cost_usd: float | None
    has_usage: bool
    fault: str


def read_response(raw: str) -> Reading:
    """Read a body that came with status 200. Raises Fault for an error in it, or no answer at all.

    The fault is of kind transport or rate where the same request may yet be answered.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise Fault("transport", "the response is not JSON", billed=True) from None
    if not isinstance(body, dict):
        raise Fault("transport", "the response is no JSON object", billed=True)
    choice = _first(body.get("choices"))
    for error in (body.get("error"), choice.get("error")):
        if error:
            code, words, is_flagged = read_error(error)
            raise fault_of(500 if code < 400 else code, words, flagged=is_flagged, billed=True)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise Fault("transport", "there is no answer in the response", billed=True)
    return _reading(body, choice, message)


def _reading(
    body: Mapping[str, Any], choice: Mapping[str, Any], message: Mapping[str, Any]
) -> Reading:
    text = _text(message.get("content"))
    finish = str(choice.get("finish_reason") or "")
    usage = body.get("usage")
    has_usage = isinstance(usage, dict) and _is_count(usage.get("prompt_tokens"))
    counts = usage if isinstance(usage, dict) else {}
    cost = counts.get("cost")
    is_cost = isinstance(cost, int | float) and not isinstance(cost, bool) and cost >= 0
    return Reading(
        text=text,
        finish=finish,
        model=str(body.get("model") or ""),
        provider=str(body.get("provider") or ""),
        prompt_tokens=_count(counts.get("prompt_tokens")),
        output_tokens=_count(counts.get("completion_tokens")),
        cost_usd=float(cost) if is_cost and cost is not None else None,
        has_usage=has_usage,
        fault=_fault(text, finish, message),
    )


def _fault(text: str, finish: str, message: Mapping[str, Any]) -> str:
    if message.get("refusal") or finish == "content_filter":
        return "refused"
    if finish == "length":
        return "cut"
    if not text.strip():
        return "empty"
    if len(text) < _REFUSAL_LENGTH and _REFUSAL.match(text):
        return "refused"
    return ""


def fault_of(
    status: int,
    message: str,
    *,
    flagged: bool = False,
    retry_after: float | None = None,
    billed: bool = False,
) -> Fault:
    """The fault of an HTTP status, or of a code in an error body, with the server's message."""
    words = " ".join(message.split())[:_MESSAGE_LENGTH] or "no reason given"
    names_form = bool(_FORM.search(message))
    kind: Kind
    if status == 429:
        kind = "rate"
    elif status == 402:
        kind = "fatal"
        words = f"the account has no credit left (402: {words}). Add credit, or lower max_tokens"
    elif status == 403 and flagged:
        kind, words = "content", f"refused by moderation: {words}"
    elif status in (401, 403):
        kind = "fatal"
        words = f"the endpoint does not accept the API key ({status}: {words})"
    elif (status in (400, 404, 405, 422, 501) and names_form) or (
        status == 500 and _FORM_ITSELF.search(message)
    ):
        kind = "form"
    elif status in (404, 405) or (status == 400 and _NO_MODEL.search(message)):
        kind = "model"
    elif 400 <= status < 500 and status not in (408, 409, 425):
        kind = "request"
    else:
        kind = "transport"
    text = words if kind in ("fatal", "content") else f"{status}: {words}"
    return Fault(
        kind,
        text,
        retry_after=retry_after,
        billed=billed,
        names_form=names_form,
        status=status,
    )


def read_error(error: Any) -> tuple[int, str, bool]:
    """(code, message, whether moderation flagged the input) of an `error` in a body."""
    if not isinstance(error, dict):
        return 500, str(error), False
    code = error.get("code")
    if isinstance(code, str) and code.isascii() and code.isdigit():
        code = int(code)
    metadata = error.get("metadata")
    is_flagged = isinstance(metadata, dict) and bool(metadata.get("reasons"))
    message = error.get("message")
    known = isinstance(code, int) and not isinstance(code, bool) and 100 <= code < 600
    words = message if isinstance(message, str) else json.dumps(error, ensure_ascii=False)
    return (int(code) if known and code is not None else 500), words, is_flagged


def _first(choices: Any) -> Mapping[str, Any]:
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    return {}


def _text(content: Any) -> str:
    """A message's text: a string, or the parts that are texts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _count(value: Any) -> int:
    return value if _is_count(value) else 0
