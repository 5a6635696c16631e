"""Loss curves as SVG that takes its colours from the page, so that it fits both themes."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence

# Colours that stand for the page's own. The version's colours follow in order.
_INK, _FAINT = "#010203", "#010204"
_LINES = ("#010211", "#010212", "#010213", "#010214", "#010215", "#010216")
_VARIABLES = {_INK: "var(--ink-2)", _FAINT: "var(--line)"} | {
    colour: f"var(--series-{i})" for i, colour in enumerate(_LINES, start=1)
}


def loss_curves(losses: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]) -> str:
    """One panel a version: training loss as a line, validation loss as dots, one shared scale."""
    import matplotlib

    style = {"svg.fonttype": "none", "svg.hashsalt": "lorachain", "font.family": "sans-serif"}
    with matplotlib.rc_context(style):
        return _draw({name: curves for name, curves in losses.items() if any(curves.values())})


def _draw(losses: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]) -> str:
    from matplotlib.figure import Figure

    if not losses:
        return ""
    figure = Figure(figsize=(3.1 * max(2, len(losses)), 2.5), layout="constrained")
    panels = figure.subplots(1, len(losses), sharey=True, squeeze=False)[0]
    for i, (panel, (name, curves)) in enumerate(zip(panels, losses.items(), strict=True)):
        colour = _LINES[i % len(_LINES)]
        if training := curves.get("training"):
            panel.plot(*zip(*training, strict=True), color=colour, linewidth=2)
        if validation := curves.get("validation"):
            panel.plot(
                *zip(*validation, strict=True),
                color=colour,
                linestyle="none",
                marker="o",
                markersize=5,
            )
        panel.set_title(name, color=_INK, fontsize=11, loc="left", parse_math=False)
        panel.set_xlabel("step", color=_INK, fontsize=9)
        panel.grid(axis="y", color=_FAINT, linewidth=1)
        panel.tick_params(colors=_INK, labelsize=9, length=0)
        for side in panel.spines.values():
            side.set_visible(False)
    panels[0].set_ylabel("loss", color=_INK, fontsize=9)
    panels[0].set_ylim(bottom=0)
    figure.patch.set_alpha(0)
    for panel in panels:
        panel.patch.set_alpha(0)
    return _themed(figure)


def _themed(figure: object) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})  # type: ignore[attr-defined]
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return re.sub(r'width="[^"]*pt" height="[^"]*pt" ', 'role="img" ', svg, count=1)
