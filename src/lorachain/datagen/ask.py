"""What a stage asks a teacher, and who can be asked: the real one, or a dry run's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lorachain.datagen.rows import Call
from lorachain.errors import UserError
from lorachain.files import canonical_json, sha256_text

DRY_MODEL = "dry-run"


def any_text(_: str) -> str:
    """A check that every answer passes."""
    return ""


@dataclass(frozen=True)
class Ask:
    """One question. `check` says why an answer's text is no use, "" for one that is.

    `seed` is added to the config's, so that the same prompt may stand for several rows.
    """

    stage: str
    messages: Sequence[Mapping[str, str]]
    schema_name: str | None = None
    schema: Mapping[str, Any] | None = None  # whole in itself
    template_sha256: str = ""
    seed: int = 0
    check: Callable[[str], str] = any_text

    @property
    def prompt_sha256(self) -> str:
        """A hash over the messages."""
        return sha256_text(canonical_json(list(self.messages)))

    @property
    def stamp(self) -> str:
        """A hash over all that the stage asks, whoever answers: rows of another stamp are stale."""
        return sha256_text(
            canonical_json([self.stage, list(self.messages), self.schema, self.seed])
        )


class RowFailed(Exception):
    """No model gave any answer to this row. The next --resume tries it again."""


class StopRun(UserError):
    """Nothing will work for any row: the run ends, with all that is finished kept."""


class Asked(Protocol):
    """Who answers."""

    async def ask(self, ask: Ask) -> Call:
        """The answer; `fault` in it says why it is no use. Raises RowFailed, StopRun, Stopping and
        BudgetSpent."""
        ...


class DryTeacher:
    """Answers at once, with a text that says that no teacher wrote it."""

    async def ask(self, ask: Ask) -> Call:
        """A marked answer."""
        return Call(
            key=ask.stamp,
            model=DRY_MODEL,
            provider="",
            prompt_sha256=ask.prompt_sha256,
            template_sha256=ask.template_sha256,
            finish="dry_run",
            prompt_tokens=0,
            output_tokens=0,
            cost_usd=0.0,
            text=f"[dry run: no teacher wrote this {ask.stage}]",
        )
