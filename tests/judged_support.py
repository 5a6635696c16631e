"""Comparisons of answers that are made by hand: each a score, and the size of its batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lorachain.evaluation.compare import compare
from lorachain.evaluation.comparison import Comparison
from lorachain.evaluation.evaluate import Evaluation, Version, VersionResult
from lorachain.evaluation.generated import Generated
from lorachain.evaluation.results import Settings
from lorachain.evaluation.score import Score, Scored
from lorachain.models import Base, Fingerprint
from lorachain.records import Message
from lorachain.suites import Item, Suite

BASE = Base("tiny", Path("/bases/tiny"), Fingerprint("c", "t", "p", "w"))
RIGHT, WRONG = (Score(exact_fields=right) for right in (True, False))

Answers = Sequence[tuple[Score, int]]
"""One version's answers to a suite: a score, and how many prompts were answered together."""


def judged(
    *,
    asked: Mapping[str, int] | None = None,
    folders: Mapping[str, Path] | None = None,
    **suites: Mapping[str, Answers],
) -> Comparison:
    """Suites by name, each with the answers of `base` and of the versions. `asked` are batch sizes
    other than 8; a version without a folder is taken to stand on the one before it."""
    items = {
        name: tuple(
            Item(f"{name}-{i}", (Message("user", f"{name} {i}?"),))
            for i in range(len(answers["base"]))
        )
        for name, answers in suites.items()
    }
    results = []
    for version in next(iter(suites.values())):
        sha = "base" if version == "base" else f"sha-{version}"
        answers = {
            suite: tuple(
                Scored(item, Generated("an answer", 5, 7, "eos", 0.1, size), score)
                for item, (score, size) in zip(items[suite], of[version], strict=True)
            )
            for suite, of in suites.items()
        }
        found = Version(version, (folders or {}).get(version), sha)
        settings = _settings(sha, (asked or {}).get(version, 8))
        results.append(VersionResult(found, settings, answers, 0))
    read = tuple(Suite(n, Path(f"/s/{n}.jsonl"), "0" * 64, of) for n, of in items.items())
    return compare(Evaluation(BASE, read, tuple(results)), created=datetime(2026, 1, 2, tzinfo=UTC))


def _settings(sha: str, batch_size: int) -> Settings:
    decoding = {"max_new_tokens": 64, "temperature": 0.0}
    return Settings(sha, "b1", "t1", decoding, "fp32", "none", "cpu", batch_size, {"torch": "2"})
