"""What scorers could not score, in sentences: it is in no column, so it would vanish unsaid.

found = unscored(evaluation)     # one for each suite and scorer that left an item out
[one.text for one in found]      # notes for a comparison
warn_of(found)                   # a warning for each that scored nothing at all
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lorachain.evaluation.evaluate import Evaluation, VersionResult
from lorachain.suites import Suite

log = logging.getLogger("lorachain")


@dataclass(frozen=True)
class Unscored:
    """One scorer on one suite. `left` are {version: (items left out, items of its tasks)}."""

    suite: str
    metric: str
    left: dict[str, tuple[int, int]]
    reasons: Counter[str]

    @property
    def nothing(self) -> bool:
        """Whether it scored no answer of any version."""
        return all(left == n for left, n in self.left.values())

    @property
    def text(self) -> str:
        """`polite could not score 72 of 72 items of cards_v1 (KeyError: 'x')`, as a sentence."""
        reason, times = self.reasons.most_common(1)[0]
        why = reason if times == self.reasons.total() else f"mostly: {reason}"
        counts = {f"{left} of {n}" for left, n in self.left.values()}
        if len(counts) == 1:
            return f"{self.metric} could not score {counts.pop()} items of {self.suite} ({why})."
        each = ", ".join(f"{left} of {n} for {name}" for name, (left, n) in self.left.items())
        return f"{self.metric} could not score all items of {self.suite}: {each} ({why})."


def unscored(evaluation: Evaluation) -> list[Unscored]:
    """Every scorer and suite of which it could not score all, in the order of the suites."""
    return unscored_in(evaluation.suites, evaluation.versions)


def unscored_in(suites: Sequence[Suite], results: Sequence[VersionResult]) -> list[Unscored]:
    """The same, of the answers of some versions to some suites."""
    found = []
    for suite in suites:
        answers = {r.version.name: r.answers[suite.name] for r in results}
        scores = {name: [a.score for a in given] for name, given in answers.items()}
        metrics = dict.fromkeys(m for given in scores.values() for s in given for m in s.values)
        for metric in metrics:
            mine = {
                name: [s for s in given if metric in s.values] for name, given in scores.items()
            }
            left = {
                name: (sum(s.values[metric] is None for s in given), len(given))
                for name, given in mine.items()
            }
            reasons = Counter(
                s.unscored.get(metric, "no reason was given")
                for given in mine.values()
                for s in given
                if s.values[metric] is None
            )
            if reasons:
                found.append(Unscored(suite.name, metric, left, reasons))
    return found


def warn_of(found: Sequence[Unscored]) -> None:
    """Say loudly which scorers scored nothing: a mistake in the scorer looks like that."""
    for one in found:
        if one.nothing:
            log.warning("%s It says nothing about these answers.", one.text)
