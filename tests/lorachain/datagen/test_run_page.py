"""A run's page in a real browser, from a file: it opens, fetches nothing and can be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser_support import Browser, find_chromium
from datagen_rows_support import finished

from lorachain.datagen.lock import SPLITS
from lorachain.datagen.pipeline.page import MOST_LINES, render_run
from lorachain.datagen.pipeline.places import Places
from lorachain.datagen.pipeline.view import view_of
from lorachain.datagen.rowfiles import write_rows
from lorachain.datagen.rows import DatasetRow, PlanRow, SplitRow

browsers = pytest.mark.skipif(find_chromium() is None, reason="no Chromium here")

HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    "\"' & $x_1$ {{ 7*7 }} \u2028 \u202e\u05d0 \ud800"
)


def call(stage: str, model: str, cost: float | None = 0.0125) -> dict[str, Any]:
    return {
        "stage": stage,
        "model": model,
        "prompt_tokens": 1200,
        "output_tokens": 300,
        "cost_usd": cost,
    }


def row(number: int, words: str = "") -> DatasetRow:
    """Judged: each fifth one is rejected, each third one was refined."""
    calls = [call("refine", f"teacher {words}"), call("second critique", "other", None)]
    reasons = [f"critique: reject {words}", f"schema: $.a{number}: {words}"] * (number % 5 == 0)
    return finished(
        number,
        task=f"{'checklist' if number % 2 else 'itinerary'}{words}",
        category=f"category {number % 17}{words}",
        difficulty=f"hard{words}",
        region_tags=[f"asia{words}"],
        refined=number % 3 == 0,
        reasons=reasons,
        provenance={"calls": calls if number % 3 == 0 else []},
        gate={"mode": "lenient"},
    )


def run(folder: Path, rows: list[DatasetRow], spec: str) -> Places:
    """The files of a run."""
    places = Places(folder / "interim", folder / "processed", folder / "suites")
    plan = [PlanRow(r.id, r.index, spec, r.task, r.prompt) for r in rows]
    write_rows(places.plan, plan)
    write_rows(places.journal, rows)
    clean = [one for one in rows if not one.reasons]
    write_rows(places.clean, clean)
    for i, split in enumerate(SPLITS):
        placed = [SplitRow(**r.as_dict() | {"split": split}) for r in clean if r.index % 3 == i]
        write_rows(places.splits / f"{split}.jsonl", placed)
    return places


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Places]:
    folder = tmp_path_factory.mktemp("run pages ü")
    found = {
        "plain": run(folder / "plain", [row(n) for n in range(40)], "garden_v1"),
        "hostile": run(folder / "hostile", [row(n, HOSTILE) for n in range(40)], HOSTILE),
        "empty": Places(folder / "interim", folder / "empty", folder / "suites"),
    }
    for places in found.values():
        places.processed.mkdir(parents=True, exist_ok=True)
        places.report.write_text(render_run(places), encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as one:
        yield one


@browsers
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["plain", "hostile", "empty"])
def test_a_page_opens_without_a_complaint_and_asks_for_nothing(
    browser: Browser, runs: dict[str, Places], name: str, theme: str
) -> None:
    path = runs[name].report
    page = browser.open(path, theme=theme)
    assert page.run("document.querySelectorAll('h1').length") == 1
    assert page.run("window.hacked === undefined && document.images.length === 0")
    assert page.complaints() == []
    assert page.requests() == [path.resolve().as_uri()]
    page.close()


@browsers
@pytest.mark.parametrize("name", ["plain", "hostile", "empty"])
def test_a_phone_needs_no_scrolling_to_the_side(
    browser: Browser, runs: dict[str, Places], name: str
) -> None:
    page = browser.open(runs[name].report, width=390, height=844)
    assert page.run("document.documentElement.scrollWidth") <= 390
    page.close()


@browsers
def test_the_button_changes_the_theme_and_paper_is_light(
    browser: Browser, runs: dict[str, Places]
) -> None:
    page = browser.open(runs["plain"].report, theme="dark")
    before = page.run("getComputedStyle(document.body).backgroundColor")
    page.emulate("dark", media="print")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.emulate("dark")
    assert 1 <= page.pdf().count(b"/Type /Page\n") <= 4
    page.run("document.getElementById('theme').click()")
    assert page.run("getComputedStyle(document.body).backgroundColor") != before
    page.close()


def test_its_figures_are_those_of_the_rows(runs: dict[str, Places]) -> None:
    view = view_of(runs["plain"])
    assert (view.judged, view.accepted) == (40, 32)
    assert view.by_task == {"checklist": [10, 6, 4], "itinerary": [11, 5, 4]}
    assert view.reasons["critique: reject"] == 8
    refined = view.costs["refine", "teacher "]
    assert (refined.calls, refined.prompt_tokens) == (14, 14 * 1200)
    assert round(refined.usd, 6) == 0.175
    assert view.costs["second critique", "other"].unpriced == 14
    assert sum(map(sum, view.splits.values())) == 32
    page = runs["plain"].report.read_text(encoding="utf-8")
    assert page.count('role="img"') == page.count("<figure") == 5
    assert "32 of 40 (80%)" in page and "3 smaller ones are left out" in page
    assert "14 without a price" in page


def test_of_many_reasons_the_most_frequent_are_named(tmp_path: Path) -> None:
    rows = [replace(row(n), reasons=[f"kind {n % 20}: a"]) for n in range(30)]
    page = render_run(run(tmp_path, rows, "garden_v1"))
    assert "kind 9: a" in page and "kind 19: a" not in page
    assert f"and {20 - MOST_LINES} more kinds" in page
