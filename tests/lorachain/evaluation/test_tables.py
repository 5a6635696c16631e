"""The report and the tables: whole, offline, and whatever an answer holds stays text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from evaluation_support import CPU, FP32

from lorachain.answers import compile_schema
from lorachain.evaluation.evaluate import (
    Evaluation,
    Version,
    evaluate_versions,
    find_version,
)
from lorachain.evaluation.generated import Decoding, Generated
from lorachain.evaluation.report import Example, ReportData, pick_examples, render_report
from lorachain.evaluation.score import Scored, score, summary
from lorachain.evaluation.suites import Item, Suite, read_suite
from lorachain.evaluation.tables import display_width, format_table, rate, summary_table
from lorachain.models import Base
from lorachain.records import Message

HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(1)> \" ' & ]]> $x^{ $"
SCHEMAS = {"any": compile_schema({"type": "object"})}
ITEM = Item(id=1, messages=(Message("user", HOSTILE),), schema="any", task=HOSTILE)


def answer(text: str) -> Scored:
    return Scored(ITEM, Generated(text, 5, 7, "length", 0.1, 8), score(text, ITEM, SCHEMAS))


def page(**changes: Any) -> str:
    answers = {"base": answer(HOSTILE), HOSTILE: answer("{}")}
    data = {
        "title": HOSTILE,
        "summary": {name: {"suite_a": summary([found])} for name, found in answers.items()},
        "facts": {HOSTILE: HOSTILE},
        "notes": [HOSTILE],
        "losses": {HOSTILE: {"training": [(1, 2.0), (2, 1.0)], "validation": [(2, 1.1)]}},
        "examples": [Example("suite_a", HOSTILE, HOSTILE, HOSTILE, answers)],
    }
    return render_report(ReportData(**data | changes))


class Reader(HTMLParser):
    """The tags, the attributes and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hostile_text_stays_text() -> None:
    found = Reader(page())
    names = {tag for tag, _ in found.tags}
    assert not names & {"script", "img", "iframe", "object", "link"}
    assert not [attrs for _, attrs in found.tags if any(key.startswith("on") for key in attrs)]
    assert found.text.count(HOSTILE) >= 8


def test_nothing_is_fetched() -> None:
    html = page()
    for _, attrs in Reader(html).tags:
        assert not {"src", "action", "data"} & attrs.keys()
        for key in ("href", "xlink:href"):
            assert (attrs.get(key) or "#").startswith("#")
    assert "default-src 'none'" in html
    assert not re.search(r"@import|url\((?!#)", html)


def test_both_themes_are_there_and_the_curves_follow_them() -> None:
    html = page()
    assert "prefers-color-scheme: dark" in html
    curves = html[html.index("<svg") : html.index("</svg>")]
    assert "var(--series-1)" in curves and "var(--ink-2)" in curves and "#0102" not in curves


def test_every_cell_stands_in_every_heat_map() -> None:
    html = page()
    assert html.count('<figure class="heat') == 4
    assert len(re.findall(r"<td ", html)) == 8
    assert "could not be scored" in html  # no item has checks, so there is no share of fields
    assert "✗ task" in html and "✓ task" in html and ">cut<" in html


def test_what_is_not_given_is_left_out() -> None:
    html = page(losses={}, examples=(), facts={}, notes=())
    assert "<svg" not in html and "same prompt" not in html


def test_an_endless_answer_is_cut_in_the_page() -> None:
    endless = {"base": answer("x" * 100_000)}
    html = page(examples=[Example("a", None, "?", None, endless)])
    assert len(html) < 60_000 and "96,000 more characters" in html


def test_the_whole_way_from_versions_to_a_page(
    tiny: Base, v1: Path, v2: Path, tmp_path: Path
) -> None:
    evaluation = evaluate_two(tiny, v1, v2, tmp_path)
    html = render_report(
        ReportData("Versions", evaluation.summary(), examples=pick_examples(evaluation, 2))
    )
    for word in ("base", "v1", "v2", "mini", "Which colour?"):
        assert word in html
    assert summary_table(evaluation.summary()).count("mini") == 3


def evaluate_two(base: Base, v1: Path, v2: Path, folder: Path) -> Evaluation:
    suite = write_suite(folder)
    versions = [Version("base"), find_version(v1), find_version(v2)]
    calls: list[tuple[str, int, int]] = []
    how: dict[str, Any] = {
        "store": folder / "store",
        "machine": CPU,
        "precision": FP32,
        "decoding": Decoding(max_new_tokens=4),
        "on_progress": lambda version, done, total: calls.append((version.name, done, total)),
    }
    first = evaluate_versions(base, versions, [suite], **how)
    assert calls == [(name, i, 2) for name in ("base", "v1", "v2") for i in (1, 2)]
    again = evaluate_versions(base, versions, [suite], **how)
    assert again.summary() == first.summary()
    assert [result.reused for result in again.versions] == [2, 2, 2]
    assert len(calls) == 6, "nothing is asked twice"
    return again


def write_suite(folder: Path) -> Suite:
    rows = [{"question": text, "schema": "envelope"} for text in ("Which colour?", "Why?")]
    path = folder / "mini.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return read_suite(path)


def test_a_table_lines_up() -> None:
    table = format_table(
        ["version", "n", "rate"], [["base", 1200, 0.0], ["文字", 3, None], ["v", 20, 0.956]]
    )
    assert table.splitlines() == [
        "version      n  rate",
        "-------  -----  ----",
        "base     1,200     0",
        "文字         3     -",
        "v           20   .96",
    ]
    assert format_table(["a"], []) == "a\n-"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0"), (1.0, "1.0"), (0.5, ".50"), (0.999, ".99"), (0.001, ".01")],
)
def test_a_rate_is_all_or_nothing_only_when_it_is(value: float | None, text: str) -> None:
    assert rate(value) == text


def test_wide_letters_take_two_columns() -> None:
    assert (display_width("abc"), display_width("文字"), display_width("e\u0301")) == (3, 4, 1)
