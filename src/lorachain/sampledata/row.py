"""What the tasks make of the facts: an envelope, a question, and checks on the answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SYSTEM_PROMPT = "Answer with one JSON object."


@dataclass(frozen=True)
class Example:
    """One question with its one right answer. `entities` are what the splits keep apart."""

    task: str
    entities: tuple[str, ...]
    prompt: str
    answer: Mapping[str, Any]
    checks: Sequence[Mapping[str, Any]] = field(default=())

    @property
    def messages(self) -> list[dict[str, str]]:
        return [
            {"role": "system", "content": SYSTEM_PROMPT},
            {"role": "user", "content": self.prompt},
        ]

    def training_row(self, row_id: str) -> dict[str, Any]:
        return {
            "id": row_id,
            "task": self.task,
            "messages": self.messages,
            "target": compact(self.answer),
        }

    def suite_row(self, row_id: str) -> dict[str, Any]:
        return {
            "id": row_id,
            "task": self.task,
            "messages": self.messages,
            "schema": "envelope",
            "expected": {"payload_type": self.answer["payload_type"]},
            "reference": self.answer,
            "checks": list(self.checks),
            "cluster": self.entities[0],
        }


def envelope(
    payload_type: str, payload: Mapping[str, Any], summary: str, texts: Mapping[str, str]
) -> dict[str, Any]:
    """The seven keys in the contract's order; `texts` are the task's own short phrases.

    A task without an assumption or a next step leaves that list empty: answers stay short.
    """
    return {
        "summary": summary,
        "assumptions": _one(texts, "assumption"),
        "uncertainty_notes": texts["uncertainty"],
        "next_steps": _one(texts, "next"),
        "verification_steps": _one(texts, "verify"),
        "payload_type": payload_type,
        "payload": dict(payload),
    }


def _one(texts: Mapping[str, str], name: str) -> list[str]:
    return [texts[name]] if name in texts else []


def compact(value: object) -> str:
    """JSON without spaces: an eighth fewer tokens in SmolLM2's tokenizer."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def contains(path: str, value: str) -> dict[str, Any]:
    return {"path": path, "value": value, "match": "contains"}


def exact(path: str, value: object) -> dict[str, Any]:
    return {"path": path, "value": value, "match": "exact"}


def near(path: str, value: float, tolerance: float) -> dict[str, Any]:
    return {"path": path, "value": value, "tolerance": tolerance}
