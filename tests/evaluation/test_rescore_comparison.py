"""compare_versions.py, a changed schema, rescore.py: a chain judged anew without its weights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from comparison_support import (
    CARD,
    ENVIRONMENT,
    Answer,
    fill_store,
    good_at,
    load,
    script,
    write_suite,
)

from lorachain.paths import PROJECT_ROOT

RESCORE = PROJECT_ROOT / "src" / "evaluation" / "rescore.py"
WATCHED = """
import runpy, sys
sys.argv = sys.argv[1:]
try: runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as stop: code = stop.code
found = {"torch", "transformers", "peft", "safetensors", "tokenizers"} & sys.modules.keys()
sys.exit(f"imported: {found}" if found else code)
"""
NEARLY = '{"name": "Ana"}'


def nearly(item: object, i: int) -> str:
    """What fits only where the age is not required."""
    return NEARLY


@pytest.fixture
def compared(chain: Path, tmp_path: Path) -> Path:
    """v1 and v2 on one suite, on which v2 is better as long as an age is required."""
    suite = write_suite(tmp_path / "suites", "alpha")
    answers: dict[str, Answer] = {"base": good_at(), "v1": nearly, "v2": good_at("alpha")}
    fill_store(tmp_path / "answers", chain / "v2", [suite], answers)
    flags = ("--chain", chain / "v2", "--suites", suite, "--answers", "answers", "--margin", 0.3)
    done = script("src/evaluation/compare_versions.py", tmp_path, *flags, "--output", "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("v2 is better than v1.")
    return tmp_path / "out"


def rescore(folder: Path) -> str:
    """The script in a process that fails when a model library was imported."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(RESCORE), "--comparison", "out"],
        cwd=folder,
        env=ENVIRONMENT | {"MPLCONFIGDIR": os.fspath(folder / "matplotlib")},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_chain_is_judged_anew_with_all_that_its_report_had(
    compared: Path, chain: Path, tmp_path: Path
) -> None:
    schema = tmp_path / "suites" / "card.schema.json"
    schema.write_text(json.dumps(CARD | {"required": ["name"]}), encoding="utf-8")
    for weights in chain.rglob("adapter_model.safetensors"):
        weights.unlink()
    before = (compared / "comparison.json").read_bytes()
    shown = rescore(tmp_path)
    assert "v2 against v1: better -> cannot tell" in shown
    assert "v1 against base: cannot tell -> better" in shown
    assert "Report: out/rescored/report.html" in shown
    assert (compared / "comparison.json").read_bytes() == before

    then, now = json.loads(before), load(compared / "rescored" / "comparison.json")
    assert now["margin"] == 0.3
    for was, is_now in zip(then["versions"], now["versions"], strict=True):
        assert is_now == was, "lineage, losses and facts are those of the comparison"
    page = (compared / "rescored" / "report.html").read_text(encoding="utf-8")
    first = (compared / "report.html").read_text(encoding="utf-8")
    assert '<section id="moved">' in page and '<section id="moved">' not in first
    for part in ("Loss while training", "What to do next", "v2 against v1 and its base"):
        assert part in page and part in first


def test_of_a_version_that_was_trained_again_only_the_answers_count(
    compared: Path, chain: Path, tmp_path: Path
) -> None:
    shutil.rmtree(chain / "v2")
    shutil.copytree(chain / "v3", chain / "v2")
    shown = rescore(tmp_path)
    assert "All 6 verdicts are as before" in shown and "Nothing moved." in shown
    found = load(compared / "rescored" / "comparison.json")
    newest = found["versions"][-1]
    assert (newest["name"], newest["folder"], newest["facts"]) == ("v2", None, {})
    assert any("was trained again since it was asked" in note for note in found["notes"])
