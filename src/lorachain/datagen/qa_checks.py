"""What can be wrong with one row: reasons, each with a detail that a person can look up.

`overconfidence` looks for wording, not for falsehood: a wrong price that is said modestly passes,
and so does an answer whose notes of uncertainty are about something else.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from lorachain.checks import check_holds
from lorachain.datagen.qa_settings import QaSettings
from lorachain.datagen.rows import DatasetRow
from lorachain.schemas import Schema

NOTES, STEPS = "uncertainty_notes", "verification_steps"
FEWEST_WORDS = 4  # of a language, before a text counts as being in it
_SENTENCE = re.compile(r"(?<=[.!?;\n])\s+")
_WORD = re.compile(r"[^\W\d_]+")


class Reason(NamedTuple):
    """Why a row is dropped: a word that is counted, and the detail."""

    reason: str
    detail: str


class RowChecks:
    """The checks of one row that need no other row."""

    def __init__(self, settings: QaSettings) -> None:
        self._settings = settings

    def reasons(self, row: DatasetRow, schema: Schema | None) -> list[Reason]:
        """Everything that is wrong with a row."""
        texts = list(leaves(row.answer))
        return [
            *self._lengths(row),
            *_shape(row, schema),
            *self._verification(row, schema),
            *self._overconfidence(row, schema),
            *self._placeholders([row.prompt, *texts]),
            *self._language(row.prompt, texts),
        ]

    def _lengths(self, row: DatasetRow) -> Iterator[Reason]:
        limits = self._settings.length
        for name, text, (low, high) in (
            ("prompt", row.prompt, limits.prompt),
            ("answer", answer_text(row.answer), limits.answer),
        ):
            if not low <= len(text.strip()) <= high:
                yield Reason(f"{name}_length", f"{len(text.strip())} characters, not {low}-{high}")

    def _verification(self, row: DatasetRow, schema: Schema | None) -> Iterator[Reason]:
        if not self._settings.verification_steps or not _asks_for(schema, STEPS):
            return
        if not isinstance(row.answer, dict):
            return  # which the schema says
        steps = row.answer.get(STEPS)
        if not isinstance(steps, list) or not any(str(step).strip() for step in steps):
            yield Reason("verification", f"{STEPS} is empty")

    def _overconfidence(self, row: DatasetRow, schema: Schema | None) -> Iterator[Reason]:
        said = row.answer
        if isinstance(said, dict):
            if str(said.get(NOTES) or "").strip():
                return
            said = {key: value for key, value in said.items() if key != STEPS}
        texts = list(leaves(said))
        if not _asks_for(schema, NOTES) and any(self._hedges.search(text) for text in texts):
            return
        for text in texts:
            for sentence in _SENTENCE.split(text):
                absolute = self._absolute.search(sentence)
                fact = self._changeable.search(sentence)
                if absolute and fact:
                    detail = f"{absolute[0]!r} about {fact[0]!r}: {sentence.strip()[:100]}"
                    yield Reason("overconfidence", detail)
                    return

    def _placeholders(self, texts: Sequence[str]) -> Iterator[Reason]:
        for text in texts:
            for pattern in self._left_over:
                if match := pattern.search(text):
                    yield Reason("placeholder", match[0][:60])
                    return

    def _language(self, prompt: str, texts: Sequence[str]) -> Iterator[Reason]:
        asked = self._language_of(prompt)
        answered = self._language_of("\n".join(texts))
        if asked and answered and asked != answered:
            yield Reason("language", f"asked in {asked}, answered in {answered}")

    def _language_of(self, text: str) -> str | None:
        words = Counter(_WORD.findall(text.casefold()))
        found = sorted(
            ((sum(words[w] for w in known), name) for name, known in self._languages), reverse=True
        )
        if not found or found[0][0] < FEWEST_WORDS:
            return None
        second = found[1][0] if len(found) > 1 else 0
        return found[0][1] if found[0][0] >= 2 * second else None

    @cached_property
    def _languages(self) -> list[tuple[str, frozenset[str]]]:
        found = self._settings.languages
        return [(name, frozenset(w.casefold() for w in words)) for name, words in found.items()]

    @cached_property
    def _left_over(self) -> list[re.Pattern[str]]:
        return [re.compile(pattern, re.IGNORECASE) for pattern in self._settings.placeholders]

    @cached_property
    def _absolute(self) -> re.Pattern[str]:
        return _any_of(self._settings.overconfidence.absolute)

    @cached_property
    def _changeable(self) -> re.Pattern[str]:
        return _any_of(self._settings.overconfidence.changeable)

    @cached_property
    def _hedges(self) -> re.Pattern[str]:
        return _any_of(self._settings.overconfidence.hedges)


def _shape(row: DatasetRow, schema: Schema | None) -> Iterator[Reason]:
    if row.reasons:
        yield Reason("rejected", str(row.reasons[0])[:100])
    if schema is None and not row.expected and not isinstance(row.answer, str):
        yield Reason("schema", "the answer is no text, and the row names no schema")
    problems = schema.problems(row.answer) if schema is not None else []
    for problem in problems[:3]:
        yield Reason("schema", f"{problem.path}: {problem.message}")
    for path, value in row.expected.items():
        if isinstance(row.answer, dict) and not check_holds(
            row.answer, {"path": path, "value": value}
        ):
            yield Reason("expected", f"{path} is not {value!r}")


def _asks_for(schema: Schema | None, key: str) -> bool:
    return schema is not None and key in (schema.contents.get("required") or ())


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    """One pattern for all, over whole words; one that matches nothing where there are none."""
    joined = "|".join(f"(?:{pattern})" for pattern in patterns)
    return re.compile(rf"(?<!\w)(?:{joined})(?!\w)" if patterns else r"(?!)", re.IGNORECASE)


def leaves(value: Any) -> Iterator[str]:
    """Every text in a value, but for its keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)


def answer_text(answer: Any) -> str:
    """An answer as the model would write it."""
    if isinstance(answer, str):
        return answer
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
