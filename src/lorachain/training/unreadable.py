"""Rows of a stage's own files that cannot be read or encoded: all of them at once, as findings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lorachain.errors import UserError
from lorachain.paths import shown
from lorachain.preflight.finding import Finding, found
from lorachain.preflight.reading import read_rows
from lorachain.records import TrainingData
from lorachain.training.dataset import Encoded, Example
from lorachain.training.gate.words import spelled


def read_own(train: Path, validation: Path | None) -> tuple[list[TrainingData], list[Finding]]:
    """The good rows of a stage's own files, and a finding for each file with bad ones.

    Raises UserError when a file has no good row: nothing else can be looked at then.
    """
    rows, bad, lost = [], [], False
    for path in (train, validation):
        if path is not None:
            data, finding = read_rows(path)
            bad += [finding] if finding else []
            rows += [data] if data else []
            lost = lost or data is None
    if lost:
        raise UserError(spelled(bad))
    return rows, bad


def template_refuses(data: TrainingData, problems: list[str]) -> list[Finding]:
    """Rows that this base's chat template cannot take."""
    if not problems:
        return []
    name = shown(data.path)
    return [
        found(
            "bad-rows",
            f"{len(problems):,} of the {len(data.rows):,} rows of {name} cannot be taken by this "
            f"base's chat template: {problems[0]}",
            f"Mend them, take them out of {name}, or choose another base.",
            [problem.partition(": ")[0] for problem in problems],
            path=name,
            rows=len(data.rows),
            bad=len(problems),
            how="taken by this base's chat template",
            problems=problems,
        )
    ]


def nothing_left(
    data: TrainingData, whole: Sequence[Example], kept: Encoded, limit: int
) -> list[Finding]:
    """A file of which the length limit leaves nothing to train on."""
    if kept.examples or not whole:
        return []
    longest = max(len(example.ids) for example in whole)
    return [
        found(
            "overlong-rows",
            f"{shown(data.path)}: no row has a single token to learn from within "
            f"data.max_seq_length = {limit}. The longest row has {longest:,} tokens.",
            f"--set data.max_seq_length={longest} keeps everything.",
            longest=longest,
            limit=limit,
        )
    ]
