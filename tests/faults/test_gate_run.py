"""The gate before the training in real runs: what it stops, what it lets pass, what it leaves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chain_support import lineage
from fault_support import KILLED, Bench, Ended, hashes, resumed_from

from lorachain.paths import PROJECT_ROOT

pytestmark = pytest.mark.posix

LOADED = re.compile(r"^Base .*, on ", re.MULTILINE)  # said when the weights are about to be loaded
SHORT = ("training.max_steps=2", "training.eval_strategy=no")
REPORT = re.compile(r"^(?:All that was looked at|Pictures and all rows): (.*)\.html$", re.MULTILINE)


@pytest.fixture
def leaking(bench: Bench) -> list[str]:
    """Flags that name validation rows of which two are trained on, too."""
    rows = (bench.folder / "train1.jsonl").read_text(encoding="utf-8").splitlines()[3:5]
    fresh = (bench.folder / "val1.jsonl").read_text(encoding="utf-8").splitlines()[:2]
    path = bench.folder / "leaking.jsonl"
    path.write_text("\n".join([*fresh, *rows]), encoding="utf-8")
    return ["--val-data", str(path)]


def name_of(bench: Bench) -> str:
    """An output's name that no other test has: reports of refused runs stand in one folder."""
    return f"{bench.folder.name}-{abs(hash(bench.folder))}"


def report(ended: Ended) -> dict[str, Any]:
    """The report of a run that made no output; it is removed again."""
    found = REPORT.search(ended.text)
    assert found, ended.text
    place = PROJECT_ROOT / "logs" / "preflight" / Path(found[1]).name
    data: dict[str, Any] = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
    assert "<title>Preflight of" in place.with_suffix(".html").read_text(encoding="utf-8")
    place.with_suffix(".json").unlink()
    place.with_suffix(".html").unlink()
    return data


def test_a_leak_stops_the_run_before_the_weights_and_leaves_no_output(
    bench: Bench, leaking: list[str]
) -> None:
    ended = bench.run(name_of(bench), *leaking, sets=SHORT)
    assert ended.code == 2, ended.text
    rows = bench.folder
    assert f"leak-validation: 2 of the 16 rows of {rows}/train1.jsonl are in {rows}/l" in ended.text
    assert f"rows: {rows}/train1.jsonl:4 = {rows}/leaking.jsonl:3, " in ended.text
    assert "To train all the same, pass --allow leak-validation;" in ended.text
    assert not LOADED.search(ended.text) and "Traceback" not in ended.text
    assert not ended.folder.exists()
    data = report(ended)
    assert data["passed"] is False and data["codes"]["errors"] == ["leak-validation"]


def test_allow_lets_it_pass_and_the_lineage_says_so(bench: Bench, leaking: list[str]) -> None:
    ended = bench.run("v1", *leaking, "--allow", "leak-validation", sets=SHORT)
    assert ended.code == 0, ended.text
    assert "(allowed)" in ended.text
    assert ended.text.index("leak-validation") < LOADED.search(ended.text).start()  # type: ignore[union-attr]
    recorded = lineage(ended.folder)["preflight"]
    assert recorded["allowed"] == recorded["errors"] == ["leak-validation"]
    assert "few-steps" in recorded["warnings"] and recorded["notes"] == ["default-system"]
    data = json.loads((ended.folder / "preflight.json").read_text(encoding="utf-8"))
    assert data["passed"] is True and data["codes"] == recorded
    page = (ended.folder / "preflight.html").read_text(encoding="utf-8")
    assert "leak-validation" in page and "default-src &#39;none&#39;" in page


def test_preflight_only_says_the_same_and_trains_nothing(bench: Bench, leaking: list[str]) -> None:
    """Its exit code is that of the training; the weights are not loaded, and no output is made."""
    name = name_of(bench)
    for flags, code in (([], 0), (leaking, 2)):
        ended = bench.run(name, *flags, "--preflight-only", sets=SHORT)
        assert ended.code == code, ended.text
        assert f"Preflight of {bench.folder / name}\n" in ended.text
        assert ("leak-validation" in ended.text) == (code == 2)
        assert not LOADED.search(ended.text) and not ended.folder.exists()
        assert report(ended)["passed"] is (code == 0)


def test_the_script_of_its_own_is_preflight_only_for_every_version(bench: Bench) -> None:
    v1 = bench.run("v1", sets=SHORT)
    name = name_of(bench)
    for parent in (None, v1.folder):
        flags = ["--output", str(bench.folder / name), *bench.place.data(2)]
        flags += ["--base-model", str(bench.place.base)] if parent is None else []
        flags += [f"--source_model={parent}"] if parent is not None else []
        script = subprocess.run(
            [sys.executable, str(PROJECT_ROOT / "scripts" / "preflight.py"), *flags],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        ended = Ended(script.returncode, script.stdout, bench.folder / name)
        assert ended.code == 0, script.stderr
        assert script.stdout.startswith(f"Preflight of {bench.folder / name}\n")
        assert report(ended)["parent"] == (None if parent is None else "v1")
        assert not ended.folder.exists()


def test_a_run_that_goes_on_says_in_one_line_what_was_found_when_it_began(
    bench: Bench, leaking: list[str]
) -> None:
    """Also without --allow: it was allowed, and the lineage of the version keeps that."""
    flags = [*leaking, "--allow", "leak-validation"]
    killed = bench.run("v1", *flags, fault="kill@write README.md")
    assert killed.code == KILLED, killed.text
    before = hashes(killed.folder)
    again = bench.run("v1", *leaking)
    assert again.code == 0, again.text
    said = [line for line in again.lines if line.startswith("Preflight")]
    assert said == [
        "Preflight, when it began: 1 error (leak-validation), 1 warning (few-steps), 1 note "
        f"({killed.folder / 'preflight.html'})."
    ]
    assert resumed_from(again.folder)
    assert lineage(again.folder)["preflight"]["allowed"] == ["leak-validation"]
    after = hashes(again.folder)
    assert all(after[name] == before[name] for name in ("preflight.json", "preflight.html"))


@pytest.mark.parametrize("damage", ["", "{}", "[", '{"codes": 3, "passed": true}'])
def test_a_run_that_nobody_looked_at_is_looked_at_when_it_goes_on(
    bench: Bench, damage: str
) -> None:
    killed = bench.run("v1", fault="kill@write README.md")
    assert killed.code == KILLED, killed.text
    (killed.folder / "preflight.json").write_text(damage, encoding="utf-8")
    again = bench.run("v1")
    assert again.code == 0, again.text
    assert f"Preflight of {killed.folder}\n" in again.text and resumed_from(again.folder)
    assert lineage(again.folder)["preflight"]["warnings"] == ["few-steps"]


def test_a_finished_version_is_left_alone_without_a_look(bench: Bench, leaking: list[str]) -> None:
    flags = [*leaking, "--allow", "leak-validation"]
    first = bench.run("v1", *flags, sets=SHORT)
    before = hashes(first.folder)
    again = bench.run("v1", *leaking, sets=SHORT)
    assert again.code == 0, again.text
    assert "is finished already" in again.text and "Preflight" not in again.text
    assert hashes(again.folder) == before


def test_a_refused_restart_moves_nothing(bench: Bench, leaking: list[str]) -> None:
    first = bench.run("v1", sets=SHORT)
    before = hashes(first.folder)
    refused = bench.run("v1", *leaking, "--restart", sets=SHORT)
    assert refused.code == 2, refused.text
    assert "is now at" not in refused.text
    assert hashes(first.folder) == before
    assert not list(bench.folder.glob("*.before-restart-*"))


def test_the_largest_micro_batch_is_tried_first_where_that_is_asked(bench: Bench) -> None:
    ended = bench.run("v1", "--probe", sets=SHORT)
    assert ended.code == 0, ended.text
    assert re.search(r"  probe +the largest micro-batch \([\d,]+ tokens\) took ", ended.text)
    data = json.loads((ended.folder / "preflight.json").read_text(encoding="utf-8"))
    assert data["probe"]["tokens"] > 0
