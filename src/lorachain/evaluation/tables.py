"""Results as text tables that line up in a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

SCORE_COLUMNS = {
    "strict": "strict",
    "parse": "parse",
    "schema_valid": "schema",
    "task_valid": "task",
    "strict_task_valid": "strict task",
    "fields": "fields",
}


def format_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns that line up: the first to the left, numbers to the right. None is shown as `-`."""
    texts = [[_cell(value) for value in row] for row in rows]
    right = [
        all(not isinstance(row[i], str) for row in rows) if rows else False
        for i in range(len(headers))
    ]
    widths = [
        max(map(display_width, [header, *(row[i] for row in texts)]))
        for i, header in enumerate(headers)
    ]

    def line(cells: Sequence[str]) -> str:
        padded = [
            " " * (width - display_width(cell)) + cell
            if to_right
            else cell + " " * (width - display_width(cell))
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        ]
        return "  ".join(padded).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([line(list(headers)), rule, *map(line, texts)])


def summary_table(summary: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Version x suite: {version: {suite: its summary}}.

    Rates stand only where something could be scored, the scorers' own after them; `cut` counts
    answers that ended at the limit.
    """
    rows = [
        (version, suite, found)
        for version, suites in summary.items()
        for suite, found in suites.items()
    ]
    scores = [key for key in SCORE_COLUMNS if any(found[key] is not None for *_, found in rows)]
    own = list(dict.fromkeys(name for *_, found in rows for name in found.get("values", ())))
    headers = ["version", "suite", "n", *(SCORE_COLUMNS[key] for key in scores), *own]
    cells = [
        (
            *(version, suite, found["n"], *(found[key] for key in scores)),
            *(found.get("values", {}).get(name) for name in own),
            *(found["finish"]["length"], found["input_tokens"], found["output_tokens"]),
        )
        for version, suite, found in rows
    ]
    return format_table([*headers, "cut", "tokens in", "tokens out"], cells)


def rate(value: float | None) -> str:
    """A rate as people compare it: `.95`, `1.0`, `0`, and `-` for what could not be scored.

    Never rounded up to 1.0 or down to 0: 199 of 200 is not all of them.
    """
    if value is None:
        return "-"
    if value in (0, 1):
        return "0" if value == 0 else "1.0"
    return f"{min(max(value, 0.005), 0.994):.2f}".removeprefix("0")


def display_width(text: str) -> int:
    """Terminal columns of a text: wide East Asian letters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if value is None or isinstance(value, float):
        return rate(value)
    return str(value)
