"""Asked again one by one in fp32: did batches or a short number format change any answer?

Batches change the order in which numbers are added, and bf16 has 8 bits for them, so a token that
wins by a hair may lose (He 2025, "Defeating nondeterminism in LLM inference"). This counts how
often that happened, and whether a verdict hangs on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lorachain.evaluation.comparison import Comparison
from lorachain.evaluation.evaluate import Evaluation
from lorachain.evaluation.report_views import headline_difference

DTYPE, BATCH_SIZE = "fp32", 1
FILE = "exact.json"
MAX_ITEMS = 20


@dataclass(frozen=True)
class Changed:
    """How many answers of one version came out differently. `items` are the first of them."""

    version: str
    n: int
    changed: int
    items: Sequence[str]


@dataclass(frozen=True)
class Moved:
    """A verdict that is another one by the exact answers. `suite` is None for the one over all."""

    earlier: str
    later: str
    suite: str | None
    verdict: str
    exactly: str


@dataclass(frozen=True)
class Exactness:
    """What `check` found. `settings` are those of the first asking, in words."""

    settings: str
    changed: Sequence[Changed]
    moved: Sequence[Moved]

    def notes(self) -> list[str]:
        """For the comparison and the terminal."""
        if not self.changed:
            return [f"The answers were made one by one in {DTYPE}: there is nothing more exact."]
        shares = ", ".join(f"{c.version} {c.changed} of {c.n}" for c in self.changed)
        verdicts = "No verdict moved."
        if self.moved:
            each = "; ".join(_sentence(moved) for moved in self.moved)
            verdicts = f"Verdicts that moved: {each}."
        return [
            f"Asked again one by one in {DTYPE} (instead of {self.settings}), these answers came "
            f"out differently: {shares}. {verdicts}"
        ]

    def as_dict(self) -> dict[str, Any]:
        """For exact.json."""
        return asdict(self)


def check(
    evaluation: Evaluation, comparison: Comparison, exact: Evaluation, judged: Comparison
) -> Exactness:
    """Hold answers and verdicts against those of `exact`: the same versions and suites, asked one
    by one in fp32, and their comparison."""
    first = evaluation.versions[0].settings
    pairs = list(zip(evaluation.versions, exact.versions, strict=True))
    if all(a.settings.fingerprint == b.settings.fingerprint for a, b in pairs):
        return Exactness("", (), ())
    changed = []
    for usual, exactly in pairs:
        answers = [
            (f"{suite} {one.item.id}", one.generated.text != other.generated.text)
            for suite, scored in usual.answers.items()
            for one, other in zip(scored, exactly.answers[suite], strict=True)
        ]
        names = [name for name, differs in answers if differs]
        changed.append(Changed(usual.version.name, len(answers), len(names), names[:MAX_ITEMS]))
    settings = f"batches of {first.batch_size} in {first.dtype}"
    return Exactness(settings, changed, _moved(comparison, judged))


def _moved(comparison: Comparison, judged: Comparison) -> list[Moved]:
    moved = []
    for pair, exactly in zip(comparison.overall, judged.overall, strict=True):
        names = pair.earlier, pair.later
        if pair.verdict != exactly.verdict:
            moved.append(Moved(*names, None, pair.verdict, exactly.verdict))
        for suite in comparison.suites:
            one = headline_difference(comparison, pair, suite)
            other = headline_difference(judged, pair, suite)
            if one and other and one.verdict != other.verdict:
                moved.append(Moved(*names, suite.name, one.verdict, other.verdict))
    return moved


def _sentence(moved: Moved) -> str:
    where = "over all suites" if moved.suite is None else f"on {moved.suite}"
    return f"{moved.later} against {moved.earlier} {where}: {moved.verdict} -> {moved.exactly}"
