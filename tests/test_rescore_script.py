"""src/evaluation/rescore.py as a process: no model, no torch, tables, a report and a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rescore_support import CARD, make_comparison, write_lines, write_suite

from lorachain.paths import PROJECT_ROOT

SCRIPT = PROJECT_ROOT / "src" / "evaluation" / "rescore.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
NO_TORCH = """
import runpy, sys
sys.argv = sys.argv[1:]
try: runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as stop: code = stop.code
found = {"torch", "transformers", "peft", "tokenizers"} & sys.modules.keys()
sys.exit(f"imported: {found}" if found else code)
"""


def rescore(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The script, in a process that fails when a model library was imported."""
    return subprocess.run(
        [sys.executable, "-c", NO_TORCH, str(SCRIPT), *map(str, arguments)],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


@pytest.fixture
def compared(tmp_path: Path) -> Path:
    make_comparison(tmp_path / "a & b", write_suite(tmp_path))
    return tmp_path / "a & b"


def test_nothing_moved(compared: Path, tmp_path: Path) -> None:
    done = rescore(tmp_path, "--comparison", compared.name)
    assert done.returncode == 0, done.stderr
    assert (
        "8 answers of 2 versions were scored again; no model was loaded.\nNothing moved.\n"
    ) in done.stdout
    found = json.loads((compared / "rescored" / "rescore.json").read_text(encoding="utf-8"))
    assert (found["format"], found["moved"], found["flips"]) == (1, 0, [])


def test_a_changed_schema_is_shown_and_written_down(compared: Path, tmp_path: Path) -> None:
    changed = json.dumps(CARD | {"required": ["name"]})
    (tmp_path / "card.schema.json").write_text(changed, encoding="utf-8")
    done = rescore(tmp_path, "--comparison", compared, "--output", "out")
    assert done.returncode == 0, done.stderr
    assert "Scored by another schema" in done.stdout
    assert "2 answers flipped between pass and fail:" in done.stdout
    found = json.loads((tmp_path / "out" / "rescore.json").read_text(encoding="utf-8"))
    assert [(f["version"], f["item"]) for f in found["flips"]] == [("base", "2"), ("v1", "2")]
    assert found["flips"][0]["problems"] == [["$ required"], []]


def test_scorers_and_suites_are_chosen_by_flags(compared: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def short(answer, item): return len(answer) < 20\n")
    (tmp_path / "s.yaml").write_text("default: [{kind: function, function: 'mine.py:short'}]")
    flags = ("--scorers", "s.yaml", "--suites", "cards.jsonl")
    done = rescore(tmp_path, "--comparison", compared, *flags)
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.split()[:4:3] == ["base", "short"])
    assert row.split() == ["base", "cards", "(all)", "short", "4", "-", "0.500", "4"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--comparison", "none"), "holds no comparison (no run.json)"),
        (("--comparison", "none.json"), "none.answers holds no comparison"),
        (("--comparison", "a & b", "--scorers", "none.yaml"), "Scorers file not found: none.yaml"),
        (("--comparison", "a & b", "--suites", "none.jsonl"), "File not found: none.jsonl"),
        (("--comparison", "a & b", "--suites", "other.jsonl"), "2 answers are not in"),
        ((), "--comparison"),
    ],
)
def test_a_mistake_is_a_sentence(
    arguments: tuple[str, ...], words: str, compared: Path, tmp_path: Path
) -> None:
    write_lines(tmp_path / "other.jsonl", [{"prompt": "Never asked"}])
    done = rescore(tmp_path, *arguments)
    assert done.returncode == 2
    assert words in done.stderr and "Traceback" not in done.stderr
    assert not (compared / "rescored").exists()


def test_help_says_what_it_is_for(tmp_path: Path) -> None:
    done = rescore(tmp_path, "--help")
    assert done.returncode == 0 and "no model loaded" in done.stdout


def test_results_of_the_batch_tester_are_rescored_from_beside_them(
    tiny_base: Path, tmp_path: Path
) -> None:
    schema = tmp_path / "any.json"
    schema.write_text('{"type": "object"}', encoding="utf-8")
    write_lines(tmp_path / "q.jsonl", [{"prompt": f"Card {i}?"} for i in range(3)])
    command = [sys.executable, str(PROJECT_ROOT / "batch_test_model.py"), "--base"]
    command += ["--base-model", str(tiny_base), "--questions", "q.jsonl", "--output", "r.json"]
    command += ["--max-new-tokens", "4", "--cpu", "--limit", "2", "--system", "Be short."]
    command += ["--schema", str(schema)]
    made = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    done = rescore(tmp_path, "--comparison", "r.json")
    assert done.returncode == 0, done.stderr
    assert "2 answers of 1 version were scored again" in done.stdout
    assert "Nothing moved." in done.stdout and "Report:" not in done.stdout
    written = {path.name for path in (tmp_path / "r.answers" / "rescored").iterdir()}
    assert {"rescore.json", "run.json", "scores.jsonl"} <= written
    assert "report.html" not in written, "one version alone is compared with nothing"
    schema.write_text('{"type": "array"}', encoding="utf-8")
    assert "Scored by another schema" in rescore(tmp_path, "--comparison", "r.json").stdout


def test_a_script_that_imported_torch_would_be_noticed(tmp_path: Path) -> None:
    script = tmp_path / "bad.py"
    script.write_text("import peft, sys\nsys.exit(0)\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH, str(script)], capture_output=True, text=True
    )
    assert done.returncode == 1 and "'torch'" in done.stderr
