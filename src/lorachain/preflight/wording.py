"""Numbers of rows, as the findings put them."""

from __future__ import annotations

from collections.abc import Sized


def of_rows(some: Sized, rows: Sized, noun: str = "row") -> str:
    """`3 of the 160 rows`; `the only row` where there is one."""
    if len(rows) == 1:
        return f"The only {noun}"
    return f"{len(some):,} of the {len(rows):,} {noun}s"
