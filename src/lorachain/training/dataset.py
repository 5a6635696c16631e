"""Rows to tokens: encoded with the base's template, overlong ones treated as the user chose."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tqdm import tqdm

from lorachain.chat import ChatEncoder
from lorachain.errors import UserError
from lorachain.jsonl import raise_all
from lorachain.paths import shown
from lorachain.records import ChatRow, TrainingData

log = logging.getLogger("lorachain")


@dataclass(frozen=True)
class Example:
    """One encoded row. `ids` and `trained` have the same length, in tokens."""

    row: ChatRow
    ids: tuple[int, ...]
    trained: tuple[bool, ...]

    @property
    def trained_tokens(self) -> int:
        """Tokens that carry loss: not the first, which has no context to be predicted from."""
        return sum(self.trained[1:])


@dataclass(frozen=True)
class OverlongReport:
    """What the length limit would cut from a file's rows."""

    limit: int
    overlong: int
    longest: int
    lost_answer_tokens: int


@dataclass(frozen=True)
class Overlong:
    """What became of a file's rows over the length limit, as a lineage records it.

    rows                those over the limit
    dropped             of them, left out: under `drop`, or with no answer token within the limit
    truncated           of them, trained on in part
    answers_cut         of them, those whose answer `truncate` cut, some to nothing
    lost_answer_tokens  answer tokens that are not trained for it
    """

    rows: int = 0
    dropped: int = 0
    truncated: int = 0
    answers_cut: int = 0
    lost_answer_tokens: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Encoded:
    """A file's rows as they are trained on, and what the length limit did to them."""

    examples: list[Example]
    overlong: Overlong


def encode_rows(
    data: TrainingData, encoder: ChatEncoder, limit: int, on_overlong: str
) -> list[Example]:
    """The rows of `encode_file`."""
    return encode_file(data, encoder, limit, on_overlong).examples


def encode_file(data: TrainingData, encoder: ChatEncoder, limit: int, on_overlong: str) -> Encoded:
    """Encode a file's rows; apply `on_overlong` (error, drop or truncate) beyond `limit` tokens.

    Raises UserError when a row is too long under `error`, when a template refuses a row (naming
    file:line), and when nothing is left to learn from.
    """
    examples, problems = encode_whole(data, encoder)
    raise_all(problems, f"{shown(data.path)} has rows that this base's chat template cannot take")
    kept = _limit(examples, limit, on_overlong, shown(data.path))
    trainable = [example for example in kept if example.trained_tokens > 0]
    if len(trainable) < len(kept):
        log.warning(
            "%s: %d rows have no token left to learn within %d tokens and are left out.",
            shown(data.path),
            len(kept) - len(trainable),
            limit,
        )
    if not trainable:
        raise UserError(
            f"{shown(data.path)}: no row has a single token to learn from within "
            f"data.max_seq_length = {limit}. The longest row has "
            f"{max(len(e.ids) for e in examples)} tokens."
        )
    return Encoded(trainable, _what_became(examples, limit, on_overlong))


def encode_whole(data: TrainingData, encoder: ChatEncoder) -> tuple[list[Example], list[str]]:
    """A file's rows before any limit, and what the base's template refuses, as file:line."""
    examples = []
    problems = []
    rows = tqdm(data.rows, desc=f"Reading {data.path.name}", unit="row", delay=1.0, leave=False)
    for row in rows:
        try:
            chat = encoder.encode(row.messages)
        except UserError as error:
            problems.append(f"{row.where}: {error}")
            continue
        examples.append(Example(row, chat.ids, chat.trained))
    return examples, problems


def limit_rows(examples: Sequence[Example], limit: int, on_overlong: str) -> Encoded:
    """Rows as they are trained on, and what the limit did to them, without a word: preflight says
    it. Under `error` a row stays whole; it is refused before the training."""
    kept = list(examples)
    if on_overlong == "drop":
        kept = [example for example in examples if len(example.ids) <= limit]
    elif on_overlong == "truncate":
        kept = [_cut(example, limit) for example in examples]
    trainable = [example for example in kept if example.trained_tokens > 0]
    return Encoded(trainable, _what_became(examples, limit, on_overlong))


def _cut(example: Example, limit: int) -> Example:
    if len(example.ids) <= limit:
        return example
    return replace(example, ids=example.ids[:limit], trained=example.trained[:limit])


def overlong_report(examples: Sequence[Example], limit: int) -> OverlongReport:
    """How many rows exceed the limit, and how many answer tokens truncation would cut."""
    over = [example for example in examples if len(example.ids) > limit]
    return OverlongReport(
        limit,
        len(over),
        max((len(example.ids) for example in examples), default=0),
        sum(sum(example.trained[limit:]) for example in over),
    )


def _what_became(examples: Sequence[Example], limit: int, on_overlong: str) -> Overlong:
    over = [example for example in examples if len(example.ids) > limit]
    cut = on_overlong == "truncate"
    pairs = [(e.trained_tokens, sum(e.trained[1:limit]) if cut else 0) for e in over]
    return Overlong(
        rows=len(over),
        dropped=sum(left == 0 for _, left in pairs),
        truncated=sum(left > 0 for _, left in pairs),
        answers_cut=sum(left < whole for whole, left in pairs) if cut else 0,
        lost_answer_tokens=sum(whole - left for whole, left in pairs),
    )


def _limit(examples: list[Example], limit: int, on_overlong: str, name: str) -> list[Example]:
    report = overlong_report(examples, limit)
    if not report.overlong:
        return examples
    facts = (
        f"{report.overlong} of {len(examples)} rows are longer than data.max_seq_length = {limit} "
        f"tokens (the longest has {report.longest})"
    )
    if on_overlong == "error":
        first = next(example for example in examples if len(example.ids) > limit)
        raise UserError(
            f"{name}: {facts}; the first is {first.row.where}. Choose:\n"
            f"  --set data.max_seq_length={report.longest}   keeps everything\n"
            f"  --set data.on_overlong=drop       leaves those {report.overlong} rows out\n"
            f"  --set data.on_overlong=truncate   cuts {report.lost_answer_tokens} answer tokens, "
            "end tokens among them"
        )
    if on_overlong == "drop":
        log.warning("%s: %s; they are left out.", name, facts)
        return [example for example in examples if len(example.ids) <= limit]
    log.warning("%s: %s; %d answer tokens are cut.", name, facts, report.lost_answer_tokens)
    return [_cut(example, limit) for example in examples]
