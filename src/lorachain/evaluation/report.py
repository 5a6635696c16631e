"""The report: one HTML file that needs no network, made from a comparison and its answers.

page = render_comparison(comparison, answer_rows(evaluation, comparison), title="v3 against v2")
write_report(path, page)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lorachain.evaluation import report_text
from lorachain.evaluation.comparison import Comparison
from lorachain.evaluation.plots import Curve, differences, failure_bars, loss_curves
from lorachain.evaluation.regressions import regressions
from lorachain.evaluation.report_data import AnswerRow, answer_rows, as_json
from lorachain.evaluation.report_views import (
    Failures,
    Matrices,
    PairView,
    failures,
    forgotten,
    pair_views,
    settings_table,
    transfer,
)
from lorachain.evaluation.rescore_moves import Moves
from lorachain.evaluation.rescore_view import moved_view
from lorachain.files import write_text
from lorachain.pages.page import render_page, script_json

__all__ = ["answer_rows", "known_losses", "render_comparison", "write_report"]

MAX_PROMPT = 6000  # characters of a prompt beside a regression
HOLDS = {True: "yes", False: "no", None: "unknown"}  # as YAML reads yes, no and null


def render_comparison(
    comparison: Comparison,
    answers: Sequence[AnswerRow],
    *,
    title: str,
    facts: Mapping[str, str] | None = None,
    losses: Mapping[str, Mapping[str, Curve]] | None = None,
    advice: Sequence[Mapping[str, Any]] | None = None,
    vote: str | None = None,
    moved: Moves | None = None,
) -> str:
    """The page as text. Whatever stands in answers, prompts and names stays text.

    `facts` stand under the title. `losses` are (step, loss) pairs:
    {version: {"training": [...], "validation": [...]}}; without them they are those of the
    versions' facts. `advice` is what rules answered: title, holds (yes, no or unknown), evidence
    (sentences), do, and config_yaml, where there is something to set. `vote` is the name of the
    blind vote's file beside this one; `moved` is what a change of scoring moved.
    """
    from markupsafe import Markup

    pairs, failed = pair_views(comparison), failures(comparison)
    versions = [version.name for version in comparison.versions]
    data = as_json(answers, versions)
    data["labels"] = {kind: report_text.kind_label(kind) for kind in data["kinds"]}
    return render_page(
        __package__,
        "comparison.html.j2",
        styles=("page.css.j2", "report.css.j2", *(["moved.css.j2"] if moved else [])),
        scripts=("theme.js", "answers.js"),
        title=title,
        facts=facts or {},
        comparison=comparison,
        pairs=pairs,
        matrices=Matrices(comparison),
        drawings=_drawings(comparison, pairs),
        transfer=transfer(comparison),
        lost=forgotten(comparison),
        failed=failed,
        bars=Markup(_bars(failed)),  # our own drawings: matplotlib escapes the names in them
        curves=Markup(loss_curves(known_losses(comparison) if losses is None else losses)),
        broken=regressions(comparison, answers),
        advice=[_plain(item) for item in advice or ()],
        settings=settings_table(comparison),
        moved=None if moved is None else moved_view(moved, comparison, answers),
        vote=quote(vote) if vote else None,
        data=script_json(data),
        clipped=_clipped,
        **report_text.WORDS,
    )


def write_report(path: Path, page: str) -> None:
    """Write a page atomically: a reader sees the old one or the new one, never half."""
    write_text(path, page)


def _drawings(comparison: Comparison, pairs: Sequence[PairView]) -> list[tuple[PairView, Any]]:
    """A drawing for each pair that has differences, all with the same reach."""
    from markupsafe import Markup

    shown = {id(pair): [line.difference for line in pair.suites] for pair in pairs}
    ends = [abs(d.value) for found in shown.values() for d in found if d.value is not None]
    for found in shown.values():
        for d in found:
            ends += [abs(d.interval.low), abs(d.interval.high)] if d.interval else []
    reach = min(1.0, 1.06 * max([*ends, 2 * comparison.margin]))
    return [
        (pair, Markup(differences(shown[id(pair)], comparison.margin, reach)))
        for pair in pairs
        if shown[id(pair)]
    ]


def _bars(failed: Failures) -> str:
    if not failed.kinds:
        return ""
    return failure_bars(failed.by_version, failed.kinds, failed.coloured)


def known_losses(comparison: Comparison) -> dict[str, dict[str, Curve]]:
    """The curves that the versions' facts hold."""
    keys = {"training": "training_curve", "validation": "validation_curve"}
    found = {
        version.name: {name: version.facts.get(key, ()) for name, key in keys.items()}
        for version in comparison.versions
    }
    return {name: curves for name, curves in found.items() if any(curves.values())}


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    """An advice with all of its keys."""
    found: dict[str, Any] = {"evidence": (), "do": "", "config_yaml": None, **item}
    return found | {"holds": HOLDS.get(found["holds"], found["holds"])}


def _clipped(text: str) -> str:
    if len(text) <= MAX_PROMPT:
        return text
    return f"{text[:MAX_PROMPT]} … ({len(text) - MAX_PROMPT:,} more characters)"
