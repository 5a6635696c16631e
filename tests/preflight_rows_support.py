"""Rows of a stage in a line each, and what the rules on rows find in them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from lorachain.preflight.finding import Finding
from lorachain.preflight.inputs import Asked, Rows
from lorachain.preflight.rows import row_findings
from lorachain.records import ChatRow, Message, TrainingData

LONG = (
    "A lighthouse keeper writes down every ship that passes the northern cape between sunset and "
    "midnight. On Monday he counted seven vessels, among them a schooner with torn sails, and he "
    "wondered whether the storm would bring more of them before the week was over. Explain in two "
    "sentences what he should tell the harbour master about the schooner."
)
NEARLY = LONG.replace("wondered", "asked himself")
REPLY = "Tell the harbour master that the schooner needs help, and that the storm may bring more."
OTHER = "Say nothing at all: nobody in the harbour has ever believed what a keeper reports."

RNG = random.Random(0)
WORDS = [" ".join("".join(RNG.choices("abcdefgh", k=7)) for _ in range(5)) for _ in range(72)]

Pair = tuple[str, str] | tuple[str, str, str]


def data(name: str, *pairs: Pair) -> TrainingData:
    """Rows of (prompt, answer) or (prompt, answer, system prompt)."""
    rows = []
    for line, (prompt, answer, *system) in enumerate(pairs, start=1):
        turns = [Message("system", text) for text in system]
        turns += [Message("user", prompt), Message("assistant", answer)]
        rows.append(ChatRow(tuple(turns), Path(name), line))
    return TrainingData(Path(name), "prompt", rows)


def look(
    *train: Pair,
    validation: Sequence[Pair] = (),
    suite: Sequence[tuple[str, str]] = (),
    before: Sequence[Pair] = (),
    before_validation: Sequence[Pair] = (),
    gone: Sequence[str] = (),
) -> dict[str, Finding]:
    """What is found, by code; each code once."""
    rows = Rows(
        data("train.jsonl", *train),
        data("val.jsonl", *validation) if validation else None,
        [Asked("exam", [(f"exam:{i}", *item) for i, item in enumerate(suite)])],
        {"V1": [data("old.jsonl", *before)]},
        {"V1": [data("old_val.jsonl", *before_validation)]},
        gone,
    )
    findings = list(row_findings(rows, progress=False))
    by_code = {finding.code: finding for finding in findings}
    assert len(by_code) == len(findings)
    return by_code


def where(found: Mapping[str, Finding]) -> dict[str, list[str]]:
    return {code: list(finding.where) for code, finding in found.items()}


FINE: list[Pair] = [("What is 2 + 2?", "4"), ("What is 2 + 3?", "5"), ("Hi", "Hello."), (LONG, "x")]
