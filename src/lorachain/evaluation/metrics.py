"""Metrics of a scored answer by name: the rates of `score.Score`, and the scorers' own."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from lorachain.evaluation.score import LENIENT, RATES, Scored
from lorachain.suites import Item

HEADLINES = ("strict_task_valid", "strict_valid", "exact_fields", "strict")
PASS_MARK = 0.5
"""A graded score counts as passed from here up: for what broke, never for a test."""
MANY_CUT = 0.05
"""The share of answers that ended at the token limit above which a verdict must say so."""

CUT = "cut"
UNREAD = "no JSON"
NOT_PLAIN = "not plain JSON"
LOW = "low score"


def metric_value(scored: Scored, metric: str) -> float | None:
    """One answer's score by a metric, from 0 to 1; None where it could not be scored by it."""
    return scored.score.metric(metric)


def known_metrics(answers: Iterable[Scored]) -> list[str]:
    """The metrics that any of these answers could be scored by: the rates, then the scorers'."""
    answers = list(answers)
    own = dict.fromkeys(name for answer in answers for name in answer.score.values)
    names = [*RATES, *own]
    return [n for n in names if any(metric_value(answer, n) is not None for answer in answers)]


def headline(metrics: Sequence[str]) -> str:
    """The metric that a suite's verdict stands on, of those that it knows.

    The right kind of answer, else what fits the schema, else right fields, else JSON, else the
    first scorer. Each is strict where that makes a difference: a parser that forgives more must
    not pose as a model that answers better. Where nothing can be scored it is strict_task_valid,
    which nothing has.
    """
    for name in HEADLINES:
        if name in metrics:
            return name
    own = [name for name in metrics if name not in RATES]
    return (own or list(metrics) or [HEADLINES[0]])[0]


def passed(value: float | None) -> bool | None:
    """Whether a score counts as passed."""
    return None if value is None else value >= PASS_MARK


def cluster_labels(*suites: Sequence[Item]) -> list[Hashable] | None:
    """A label per item, of one suite after the other, for `stats`; None where no two share one.

    Items with the same `cluster` of the same suite share a label. So do items with the same
    prompt, whatever their ids and suites: one question asked twice is one piece of evidence.
    """
    joined: dict[Hashable, Hashable] = {}

    def root(key: Hashable) -> Hashable:
        while (above := joined.setdefault(key, key)) != key:
            joined[key] = key = joined[above]
        return key

    prompts: list[Hashable] = []
    for number, items in enumerate(suites):
        for item in items:
            prompts.append(item.prompt_sha256)
            if item.cluster is not None:
                joined[root(item.prompt_sha256)] = root((number, item.cluster))
    labels = [root(prompt) for prompt in prompts]
    return labels if len(set(labels)) < len(labels) else None


def failure_kind(scored: Scored, metric: str) -> str | None:
    """Why an answer failed by a metric, in one word; None for one that passed or has no score.

    The first that holds: `cut` (it ended at the token limit), `no JSON`, `root array` (or another
    root that is no object), `unclosed` (it ended by itself inside its root), the kind of the first
    problem (the schema's keyword such as `required`, `type` or `enum`; `expected`; `check`),
    `not plain JSON` where only forgiving parsing reads it, and it would have passed by that, and
    `low score` where a scorer gave too little and no more is known.
    """
    if passed(metric_value(scored, metric)) is not False:
        return None
    score = scored.score
    if scored.generated.finish == "length":
        return CUT
    if score.root_type == "none":
        return UNREAD
    if score.root_type not in (None, "object"):
        return f"root {score.root_type}"
    if score.truncated:
        return "unclosed"
    if metric in LENIENT and passed(metric_value(scored, LENIENT[metric])):
        return NOT_PLAIN
    return str(score.problems[0]["kind"]) if score.problems else LOW
