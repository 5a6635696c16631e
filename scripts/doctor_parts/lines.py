"""What the doctor found, line by line, and how it is shown: as one screen, or as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from doctor_parts.secret import Masker

OK, WARNING, ERROR = "ok", "warning", "error"
_MARKS = {OK: "✓", WARNING: "!", ERROR: "✗"}
_COLOURS = {OK: "\x1b[32m", WARNING: "\x1b[33m", ERROR: "\x1b[31m"}
_PLAIN = "\x1b[0m"
_SIZES = (("GB", 1e9), ("MB", 1e6))


@dataclass(frozen=True)
class Line:
    """One check. `do` is what to do about it, `command` the exact command for that, if any."""

    check: str
    state: str
    found: str
    do: str = ""
    command: str = ""


@dataclass(frozen=True)
class Screen:
    """Where the lines are shown."""

    width: int = 100
    symbols: bool = False
    """The stream can show more than ASCII."""
    colour: bool = False


def render(lines: Sequence[Line], screen: Screen) -> str:
    """All lines, aligned and wrapped, and a last one that counts. Commands are never wrapped."""
    name = max([len(line.check) for line in lines] or [0])
    indent = 4 + len(WARNING) + 2 + name + 2 if screen.symbols else 2 + len(WARNING) + 2 + name + 2
    shown: list[str] = []
    for line in lines:
        mark = f"{_MARKS[line.state]} " if screen.symbols else ""
        head = f"  {mark}{line.state:<{len(WARNING)}}"
        if screen.colour:
            head = f"{_COLOURS[line.state]}{head}{_PLAIN}"
        text = _wrapped(line.found, screen.width - indent)
        shown.append(f"{head}  {line.check:<{name}}  {text[0]}")
        rest = text[1:]
        if line.do:
            arrow = "→ " if screen.symbols else "-> "
            first, *more = _wrapped(line.do, screen.width - indent - len(arrow))
            rest += [arrow + first, *(" " * len(arrow) + one for one in more)]
        if line.command:
            rest.append("     " + line.command)
        shown += [" " * indent + one for one in rest]
    return "\n".join([*shown, "", conclusion(lines)])


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 30), break_long_words=False, break_on_hyphens=False) or [
        "-"
    ]


def conclusion(lines: Sequence[Line]) -> str:
    """One sentence on all of them."""
    errors, warnings = count(lines, ERROR), count(lines, WARNING)
    if not errors and not warnings:
        return "Everything is in order."
    parts = [
        f"{number} {word}{'' if number == 1 else 's'}"
        for number, word in ((errors, ERROR), (warnings, WARNING))
        if number
    ]
    return ", ".join(parts) + ("." if errors else ": nothing that stops a training.")


def count(lines: Sequence[Line], state: str) -> int:
    return sum(line.state == state for line in lines)


def as_json(lines: Sequence[Line]) -> str:
    """The same for programs. ASCII alone, so that no console can spoil it."""
    whole = {
        "format": 1,
        "ok": count(lines, ERROR) == 0,
        "errors": count(lines, ERROR),
        "warnings": count(lines, WARNING),
        "lines": [asdict(line) for line in lines],
    }
    return json.dumps(whole, indent=2)


def without_secrets(lines: Sequence[Line], environment: Mapping[str, str]) -> list[Line]:
    """The lines with every token and password in them masked."""
    mask = Masker(environment)
    return [
        replace(line, found=mask(line.found), do=mask(line.do), command=mask(line.command))
        for line in lines
    ]


def size(count_of_bytes: float) -> str:
    """Such as 12.3 GB (of 10^9 bytes) or 850 MB."""
    unit, scale = next((one for one in _SIZES if count_of_bytes >= one[1]), _SIZES[-1])
    return f"{count_of_bytes / scale:.{1 if unit == 'GB' else 0}f} {unit}"
