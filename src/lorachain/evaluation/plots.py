"""The report's drawings: loss curves, differences with their intervals, failures by kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lorachain.evaluation.comparison import Difference
from lorachain.pages.svg import (
    BAND,
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

Curve = Sequence[tuple[float, float]]

_MARKERS = {"better": "^", "worse": "v", "equivalent": "s", "cannot tell": "o"}
_WIDTH = 4.9  # inches: larger on a desk, at four fifths on a phone


def loss_curves(losses: Mapping[str, Mapping[str, Curve]]) -> str:
    """One panel a version: training loss as a line, validation loss as dots, one shared scale."""
    with drawing():
        return _losses({name: curves for name, curves in losses.items() if any(curves.values())})


def differences(found: Sequence[Difference], margin: float, reach: float) -> str:
    """A dot and its interval for each suite of one pair, in points, over the margin's band.

    `reach` is how far the axis goes to both sides, the same for all pairs of a report.
    """
    with drawing():
        return _differences(found, margin * 100, reach * 100)


def failure_bars(
    by_version: Mapping[str, Mapping[str, int]], kinds: Sequence[str], coloured: Sequence[str]
) -> str:
    """One bar a version, its parts the kinds of failure; those without a colour come last."""
    with drawing():
        return _failures(by_version, kinds, coloured)


def _losses(losses: Mapping[str, Mapping[str, Curve]]) -> str:
    from matplotlib.figure import Figure

    if not losses:
        return ""
    figure = Figure(figsize=(3.1 * max(2, len(losses)), 2.5), layout="constrained")
    panels = figure.subplots(1, len(losses), sharey=True, squeeze=False)[0]
    for i, (panel, (name, curves)) in enumerate(zip(panels, losses.items(), strict=True)):
        colour = SERIES[i % len(SERIES)]
        if training := curves.get("training"):
            panel.plot(*zip(*training, strict=True), color=colour, linewidth=2)
        if validation := curves.get("validation"):
            dots = {"linestyle": "none", "marker": "o", "markersize": 5, "clip_on": False}
            panel.plot(*zip(*validation, strict=True), color=colour, **dots)
        panel.set_title(label(name), color=INK, fontsize=11, loc="left", parse_math=False)
        panel.set_xlabel("step", color=INK, fontsize=9)
        panel.grid(axis="y", color=FAINT, linewidth=1)
        plain_axes(panel)
    panels[0].set_ylabel("loss", color=INK, fontsize=9)
    panels[0].set_ylim(bottom=0)
    return to_svg(figure, "Loss by step")


def _differences(found: Sequence[Difference], margin: float, reach: float) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, 0.75 + 0.34 * len(found)), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(-margin, margin, color=BAND, linewidth=0)
    axes.axvline(0, color=INK, linewidth=1)
    for i, one in enumerate(found):
        colour = VERDICTS[one.verdict]
        if one.interval is not None:
            ends = [one.interval.low * 100, one.interval.high * 100]
            axes.plot(ends, [i, i], color=colour, linewidth=2.2, solid_capstyle="round")
        if one.value is not None:
            _dot(axes, one.value * 100, i, colour, one.verdict)
    axes.set_yticks(range(len(found)), [label(one.suite) for one in found], parse_math=False)
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.set_xlim(-reach, reach)
    axes.xaxis.set_major_formatter(
        lambda value, _: f"{value:+.0f}".replace("-", "−") if value else "0"
    )
    axes.grid(axis="x", color=FAINT, linewidth=1)
    axes.set_axisbelow(True)
    plain_axes(axes)
    axes.tick_params(axis="y", labelsize=11, pad=8)
    axes.set_xlabel("points", color=INK, fontsize=9)
    return to_svg(figure, "Differences with their 95% intervals")


def _dot(axes: Any, x: float, y: float, colour: str, verdict: str) -> None:
    """Filled where a verdict was reached, hollow where the suite cannot tell."""
    hollow = verdict == "cannot tell"
    axes.plot(
        *([x], [y]),
        marker=_MARKERS[verdict],
        markersize=8.5 if hollow else 9.5,
        markeredgewidth=2 if hollow else 0,
        markeredgecolor=colour,
        markerfacecolor=HOLLOW if hollow else colour,
        clip_on=False,  # at the ends of the axis too it is whole
        zorder=3,
    )


def _failures(
    by_version: Mapping[str, Mapping[str, int]], kinds: Sequence[str], coloured: Sequence[str]
) -> str:
    from matplotlib.figure import Figure

    names = list(by_version)
    figure = Figure(figsize=(_WIDTH, 0.3 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots()
    for y, name in enumerate(names):
        start = 0
        for kind in kinds:
            count = by_version[name].get(kind, 0)
            colour = SERIES[coloured.index(kind)] if kind in coloured else REST
            axes.barh(y, count, left=start, height=0.62, color=colour, edgecolor=HOLLOW)
            start += count
        axes.annotate(
            f"{start:,}",
            (start, y),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=11,
            color=INK,
        )
    axes.set_yticks(range(len(names)), [label(name) for name in names], parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.08)
    axes.set_xlim(left=0)
    plain_axes(axes)
    axes.tick_params(axis="y", labelsize=11, pad=8)
    axes.set_xticks([])
    return to_svg(figure, "Failures by kind")
