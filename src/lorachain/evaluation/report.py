"""The report: one HTML file that needs no network and no script, made from plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lorachain.evaluation.evaluate import Evaluation
from lorachain.evaluation.score import Scored
from lorachain.evaluation.tables import rate

HEADLINE = ("task_valid", "Right kind of answer", "fits the schema, and is what the task asks for")
OTHERS = (
    ("strict", "Strict JSON", "the whole answer is JSON and nothing else"),
    ("schema_valid", "Fits the schema", "after forgiving parsing"),
    ("fields", "Right fields", "share of checked values that are right"),
)
MAX_ANSWER = 4000

Curve = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Example:
    """One prompt, and what every version answered. `wanted` is the reference, if there is one."""

    suite: str
    task: str | None
    prompt: str
    wanted: str | None
    answers: Mapping[str, Scored]


@dataclass(frozen=True)
class ReportData:
    """What a report shows. `summary` is {version: {suite: its summary}}, as `Evaluation.summary`.

    `losses` are (step, loss) pairs: {version: {"training": [...], "validation": [...]}}.
    `facts` and `notes` stand under the title: what was run, and what to bear in mind.
    """

    title: str
    summary: Mapping[str, Mapping[str, Mapping[str, Any]]]
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    losses: Mapping[str, Mapping[str, Curve]] = field(default_factory=dict)
    examples: Sequence[Example] = ()


def render_report(data: ReportData) -> str:
    """The page as text. Whatever stands in answers, prompts and names stays text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("lorachain.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"rate": rate, "clipped": _clipped}
    curves = ""
    if data.losses:
        from lorachain.evaluation.plots import loss_curves

        curves = loss_curves(data.losses)
    suites = list(dict.fromkeys(name for by in data.summary.values() for name in by))
    return environment.get_template("report.html.j2").render(
        data=data,
        suites=suites,
        headline=HEADLINE,
        others=OTHERS,
        curves=Markup(curves),  # our own drawing: matplotlib escapes the names in it
    )


def pick_examples(evaluation: Evaluation, per_suite: int = 1) -> list[Example]:
    """The items of each suite whose answers differ most between the versions, in order."""
    examples = []
    for suite in evaluation.suites:
        ranked = []
        for i, item in enumerate(suite.items):
            answers = {r.version.name: r.answers[suite.name][i] for r in evaluation.versions}
            spread = len({answer.score.task_valid for answer in answers.values()})
            ranked.append((-spread, len(item.question), i, answers))
        for *_, i, answers in sorted(ranked, key=lambda entry: entry[:3])[:per_suite]:
            item = suite.items[i]
            wanted = item.answer if item.reference is None else item.reference
            if isinstance(wanted, dict | list):
                wanted = json.dumps(wanted, ensure_ascii=False, separators=(",", ":"))
            shown = None if wanted is None else str(wanted)
            examples.append(Example(suite.name, item.task, item.question, shown, answers))
    return examples


def _clipped(text: str) -> str:
    """A text that a page can hold: an answer that never stopped is cut, and says so."""
    if len(text) <= MAX_ANSWER:
        return text
    return f"{text[:MAX_ANSWER]} … ({len(text) - MAX_ANSWER:,} more characters)"
