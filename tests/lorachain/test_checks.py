"""Checks by path: what holds, what does not, and which checks are themselves wrong."""

from __future__ import annotations

from typing import Any

import pytest

from lorachain.checks import check_holds, check_problem, value_at

ANSWER = {"a": {"b": [{"c": "text"}, 2.5, True, 3]}, "root": [[1]]}


@pytest.mark.parametrize(
    ("path", "value"), [("a.b[0].c", "text"), ("a.b[1]", 2.5), ("root[0][0]", 1)]
)
def test_a_path_finds_its_value(path: str, value: object) -> None:
    assert value_at(ANSWER, path) == value


def test_a_path_may_begin_in_an_array() -> None:
    assert value_at([{"x": 1}], "[0].x") == 1


@pytest.mark.parametrize("path", ["a.c", "a.b[9]", "a.b.c", "a[0]", "a.b[0].c[0]", "a.b[0].c.d"])
def test_a_path_that_leads_nowhere_holds_nothing(path: str) -> None:
    with pytest.raises((LookupError, TypeError)):
        value_at(ANSWER, path)
    assert not check_holds(ANSWER, {"path": path, "value": "t", "match": "contains"})


@pytest.mark.parametrize(
    ("check", "holds"),
    [
        ({"path": "a.b[0].c", "value": "ex", "match": "contains"}, True),
        ({"path": "a.b[0].c", "value": "ex"}, False),
        ({"path": "a.b[1]", "value": 2.4, "tolerance": 0.2}, True),
        ({"path": "a.b[1]", "value": 2.0, "tolerance": 0.2}, False),
        ({"path": "a.b[2]", "value": 1, "tolerance": 5}, False),
        ({"path": "a.b[2]", "value": 1}, False),
        ({"path": "a.b[3]", "value": 3.0}, False),
        ({"path": "a.b[3]", "value": 3, "match": "exact"}, True),
    ],
)
def test_a_check_holds(check: dict[str, Any], holds: bool) -> None:
    assert check_problem(check) is None
    assert check_holds(ANSWER, check) is holds


@pytest.mark.parametrize(
    "check",
    [
        "a",
        {"path": "a"},
        {"path": 1, "value": 1},
        {"path": "", "value": 1},
        {"path": "a.", "value": 1},
        {"path": "a[x]", "value": 1},
        {"path": "a", "value": 1, "match": "like"},
        {"path": "a", "value": 1, "match": "contains"},
        {"path": "a", "value": "1", "tolerance": 1},
        {"path": "a", "value": 1, "tolerance": 1, "match": "exact"},
        {"path": "a", "value": 1, "tolerence": 1},
    ],
)
def test_a_check_that_makes_no_sense_has_a_problem(check: object) -> None:
    assert check_problem(check)
