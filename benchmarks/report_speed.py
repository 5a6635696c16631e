"""python benchmarks/report_speed.py [--items 2000] [--characters 900] [--rounds 5] [--output JSON]

How long the report takes to open: a page with so many items, each answered by four versions with
so many characters (no two alike), opened from a file by headless Chromium in a new tab each round.
Times are the browser's own, in seconds since it was told to open the page: `shown` is the first
paint with content, `ready` the load event, after which rows, filters and search work. `search` is
the first search, which reads every answer; `filter` a later change of a filter. Linux and macOS.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from lorachain import cli
from lorachain.errors import UserError
from lorachain.evaluation.report import render_comparison, write_report
from lorachain.paths import PROJECT_ROOT, from_user

TIMES = """
new Promise((done) => requestAnimationFrame(() => setTimeout(() => {
  const [load] = performance.getEntriesByType('navigation');
  const paint = performance.getEntriesByName('first-contentful-paint')[0];
  done({ready: load.loadEventEnd / 1000, shown: paint ? paint.startTime / 1000 : null,
    rows: document.querySelectorAll('#items > li').length});
}, 100)))
"""
SEARCH = """
new Promise((done) => {
  const box = document.getElementById('find'), count = document.getElementById('count');
  const began = performance.now();
  const seen = new MutationObserver(() => done((performance.now() - began) / 1000));
  seen.observe(count, {childList: true});
  box.value = 'a map with';
  document.getElementById('filters').requestSubmit();
})
"""
FILTER = """
(() => {
  const began = performance.now();
  document.getElementById('result').value = 'failed';
  document.getElementById('result').dispatchEvent(new Event('change', {bubbles: true}));
  return (performance.now() - began) / 1000;
})()
"""


def arguments(argv: Sequence[str] | None) -> Any:
    """The flags."""
    p = cli.ArgumentParser(description=__doc__)
    p.add_argument("--items", type=int, default=2000)
    p.add_argument("--characters", type=int, default=900, help="of one answer")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--output", metavar="JSON", help="where the figures go as well")
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Make the page, open it again and again, print the medians."""
    args = arguments(argv)
    browsers, example = tests_module("browser_support"), tests_module("report_example")
    if browsers.find_chromium() is None:
        raise UserError("There is no Chromium here to open the report with. Install one.")
    comparison, rows = example.many(args.items, args.characters)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "report.html"
        began = time.monotonic()
        write_report(path, render_comparison(comparison, rows, title="Speed"))
        made = time.monotonic() - began
        size = path.stat().st_size
        with browsers.Browser() as browser:
            rounds = [one_round(browser, path) for _ in range(args.rounds)]
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}",
        "items": args.items,
        "versions": len(comparison.versions),
        "characters": args.characters,
        "page_mb": round(size / 1e6, 1),
        "seconds_to_make": round(made, 2),
        "seconds": {
            name: {
                "median": round(statistics.median(r[name] for r in rounds), 3),
                "most": round(max(r[name] for r in rounds), 3),
            }
            for name in ("shown", "ready", "search", "filter")
        },
    }
    print(json.dumps(result, indent=2))
    if args.output:
        text = json.dumps(result, indent=2) + "\n"
        from_user(args.output).write_text(text, encoding="utf-8")


def one_round(browser: Any, path: Path) -> dict[str, float]:
    """Open the page in a new tab and use it."""
    page = browser.open(path)
    times: dict[str, float] = page.run(TIMES)
    assert times.pop("rows") == 50
    times |= {"search": page.run(SEARCH), "filter": page.run(FILTER)}
    page.close()
    return times


def tests_module(name: str) -> ModuleType:
    """A helper of the tests: the same example, and the same way to a browser."""
    spec = importlib.util.spec_from_file_location(name, PROJECT_ROOT / "tests" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    cli.run(main)
