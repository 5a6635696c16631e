"""A look before a training made by hand, for its screen and its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lorachain.preflight.finding import Finding, found, in_order
from lorachain.preflight.inputs import Length, Needs, Schedule
from lorachain.preflight.lengths import measure
from lorachain.records import ChatRow, Message
from lorachain.training.dataset import Example
from lorachain.training.gate.look import File, Look, Source

GB = 10**9


def examples(lengths: Sequence[int], answer: int = 40) -> list[Example]:
    """Rows of these lengths in tokens, the last `answer` of which are trained."""
    row = ChatRow((Message("user", "a"), Message("assistant", "b")), Path("train.jsonl"), 1)
    return [
        Example(row, tuple(range(n)), tuple(i >= n - min(answer, n - 1) for i in range(n)))
        for n in lengths
    ]


def example_look(*findings: Finding, allowed: Sequence[str] = (), **changed: Any) -> Look:
    """A later version on 60 rows with 20 replayed, a third of the own over the limit."""
    lengths = measure(examples([100] * 40 + [300] * 20), 256)
    rates = [1e-4 * (i + 1) / 4 for i in range(4)] + [1e-4 * 0.5**i for i in range(1, 17)]
    look = Look(
        name="models/v2",
        parent="v1",
        base="tiny",
        device="CPU",
        files=(
            File("train", "train.jsonl", "messages", 60, lengths),
            File("validation", "val.jsonl", "messages", 6, measure(examples([90] * 6), 256)),
        ),
        length=Length(256, "truncate", 2048),
        mix=(Source("own", 60, 2400), Source("v1", 20, 800)),
        tokens=11_000,
        trained_tokens=3_200,
        schedule=Schedule(80, 4, 20, 20, rates, 4, False, True),
        needs=Needs(2 * GB, GB // 10, GB // 5, 3 * GB, GB // 3, 8 * GB, 16 * GB, GB, 50 * GB),
        findings=tuple(in_order(findings)),
        allowed=tuple(allowed),
    )
    return replace(look, **changed)


def leak(rows: int = 7, code: str = "leak-validation", **facts: Any) -> Finding:
    """An error, or what a code's rule is, that names so many rows."""
    return found(
        code,
        f"{rows} of the 60 rows of train.jsonl are in val.jsonl too.",
        f"Take the rows out of train.jsonl, or pass --allow {code}.",
        [f"train.jsonl:{i} = val.jsonl:{i}" for i in range(1, rows + 1)],
        **facts,
    )
