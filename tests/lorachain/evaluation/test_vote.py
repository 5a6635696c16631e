"""The blind vote: nothing tells whose answer it is, and the file holds what was voted."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import report_example

from lorachain.errors import UserError
from lorachain.evaluation.report import write_report
from lorachain.evaluation.report_data import AnswerRow
from lorachain.evaluation.vote import render_vote


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'type="application/json">(.*?)</script>', html, flags=re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def vote(rows: list[AnswerRow], **how: Any) -> dict[str, Any]:
    return data_of(render_vote(rows, "v2", "v3", title="Blind", **how))


def test_only_items_with_different_answers_are_asked() -> None:
    rows = report_example.rows()
    found = vote(rows)
    different = [r for r in rows if r.answers["v2"].text != r.answers["v3"].text]
    assert found["different"] == len(different) == len(found["items"])
    assert found["equal"] == len(rows) - len(different)
    assert {(i["suite"], i["item"]) for i in found["items"]} == {
        (r.suite, r.item) for r in different
    }


def test_sides_and_items_are_in_an_order_drawn_by_lot() -> None:
    rows = report_example.rows()
    first, again, other = vote(rows), vote(rows), vote(rows, seed=1)
    assert first == again and first["page"] != other["page"]
    sides = Counter(item["first"] for item in first["items"])
    assert min(sides.values()) > 0.35 * sum(sides.values())
    known = {(row.suite, row.item): row for row in rows}
    for item in first["items"]:
        row = known[item["suite"], item["item"]]
        texts = [row.answers["v2"].text, row.answers["v3"].text]
        assert item["texts"] == (texts[::-1] if item["first"] else texts)


def test_a_long_list_is_cut_by_lot() -> None:
    found = vote(report_example.rows(), most=10)
    assert len(found["items"]) == 10 < found["different"]


def test_what_is_shown_names_no_version(tmp_path: Path) -> None:
    html = render_vote(report_example.rows(), "v2", "v3", title="Blind")
    outside = re.sub(r"<(script|style).*?</\1>", "", html, flags=re.DOTALL)
    assert "v2" not in outside and "v3" not in outside


def test_equal_answers_leave_nothing_to_vote_on() -> None:
    rows = [
        replace(row, answers={**row.answers, "v3": row.answers["v2"]})
        for row in report_example.rows()[:3]
    ]
    with pytest.raises(UserError, match="nothing to vote on: v2 and v3 answered 3 items"):
        render_vote(rows, "v2", "v3", title="Blind")


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    text = "</script><script>alert(1)</script> \u2028 \ud800"
    _, rows = report_example.hostile(text)
    first, second = rows[0].answers
    html = render_vote(rows, first, second, title=text)
    assert html.count("<script>") == 1 and "<script>alert" not in html
    assert data_of(html)["items"][0]["turns"][1] == ["user", text.replace("\ud800", "\ufffd")]
    write_report(tmp_path / "vote.html", html)
