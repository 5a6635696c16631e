"""Placed rows as training rows: {id, task, messages [system, user], target, schema}.

That is the "messages" format of `lorachain.records`. The target is compact JSON with every key of
the schema in the schema's order (`normalise`), or the text where there is no schema.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorachain.datagen.normalise import normalised
from lorachain.datagen.qa_checks import answer_text
from lorachain.datagen.rows import SplitRow
from lorachain.jsonl import raise_all
from lorachain.paths import shown
from lorachain.schemas import Schema


@dataclass
class Formatted:
    """The training rows of one split, their answers as values, and the keys that were added, by
    how often."""

    rows: list[dict[str, Any]]
    answers: dict[str, Any] = field(default_factory=dict)
    added: Counter[str] = field(default_factory=Counter)


def format_rows(rows: Sequence[SplitRow], schemas: Mapping[str, Schema], source: Path) -> Formatted:
    """The rows of one split. Raises UserError that names every row whose answer is not whole."""
    found = Formatted([])
    problems: list[str] = []
    for row in rows:
        answer = row.answer
        if row.schema is not None:
            schema = schemas[row.schema]
            answer, added = normalised(answer, schema)
            found.added.update(added)
            problems += [f"{row.id}: {p.path}: {p.message}" for p in schema.problems(answer)[:3]]
        text = answer_text(answer)
        if not text.strip():
            problems.append(f"{row.id}: the answer is empty")
        found.answers[row.id] = answer
        found.rows.append(_sft_row(row, text))
    raise_all(
        problems,
        f"{shown(source)} has answers that cannot be trained on (mend them, or run "
        "src/data/qa_pipeline.py before the split)",
    )
    return found


def messages_of(row: SplitRow) -> list[dict[str, str]]:
    """What the model is asked: the system prompt, where there is one, and the question."""
    system = [{"role": "system", "content": row.system}] if row.system.strip() else []
    return [*system, {"role": "user", "content": row.prompt}]


def _sft_row(row: SplitRow, target: str) -> dict[str, Any]:
    found: dict[str, Any] = {"id": row.id, "task": row.task, "messages": messages_of(row)}
    if row.schema is not None:
        found["schema"] = row.schema
    return found | {"target": target}
