"""What scoring stored answers again moved: single answers, means, verdicts, and what scores them.

found = moves(record, rescored(record))    # against the scores of then
found.as_dict()                            # rescore.json; rescore_text.text shows it
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lorachain.evaluation.evaluate import Evaluation
from lorachain.evaluation.rescore_verdicts import VerdictMove
from lorachain.evaluation.run_record import ComparisonRecord, changed_suites
from lorachain.evaluation.score import RATES, Score, Scored, task_of
from lorachain.evaluation.scorers import same_tasks
from lorachain.evaluation.unscored import unscored

FORMAT = 1


@dataclass(frozen=True)
class Moved:
    """One metric of one version on one suite (`task` None) or task, before and after.

    `before` and `after` are means over what could be scored; `changed` counts the answers whose
    own value is another one now, so that wins and losses that cancel out still show. `new`: no
    scorer of then had this metric.
    """

    version: str
    suite: str
    task: str | None
    metric: str
    n: int
    scored_before: int
    scored_after: int
    before: float | None
    after: float | None
    changed: int
    new: bool = False


@dataclass(frozen=True)
class Flip:
    """An answer that passes now and did not, or the other way round, by at least one metric.

    `metrics` are {name: [before, after]}: 1 passed, 0 failed, None could not be scored.
    """

    version: str
    suite: str
    item: str
    task: str | None
    metrics: Mapping[str, Sequence[float | None]]
    tier: Sequence[str | None]
    problems: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Moves:
    """What scoring again changed. `scoring` are {what: [hash before, hash after]} where they
    differ, None for what was not there. `new` and `gone` count answers without a counterpart;
    `unscored` are the notes of what scorers could not score now. `verdicts` are there where there
    is something to compare, and `before` says when the comparison before was made."""

    answers: int
    versions: Sequence[str]
    scoring: Mapping[str, Sequence[str | None]]
    suites_changed: Sequence[str]
    metrics: Sequence[Moved]
    flips: Sequence[Flip]
    new: int = 0
    gone: int = 0
    unscored: Sequence[str] = ()
    suites_left_out: Sequence[str] = ()
    before: str | None = None
    verdicts: Sequence[VerdictMove] = ()

    @property
    def verdicts_moved(self) -> list[VerdictMove]:
        """The verdicts that are not as they were."""
        return [verdict for verdict in self.verdicts if verdict.changed]

    @property
    def judged_otherwise(self) -> dict[str, tuple[str, str]]:
        """{suite: (the metric that decided it then, and the one that does now)} where they
        differ."""
        return {
            str(v.suite): (then, now)
            for v in self.verdicts
            for then, now in [v.metric]
            if then is not None and now is not None and then != now
        }

    @property
    def nothing(self) -> bool:
        """Whether all is as it was."""
        return not self.moved and not self.verdicts_moved

    @property
    def moved(self) -> list[Moved]:
        """The metrics that are not as they were."""
        return [m for m in self.metrics if m.changed or m.before != m.after]

    def as_dict(self) -> dict[str, Any]:
        """For rescore.json."""
        counts = {"moved": len(self.moved), "verdicts_moved": len(self.verdicts_moved)}
        return {"format": FORMAT, **counts, **asdict(self)}


def moves(record: ComparisonRecord, evaluation: Evaluation) -> Moves:
    """What is not as the record has it: metrics, single answers, and what scores them.

    Means before and after are over the same answers: those that the record and the evaluation
    both have.
    """
    metrics: list[Moved] = []
    flips: list[Flip] = []
    answers = compared = 0
    for result in evaluation.versions:
        name = result.version.name
        for suite, scored in result.answers.items():
            keyed = [((name, suite, str(answer.item.id)), answer) for answer in scored]
            pairs = [(record.scores[key].score, a) for key, a in keyed if key in record.scores]
            metrics += _moved(name, suite, pairs)
            flips += [f for before, a in pairs if (f := _flip(name, suite, before, a)) is not None]
            answers, compared = answers + len(keyed), compared + len(pairs)
    suites = {suite.name for suite in evaluation.suites}
    whole = {suite.name for suite in record.suites} <= suites
    return Moves(
        answers=answers,
        versions=[result.version.name for result in evaluation.versions],
        scoring=_differences(record.scoring, evaluation.scoring, whole),
        suites_changed=changed_suites(record, evaluation.suites),
        metrics=metrics,
        flips=flips,
        new=answers - compared,
        gone=sum(suite in suites for _, suite, _ in record.scores) - compared,
        unscored=[one.text for one in unscored(evaluation)],
        suites_left_out=[suite.name for suite in record.suites if suite.name not in suites],
    )


def _moved(version: str, suite: str, pairs: Sequence[tuple[Score, Scored]]) -> Iterator[Moved]:
    """Every metric that says anything before or after: of the suite, then of each task."""
    groups: dict[str | None, list[tuple[Score, Score]]] = {None: []}
    for before, answer in pairs:
        groups[None].append((before, answer.score))
        if task := task_of(answer.item):
            groups.setdefault(task, []).append((before, answer.score))
    for task in [None, *sorted(name for name in groups if name is not None)]:
        group = groups[task]
        own = dict.fromkeys(n for pair in group for score in pair for n in score.values)
        had = {name for before, _ in group for name in before.values}
        for metric in (*RATES, *own):
            pairs_of = [(before.metric(metric), after.metric(metric)) for before, after in group]
            old = [value for value, _ in pairs_of if value is not None]
            new = [value for _, value in pairs_of if value is not None]
            if old or new:
                changed = sum(a != b for a, b in pairs_of)
                counts = len(group), len(old), len(new)
                key = version, suite, task, metric
                is_new = not old and metric not in had
                yield Moved(*key, *counts, _mean(old), _mean(new), changed, new=is_new)


def _flip(version: str, suite: str, before: Score, answer: Scored) -> Flip | None:
    after = answer.score
    found = {}
    for metric in (*RATES, *after.values):
        pair = before.metric(metric), after.metric(metric)
        if metric in RATES:
            flipped = set(pair) == {0.0, 1.0}
        else:  # a scorer that is new flips nothing
            unscored = metric in before.values and None in pair
            flipped = set(pair) == {0.0, 1.0} or (unscored and pair[0] != pair[1])
        if flipped:
            found[metric] = list(pair)
    if not found:
        return None
    return Flip(
        version,
        suite,
        str(answer.item.id),
        task_of(answer.item),
        found,
        [before.tier, after.tier],
        [_why(before), _why(after)],
    )


def _why(score: Score) -> list[str]:
    """What was wrong with an answer: each problem as `path kind`, and what could not be scored."""
    wrong = [f"{problem['path']} {problem['kind']}" for problem in score.problems]
    return wrong + [f"{name} not scored: {reason}" for name, reason in score.unscored.items()]


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def _differences(
    before: Mapping[str, str], after: Mapping[str, str], whole: bool
) -> dict[str, list[str | None]]:
    """What is not the same. Where only some suites were scored, what is gone says nothing."""
    before, after = same_tasks(before, after)
    keys = dict.fromkeys((*(before if whole else ()), *after))
    return {k: [before.get(k), after.get(k)] for k in keys if before.get(k) != after.get(k)}
