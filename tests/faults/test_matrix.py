"""Every row of the fault matrix has a test that bears its number, and a line in the docs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from lorachain.paths import PROJECT_ROOT

TESTS = PROJECT_ROOT / "tests"
TEXT = (PROJECT_ROOT / "docs" / "fault-matrix.md").read_text(encoding="utf-8")
ROWS = set(range(1, 31))
ELSEWHERE = {27, 28, 29}  # launchers and set-up: their tests stand with those of the scripts


def row_numbers(path: Path) -> set[int]:
    """The numbers in the names of a file's tests."""
    names = {
        node.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    return {int(found[1]) for name in names if (found := re.match(r"test_row_(\d\d)_\w", name))}


def all_numbers(files: list[Path]) -> set[int]:
    """The numbers in the names of the tests of several files."""
    return set().union(*map(row_numbers, files))


def named() -> list[tuple[str, set[int]]]:
    """The files that the docs name for rows 26 to 30, each with the rows that it is to hold."""
    part = TEXT[TEXT.index("Rows 26 to 30 are held by") :]
    found = []
    for files, numbers in re.findall(r"((?:`tests/[^()]*?)+)\(([\d, ]+)\)", part):
        rows = {int(number) for number in numbers.split(",")}
        found += [(name, rows) for name in re.findall(r"`(tests/[^`]+)`", files)]
    return found


def test_every_row_has_a_test() -> None:
    assert ROWS - ELSEWHERE - all_numbers([*(TESTS / "faults").glob("test_*.py")]) == set()
    assert ELSEWHERE - all_numbers([*(TESTS / "scripts").glob("test_*.py")]) == set()
    # What Windows alone does is tried under a Windows Python.
    assert all_numbers([*(TESTS / "windows").glob("test_*.py")]) >= {26, 27, 28}


@pytest.mark.parametrize(("name", "rows"), named())
def test_a_file_that_the_docs_name_holds_its_rows(name: str, rows: set[int]) -> None:
    assert row_numbers(PROJECT_ROOT / name) >= rows


def test_the_docs_name_a_file_for_each_of_the_last_rows() -> None:
    assert set().union(*(rows for _, rows in named())) == set(range(26, 31))


def test_every_row_is_in_the_docs_and_each_is_answered() -> None:
    rows = {}
    for line in TEXT.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and cells[0].isdigit():
            rows[int(cells[0])] = cells
    assert set(rows) == ROWS
    for number, cells in rows.items():
        assert len(cells) == 5 and all(cells), number
        assert cells[2] != "-", number
