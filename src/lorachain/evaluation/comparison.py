"""What a comparison of versions holds: plain data, for JSON, for the report, for advice.

`compare.compare(evaluation, ...)` fills it; `report` draws it; `advice` reads it; `rescore` makes
it anew from stored answers. Every name here is a key of `comparison.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

FORMAT = 1
Verdict = Literal["better", "worse", "equivalent", "cannot tell"]


@dataclass(frozen=True)
class Interval:
    """A 95% interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Cell:
    """One version on one suite, or on one task of it, by one metric.

    `value` is the mean over the `scored` items (None where there is none), from 0 to 1; pass/fail
    metrics have a Wilson interval, graded ones a bootstrap interval. `cut` counts the answers that
    ended at the token limit, of all `n`.
    """

    version: str
    suite: str
    task: str | None
    metric: str
    n: int
    scored: int
    value: float | None
    interval: Interval | None
    cut: int


@dataclass(frozen=True)
class Difference:
    """The later version minus the earlier one, paired over the items that both were scored on.

    `test` is mcnemar (pass/fail), permutation (graded), or either with ", clustered". `p_holm` is
    `p` after Holm over the family that `family` names. `smallest_visible` is the smallest
    difference that this many items would show with 80% power, `items_needed` how many would show
    the one that was seen (None: no difference was seen). `narrow` is the 90% interval, which
    equivalence and the overall verdict are read from.
    """

    earlier: str
    later: str
    suite: str
    task: str | None
    metric: str
    n: int
    clusters: int | None
    wins: int
    losses: int
    ties: int
    value: float | None
    interval: Interval | None
    test: str
    p: float | None
    p_holm: float | None
    family: str
    smallest_visible: float | None
    items_needed: int | None
    verdict: Verdict
    reason: str
    narrow: Interval | None = None


@dataclass(frozen=True)
class Overall:
    """One pair of versions over all suites: the verdict that a reader wants first.

    `doubtful` are suites of `unclear` whose losses forbid a verdict of better; `together_worse`
    those that are worse as one, though none is by itself. Both are empty where no suite is better.
    """

    earlier: str
    later: str
    verdict: Verdict
    reason: str
    better: Sequence[str] = ()  # suites
    worse: Sequence[str] = ()
    equivalent: Sequence[str] = ()
    unclear: Sequence[str] = ()
    doubtful: Sequence[str] = ()
    together_worse: Sequence[str] = ()


@dataclass(frozen=True)
class Broken:
    """An item that an earlier version passed and a later one fails: `by` broke it, and `until` says
    which version mended it, if one did."""

    suite: str
    item: str
    task: str | None
    passed: str  # the newest version before `by` that passed it
    by: str
    until: str | None = None


@dataclass(frozen=True)
class VersionInfo:
    """One version of the comparison. `parent` is from its lineage; `own_suite` is the
    suite of its generation, where there is one; `facts` is what advice reads (steps, losses).
    `stands_on` is the nearest version of this comparison under it: its parent may not be here.
    """

    name: str
    folder: str | None
    sha256: str
    parent: str | None
    fingerprint: str
    settings: Mapping[str, Any]
    own_suite: str | None = None
    validation_loss: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    stands_on: str | None = None


@dataclass(frozen=True)
class SuiteInfo:
    """One suite. `headline` is the metric that its verdict stands on."""

    name: str
    path: str
    sha256: str
    n: int
    headline: str
    metrics: Sequence[str]
    tasks: Sequence[str]
    clusters: int | None = None


@dataclass(frozen=True)
class Comparison:
    """Versions x suites, judged.

    `backward_transfer[version][suite]` is the headline's change on a suite since the version whose
    generation it was: below 0 it was forgotten. `forgetting` holds the tests of those changes
    for the pairs that `differences` does not have, such as a far ancestor and its suite.
    `failures[version][suite]` counts failures by kind. `notes` says what a reader must bear in
    mind: other settings, answers cut, nothing scored.
    """

    created: str
    base: str
    versions: Sequence[VersionInfo]
    suites: Sequence[SuiteInfo]
    cells: Sequence[Cell]
    differences: Sequence[Difference]
    overall: Sequence[Overall]
    broken: Sequence[Broken]
    backward_transfer: Mapping[str, Mapping[str, float | None]]
    failures: Mapping[str, Mapping[str, Mapping[str, int]]]
    margin: float
    scoring: Mapping[str, str]  # what scored: extractor, schemas, scorers by their hashes
    notes: Sequence[str] = ()
    forgetting: Sequence[Difference] = ()

    def cell(
        self, version: str, suite: str, metric: str | None = None, task: str | None = None
    ) -> Cell | None:
        """One cell; the suite's headline where no metric is named."""
        wanted = metric or next(s.headline for s in self.suites if s.name == suite)
        key = (version, suite, task, wanted)
        return next((c for c in self.cells if (c.version, c.suite, c.task, c.metric) == key), None)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: lists and plain values only."""
        return {"format": FORMAT, **asdict(self)}
