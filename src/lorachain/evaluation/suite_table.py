"""One suite with the answers of all versions: its metrics, cells, pairs and failures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from lorachain.errors import UserError
from lorachain.evaluation import metrics, stats
from lorachain.evaluation.comparison import Cell, SuiteInfo
from lorachain.evaluation.evaluate import VersionResult
from lorachain.evaluation.paired import Paired, pair_up
from lorachain.evaluation.score import Scored, task_of
from lorachain.evaluation.verdicts import Cut
from lorachain.suites import Suite


@dataclass(frozen=True)
class SuiteTable:
    """One suite with all versions' answers to it. `wanted` is the headline, if not the usual."""

    suite: Suite
    results: Sequence[VersionResult]
    wanted: str | None = None

    @cached_property
    def metrics(self) -> list[str]:
        """Those that any answer could be scored by."""
        return metrics.known_metrics(a for r in self.results for a in self.answers(r))

    @cached_property
    def headline(self) -> str:
        """The metric that decides this suite."""
        if self.wanted is None:
            return metrics.headline(self.metrics)
        if self.metrics and self.wanted not in self.metrics:
            raise UserError(
                f"{self.suite.name} is to be judged by {self.wanted}, which gave no value for any "
                f"answer. The answers are kept: mend what scores, or mark another headline (there "
                f"are {', '.join(self.metrics)}), and run the same command again."
            )
        return self.wanted

    @cached_property
    def tasks(self) -> dict[str, list[int]]:
        """The places of each task's items."""
        found: dict[str, list[int]] = {}
        for i, item in enumerate(self.suite.items):
            if task := task_of(item):
                found.setdefault(task, []).append(i)
        return dict(sorted(found.items()))

    @cached_property
    def labels(self) -> list[Hashable] | None:
        """The items' clusters and shared prompts, where there are any."""
        return metrics.cluster_labels(self.suite.items)

    @property
    def info(self) -> SuiteInfo:
        """For the comparison."""
        return SuiteInfo(
            name=self.suite.name,
            path=str(self.suite.path),
            sha256=self.suite.sha256,
            n=len(self.suite.items),
            headline=self.headline,
            metrics=self.metrics,
            tasks=list(self.tasks),
            clusters=None if self.labels is None else len(set(self.labels)),
        )

    def answers(self, result: VersionResult) -> Sequence[Scored]:
        """One version's answers, in the suite's order."""
        return result.answers[self.suite.name]

    def values(self, metric: str) -> dict[str, list[float | None]]:
        """{version: each item's value}."""
        return {
            r.version.name: [metrics.metric_value(a, metric) for a in self.answers(r)]
            for r in self.results
        }

    @cached_property
    def headline_values(self) -> dict[str, list[float | None]]:
        """`values` of the headline."""
        return self.values(self.headline)

    @cached_property
    def ended_early(self) -> dict[str, list[bool]]:
        """{version: whether each answer ended at the token limit}."""
        return {
            r.version.name: [a.generated.finish == "length" for a in self.answers(r)]
            for r in self.results
        }

    def parts(self) -> Iterator[tuple[str | None, list[int]]]:
        """The whole suite, then each task."""
        yield None, list(range(len(self.suite.items)))
        yield from self.tasks.items()

    def cells(self) -> Iterator[Cell]:
        """Every version by every metric, on the whole and on each task."""
        for metric in self.metrics or [self.headline]:
            values = self.values(metric)
            for result in self.results:
                for task, places in self.parts():
                    yield self._cell(result, task, places, metric, values[result.version.name])

    def _cell(
        self,
        result: VersionResult,
        task: str | None,
        places: Sequence[int],
        metric: str,
        values: Sequence[float | None],
    ) -> Cell:
        scored = [i for i in places if values[i] is not None]
        known = [value for i in places if (value := values[i]) is not None]
        labels = None if self.labels is None else [self.labels[i] for i in scored]
        return Cell(
            version=result.version.name,
            suite=self.suite.name,
            task=task,
            metric=metric,
            n=len(places),
            scored=len(known),
            value=round(math.fsum(known) / len(known), 12) if known else None,
            interval=stats.rate_interval(known, labels),
            cut=sum(self.ended_early[result.version.name][i] for i in places),
        )

    def paired(
        self, earlier: str, later: str, places: Sequence[int], metric: str | None = None
    ) -> Paired:
        """Two versions, item by item, by the headline unless another metric is named."""
        values = self.headline_values if metric is None else self.values(metric)
        return pair_up(
            [values[earlier][i] for i in places],
            [values[later][i] for i in places],
            None if self.labels is None else [self.labels[i] for i in places],
        )

    def cut(
        self, earlier: str, later: str, places: Sequence[int], metric: str
    ) -> tuple[Cut, list[int]]:
        """What was cut of the pairs that both have a score, and the places where neither was."""
        values = self.values(metric)
        one, two = values[earlier], values[later]
        both = [i for i in places if one[i] is not None and two[i] is not None]
        a, b = self.ended_early[earlier], self.ended_early[later]
        whole = [i for i in both if not (a[i] or b[i])]
        return Cut(sum(a[i] for i in both), sum(b[i] for i in both), len(both)), whole

    def failures(self, result: VersionResult) -> dict[str, int]:
        """Failed answers by kind, the commonest first."""
        kinds = (metrics.failure_kind(a, self.headline) for a in self.answers(result))
        return dict(Counter(kind for kind in kinds if kind is not None).most_common())


def pooled(tables: Sequence[SuiteTable], earlier: str, later: str) -> Paired:
    """Two versions over all items of several suites, each by its suite's headline.

    Items with the same prompt share a cluster even across suites; other clusters are a suite's own.
    """
    one, two = (
        [value for table in tables for value in table.headline_values[version]]
        for version in (earlier, later)
    )
    return pair_up(one, two, metrics.cluster_labels(*(table.suite.items for table in tables)))
