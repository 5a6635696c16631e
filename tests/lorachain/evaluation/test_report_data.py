"""From scored answers to what the page holds: nothing lost, nothing that JSON does not know."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import report_example

from lorachain.evaluation.report_data import AnswerRow, VersionAnswer, as_json


def test_every_item_has_every_versions_answer() -> None:
    rows, evaluation = report_example.rows(), report_example.evaluation()
    assert len(rows) == sum(len(suite.items) for suite in evaluation.suites) == 364
    assert all(set(row.answers) == set(report_example.VERSIONS) for row in rows)
    first, item = rows[0], evaluation.suites[0].items[0]
    assert (first.suite, first.item, first.task) == ("generation1_v1", item.id, item.task)
    assert first.question == item.question and first.wanted is not None
    assert json.loads(first.wanted) == item.reference


def test_passed_is_what_the_headline_says() -> None:
    comparison = report_example.comparison()
    for suite in comparison.suites:
        for version in report_example.VERSIONS:
            passed = [
                row.answers[version].passed
                for row in report_example.rows()
                if row.suite == suite.name
            ]
            cell = comparison.cell(version, suite.name)
            assert cell is not None
            assert cell.value == pytest.approx(sum(map(bool, passed)) / len(passed))


def test_failures_are_those_of_the_comparison() -> None:
    counts: dict[str, int] = {}
    for row in report_example.rows():
        if row.suite == "general_v1" and (kind := row.answers["v3"].failure):
            counts[kind] = counts.get(kind, 0) + 1
    assert counts == report_example.comparison().failures["v3"]["general_v1"]


def test_the_same_text_is_there_once() -> None:
    answer = VersionAnswer("long text", tokens=3, passed=True)
    answers = {"a": answer, "b": answer, "c": replace(answer, text="other", finish="length")}
    row = AnswerRow("s", "1", None, [("user", "?")], None, answers)
    found = as_json([row, replace(row, item="2")], ["a", "b", "c", "d"])
    assert found["texts"] == ["?"]
    (suite, item, task, turns, wanted, made), second = found["rows"]
    assert (suite, item, task, turns, wanted) == (0, "1", None, [["user", 0]], None)
    assert [a and a[:4] for a in made] == [
        ["long text", 0, 3, 1],
        [0, 0, 3, 1],
        ["other", 1, 3, 1],
        None,
    ]
    assert second[1] == "2" and second[5] == made


def test_a_score_that_is_no_number_is_left_out() -> None:
    scores = {"good": 0.51239, "nan": float("nan"), "endless": float("inf"), "right": True}
    row = AnswerRow("s", "1", None, [], None, {"a": VersionAnswer("", scores=scores)})
    assert as_json([row], ["a"])["rows"][0][5][0][6] == {"good": 0.5124, "right": 1}
    assert row.question == ""
