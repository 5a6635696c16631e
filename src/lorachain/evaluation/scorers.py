"""Scorers: what makes an answer right, task by task, as `configs/scorers.yaml` names them.

Each scorer gives a value from 0 (wrong) to 1 (right), or says why it could not score: an item
without a reference, a function that failed. That is never 0, because 0 blames the model.

    scorers = read_scorers(path)         # of scorer_file: every problem at once
    scorers.check(suites)                # paths that no reference has, before anything is asked
    score(text, item, schemas, scorers)  # of score: fills Score.values by each scorer's name
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from lorachain.answers import EXTRACTOR
from lorachain.evaluation.metrics import HEADLINES
from lorachain.evaluation.metrics import headline as usual_headline
from lorachain.evaluation.score import RATES, score, task_of
from lorachain.evaluation.scorer_kinds import (
    FunctionScorer,
    SchemaScorer,
    Scorer,
    reference_of,
)
from lorachain.evaluation.texts import nearest
from lorachain.evaluation.values import has, leaves, spelled
from lorachain.jsonl import raise_all
from lorachain.paths import shown
from lorachain.suites import Item, Suite

log = logging.getLogger("lorachain")

_SCHEMA = "schema"
_DEFAULT = "default: "


@dataclass(frozen=True)
class Scorers:
    """Who scores what: the scorers of each task that is named, and those of all others."""

    default: tuple[Scorer, ...] = (SchemaScorer(),)
    tasks: Mapping[str, tuple[Scorer, ...]] = field(default_factory=dict)
    path: Path | None = None

    def of(self, task: str | None) -> tuple[Scorer, ...]:
        """The scorers of a task (of a topic, for questions)."""
        return self.tasks.get(task, self.default) if task is not None else self.default

    def headline(self, task: str | None) -> str | None:
        """What is marked `headline` for a task: a column's name, or `schema` for the best of the
        columns that kind schema has there."""
        return next((s.label for s in self.of(task) if s.headline), None)

    def headlines(self, suites: Sequence[Suite]) -> dict[str, str]:
        """{suite: the metric that decides it}, for `compare`: where all its tasks agree on one,
        and anything in it can be scored."""
        found = {}
        for suite in suites:
            marked = self._marked(suite)
            if len(marked) == 1 and (chosen := self._column(suite, marked.pop())) is not None:
                found[suite.name] = chosen
        return found

    def metrics(self, suite: Suite) -> list[str]:
        """The metrics that some answer to a suite can have, whatever it is. What a function will
        score is not known before it is called, so it counts as one that can."""
        found: dict[str, None] = {}
        for item in suite.items:
            chosen = self.of(task_of(item))
            own = Scorers(tuple(s for s in chosen if not isinstance(s, FunctionScorer)))
            empty = score("", item, suite.schemas, own)
            found |= dict.fromkeys(
                name for name in (*RATES, *empty.values) if empty.metric(name) is not None
            )
            found |= dict.fromkeys(s.metric for s in chosen if isinstance(s, FunctionScorer))
        return list(found)

    def warn_of_split(self, suites: Sequence[Suite]) -> None:
        """Say for which suites `headline` is not heeded, because their tasks disagree."""
        for suite in suites:
            marks: dict[str | None, dict[str, None]] = {}
            for item in suite.items:
                task = task_of(item)
                marks.setdefault(self.headline(task), {})[task or "(no task)"] = None
            if len(marks) < 2 or not marks.keys() - {None, _SCHEMA}:
                continue  # one for all, or what the usual headline is anyway
            each = "; ".join(f"{', '.join(t)}: {mark or 'none'}" for mark, t in marks.items())
            log.warning(
                "%s: the tasks of %s are marked with different headlines (%s), so it is judged by "
                "the usual one, %s.",
                *(self._shown, suite.name, each, usual_headline(self.metrics(suite))),
            )

    def check(self, suites: Sequence[Suite]) -> None:
        """Raises UserError for scorers that can score no item of their task (a path that no
        reference has, no reference at all), and for headlines that can score none of a suite."""
        groups: dict[str | None, list[Item]] = {}
        for item in (item for suite in suites for item in suite.items):
            task = task_of(item)
            groups.setdefault(task if task in self.tasks else None, []).append(item)
        for task in self.tasks.keys() - groups.keys():
            known = {str(task_of(item)) for items in groups.values() for item in items}
            log.warning("%s: no item is of task %s%s.", self._shown, task, nearest(task, known))
        problems = [
            f"{'default' if task is None else task}: {scorer.metric}: {problem}"
            for task, items in groups.items()
            for scorer in (self.default if task is None else self.tasks[task])
            for problem in _unscorable(scorer, items, named=task is not None)
        ]
        problems += [problem for suite in suites for problem in self._undecidable(suite)]
        raise_all(problems, f"{self._shown} does not fit these suites")

    def _marked(self, suite: Suite) -> set[str | None]:
        return {self.headline(task_of(item)) for item in suite.items}

    def _column(self, suite: Suite, marked: str | None) -> str | None:
        """The metric behind a mark; None where there is no mark, or nothing can be scored."""
        metrics = self.metrics(suite) if marked is not None else []
        if marked != _SCHEMA:
            return marked if metrics else None
        return next((name for name in HEADLINES if name in metrics), None)

    def _undecidable(self, suite: Suite) -> Iterator[str]:
        """Why a suite cannot be decided by what is marked, though others could score it."""
        marked = self._marked(suite)
        mark = marked.pop() if len(marked) == 1 else None
        metrics = self.metrics(suite) if mark is not None else []
        if metrics and self._column(suite, mark) not in metrics:
            lacks = "a schema, `expected` or `checks`" if mark == _SCHEMA else "what it needs"
            yield (
                f"{suite.name}: {mark} is marked `headline` and can score none of its items (none "
                f"has {lacks}); it has {', '.join(metrics)}"
            )

    @property
    def _shown(self) -> str:
        return shown(self.path) if self.path else "The scorers"


def scoring_identity(suites: Sequence[Suite], scorers: Scorers | None = None) -> dict[str, str]:
    """What scores these suites, by name: {what: its version or hash}, for `Comparison.scoring`.

    The extractor with the libraries it stands on, each schema with the files that it refers to,
    each scorer with its settings (and a function's source file).
    """
    scorers = scorers or Scorers()
    libraries = ", ".join(f"{name} {version(name)}" for name in ("json_repair", "jsonschema"))
    found = {"extractor": f"{EXTRACTOR} ({libraries})"}
    schemas = {name: schema for suite in suites for name, schema in suite.schemas.items()}
    tasks = {task_of(item) for suite in suites for item in suite.items}
    for task in sorted(
        {task if task in scorers.tasks else None for task in tasks}, key=_none_first
    ):
        for scorer in scorers.of(task):
            found[f"{task or 'default'}: {scorer.label}"] = scorer.identity
            if isinstance(scorer, SchemaScorer) and scorer.schema_in_place:
                schemas[str(scorer.named)] = scorer.schema_in_place
    return found | {f"schema {name}": schemas[name].fingerprint for name in sorted(schemas)}


def same_tasks(
    before: Mapping[str, str], after: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Two scoring identities over the same tasks. A task that one of them does not name was scored
    by its default, so naming it with the default's own scorers changes nothing."""
    keys = (*before, *after)
    tasks = dict.fromkeys(key.partition(": ")[0] for key in keys if ": " in key)
    one, two = (_by_task(found, tasks) for found in (before, after))
    if not all(any(key.startswith(_DEFAULT) for key in found) for found in (one, two)):
        one, two = (
            {key: value for key, value in found.items() if not key.startswith(_DEFAULT)}
            for found in (one, two)
        )
    return one, two


def _by_task(found: Mapping[str, str], tasks: Iterable[str]) -> dict[str, str]:
    default = {k.removeprefix(_DEFAULT): v for k, v in found.items() if k.startswith(_DEFAULT)}
    unnamed = [task for task in tasks if not any(key.startswith(f"{task}: ") for key in found)]
    own = {f"{task}: {label}": v for task in unnamed for label, v in default.items()}
    return {**found, **own}


def _unscorable(scorer: Scorer, items: Sequence[Item], named: bool) -> Iterator[str]:
    """Why a scorer can score none of its items. `named`: its task is, so it was meant for them."""
    if not scorer.needs_reference:
        return
    known = [value for item in items if (value := reference_of(item)) is not None]
    if not known:
        if named:
            yield f"no item has a reference, and kind {scorer.kind} needs one"
        return
    for path in scorer.places:
        if not any(has(reference, path) for reference in known):
            paths = {spelled(way) for reference in known for way in leaves(reference)}
            yield f"no reference has anything at {path}{nearest(path, sorted(paths))}"


def _none_first(task: str | None) -> str:
    return task or ""
