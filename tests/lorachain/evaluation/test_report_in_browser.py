"""The pages in a real browser, from a file: they open, work, fetch nothing and can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import report_example
import rescore_example
from browser_support import Browser, Page, find_chromium
from scipy.stats import binomtest

from lorachain.evaluation.report import render_comparison, write_report
from lorachain.evaluation.vote import render_vote

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium here")

PAGES = ("report", "rescored", "vote", "hostile", "hostile-rescored", "hostile-vote")
LONG_LINE = "x" * 100_000
HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    "\"' & <!-- {{ 7*7 }} \u2028 \u202e\u05d0\u05d1 -->"
)
CONTRAST = """
(() => {
  const context = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, below) => {
    const share = top[3] / 255;
    return [0, 1, 2].map((i) => top[i] * share + below[i] * (1 - share)).concat(255);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => {
      const s = v / 255;
      return s <= .04045 ? s / 12.92 : ((s + .055) / 1.055) ** 2.4;
    });
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = (element) => {
    if (!element) return [255, 255, 255, 255];
    const own = rgba(getComputedStyle(element).backgroundColor);
    return own[3] === 255 ? own : over(own, ground(element.parentElement));
  };
  const bad = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const element = node.parentElement, style = getComputedStyle(element);
    const left = 'script, style, svg, option, :disabled';
    if (!node.data.trim() || !element.checkVisibility() || element.closest(left)) continue;
    const behind = ground(element);
    let ink = rgba(style.color), opacity = 1;
    for (let e = element; e; e = e.parentElement) opacity *= getComputedStyle(e).opacity;
    ink[3] *= opacity;
    const pair = [light(over(ink, behind)), light(behind)].sort((a, b) => b - a);
    const ratio = (pair[0] + .05) / (pair[1] + .05);
    if (ratio < 4.5) bad.push(`${node.data.trim().slice(0, 40)} | ${ratio.toFixed(2)}`);
  }
  return [...new Set(bad)];
})()
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's pages, and hostile ones."""
    found = tmp_path_factory.mktemp("pages with a space & ü")
    write_report(found / "report.html", report_example.page())
    rows = report_example.rows()
    write_report(found / "vote.html", render_vote(rows, "v2", "v3", title="Blind", most=6))
    comparison, strange = report_example.hostile(HOSTILE, LONG_LINE)
    write_report(found / "hostile.html", render_comparison(comparison, strange, title=HOSTILE))
    write_report(found / "rescored.html", rescore_example.page())
    moved = rescore_example.hostile(HOSTILE, strange[0])
    page = render_comparison(comparison, strange, title=HOSTILE, moved=moved)
    write_report(found / "hostile-rescored.html", page)
    first, second = strange[0].answers
    write_report(found / "hostile-vote.html", render_vote(strange, first, second, title=HOSTILE))
    return found


def choose(page: Page, **values: str) -> int:
    """Set filters by what their options say; how many items fit."""
    for name, text in values.items():
        page.run(
            f"""(() => {{ const s = document.getElementById({name!r});
            s.value = [...s.options].find((o) => o.text === {text!r}).value;
            s.dispatchEvent(new Event('change', {{bubbles: true}})); }})()"""
        )
    return count(page)


def count(page: Page) -> int:
    """How many items fit."""
    text = str(page.run("document.getElementById('count').textContent"))
    numbers = [int(number.replace(",", "")) for number in re.findall(r"[\d,]+", text)]
    return 0 if text.startswith("No") else numbers[2] if " to " in text else numbers[0]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_from_a_file_without_complaint_and_asks_for_nothing_else(
    browser: Browser, folder: Path, name: str
) -> None:
    page = browser.open(folder / f"{name}.html")
    assert page.complaints() == []
    assert page.requests() == [(folder / f"{name}.html").as_uri()]
    assert page.run("window.hacked") is None
    assert page.run("document.querySelectorAll('img, iframe').length") == 0
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_never_scrolls_sideways(browser: Browser, folder: Path, name: str) -> None:
    page = browser.open(folder / f"{name}.html", width=390, height=844)
    page.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.run("document.getElementById('open')?.click()")
    assert page.run("document.documentElement.scrollWidth") == 390
    assert page.complaints() == []
    page.close()


def test_a_hostile_answer_is_shown_letter_by_letter(browser: Browser, folder: Path) -> None:
    page = browser.open(folder / "hostile.html")
    page.run("document.querySelector('.row').click()")
    shown = page.run("document.querySelector('.side-by pre').textContent.length")
    start = "document.querySelector('#items .side-by pre').textContent"
    assert page.run(start) == (HOSTILE + LONG_LINE)[:20_000] and shown
    page.run("document.querySelector('#items .side-by > button').click()")
    assert page.run(start) == HOSTILE + LONG_LINE
    assert HOSTILE in page.run("document.querySelector('#regressions').textContent")
    assert page.run("window.hacked") is None and page.complaints() == []
    page.close()


def test_filters_narrow_the_list_and_go_together(browser: Browser, folder: Path) -> None:
    page = browser.open(folder / "report.html")
    rows = report_example.rows()

    def fitting(what: Any) -> int:
        return sum(bool(what(row)) for row in rows)

    assert count(page) == len(rows)
    assert page.run("document.querySelectorAll('#items > li').length") == 50
    assert choose(page, suite="fixed20_v1") == 20
    assert choose(page, version="v1", result="passed") == fitting(
        lambda r: r.suite == "fixed20_v1" and r.answers["v1"].passed
    )
    page.run("document.getElementById('clear').click()")
    assert count(page) == len(rows)
    assert choose(page, result="cut by the limit", version="v3") == fitting(
        lambda r: r.answers["v3"].cut
    )
    page.run("document.getElementById('clear').click()")
    assert choose(page, kind="array instead of an object") == fitting(
        lambda r: any(a.failure == "root array" for a in r.answers.values())
    )
    page.run("document.getElementById('clear').click()")
    assert choose(page, differs="some pass, some fail") == fitting(
        lambda r: len({a.passed for a in r.answers.values()}) == 2
    )
    page.run("document.getElementById('clear').click()")
    assert choose(page, task="airport_procedure", result="not scored") == 0
    assert page.run("document.querySelectorAll('#items > li').length") == 0
    assert page.complaints() == []
    page.close()


def test_search_looks_into_prompts_answers_and_ids(browser: Browser, folder: Path) -> None:
    page = browser.open(folder / "report.html")

    def search(text: str) -> int:
        page.run("document.getElementById('count').textContent = 'waiting'")
        page.run(
            f"""(() => {{ const box = document.getElementById('find');
            box.value = {json.dumps(text)};
            box.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"""
        )
        page.until("document.getElementById('count').textContent !== 'waiting'")
        return count(page)

    assert search("general-007") == 1
    assert search("TIRANA 7") >= 1  # two words, anywhere, whatever their case
    assert search("remember to take a map") == sum(
        "remember to take a map" in row.answers["base"].text for row in report_example.rows()
    )
    assert search("no such words anywhere") == 0
    assert search("") == len(report_example.rows())
    page.close()


def test_pages_of_the_list_turn_and_rows_open(browser: Browser, folder: Path) -> None:
    page = browser.open(folder / "report.html")
    assert page.run("document.getElementById('back').disabled") is True
    page.run("document.getElementById('on').click()")
    assert page.run("document.getElementById('count').textContent") == "51 to 100 of 364 items"
    row = report_example.rows()[50]
    page.run("document.querySelector('.row').click()")
    shown = page.run(
        "[...document.querySelectorAll('#items .side-by pre')].map((one) => one.textContent)"
    )
    assert shown == [row.answers[name].text for name in report_example.VERSIONS]
    page.run("document.querySelector('.row').click()")
    assert page.run("document.querySelectorAll('#items .side-by').length") == 0
    page.run("document.getElementById('open').click()")
    assert page.run("document.querySelectorAll('#items .inside').length") == 50
    page.close()


def test_a_regression_leads_to_all_versions_answers(browser: Browser, folder: Path) -> None:
    page = browser.open(folder / "report.html")
    item = page.run("document.querySelector('.show').dataset.item")
    page.run("document.querySelector('.show').click()")
    assert count(page) == 1
    assert item in page.run("document.querySelector('.row .where').textContent")
    assert page.run("document.querySelectorAll('#items .side-by').length") == 4
    page.run("document.getElementById('clear').click()")
    assert count(page) == len(report_example.rows())
    page.close()


def test_what_a_change_of_scoring_moved_leads_to_the_answers(
    browser: Browser, folder: Path
) -> None:
    page = browser.open(folder / "rescored.html")
    assert page.run("document.querySelector('nav a[href=\"#moved\"]').textContent")
    changed = "[...document.querySelectorAll('#moved .shifts .changed')].length"
    suites = [v for v in rescore_example.moved().verdicts_moved if v.suite]
    assert page.run(changed) == len(suites) > 0
    first = "document.querySelector('#moved .broken details')"
    page.run(f"{first}.open = true")
    item = page.run(f"{first}.querySelector('.show').dataset.item")
    page.run(f"{first}.querySelector('.show').click()")
    assert count(page) == 1
    assert item in page.run("document.querySelector('.row .where').textContent")
    page.close()


def test_hostile_words_of_a_change_of_scoring_are_shown_letter_by_letter(
    browser: Browser, folder: Path
) -> None:
    page = browser.open(folder / "hostile-rescored.html")
    seen = page.run("document.querySelector('#moved').textContent")
    assert seen.count(HOSTILE) >= 15
    assert page.run("window.hacked") is None and page.complaints() == []
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["report", "rescored", "vote"])
def test_every_word_can_be_read_in_both_themes(
    browser: Browser, folder: Path, name: str, theme: str
) -> None:
    page = browser.open(folder / f"{name}.html", theme=theme)
    page.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.run("document.querySelector('.row')?.click()")
    assert page.run(CONTRAST) == []
    page.close()


def test_the_button_changes_the_theme_whatever_the_system_says(
    browser: Browser, folder: Path
) -> None:
    page = browser.open(folder / "report.html", theme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.run(ground)
    page.run("document.getElementById('theme').click()")
    light = page.run(ground)
    page.emulate("light")
    assert page.run(ground) == light != dark
    page.run("document.getElementById('theme').click()")
    assert page.run(ground) == dark
    page.run("localStorage.clear()")
    page.close()


def test_the_theme_needs_no_storage(browser: Browser, folder: Path, tmp_path: Path) -> None:
    """Where storage is refused, reading the property throws."""
    page = browser.open(folder / "vote.html")
    refused = """Object.defineProperty(window, 'localStorage',
        { get() { throw new DOMException('refused', 'SecurityError'); } });"""
    page.send("Page.addScriptToEvaluateOnNewDocument", source=refused)
    browser.events.clear()
    page.send("Page.reload")
    browser.wait_for_load()
    page.run("document.getElementById('theme').click()")
    assert page.run("document.documentElement.dataset.theme") == "dark"
    assert page.complaints() == []
    page.close()


def test_it_prints_light_with_everything_unfolded(browser: Browser, folder: Path) -> None:
    page = browser.open(folder / "report.html", theme="dark")
    before = page.run("document.querySelectorAll('details[open]').length")
    page.run(
        """addEventListener('beforeprint', () => {
            window.unfolded = document.querySelectorAll('details.print:not([open])').length; })"""
    )
    assert page.pdf().startswith(b"%PDF")
    assert page.run("window.unfolded") == 0
    assert before < page.run("document.querySelectorAll('details.print').length")
    assert page.run("document.querySelectorAll('details[open]').length") == before
    page.emulate("dark", media="print")
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.run("getComputedStyle(document.querySelector('h1')).color") == "rgb(27, 32, 30)"
    assert page.run("document.getElementById('filters').checkVisibility()") is False
    page.close()


def test_votes_are_cast_by_key_saved_and_loaded_again(
    browser: Browser, folder: Path, tmp_path: Path
) -> None:
    browser.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page = browser.open(folder / "vote.html")
    data = json.loads(page.run("document.getElementById('data').textContent"))
    for key in "1201":
        page.key(key)
    assert page.run("document.getElementById('place').textContent") == "5 of 6, 4 voted"
    page.run("document.getElementById('save').click()")
    saved = tmp_path / "votes.json"
    for _ in range(200):
        if saved.is_file() and saved.stat().st_size:
            break
        page.run("new Promise((done) => setTimeout(done, 50))")
    found = json.loads(saved.read_text(encoding="utf-8"))
    assert found["page"] == data["page"] and len(found["votes"]) == 4
    for vote, item, key in zip(found["votes"], data["items"], "1201", strict=False):
        sides = ("v3", "v2") if item["first"] else ("v2", "v3")
        assert vote["better"] == ("tie" if key == "0" else sides[int(key) - 1])
        assert (vote["suite"], vote["item"]) == (item["suite"], item["item"])
    page.close()

    later = browser.open(folder / "vote.html")
    load(later, saved)
    later.until("document.getElementById('message').textContent === '4 votes were loaded.'")
    assert later.run("document.getElementById('place').textContent") == "5 of 6, 4 voted"
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**found, "page": "another"}), encoding="utf-8")
    load(later, other)
    later.until("document.getElementById('message').textContent.startsWith('These are not')")
    assert later.complaints() == []
    later.close()


def load(page: Page, path: Path) -> None:
    page.send("DOM.enable")
    root = page.send("DOM.getDocument")["root"]["nodeId"]
    box = page.send("DOM.querySelector", nodeId=root, selector="#load")["nodeId"]
    page.send("DOM.setFileInputFiles", nodeId=box, files=[str(path)])


def test_the_result_is_shown_when_asked_for_and_its_test_is_exact(
    browser: Browser, folder: Path
) -> None:
    page = browser.open(folder / "vote.html")
    data = json.loads(page.run("document.getElementById('data').textContent"))
    assert page.run("document.getElementById('result').hidden") is True
    for item in data["items"]:  # always for v3
        page.run(f"document.getElementById('vote-{1 if item['first'] else 2}').click()")
    assert "voted on all" in page.run("document.getElementById('message').textContent")
    assert "v3" not in page.run("document.querySelector('main').innerText")
    page.run("document.getElementById('ask').click()")
    text = page.run("document.getElementById('result').innerText")
    assert "The result of 6 votes" in text and "v3 was better\n6" in text
    assert f"p = {binomtest(6, 6).pvalue:.3f}".replace("0.", ".") in text
    assert "v3 is preferred" in text
    page.key("ArrowLeft")
    for _ in range(3):
        page.key("0")
    assert "cannot tell which" in page.run("document.getElementById('result').innerText")
    page.close()
