"""The report as text: whole, in order, offline, and whatever an answer holds stays text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import report_example

from lorachain.evaluation.regressions import MAX_SHOWN, regressions
from lorachain.evaluation.report import render_comparison, write_report
from lorachain.evaluation.report_views import Matrices, failures, pair_views, settings_table
from lorachain.evaluation.score import LENIENT
from lorachain.pages.page import script_json

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(1)> \" ' & ]]> <!-- "
    "{{ 7*7 }} {% raw %} $x^{ $ \u2028 \u202e \u05d0 \ud800 --></style>"
)
VOID = {"meta", "br", "wbr", "input", "img", "link", "hr"}


class Reader(HTMLParser):
    """The elements, their attributes and their text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag in self.inside:
            self.inside[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.inside:
            self.inside[self._open[-1]][-1] += data
        else:
            self.text += data


@cache
def example() -> str:
    return report_example.page()


@cache
def hostile() -> str:
    comparison, rows = report_example.hostile(HOSTILE)
    advice = [
        {"title": HOSTILE, "holds": h, "evidence": [HOSTILE], "do": HOSTILE, "config_yaml": HOSTILE}
        for h in ("yes", "no", "unknown")
    ]
    losses = {HOSTILE: {"training": [(1, 2.0), (2, 1.0)]}}
    facts = {HOSTILE: HOSTILE}
    return render_comparison(
        comparison, rows, title=HOSTILE, facts=facts, losses=losses, advice=advice
    )


def test_hostile_text_stays_text() -> None:
    found = Reader(hostile())
    names = [tag for tag, _ in found.tags]
    assert not {"img", "iframe", "object", "link", "base"} & set(names)
    assert names.count("script") == 2 and names.count("style") == 1
    assert not [attrs for _, attrs in found.tags if any(key.startswith("on") for key in attrs)]
    assert found.text.count("<script>alert(1)</script>") > 40
    assert "{{ 7*7 }}" in found.text and "49" not in found.text


def test_the_answers_are_there_word_for_word() -> None:
    data = json.loads(Reader(hostile()).inside["script"][0])
    seen = HOSTILE.replace("\ud800", "\ufffd")  # what UTF-8 cannot write
    (row,) = data["rows"]
    assert row[1] == seen and data["texts"] == [seen]
    assert row[5][0][0] == seen and row[5][1][0] == f"{seen} changed {seen}"


def test_a_page_can_be_written_whatever_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(path, hostile())
    assert path.read_bytes().decode("utf-8").startswith("<!doctype html>")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("page", [example, hostile])
def test_nothing_is_fetched_and_no_style_attribute_is_needed(page: Any) -> None:
    for _, attrs in Reader(page()).tags:
        assert not {"src", "srcset", "action", "data", "style"} & attrs.keys()
        for key in ("href", "xlink:href"):
            assert (attrs.get(key) or "#").startswith("#")
    style = "".join(Reader(page()).inside["style"])
    assert not re.search(r"@import|url\(", style)


def test_the_policy_allows_this_style_and_this_script_alone() -> None:
    found = Reader(example())
    policy = next(a["content"] for t, a in found.tags if a.get("http-equiv"))
    assert policy is not None and policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy and "http" not in policy
    for name, text in (("style", found.inside["style"][0]), ("script", found.inside["script"][1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy


def test_the_parts_stand_in_their_order() -> None:
    html = example()
    parts = ("verdict", "forgetting", "differences", "failures", "regressions", "answers")
    places = [html.index(f'<section id="{part}"') for part in (*parts, "advice", "settings")]
    assert places == sorted(places)


def test_every_element_is_closed() -> None:
    open_tags: list[str] = []

    class Closed(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            if tag not in VOID:
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Closed().feed(example())
    assert open_tags == []


def test_the_newest_versions_verdict_comes_first() -> None:
    views = pair_views(report_example.comparison())
    assert [(v.overall.earlier, v.overall.later) for v in views] == [
        ("v2", "v3"),
        ("base", "v3"),
        ("v1", "v2"),
        ("base", "v2"),
        ("base", "v1"),
    ]
    assert [line.suite for line in views[0].suites] == list(report_example.RIGHT)
    verdicts = {line.difference.verdict for line in views[0].suites}
    assert verdicts == {"better", "worse", "equivalent", "cannot tell"}
    assert "v3 is better than v2 on some suites and worse on others." in example()


def test_the_heat_map_shows_every_cell_and_marks_each_versions_own_suite() -> None:
    rows = Matrices(report_example.comparison()).headline()
    assert [row.name for row in rows] == list(report_example.RIGHT)
    own = [(row.name, i) for row in rows for i, cell in enumerate(row.cells) if cell.own]
    assert own == [("generation1_v1", 1), ("generation2_v1", 2), ("generation3_v1", 3)]
    assert rows[0].cells[0].level == 0
    assert all(cell.level is not None for row in rows for cell in row.cells)


def test_what_could_not_be_scored_is_not_zero() -> None:
    found = report_example.comparison()
    cells = [replace(c, scored=0, value=None, interval=None) for c in found.cells]
    matrices = Matrices(replace(found, cells=cells))
    assert {cell.level for row in matrices.headline() for cell in row.cells} == {None}
    html = render_comparison(replace(found, cells=cells), [], title="t")
    assert "could not be scored" in html and "<b>0%</b>" not in html


def test_strict_stands_beside_lenient_and_nothing_is_shown_twice() -> None:
    matrices = Matrices(report_example.comparison())
    assert matrices.pairs() == list(LENIENT.items())
    assert matrices.others() == ["fields", "exact_fields"]


def test_failures_are_counted_by_version_and_by_suite() -> None:
    found = failures(report_example.comparison())
    known = report_example.comparison().failures
    total = sum(sum(kinds.values()) for kinds in known["v3"].values())
    assert sum(found.by_version["v3"].values()) == total > 0
    assert len(found.coloured) == 6 < len(found.kinds)
    table = dict(found.by_suite["general_v1"])
    assert table["cut"] == [known[v]["general_v1"].get("cut", 0) for v in report_example.VERSIONS]


def test_regressions_are_side_by_side_and_the_unmended_come_first() -> None:
    comparison = report_example.comparison()
    found = regressions(comparison, report_example.rows())
    assert [by.version for by in found] == ["v3", "v2"]
    for by in found:
        mended = [one.broken.until is not None for one in by.shown]
        assert mended == sorted(mended) and sum(mended) == by.mended
        for one in by.shown:
            assert one.before.passed and one.after.passed is False
            assert any(piece.kind == "changed" for piece in [*one.left, *one.right])
    html = example()
    assert "<del>" in html and "<ins>" in html and "mended in v3" in html


def test_thousands_of_regressions_do_not_make_the_page_endless() -> None:
    comparison, rows = report_example.comparison(), report_example.rows()
    one = next(b for b in comparison.broken if b.by == "v3")
    (found,) = regressions(replace(comparison, broken=[one] * (MAX_SHOWN + 30)), rows)
    assert (found.count, len(found.shown)) == (MAX_SHOWN + 30, MAX_SHOWN)
    assert regressions(comparison, [])[0].shown == []


def test_settings_that_differ_come_first_and_are_marked() -> None:
    comparison = report_example.comparison()
    versions = [
        replace(v, settings={**v.settings, "dtype": "fp32" if v.name == "v3" else "bf16"})
        for v in comparison.versions
    ]
    found = settings_table(replace(comparison, versions=versions))
    assert found[0] == ("dtype", ["bf16", "bf16", "bf16", "fp32"], True)
    assert not any(differ for *_, differ in found[1:])
    assert ("decoding.max_new_tokens", ["512"] * 4, False) in found
    html = render_comparison(replace(comparison, versions=versions), [], title="t")
    assert 'class="differs">dtype' in html


def test_advice_that_holds_stands_before_what_is_to_be_measured() -> None:
    html = example()
    assert html.index("✓ holds") < html.index("? not known yet") < html.index("– does not hold")
    assert "share: 0.2" in html
    yes = [{"title": "t", "holds": True}]  # as a YAML reader has it
    assert "✓ holds" in render_comparison(report_example.comparison(), [], title="t", advice=yes)


def test_the_vote_beside_it_is_named_where_there_is_one() -> None:
    html = report_example.page(vote="blind vote.html")
    assert '<a href="blind%20vote.html">the blind vote</a>' in html
    assert "blind vote" not in example()


def test_what_is_not_given_is_left_out() -> None:
    found = report_example.comparison()
    bare = replace(
        found, differences=[], overall=[], broken=[], backward_transfer={}, failures={}, notes=[]
    )
    html = render_comparison(bare, [], title="Nothing", losses={})
    for gone in ("<svg role", 'id="advice"', "Bear in mind", "Loss while training", "<del>Mar"):
        assert gone not in html
    assert "Nothing: no version fails" in html and "No answer failed" in html


def test_drawings_take_their_colours_from_the_page() -> None:
    drawings = re.findall(r"<svg [^>]*role=\"img\".*?</svg>", example(), flags=re.DOTALL)
    assert len(drawings) == 7  # five pairs, failures, losses
    text = "".join(drawings)
    for name in ("better", "worse", "equivalent", "cannot", "band", "series-1", "ink-2"):
        assert f"var(--{name})" in text
    assert "#0102" not in text and "font-family" not in text


def test_json_in_a_page_cannot_end_its_element() -> None:
    text = str(script_json({"a": "</script><!-- & \u2028\u2029"}))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"a": "</script><!-- & \u2028\u2029"}
