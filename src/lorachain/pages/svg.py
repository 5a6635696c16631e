"""matplotlib figures as SVG for a page: its colours, its fonts, and no style attributes.

A drawing names colours that stand for the page's own, so that it follows the theme. Style
attributes and elements become attributes, because the page's policy allows no other style.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

INK, FAINT, BAND, HOLLOW, REST = "#010203", "#010204", "#010205", "#010206", "#010207"
SERIES = tuple(f"#0102{10 + i}" for i in range(1, 7))
VERDICTS = {
    "better": "#010221",
    "worse": "#010222",
    "equivalent": "#010223",
    "cannot tell": "#010224",
}
_VARIABLES = {
    INK: "--ink-2",
    FAINT: "--line",
    BAND: "--band",
    HOLLOW: "--card",
    REST: "--series-rest",
    **{colour: f"--series-{i}" for i, colour in enumerate(SERIES, start=1)},
    **{colour: f"--{verdict.split()[0]}" for verdict, colour in VERDICTS.items()},
}
MAX_LABEL = 28  # characters

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_FONT = re.compile(r"(?:(\w+) )?([\d.]+px) ")  # as matplotlib before 3.10 writes it
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@contextmanager
def drawing() -> Iterator[None]:
    """Text stays text, and the same figure is the same file."""
    import matplotlib

    style = {"svg.fonttype": "none", "svg.hashsalt": "lorachain", "font.family": "sans-serif"}
    with matplotlib.rc_context(style):
        yield


def label(text: str) -> str:
    """A name as a drawing can hold it: no longer than there is room, and no characters that XML
    does not know."""
    text = _NOT_XML.sub("\ufffd", text)
    return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"


def plain_axes(axes: Any) -> None:
    """No frame, no ticks, no background; labels in the page's second ink."""
    axes.patch.set_alpha(0)
    axes.tick_params(colors=INK, labelsize=9, length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def to_svg(figure: Any, title: str) -> str:
    """The figure as an SVG element as wide as it is given room, its title for screen readers."""
    figure.patch.set_alpha(0)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(text.getvalue())
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
        parent.attrib = _attributes(parent)
    root.attrib |= {"role": "img", "aria-label": title}
    del root.attrib["width"], root.attrib["height"]
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def _attributes(element: ElementTree.Element) -> dict[str, str]:
    """An element's attributes, with what stood in its style; colours are the page's."""
    found = dict(element.attrib)
    if element.tag == f"{{{_SVG}}}g":
        found.pop("id", None)  # nothing refers to it, and every figure has the same ones
    for declaration in found.pop("style", "").split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name == "font" and (font := _FONT.match(value)):
            found["font-size"] = font[2]
            if font[1]:
                found["font-weight"] = font[1]
        elif name and name != "font-family":  # the page's own
            found[name] = value
    return {
        name: f"var({_VARIABLES[value]})" if value in _VARIABLES else value
        for name, value in found.items()
    }
