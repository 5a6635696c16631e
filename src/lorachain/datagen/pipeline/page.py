"""The page of a run: one HTML file that needs no network, with what came of every stage.

text = render_run(places)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from lorachain.datagen.pipeline import plots
from lorachain.datagen.pipeline.places import Places
from lorachain.datagen.pipeline.view import OUTCOMES, RunView, view_of
from lorachain.pages.page import HEAT_LEVELS, render_page

MOST_LINES = 12
_COST_STAGES = ("draft", "critique", "refine", "second critique")
_SAYS = {
    "as drafted": "accepted as drafted",
    "refined": "accepted after a refinement",
    "rejected": "rejected",
}


class Picture(NamedTuple):
    """A drawing with its title, one sentence, and the key of its colours (name, class)."""

    title: str
    says: str
    svg: Any
    key: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Line:
    """A line of a table with a bar: its share in twentieths."""

    name: str
    count: int
    level: int


def render_run(places: Places) -> str:
    """The page as text. Whatever stands in names and answers stays text."""
    view = view_of(places)
    return render_page(
        "lorachain.datagen",
        "run.html.j2",
        styles=("page.css.j2", "run.css.j2"),
        scripts=("theme.js",),
        title=f"Training data: {view.spec or 'nothing planned yet'}",
        verdict=_verdict(view),
        tone="better" if view.splits else "cannot" if view.accepted else "worse",
        facts=_facts(view),
        steps=_steps(view),
        pictures=list(_pictures(view)),
        lists=_lists(view),
        balance={key: _lines(counts) for key, counts in view.balance.items() if counts},
        costs=_costs(view),
        spent=view.spent_usd,
    )


def _verdict(view: RunView) -> str:
    if view.splits:
        train, test = view.steps.get("train", 0), view.steps.get("test", 0)
        return f"{_rows(train)} to train on, {test} to test on, of {view.steps['planned']} prompts."
    if view.judged:
        return f"{view.accepted} of {view.judged} answers accepted so far."
    return "No answer was judged yet."


def _facts(view: RunView) -> dict[str, str]:
    cost = sum(one.usd for one in view.costs.values())
    return {
        "accepted": f"{view.accepted} of {view.judged} ({_percent(view.accepted, view.judged)}%)",
        "cost of the rows": f"${cost:.4f}",
        "tokens": f"{sum(c.prompt_tokens + c.output_tokens for c in view.costs.values()):,}",
        "teacher": ", ".join(sorted({model for _, model in view.costs})) or "none yet",
        "gate": view.gating_mode or "none yet",
        "frozen suite": view.suite or "none",
    }


def _steps(view: RunView) -> list[Line]:
    """From prompts to clean rows, as shares of the prompts."""
    planned = max(1, view.steps["planned"])
    names = ("planned", "drafted", "criticised", "accepted", "clean")
    return [Line(name, view.steps[name], _level(view.steps[name] / planned)) for name in names]


def _pictures(view: RunView) -> Iterator[Picture]:
    from markupsafe import Markup

    outcome_key = tuple((_SAYS[o], c) for o, c in zip(OUTCOMES, ("s3", "s2", "gone"), strict=True))
    if view.by_task:
        says = "What became of each task's answers. The figure is the share that was accepted."
        svg = Markup(plots.outcomes(view.by_task))
        yield Picture("Accepted, by task", says, svg, outcome_key)
    if view.by_category:
        more = len(view.by_category) - plots.MOST_BARS
        says = "The same by category." + (f" {more} smaller ones are left out." if more > 0 else "")
        svg = Markup(plots.outcomes(view.by_category))
        yield Picture("Accepted, by category", says, svg, outcome_key)
    if view.lengths:
        says = (
            "Of the clean rows: from the shortest to the longest, the middle four fifths, median."
        )
        yield Picture("How long answers are", says, Markup(plots.lengths(view.lengths)))
    if view.splits:
        split_key = (("train", "s3"), ("val", "s4"), ("test", "s1"))
        says = "Near prompts stand in one split, and none ever moves."
        yield Picture("Where rows stand", says, Markup(plots.splits(view.splits)), split_key)
    if any(cost.usd for cost in view.costs.values()):
        models = sorted({model for _, model in view.costs})
        svg = Markup(plots.costs(*_cost_bars(view, models)))
        key = tuple((m, f"s{i}" if i <= 6 else "rest") for i, m in enumerate(models, start=1))
        yield Picture("What it cost", "US dollars by stage and model.", svg, key)


def _cost_bars(view: RunView, models: list[str]) -> tuple[dict[str, list[float]], dict[str, str]]:
    stages = [s for s in _COST_STAGES if any(stage == s for stage, _ in view.costs)]
    bars = {s: [c.usd if (c := view.costs.get((s, m))) else 0.0 for m in models] for s in stages}
    return bars, {stage: f"${sum(values):.4f}" for stage, values in bars.items()}


def _lists(view: RunView) -> list[tuple[str, str, list[Line], int]]:
    """Titles, sentences, lines and how many more: why answers were rejected, and rows dropped."""
    found = []
    for title, says, counts in (
        ("Why answers were rejected", "An answer may have several reasons.", view.reasons),
        ("What the quality gate dropped", "Of the accepted rows.", view.dropped),
    ):
        found.append((title, says, _lines(counts), max(0, len(counts) - MOST_LINES)))
    return found


def _lines(counts: Mapping[str, int]) -> list[Line]:
    most = max(counts.values(), default=1)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_LINES]
    return [Line(name, count, _level(count / most)) for name, count in ordered]


def _costs(view: RunView) -> list[dict[str, Any]]:
    """The table of calls: a line for each stage and model, then all of them."""
    order = {stage: i for i, stage in enumerate(_COST_STAGES)}
    found: list[dict[str, Any]] = [
        {"stage": stage, "model": model} | vars(cost)
        for (stage, model), cost in sorted(view.costs.items(), key=lambda i: (order[i[0][0]], i[0]))
    ]
    total: Counter[str] = Counter()
    for line in found:
        total.update({k: v for k, v in line.items() if k not in ("stage", "model")})
    return [*found, {"stage": "all", "model": "", **total}] if found else []


def _level(share: float) -> int:
    return min(HEAT_LEVELS, max(0, round(share * HEAT_LEVELS)))


def _percent(part: int, whole: int) -> int:
    return round(100 * part / whole) if whole else 0


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
