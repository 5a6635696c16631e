"""The preflight page in a real browser, from a file: it opens, fetches nothing and can be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser_support import Browser, find_chromium
from gate_support import example_look, leak

from lorachain.preflight.finding import found
from lorachain.preflight.inputs import Schedule
from lorachain.training.gate.look import Look, Source
from lorachain.training.gate.page import MAX_ROWS, render_preflight

browsers = pytest.mark.skipif(find_chromium() is None, reason="no Chromium here")

HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    "\"' & $x_1$ {{ 7*7 }} \u2028 \u202e\u05d0 \ud800"
)


def hostile() -> Look:
    """Names and sentences that would be markup, a template, or mathematics."""
    look = example_look(
        leak(400),
        found("control-tokens", HOSTILE, f"--set x={HOSTILE}", [HOSTILE, "a" * 3000]),
        found("invalid-answers", HOSTILE, "Mend."),
    )
    files = tuple(replace(file, path=HOSTILE, format=HOSTILE) for file in look.files)
    mix = (Source("own", 60, 2400), Source(HOSTILE, 20, 800))
    return replace(look, name=HOSTILE, base=HOSTILE, device=HOSTILE, files=files, mix=mix)


def empty() -> Look:
    """What is left where no row is, and nothing was found."""
    look = example_look(schedule=None, needs=None, tokens=0, trained_tokens=0)
    return replace(look, files=look.files[:1], mix=look.mix[:1])


PAGES = {
    "plain": example_look(leak(), leak(code="few-steps"), leak(code="may-sleep")),
    "allowed": example_look(leak(), allowed=["leak-validation"]),
    "hostile": hostile(),
    "empty": empty(),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("preflight pages ü")
    for name, look in PAGES.items():
        (place / f"{name}.html").write_text(render_preflight(look), encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as one:
        yield one


@browsers
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_a_complaint_and_asks_for_nothing(
    browser: Browser, folder: Path, name: str, theme: str
) -> None:
    page = browser.open(folder / f"{name}.html", theme=theme)
    assert page.run("document.querySelectorAll('h1').length") == 1
    assert page.run("window.hacked === undefined")
    assert page.complaints() == []
    assert page.requests() == [(folder / f"{name}.html").resolve().as_uri()]
    page.close()


@browsers
@pytest.mark.parametrize("name", PAGES)
def test_a_phone_needs_no_scrolling_to_the_side(browser: Browser, folder: Path, name: str) -> None:
    page = browser.open(folder / f"{name}.html", width=390, height=844)
    assert page.run("document.documentElement.scrollWidth") <= 390
    page.close()


@browsers
def test_findings_come_first_and_the_button_changes_the_theme(
    browser: Browser, folder: Path
) -> None:
    page = browser.open(folder / "plain.html")
    order = page.run("[...document.querySelectorAll('main > section')].map(s => s.id)")
    assert order == ["findings", "pictures", "files"]
    codes = page.run("[...document.querySelectorAll('.what code')].map(c => c.textContent)")
    assert codes == ["leak-validation", "few-steps", "may-sleep"]
    before = page.run("getComputedStyle(document.body).backgroundColor")
    page.run("document.getElementById('theme').click()")
    assert page.run("getComputedStyle(document.body).backgroundColor") != before
    page.close()


@browsers
def test_it_prints_in_light_colours_on_a_few_pages(browser: Browser, folder: Path) -> None:
    page = browser.open(folder / "plain.html", theme="dark")
    page.emulate("dark", media="print")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.emulate("dark")
    assert 1 <= page.pdf().count(b"/Type /Page\n") <= 4
    page.close()


def test_every_picture_is_there_where_its_numbers_are() -> None:
    page = render_preflight(PAGES["plain"])
    assert page.count("<figure") == 5 == page.count('role="img"')
    for title in (
        *("How long the rows are", "The learning rate", "What is trained"),
        *("Where the rows come from", "Memory"),
    ):
        assert f"<h2>{title}</h2>" in page
    assert "limit 256" in page
    assert render_preflight(PAGES["empty"]).count("<figure") == 1
    follows = Schedule(80, 4, 20, 20, (), 4, False, True, scheduler="reduce_lr_on_plateau")
    assert "The learning rate" not in render_preflight(example_look(schedule=follows))


def test_what_stops_the_training_is_said_first() -> None:
    assert "An error stops this training" in render_preflight(PAGES["plain"])
    assert "because its errors were allowed" in render_preflight(PAGES["allowed"])
    assert "Nothing speaks against this training" in render_preflight(PAGES["empty"])


def test_the_first_rows_of_many_are_listed_and_the_rest_counted() -> None:
    page = render_preflight(PAGES["hostile"])
    assert f"train.jsonl:{MAX_ROWS} =" in page and f"train.jsonl:{MAX_ROWS + 1} =" not in page
    assert "and 200 more in preflight.json" in page


def test_flags_stand_apart_with_their_values() -> None:
    finding = found(
        "dead-tail",
        "It ends.",
        '--set a.b=c --set "d.e={f: 1}" ends; (--set g.h=null), or pass --allow leak-suite.',
    )
    page = render_preflight(example_look(finding))
    for flag in ("--set a.b=c", "--set g.h=null", "--allow leak-suite"):
        assert f"<code>{flag}</code>" in page
    assert "<code>--set &#34;d.e={f: 1}&#34;</code>" in page
