"""The drawings of a run's page: what became of the answers, their lengths, the splits, the cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lorachain.pages.svg import (
    FAINT,
    HOLLOW,
    INK,
    REST,
    SERIES,
    VERDICTS,
    drawing,
    label,
    plain_axes,
    to_svg,
)

OUTCOME_COLOURS = (SERIES[2], SERIES[1], VERDICTS["worse"])
SPLIT_COLOURS = (SERIES[2], SERIES[3], SERIES[0])
MOST_BARS = 14
_WIDTH = 4.9  # inches, as the report's drawings
_LABEL = 19  # characters of a bar's name: longer ones leave the bars no room


def outcomes(counts: Mapping[str, Sequence[int]]) -> str:
    """A bar for each name: as drafted, refined, rejected; at its end the accepted share."""
    ends = {name: f"{_percent(sum(c[:2]), sum(c))}%" for name, c in counts.items()}
    return _stacked(counts, OUTCOME_COLOURS, ends, "Accepted, refined and rejected")


def splits(counts: Mapping[str, Sequence[int]]) -> str:
    """A bar for each task: train, val, test."""
    ends = {name: f"{sum(c):,}" for name, c in counts.items()}
    return _stacked(counts, SPLIT_COLOURS, ends, "Rows by split")


def costs(counts: Mapping[str, Sequence[float]], ends: Mapping[str, str]) -> str:
    """A bar for each stage, its parts the models."""
    colours = [*SERIES, *([REST] * len(next(iter(counts.values()), ())))]
    return _stacked(counts, colours, ends, "Cost by stage and model")


def lengths(found: Mapping[str, Sequence[int]]) -> str:
    """For each task: a line from the shortest to the longest answer, thick for the middle four
    fifths, a dot at the median."""
    with drawing():
        figure, axes = _axes(len(found))
        for y, values in enumerate(found.values()):
            ordered = sorted(values)
            low, mid, high = (ordered[int(p * (len(ordered) - 1))] for p in (0.1, 0.5, 0.9))
            axes.plot([ordered[0], ordered[-1]], [y, y], color=SERIES[2], linewidth=1.4)
            axes.plot([low, high], [y, y], color=SERIES[2], linewidth=7, solid_capstyle="round")
            dot = {"markersize": 9, "markerfacecolor": HOLLOW, "markeredgecolor": SERIES[2]}
            axes.plot([mid], [y], marker="o", markeredgewidth=2.2, **dot)
        _names(axes, list(found))
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.locator_params(axis="x", nbins=5)
        axes.grid(axis="x", color=FAINT, linewidth=1)
        axes.set_axisbelow(True)
        axes.set_xlabel("characters of an answer", color=INK, fontsize=9)
        return to_svg(figure, "Answer lengths by task")


def _stacked(
    counts: Mapping[str, Sequence[float]],
    colours: Sequence[str],
    ends: Mapping[str, str],
    title: str,
) -> str:
    with drawing():
        names = list(counts)[:MOST_BARS]
        figure, axes = _axes(len(names))
        for y, name in enumerate(names):
            start = 0.0
            for value, colour in zip(counts[name], colours, strict=False):
                bar = {"height": 0.6, "color": colour, "edgecolor": HOLLOW, "linewidth": 1}
                axes.barh(y, value, left=start, **bar)
                start += value
            place = {"xytext": (6, 0), "textcoords": "offset points", "va": "center"}
            axes.annotate(ends[name], (start, y), fontsize=11, color=INK, **place)
        _names(axes, names)
        axes.margins(x=0.14)
        axes.set_xlim(left=0)
        axes.set_xticks([])
        return to_svg(figure, title)


def _axes(bars: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, 0.5 + 0.36 * bars), layout="constrained")
    axes = figure.subplots()
    axes.set_ylim(bars - 0.4, -0.6)
    plain_axes(axes)
    return figure, axes


def _names(axes: Any, names: Sequence[str]) -> None:
    texts = [label(name if len(name) <= _LABEL else f"{name[: _LABEL - 1]}…") for name in names]
    axes.set_yticks(range(len(names)), texts, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", labelsize=11, pad=8)


def _percent(part: int, whole: int) -> int:
    return round(100 * part / whole) if whole else 0
