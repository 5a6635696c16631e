"""Every row of the fault matrix has a test that bears its number, and a line in the docs."""

from __future__ import annotations

import ast
import re

from lorachain.paths import PROJECT_ROOT

ROWS = set(range(1, 26))


def row_numbers() -> set[int]:
    """The numbers in the names of the tests in this folder."""
    names = {
        node.name
        for path in (PROJECT_ROOT / "tests" / "faults").glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    return {int(found[1]) for name in names if (found := re.match(r"test_row_(\d\d)_\w", name))}


def test_every_row_has_a_test() -> None:
    assert ROWS - row_numbers() == set()


def test_every_row_is_in_the_docs_and_each_is_answered() -> None:
    text = (PROJECT_ROOT / "docs" / "fault-matrix.md").read_text(encoding="utf-8")
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and cells[0].isdigit():
            rows[int(cells[0])] = cells
    assert set(rows) == ROWS
    for number, cells in rows.items():
        assert len(cells) == 5 and all(cells), number
        assert cells[2] != "-", number
