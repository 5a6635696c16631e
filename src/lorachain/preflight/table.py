"""All rows of a stage and its ancestors side by side, and which of them ask the same or nearly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

from lorachain.preflight.inputs import Asked, Rows
from lorachain.preflight.texts import (
    answer_key,
    answers_near,
    digest,
    loose,
    numbers,
    prompt_digest,
    prompt_text,
    tight,
)
from lorachain.records import ChatRow, TrainingData

Role = Literal["train", "validation", "suite", "ancestor train", "ancestor validation"]
MOST_COMPARED = 20  # answers that one row's is compared with: "Continue." may have thousands
# Which pairs of roles are looked at; what stands alone is compared within itself.
_PAIRS: Sequence[frozenset[Role]] = (
    frozenset({"train"}),
    frozenset({"train", "validation"}),
    frozenset({"train", "suite"}),
    frozenset({"train", "ancestor validation"}),
    frozenset({"validation", "ancestor train"}),
    frozenset({"suite", "ancestor train"}),
)
_BITS: Mapping[Role, int] = {
    "train": 1,
    "validation": 2,
    "suite": 4,
    "ancestor train": 8,
    "ancestor validation": 16,
}


@dataclass(slots=True)
class Entry:
    """One row or one item of a suite.

    `text` is the number of its prompt's text, `prompt` the whole prompt's digest with the system
    prompt in it, and `system` the system prompt's; a suite's item has only the first.
    """

    source: ChatRow | str
    answer: str
    text: int
    prompt: bytes = b""
    system: bytes = b""
    _key: str | None = None

    @property
    def where(self) -> str:
        """file:line, or suite:id."""
        return self.source if isinstance(self.source, str) else self.source.where

    @property
    def key(self) -> str:
        """The answer in one spelling."""
        if self._key is None:
            self._key = answer_key(self.answer)
        return self._key


class Match(NamedTuple):
    """Two entries that ask the same (`near` is False) or nearly the same."""

    one: Entry
    other: Entry
    near: bool

    @property
    def where(self) -> str:
        """`train.jsonl:3 = val.jsonl:7`; a near one has `~`."""
        return f"{self.one.where} {'~' if self.near else '='} {self.other.where}"


class Table:
    """The entries of all roles. `near` lists, for a prompt's text, those that are near it.

    An entry is a row's last answer. The answers before it are trained on as well: those whose
    prompt is some row's or some item's whole prompt are in `earlier_train`, `earlier_ancestors`.
    """

    def __init__(self, rows: Rows, *, progress: bool = True) -> None:
        self._numbers: dict[tuple[str, tuple[str, ...]], int] = {}
        self._roles: list[int] = []
        self.train = self._read("train", [rows.train])
        self.validation = self._read("validation", [rows.validation] if rows.validation else [])
        self.ancestors_train = {
            name: self._read("ancestor train", files)
            for name, files in rows.ancestors_train.items()
        }
        self.ancestors_validation = {
            name: self._read("ancestor validation", files)
            for name, files in rows.ancestors_validation.items()
        }
        self.suites = {asked.suite: self._ask(asked) for asked in rows.suites}
        self.earlier_train = self._earlier([rows.train])
        self.earlier_ancestors = {
            name: self._earlier(files) for name, files in rows.ancestors_train.items()
        }
        self.near = self._neighbours(progress)

    def _read(self, role: Role, files: Iterable[TrainingData]) -> list[Entry]:
        found = []
        for row in (row for data in files for row in data.rows):
            prompt = row.messages[:-1]
            system = prompt[0].content if prompt and prompt[0].role == "system" else ""
            found.append(
                Entry(
                    row,
                    row.messages[-1].content,
                    self._number(role, prompt_text(prompt)),
                    prompt_digest(prompt),
                    digest(tight(system)),
                )
            )
        return found

    def _ask(self, asked: Asked) -> list[Entry]:
        return [
            Entry(place, answer, self._number("suite", prompt))
            for place, prompt, answer in asked.prompts
        ]

    def _earlier(self, files: Iterable[TrainingData]) -> list[Entry]:
        """The answers before the last ones, where some row or item asks just what stands before
        them. Looked up alone: to number them all would take memory in the square of a chat."""
        measured = _BITS["validation"] | _BITS["suite"] | _BITS["ancestor validation"]
        found = []
        for row in (row for data in files for row in data.rows if len(row.messages) > 3):
            for i, turn in enumerate(row.messages[:-1]):
                if turn.role != "assistant":
                    continue
                prompt = row.messages[:i]
                number = self._numbers.get(_spelling(prompt_text(prompt)))
                if number is None or not self._roles[number] & measured:
                    continue
                system = prompt[0].content if prompt[0].role == "system" else ""
                whole = prompt_digest(prompt)
                found.append(Entry(row, turn.content, number, whole, digest(tight(system))))
        return found

    def _number(self, role: Role, prompt: str) -> int:
        """One number for all spellings of a prompt; other digits make another prompt."""
        number = self._numbers.setdefault(_spelling(prompt), len(self._roles))
        if number == len(self._roles):
            self._roles.append(0)
        self._roles[number] |= _BITS[role]
        return number

    def _neighbours(self, progress: bool) -> dict[int, list[int]]:
        from lorachain.preflight.near import near_pairs  # brings numpy and scipy

        pairs = [tuple(_BITS[role] for role in roles) for roles in _PAIRS]
        asked = [(bits[0], bits[-1]) for bits in pairs]
        digits = [digits for _, digits in self._numbers]

        def wanted(i: int, j: int) -> bool:
            one, other = self._roles[i], self._roles[j]
            return digits[i] == digits[j] and any(
                (one & a and other & b) or (one & b and other & a) for a, b in asked
            )

        found: dict[int, list[int]] = defaultdict(list)
        texts = [text for text, _ in self._numbers]
        for i, j in near_pairs(texts, wanted, progress=progress):
            found[i].append(j)
            found[j].append(i)
        return found

    def matches(self, ones: Iterable[Entry], others: Iterable[Entry]) -> Iterator[Match]:
        """Each of `ones` that asks what one of `others` asks, with the first that does.

        With one system prompt (or none known) the same text is the same question. Elsewhere the
        answers decide: "Continue." under two system prompts, or two questions of one template.
        """
        by_text: dict[int, list[Entry]] = defaultdict(list)
        same: dict[tuple[int, bytes], Entry] = {}
        for other in others:
            by_text[other.text].append(other)
            same.setdefault((other.text, other.system), other)
        for one in ones:
            found = same.get((one.text, one.system)) or same.get((one.text, b""))
            if found is None and not one.system and one.text in by_text:
                found = by_text[one.text][0]
            if found is not None:
                yield Match(one, found, False)
                continue
            candidates = (
                other
                for text in (one.text, *self.near.get(one.text, ()))
                for other in by_text.get(text, ())
            )
            for other in islice(candidates, MOST_COMPARED):
                if answers_near(one.key, other.key):
                    yield Match(one, other, one.text != other.text)
                    break


def _spelling(prompt: str) -> tuple[str, tuple[str, ...]]:
    """A prompt's text as it is compared, and its numbers; one of marks alone is its marks."""
    return loose(prompt) or tight(prompt), numbers(tight(prompt))
