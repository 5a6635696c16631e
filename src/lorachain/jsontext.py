"""Where JSON stands in free text, and which numbers in it are written for people.

`find_roots` walks a model's answer once, from left to right, and cuts out every *root*: an
outermost object or array. What lies inside a root is never a root of its own, even when the outer
one is cut off or broken. On the way it notes what in object-value position is no JSON: numbers
such as `4,5` or `1.234,56`, which `variants` then rewrites. Nothing is parsed here.

Inside a root a quote closes a string only if the text goes on as JSON would (`, : } ]`, a comment,
the line's or the text's end). For valid JSON that is the ordinary rule; for an answer with quotes
that are not escaped it keeps the rest of the root from being read inside out. Every regular
expression runs forward only (possessive quantifiers), so the walk is linear in the text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

MAX_ROOTS = 16
"""Roots kept of each kind (objects, arrays); an answer of `{}{}{}...` stops there."""

MAX_FREE_NUMBERS = 4
"""Ambiguous numbers of one root whose readings are all combined (at most 2**4 variants)."""

_TAG = re.compile(r"<(?P<close>/?)think(?:ing)?>", re.IGNORECASE)
_OUTSIDE = re.compile(
    _TAG.pattern + r"""|(?P<key>["']\s*+:\s*+)?(?P<open>[{\[])""",
    re.IGNORECASE,
)
# What may follow a bracket that opens JSON, as against one in prose ("a { brace", "[note]").
_OBJECT_START = re.compile(r"""\s*+(?:\\*["'“{}/\#]|[\w$-]{1,64}+["']?\s*+:|\Z)""")
_ARRAY_START = re.compile(
    r"""\s*+(?:\\*["'“{\[\]/\#]|[-+.]?\d|(?:null|true|false|none|nan)\b|\Z)""", re.IGNORECASE
)
_INSIDE = re.compile(
    r"(?P<mark>[{}\[\],:])|(?<!:)//[^\n]*|/\*(?:.*?\*/|.*)|(?<=\s)\#\s[^\n]*"
    r"|(?P<stop>```|</think(?:ing)?>)",
    re.DOTALL | re.IGNORECASE,
)
_QUOTE = re.compile(r"""\s*+(["'])""")
_GOES_ON = r"(?:\s*+(?:[,:}\]\#]|//|/\*|\Z)|[ \t]*+[\r\n])"
_STRING_REST = {
    quote: re.compile(rf"(?:[^{quote}\\]|\\.|{quote}(?!{_GOES_ON}))*+{quote}", re.DOTALL)
    for quote in "\"'"
}
_NUMBER = re.compile(
    r"""\s*+(?P<number>[-+]?\d++(?:[.,\u0020\u00a0\u202f]\d++)*+(?P<exponent>[eE][-+]?\d++)?+)"""
    r"""(?=\s*+(?:[,}\]"'/\#]|\Z))"""
)
_NOT_A_VALUE = re.compile(
    r"\s*+(?P<name>[-+]?(?:nan|inf(?:inity)?)|undefined)(?=\s*+(?:[,}\]]|\Z))", re.IGNORECASE
)
# A root that goes on with a further key after its end was closed too early.
_GOES_ON_AFTER = re.compile(r"""\s*+[}\]]?\s*+,\s*+(["'])[^"'\n]{1,64}\1\s*+:""")
_NO_VALUE = re.compile(r"(?=\s*+(?:[,}]|\Z))")


@dataclass(frozen=True, slots=True)
class Edit:
    """A piece of a root that is no JSON, and the JSON that it can be read as, likeliest first."""

    start: int
    end: int
    readings: tuple[str, ...]
    kind: Literal["number", "null"]


@dataclass(frozen=True, slots=True)
class Root:
    """One outermost object or array. Offsets in `edits` count from the start of `text`.

    `has_keys` says that there is a colon in it, outside strings and comments.
    """

    text: str
    closed: bool
    depth: int
    has_keys: bool
    edits: tuple[Edit, ...]

    @property
    def is_object(self) -> bool:
        return self.text[0] == "{"


@dataclass(frozen=True, slots=True)
class Roots:
    """What `find_roots` found.

    `orphans` counts signs of keys that stand outside every root, as in `"b": {"c": 1}}`: parts of
    an object that has lost its beginning or was closed too early. `open_thought` says that the
    text ends inside `<think>`. The answer proper, after any thoughts, begins at `start`.
    """

    found: tuple[Root, ...]
    orphans: int
    open_thought: bool
    start: int


def find_roots(text: str) -> Roots:
    """Cut out the outermost objects and arrays of a text, in order.

    Thoughts (`<think>...</think>`, also when the opening tag was part of the prompt) are not part
    of the answer. Brackets of prose are passed over; fences and prose around a root need no care,
    and a fence that ends inside a root ends the root, unclosed.
    """
    found: list[Root] = []
    earlier: list[Root] = []
    room = {"{": MAX_ROOTS, "[": MAX_ROOTS}
    orphans, start = 0, _after_headless_thought(text)
    pos = start
    while token := _OUTSIDE.search(text, pos):
        pos = token.end()
        if token["open"] is None:
            if not token["close"]:
                end = _thought_end(text, pos)
                if end is None:
                    return Roots(tuple(found or earlier), orphans, True, len(text))
                pos = end
            # The answer is what follows the last thought, and only if nothing does, what stood
            # before it; what stood before a lone closing tag was thought.
            earlier = [] if token["close"] else found or earlier
            found = []
            orphans, start = 0, pos
            room = {"{": MAX_ROOTS, "[": MAX_ROOTS}
            continue
        opening, bracket = pos - 1, token["open"]
        if not (_OBJECT_START if bracket == "{" else _ARRAY_START).match(text, pos):
            continue
        root, pos = _cut_root(text, opening)
        if root is None:
            continue
        if token["key"]:
            orphans += 1
            continue
        if root.closed and _GOES_ON_AFTER.match(text, pos):
            orphans += 1
        if room[bracket]:
            room[bracket] -= 1
            found.append(root)
    return Roots(tuple(found or earlier), orphans, False, start)


def _after_headless_thought(text: str) -> int:
    """Where the answer starts if its first tag is `</think>`: chat templates write `<think>`."""
    tag = _TAG.search(text)
    if tag is None or not tag["close"] or text.lstrip()[:1] in ("{", "[", '"', "`"):
        return 0
    return tag.end()


def _thought_end(text: str, pos: int) -> int | None:
    for tag in _TAG.finditer(text, pos):
        if tag["close"]:
            return tag.end()
    return None


def _cut_root(text: str, start: int) -> tuple[Root | None, int]:
    """Follow one root from its opening bracket; returns it with the position after it.

    None in place of the root says that a thought ended inside it.
    """
    stack: list[str] = []
    opened = {"{": 0, "[": 0}
    edits: list[Edit] = []
    depth, has_keys, pos = 0, False, start
    while token := _INSIDE.search(text, pos):
        mark, pos = token["mark"], token.end()
        if token["stop"]:
            if token["stop"] != "```":
                return None, token.start()
            break
        if mark in ("{", "["):
            stack.append(mark)
            opened[mark] += 1
            depth = max(depth, len(stack))
        elif mark in ("}", "]"):
            opener = "{" if mark == "}" else "["
            if not opened[opener]:
                continue
            # A closing bracket closes what was left open inside it.
            while (last := stack.pop()) != opener:
                opened[last] -= 1
            opened[opener] -= 1
            if not stack:
                return Root(text[start:pos], True, depth, has_keys, tuple(edits)), pos
            continue
        has_keys = has_keys or mark == ":"
        if mark == ":" or stack[-1] == "[":
            edits.extend(_edit(text, pos, start, number=stack[-1] == "{"))
        if quote := _QUOTE.match(text, pos):
            rest = _STRING_REST[quote[1]].match(text, quote.end())
            if rest is None:
                pos = len(text)
                break
            pos = rest.end()
    else:
        pos = len(text)
    end = token.start() if token and token["stop"] else len(text)
    return Root(text[start:end].rstrip(), False, depth, has_keys, tuple(edits)), pos


def _edit(text: str, pos: int, start: int, *, number: bool) -> Iterator[Edit]:
    """The edit for the value that begins at `pos`, if it is no JSON: at most one."""
    if number and (match := _NUMBER.match(text, pos)):
        if readings := number_readings(match["number"]):
            yield Edit(match.start("number") - start, match.end() - start, readings, "number")
    elif match := _NOT_A_VALUE.match(text, pos):
        yield Edit(match.start("name") - start, match.end() - start, ("null",), "null")
    elif number and _NO_VALUE.match(text, pos):
        yield Edit(pos - start, pos - start, (" null",), "null")


def number_readings(written: str) -> tuple[str, ...]:
    """How a number with separators can be read, as JSON literals, thousands before decimals.

    `4,5` and `1.234,56` have one reading, `1,000` has two, `1,5,2` has none, and neither has what
    JSON reads by itself: `1.234` stays one and a bit.
    """
    parsed = re.fullmatch(r"([-+]?)([^eE]+)([eE].+)?", written)
    if parsed is None:
        return ()
    sign, body, exponent = parsed[1].replace("+", ""), parsed[2], parsed[3] or ""
    groups, separators = re.split(r"\D", body), re.findall(r"\D", body)
    if written[0] != "+" and separators in ([], ["."]):
        return ()
    *heads, last = groups
    if not separators:
        return (sign + body + exponent,) if _plain(body) else ()
    readings = []
    if separators != ["."] and not exponent and _grouped(groups, separators):
        readings.append(sign + "".join(groups))
    if separators[-1] in ".," and separators[-1] not in separators[:-1]:
        whole = "".join(heads)
        if _plain(whole) and (len(heads) == 1 or _grouped(heads, separators[:-1])):
            readings.append(f"{sign}{whole}.{last}{exponent}")
    return tuple(readings)


def _plain(digits: str) -> bool:
    return digits == "0" or not digits.startswith("0")


def _grouped(groups: list[str], separators: list[str]) -> bool:
    """Whether groups of digits are thousands: one separator throughout, three digits in each."""
    first, *rest = groups
    return (
        len(set(separators)) == 1
        and len(first) <= 3
        and not first.startswith("0")
        and all(len(group) == 3 for group in rest)
    )


def variants(root: Root, *, nulls: bool = False) -> Iterator[str]:
    """The root's text with its numbers rewritten as JSON, likeliest reading first.

    An ambiguous number (`1,000`) is read as thousands first, unless another number of the root
    shows that its writer sets decimals off by a comma. `nulls` also rewrites NaN, Infinity,
    undefined and missing values as null, so that a repair does not make strings of them.
    """
    edits = [edit for edit in root.edits if nulls or edit.kind == "number"]
    free = [edit for edit in edits if len(edit.readings) > 1]
    choices = [edit.readings for edit in edits]
    if any(_decimal_comma(root.text[edit.start : edit.end], edit) for edit in edits):
        choices = [readings[::-1] for readings in choices]
    if len(free) <= MAX_FREE_NUMBERS:
        combined: Iterator[tuple[str, ...]] = itertools.product(*choices)
    else:
        combined = iter((tuple(c[0] for c in choices), tuple(c[-1] for c in choices)))
    for chosen in combined:
        yield _rewritten(root.text, edits, chosen)


def _decimal_comma(written: str, edit: Edit) -> bool:
    return (
        len(edit.readings) == 1
        and "." in edit.readings[0]
        and written.rfind(",") > written.rfind(".")
    )


def _rewritten(text: str, edits: list[Edit], chosen: tuple[str, ...]) -> str:
    pieces, pos = [], 0
    for edit, reading in zip(edits, chosen, strict=True):
        pieces += [text[pos : edit.start], reading]
        pos = edit.end
    return "".join([*pieces, text[pos:]])
