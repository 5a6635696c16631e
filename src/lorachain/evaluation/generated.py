"""What is asked and what comes back, without torch: stored answers are scored with no model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from lorachain.records import Message

Finish = Literal["eos", "length"]


@dataclass(frozen=True)
class Decoding:
    """How answers are drawn. Greedy at temperature 0."""

    max_new_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 42

    def as_dict(self) -> dict[str, Any]:
        """For fingerprints: what greedy decoding does not read is left out."""
        if self.temperature == 0:
            return {"max_new_tokens": self.max_new_tokens, "temperature": 0.0}
        return asdict(self)


@dataclass(frozen=True)
class Prompt:
    """A prompt to answer. `expected_characters` is a guess that puts like lengths together."""

    messages: tuple[Message, ...]
    expected_characters: int = 0


@dataclass(frozen=True)
class Generated:
    """One answer. Output tokens count the token that ended it; `seconds` are since its batch began.

    `batch_size` is the most prompts that were answered together when this one was.
    """

    text: str
    prompt_tokens: int
    output_tokens: int
    finish: Finish
    seconds: float
    batch_size: int
