"""The drawings of the preflight page: lengths, learning rate, tokens, the mix, memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lorachain.pages.svg import (
    FAINT,
    INK,
    SERIES,
    VERDICTS,
    drawing,
    label,
    plain_axes,
    to_svg,
)
from lorachain.preflight.inputs import Schedule
from lorachain.preflight.lengths import Lengths
from lorachain.preflight.schedule import DEAD, facts

Part = tuple[str, float, str]  # its name, its size, its colour
GONE, KEPT = VERDICTS["worse"], SERIES[2]
COLOURS = (SERIES[1], SERIES[2], SERIES[3], SERIES[0], SERIES[4])
_FAR = 5  # a limit beyond so many times the longest row would leave no room for the rows
_WIDTH = 4.9  # inches, as the report's drawings


def lengths(of: Lengths) -> str:
    """Rows by length, those over the limit in another colour; the limit is a line."""
    with drawing():
        figure, axes = _axes(2.5)
        edges, counts = of.histogram.edges, of.histogram.rows
        width = edges[1] - edges[0]
        over = _over(of)
        bars = {"width": 0.92 * width, "align": "edge", "linewidth": 0}
        within = [count - beyond for count, beyond in zip(counts, over, strict=True)]
        axes.bar(edges[:-1], within, color=KEPT, **bars)
        axes.bar(edges[:-1], over, bottom=within, color=GONE, **bars)
        if _near(of):
            axes.axvline(of.limit, color=INK, linewidth=1.4, linestyle=(0, (4, 3)))
            left = of.limit > 0.6 * max(of.lossless, of.limit)
            axes.annotate(
                f"limit {of.limit:,}",
                (of.limit, 1),
                xycoords=("data", "axes fraction"),
                xytext=(-6 if left else 6, -4),
                textcoords="offset points",
                ha="right" if left else "left",
                va="top",
                color=INK,
                fontsize=10,
            )
        axes.set_xlim(left=0, right=1.02 * max(edges[-1], of.limit) if _near(of) else None)
        _named(axes, "tokens of a row", "rows")
        return to_svg(figure, "Rows by their length in tokens")


def _over(of: Lengths) -> list[int]:
    """Rows over the limit in each bin of the histogram; one bin may hold both kinds."""
    left, found = of.over, []
    for edge, count in zip(
        reversed(of.histogram.edges[1:]), reversed(of.histogram.rows), strict=True
    ):
        found.append(min(left, count) if edge > of.limit else 0)
        left -= found[-1]
    return found[::-1]


def _near(of: Lengths) -> bool:
    return of.limit <= _FAR * max(1, of.lossless)


def rate(schedule: Schedule) -> str:
    """The learning rate over the steps; where it is under 1% of its highest at the end, in another
    colour."""
    curve = facts(schedule)["curve"]
    if not curve:
        return ""
    with drawing():
        figure, axes = _axes(2.5)
        peak = [*schedule.rates].index(schedule.peak) + 1
        live = [p for p in curve if p[0] <= peak or p[1] >= DEAD * schedule.peak]
        dead = [p for p in curve if p[0] > peak and p[1] < DEAD * schedule.peak]
        dots = {"marker": "o", "markersize": 3.5} if len(curve) <= 60 else {}
        axes.plot(*zip(*live, strict=True), color=KEPT, linewidth=2, **dots)
        if dead:
            axes.plot(*zip(*[live[-1], *dead], strict=True), color=GONE, linewidth=3)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.2g}" if value else "0")
        _named(axes, "step", "learning rate")
        return to_svg(figure, "The learning rate over the steps")


def bar(parts: Sequence[Part], title: str, *, whole: float | None = None) -> str:
    """One bar of parts. With `whole` the bar lies in a frame of that size: what there is."""
    with drawing():
        figure, axes = _axes(0.62)
        total = sum(size for _, size, _ in parts)
        start = 0.0
        for _, size, colour in parts:
            axes.barh(0, size, left=start, height=0.6, color=colour, linewidth=0)
            start += size
        if whole is not None:
            axes.barh(0, whole, height=0.92, color="none", edgecolor=INK, linewidth=1.2)
        axes.set_xlim(0, 1.015 * max(total, whole or 0.0, 1e-9))
        axes.set_ylim(-0.55, 0.55)
        plain_axes(axes)
        axes.set_xticks([])
        axes.set_yticks([])
        return to_svg(figure, title)


def mix(sources: Sequence[tuple[str, float]]) -> str:
    """One bar a source: its share of the trained tokens."""
    with drawing():
        figure, axes = _axes(0.35 + 0.36 * len(sources))
        whole = sum(size for _, size in sources) or 1.0
        for y, (_, size) in enumerate(sources):
            colour = SERIES[1] if y else KEPT
            axes.barh(y, size / whole, height=0.6, color=colour, linewidth=0)
            axes.annotate(
                f"{size / whole:.0%}",
                (size / whole, y),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=11,
                color=INK,
            )
        axes.set_yticks(range(len(sources)), [label(n) for n, _ in sources], parse_math=False)
        axes.set_ylim(len(sources) - 0.4, -0.6)
        axes.set_xlim(0, 1.12)
        plain_axes(axes)
        axes.tick_params(axis="y", labelsize=11, pad=8)
        axes.set_xticks([])
        return to_svg(figure, "Trained tokens by where their rows come from")


def _axes(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _named(axes: Any, x: str, y: str) -> None:
    axes.set_xlabel(x, color=INK, fontsize=9)
    axes.set_ylabel(y, color=INK, fontsize=9)
    axes.grid(axis="y", color=FAINT, linewidth=1)
    axes.set_axisbelow(True)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    plain_axes(axes)
