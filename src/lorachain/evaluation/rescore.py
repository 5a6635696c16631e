"""Stored answers scored again, with no model loaded, and what that moved.

    record = read_run(folder)                       # of run_record
    evaluation = rescored(record, scorers=scorers)  # as evaluate_versions would return it now
    found = moves(record, evaluation)               # against the scores of then
    found.as_dict()                                 # rescore.json; rescore_command.text shows it

After a change of the extractor, of a schema or of a scorer this says what the change did to every
version, so that a change of the ruler is not taken for a change of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lorachain.errors import UserError
from lorachain.evaluation.evaluate import Evaluation, VersionResult
from lorachain.evaluation.generated import Generated
from lorachain.evaluation.results import read_store
from lorachain.evaluation.run_record import AskedVersion, ComparisonRecord, changed_suites, read_run
from lorachain.evaluation.score import RATES, Score, Scored, score, task_of
from lorachain.evaluation.scorer_file import read_scorers
from lorachain.evaluation.scorers import Scorers, scoring_identity
from lorachain.evaluation.suites import Item, Suite, read_suite
from lorachain.evaluation.unscored import unscored
from lorachain.paths import shown

FORMAT = 1
MAX_NAMED = 5


@dataclass(frozen=True)
class Moved:
    """One metric of one version on one suite (`task` None) or task, before and after.

    `before` and `after` are means over what could be scored; `changed` counts the answers whose
    own value is another one now, so that wins and losses that cancel out still show.
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
    `unscored` are the notes of what scorers could not score now."""

    answers: int
    versions: Sequence[str]
    scoring: Mapping[str, Sequence[str | None]]
    suites_changed: Sequence[str]
    metrics: Sequence[Moved]
    flips: Sequence[Flip]
    new: int = 0
    gone: int = 0
    unscored: Sequence[str] = ()

    @property
    def moved(self) -> list[Moved]:
        """The metrics that are not as they were."""
        return [m for m in self.metrics if m.changed or m.before != m.after]

    def as_dict(self) -> dict[str, Any]:
        """For rescore.json."""
        return {"format": FORMAT, "moved": len(self.moved), **asdict(self)}


def rescored(
    record: ComparisonRecord | Path, *, scorers: Scorers | None = None, suites: Sequence[Path] = ()
) -> Evaluation:
    """The evaluation of a comparison, its answers taken from the store and scored as of now.

    Without `scorers` those of the record count, read anew. `suites` are files that take the place
    of the recorded ones, whether or not they changed since; without them all recorded suites
    count, and must be as they were.

    Raises UserError for a suite that changed (named), and for answers that are missing (counted).
    """
    record = read_run(record) if isinstance(record, Path) else record
    if scorers is None and record.scorers is not None:
        scorers = read_scorers(record.scorers)
    found = [_read(path, record) for path in suites or [s.path for s in record.suites]]
    if not suites:
        _check_unchanged(record, found)
    if scorers is not None:
        scorers.check(found)
    answers = _stored(record, found)
    results = tuple(_result(version, found, answers, scorers) for version in record.versions)
    return Evaluation(record.base, tuple(found), results, scoring_identity(found, scorers))


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
    )


def _read(path: Path, record: ComparisonRecord) -> Suite:
    asked = record.asked
    return read_suite(path, system=asked.system, schema=asked.schema, limit=asked.limit)


def _check_unchanged(record: ComparisonRecord, suites: Sequence[Suite]) -> None:
    changed = changed_suites(record, suites)
    if changed:
        paths = ", ".join(shown(suite.path) for suite in suites if suite.name in changed)
        raise UserError(
            f"{paths} changed since {shown(record.folder)} was made. To score by what it is now, "
            "name it: --suites FILE. To score by what it was, restore it."
        )


def _stored(record: ComparisonRecord, suites: Sequence[Suite]) -> dict[tuple[str, str], Generated]:
    """The answers by version and prompt. Raises UserError that counts and names missing ones."""
    store = read_store(record.store)
    found: dict[tuple[str, str], Generated] = {}
    missing: dict[str, list[str]] = {}
    for version in record.versions:
        for suite in suites:
            for item in suite.items:
                answer = store.made_by(version.fingerprint, item.prompt_sha256)
                if answer is None:
                    missing.setdefault(version.version.name, []).append(f"{suite.name} {item.id}")
                else:
                    found[version.version.name, item.prompt_sha256] = answer
    if missing:
        lines = [f"  {name}: {len(ids)} ({_named(ids)})" for name, ids in missing.items()]
        total = sum(map(len, missing.values()))
        raise UserError(
            f"{total} answers are not in {shown(record.store)}:\n" + "\n".join(lines) + "\n"
            "Compare again to have them made, or leave those suites out: --suites FILE names the "
            "ones to score."
        )
    return found


def _named(ids: Sequence[str]) -> str:
    return ", ".join(ids[:MAX_NAMED]) + (", ..." if len(ids) > MAX_NAMED else "")


def _result(
    version: AskedVersion,
    suites: Sequence[Suite],
    answers: Mapping[tuple[str, str], Generated],
    scorers: Scorers | None,
) -> VersionResult:
    def scored(item: Item, suite: Suite) -> Scored:
        made = answers[version.version.name, item.prompt_sha256]
        return Scored(item, made, score(made.text, item, suite.schemas, scorers))

    found = {suite.name: tuple(scored(item, suite) for item in suite.items) for suite in suites}
    return VersionResult(version.version, version.settings, found, sum(map(len, found.values())))


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
        for metric in (*RATES, *own):
            pairs_of = [(before.metric(metric), after.metric(metric)) for before, after in group]
            old = [value for value, _ in pairs_of if value is not None]
            new = [value for _, value in pairs_of if value is not None]
            if old or new:
                changed = sum(a != b for a, b in pairs_of)
                counts = len(group), len(old), len(new)
                key = version, suite, task, metric
                yield Moved(*key, *counts, _mean(old), _mean(new), changed)


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
    keys = dict.fromkeys((*(before if whole else ()), *after))
    return {k: [before.get(k), after.get(k)] for k in keys if before.get(k) != after.get(k)}
