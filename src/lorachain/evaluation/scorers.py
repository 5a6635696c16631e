"""Scorers: what makes an answer right, task by task, as `configs/scorers.yaml` names them.

Each scorer gives a value from 0 (wrong) to 1 (right), or says why it could not score: an item
without a reference, a function that failed. That is never 0, because 0 blames the model.

    scorers = read_scorers(path)         # of scorer_file: every problem at once
    scorers.check(suites)                # paths that no reference has, before anything is asked
    score(text, item, schemas, scorers)  # of score: fills Score.values by each scorer's name
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from lorachain.answers import EXTRACTOR
from lorachain.evaluation.score import task_of
from lorachain.evaluation.scorer_kinds import SchemaScorer, Scorer, reference_of
from lorachain.evaluation.suites import Item, Suite
from lorachain.evaluation.texts import nearest
from lorachain.evaluation.values import has, leaves, spelled
from lorachain.jsonl import raise_all
from lorachain.paths import shown

log = logging.getLogger("lorachain")


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
        """The metric that decides a task, where one of its scorers is marked `headline`."""
        return next((s.metric for s in self.of(task) if s.headline), None)

    def headlines(self, suites: Sequence[Suite]) -> dict[str, str]:
        """{suite: the metric that decides it}, for `compare`: where all its tasks agree on one."""
        found = {}
        for suite in suites:
            metrics = {self.headline(task_of(item)) for item in suite.items}
            if len(metrics) == 1 and (metric := metrics.pop()) is not None:
                found[suite.name] = metric
        return found

    def check(self, suites: Sequence[Suite]) -> None:
        """Raises UserError for scorers that can score no item of their task: a path that no
        reference has, or no reference at all."""
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
        raise_all(problems, f"{self._shown} does not fit these suites")

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
