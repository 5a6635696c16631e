"""The quickstart in small, as a user runs it: stopped once in the middle, run again to its end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lorachain.paths import PROJECT_ROOT

VERSIONS = ["base", "v1", "v2", "v3"]
SUITES = [
    "generation1_v1",
    "generation2_v1",
    "generation3_v1",
    "fixed20_v1",
    "unseen_wordings_v1",
]
PAIRS = [("base", "v1"), ("v1", "v2"), ("base", "v2"), ("v2", "v3"), ("base", "v3")]
KEYS = {"n", "strict", "parse", "schema_valid", "task_valid", "strict_task_valid", "fields"}
# What a page would fetch: from any attribute, style sheet or import.
LOADS = re.compile(
    r"""(?:src|href|srcset|data|action|poster)\s*=\s*["']?\s*(?:https?:)?//"""
    r"""|url\(\s*["']?\s*(?:https?:)?//|@import|<link\b|<iframe\b|\bfetch\(|XMLHttpRequest""",
    re.IGNORECASE,
)


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROJECT_ROOT / "scripts/quickstart.py"), "--small", "--output", "a b"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )


def stop_in_v2(folder: Path) -> tuple[int, str]:
    """Ctrl-C, which a terminal sends to all processes, when V2 has taken its first step."""
    process = start(folder)
    log = folder / "a b" / "v2" / "training_log.jsonl"
    deadline = time.monotonic() + 400
    while process.poll() is None and time.monotonic() < deadline:
        if log.is_file() and '"loss"' in log.read_text(encoding="utf-8"):
            os.killpg(process.pid, signal.SIGINT)
            break
        time.sleep(0.05)
    _, err = process.communicate(timeout=200)
    return process.returncode, err


@pytest.mark.model
def test_the_small_quickstart_goes_on_to_the_same_end(base_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "a b"
    if os.name != "nt":
        code, err = stop_in_v2(tmp_path)
        assert code == 130, err
        assert "Run the same command again to go on." in err
        assert "Traceback" not in err
        stopped = re.search(r"Stopped at step (\d+) of \d+; it is saved in (.+)\.", err)
        assert stopped is not None, err
        assert (tmp_path / stopped[2] / "MANIFEST.json").is_file()
        assert not (out / "summary.json").exists() and not (out / "v2" / "lineage.json").exists()
    first = (out / "v1" / "lineage.json").read_bytes() if os.name != "nt" else None

    process = start(tmp_path)
    text, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    if first is not None:
        assert "Version v1 is finished already." in err
        assert f"Going on from checkpoint-{stopped[1]}" in err  # type: ignore[index]
        assert (out / "v1" / "lineage.json").read_bytes() == first

    summary: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert set(summary) == {"seconds", "peak_mb", "versions"}
    assert list(summary["versions"]) == VERSIONS
    for by_suite in summary["versions"].values():
        assert list(by_suite) == SUITES
        for found in by_suite.values():
            assert set(found) == KEYS and found["n"] > 0
            rates = [found[key] for key in KEYS - {"n"}]
            assert all(rate is None or 0 <= rate <= 1 for rate in rates)
    steps = json.loads((out / "steps.json").read_text(encoding="utf-8"))
    assert set(steps) == {"v1", "v2", "v3", "evaluation"}
    assert summary["seconds"] == pytest.approx(sum(s["seconds"] for s in steps.values()), abs=0.2)
    assert 300 < summary["peak_mb"] < 6000

    page = (out / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in [*VERSIONS, *SUITES])
    assert LOADS.findall(page) == []
    assert all(name in text for name in [*VERSIONS, *SUITES])
    assert "strict_task_valid" in text and "report.html" in text
    compared = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert [version["name"] for version in compared["versions"]] == VERSIONS
    assert [suite["name"] for suite in compared["suites"]] == SUITES
    own = {version["name"]: version["own_suite"] for version in compared["versions"]}
    assert own == {"base": None} | {f"v{i}": f"generation{i}_v1" for i in (1, 2, 3)}
    # The page and the terminal say what the data says: one verdict for each pair.
    assert [(pair["earlier"], pair["later"]) for pair in compared["overall"]] == PAIRS
    for earlier, later in PAIRS:
        said = re.compile(
            rf"{later} is [a-z ,0-9]+ {earlier}|whether {later} is better than {earlier}"
        )
        assert said.search(page), (earlier, later)
    assert len(re.findall(r"v3 is |whether v3 is", text)) == 2
    assert "validation loss" in page.lower()

    chain = subprocess.run(
        [sys.executable, str(PROJECT_ROOT / "scripts/lineage.py"), str(out / "v3")],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert chain.returncode == 0, chain.stdout + chain.stderr
    assert "3 versions; every hash is as recorded." in chain.stdout
    again = start(tmp_path)  # everything is there: nothing is trained, nothing is asked
    began = time.monotonic()
    _, err = again.communicate(timeout=200)
    assert again.returncode == 0, err
    assert err.count("is finished already.") == 3
    assert "step 1/" not in err and time.monotonic() - began < 60


@pytest.mark.parametrize(
    "loads",
    [
        '<script src="https://x/y.js">',
        "<img src='//x/y.png'>",
        "a { background: url(http://x/y) }",
        '<link rel="stylesheet" href="x.css">',
        "@import 'x.css'",
    ],
)
def test_a_page_that_loads_something_is_noticed(loads: str) -> None:
    assert LOADS.search(loads)
