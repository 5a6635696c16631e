"""The answers that a report and a vote page show, as plain data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lorachain.evaluation.metrics import failure_kind, metric_value, passed
from lorachain.evaluation.score import RATES, Scored, task_of

if TYPE_CHECKING:
    from lorachain.evaluation.comparison import Comparison
    from lorachain.evaluation.evaluate import Evaluation


@dataclass(frozen=True)
class VersionAnswer:
    """What one version answered. `passed` is by the suite's headline: None where that says nothing.

    `finish` is eos or length (cut by the token limit); `tokens` are those it gave out; `problems`
    are {path, kind}. `failure` is the kind that a failed answer counts under, `unscored` says why a
    score is missing.
    """

    text: str
    finish: str = "eos"
    tokens: int = 0
    scores: Mapping[str, float | bool | None] = field(default_factory=dict)
    problems: Sequence[Mapping[str, str]] = ()
    passed: bool | None = None
    failure: str | None = None
    unscored: Mapping[str, str] = field(default_factory=dict)

    @property
    def cut(self) -> bool:
        """Whether the token limit ended it."""
        return self.finish == "length"


@dataclass(frozen=True)
class AnswerRow:
    """One item of a suite, and what every version answered: {version: answer}.

    `prompt` is (role, text) of each turn. `wanted` is the reference, where there is one.
    """

    suite: str
    item: str
    task: str | None
    prompt: Sequence[tuple[str, str]]
    wanted: str | None
    answers: Mapping[str, VersionAnswer]

    @property
    def question(self) -> str:
        """What the user asks: the last turn."""
        return self.prompt[-1][1] if self.prompt else ""


def answer_rows(evaluation: Evaluation, comparison: Comparison) -> list[AnswerRow]:
    """Every item of every suite, in order, with all versions' answers."""
    rows = []
    headlines = {suite.name: suite.headline for suite in comparison.suites}
    for suite in evaluation.suites:
        for i, item in enumerate(suite.items):
            scored = {r.version.name: r.answers[suite.name][i] for r in evaluation.versions}
            rows.append(
                AnswerRow(
                    suite=suite.name,
                    item=str(item.id),
                    task=task_of(item),
                    prompt=tuple((turn.role, turn.content) for turn in item.messages),
                    wanted=_text(item.answer if item.reference is None else item.reference),
                    answers={
                        name: _answer(found, headlines[suite.name])
                        for name, found in scored.items()
                    },
                )
            )
    return rows


def as_json(rows: Sequence[AnswerRow], versions: Sequence[str]) -> dict[str, Any]:
    """The rows for a page's script, small: numbers for names, each text once where it repeats.

    A row is [suite, item, task, turns, wanted, answers]; suites, tasks, kinds and texts are
    numbers into lists. An answer is null or [text, cut, tokens, passed, failure, problems,
    scores, unscored], its text a number where an earlier version's (that number) is the same.
    """
    suites, tasks, kinds, texts = _Numbers(), _Numbers(), _Numbers(), _Numbers()
    found = []
    for row in rows:
        seen: dict[str, int] = {}
        answers: list[Any] = []
        for i, version in enumerate(versions):
            answer = row.answers.get(version)
            if answer is None:
                answers.append(None)
                continue
            first = seen.setdefault(answer.text, i)
            problems = [[p.get("path", ""), kinds[p.get("kind", "")]] for p in answer.problems]
            scores = {k: _number(v) for k, v in answer.scores.items() if _number(v) is not None}
            answers.append(
                [
                    answer.text if first == i else first,
                    int(answer.cut),
                    answer.tokens,
                    None if answer.passed is None else int(answer.passed),
                    None if answer.failure is None else kinds[answer.failure],
                    problems,
                    scores,
                    dict(answer.unscored),
                ]
            )
        turns = [[role, texts[text]] for role, text in row.prompt]
        task = None if row.task is None else tasks[row.task]
        found.append([suites[row.suite], row.item, task, turns, row.wanted, answers])
    return {
        "versions": list(versions),
        "suites": list(suites),
        "tasks": list(tasks),
        "kinds": list(kinds),
        "texts": list(texts),
        "rows": found,
    }


class _Numbers(dict[str, int]):
    """A number for each name, in the order in which they were first asked for."""

    def __missing__(self, name: str) -> int:
        return self.setdefault(name, len(self))


def _answer(scored: Scored, headline: str) -> VersionAnswer:
    score = scored.score
    names = [*RATES, *score.values]
    return VersionAnswer(
        text=scored.generated.text,
        finish=scored.generated.finish,
        tokens=scored.generated.output_tokens,
        scores={n: value for n in names if (value := score.metric(n)) is not None},
        problems=score.problems,
        passed=passed(metric_value(scored, headline)),
        failure=failure_kind(scored, headline),
        unscored=score.unscored,
    )


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _number(value: float | bool | None) -> float | int | None:
    """For JSON: a boolean as 0 or 1, and nothing that JSON does not know."""
    if value is None or not math.isfinite(value):
        return None
    return round(value, 4) if isinstance(value, float) else int(value)
