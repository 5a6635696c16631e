"""The tables in a terminal, and the whole way from versions to a summary and a page."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from evaluation_support import CPU, FP32

from lorachain.evaluation.compare import compare
from lorachain.evaluation.evaluate import (
    Evaluation,
    Version,
    evaluate_versions,
    find_version,
)
from lorachain.evaluation.generated import Decoding
from lorachain.evaluation.report import answer_rows, render_comparison
from lorachain.evaluation.tables import display_width, format_table, rate, summary_table
from lorachain.models import Base
from lorachain.suites import Suite, read_suite


def test_the_whole_way_from_versions_to_a_page(
    tiny: Base, v1: Path, v2: Path, tmp_path: Path
) -> None:
    evaluation = evaluate_two(tiny, v1, v2, tmp_path)
    comparison = compare(evaluation, created=datetime(2026, 1, 1, tzinfo=UTC))
    html = render_comparison(comparison, answer_rows(evaluation, comparison), title="Versions")
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
