"""The README is true: its flags are those of --help, and its commands run as they stand."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lorachain.paths import BASES, PROJECT_ROOT

README = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = {
    "V1": "src/training/fine_tune.py",
    "V2": "src/training/fine_tune_v2.py",
    "test": "batch_test_model.py",
    "compare": "src/evaluation/compare_versions.py",
    "samples": "src/evaluation/run_samples.py",
    "rescore": "src/evaluation/rescore.py",
    "data": "src/data/run_pipeline.py",
}
# Run by tests of their own: the first in its small form, the second is what runs this test.
ELSEWHERE = {"python scripts/quickstart.py", "python scripts/run_tests.py"}


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def table() -> dict[str, set[str]]:
    """{script: its flags in the README's table}"""
    found: dict[str, set[str]] = {name: set() for name in SCRIPTS}
    for flags, scripts in re.findall(r"^\| (`--[^|]*) \| ([^|]*) \|", README, flags=re.MULTILINE):
        for name in scripts.split():
            found[name] |= set(re.findall(r"--[a-z-]+", flags))
    return found


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_table_of_flags_is_what_help_says(name: str) -> None:
    said = subprocess.run(
        [sys.executable, str(PROJECT_ROOT / SCRIPTS[name]), "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    options = said[said.index("options:") :]
    flags = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", options, flags=re.MULTILINE))
    assert table()[name] == flags - {"--help"}


def test_every_script_that_the_readme_names_is_there() -> None:
    for path in re.findall(r"`((?:src|scripts|configs)/[\w/.]+)`", README):
        assert (PROJECT_ROOT / path).is_file(), path
    for path in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (PROJECT_ROOT / path).is_file(), path


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, base_dir: Path, tiny_base: Path) -> Path:
    """A checkout in a folder with a space, whose default base is tiny and whose stages and suites
    are short: what the commands do is the same, without a hub and an afternoon."""
    folder = tmp_path_factory.mktemp("a checkout") / "lorachain copy"
    ignored = shutil.ignore_patterns(
        *(".venv", ".git", "models", "logs", "__pycache__", "*.answers", "answers", "comparisons")
    )
    shutil.copytree(PROJECT_ROOT, folder, ignore=ignored)
    (folder / "models" / "base").mkdir(parents=True)
    place = folder / "models" / "base" / base_dir.name
    if os.name == "nt":
        shutil.copytree(BASES / base_dir.name, place)
    else:
        place.symlink_to(BASES / base_dir.name)
    config = folder / "configs" / "training_config.yaml"
    text = config.read_text(encoding="utf-8")
    assert "Qwen/Qwen2.5-1.5B-Instruct" in text and "num_train_epochs: 2" in text
    text = text.replace("Qwen/Qwen2.5-1.5B-Instruct", str(tiny_base))
    text = text.replace("num_train_epochs: 2", "num_train_epochs: 2\n  max_steps: 2")
    config.write_text(text, encoding="utf-8")
    for suite in (folder / "eval" / "suites").iterdir():
        lines = suite.read_text(encoding="utf-8").splitlines(keepends=True)
        suite.write_text("".join(lines[:2]), encoding="utf-8")
    rows = [{"question": f"What is {i} and {i}?", "answer": f"It is {i + i}."} for i in range(12)]
    for name, part in (("train", rows[:6]), ("val", rows[6:8]), ("train2", rows[8:11])):
        write(folder / f"my_{name}.jsonl", part)
    write(folder / "my_val2.jsonl", rows[11:])
    questions = json.dumps([{"question": "Who?", "answer": "You."}, {"question": "Now, why?"}])
    for name in ("my_questions.json", "test_questions.json"):
        (folder / name).write_text(questions, encoding="utf-8")
    return folder


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.model
def test_every_command_runs_as_it_stands(copy: Path) -> None:
    """In the README's order, in one checkout, by a shell's rules for words."""
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "OMP_WAIT_POLICY": "PASSIVE"}
    ran = 0
    for command in commands():
        if command in ELSEWHERE:
            continue
        python, *words = shlex.split(command)
        assert python == "python"
        found = subprocess.run(
            [sys.executable, *words],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert found.returncode == 0, f"{command}\n{found.stdout[-2000:]}\n{found.stderr[-3000:]}"
        assert "Traceback" not in found.stderr
        ran += 1
    assert ran == len(commands()) - len(ELSEWHERE) >= 12
    for name in ("fine_tuned", "fine_tuned_v2", "fine_tuned_v3", "mine", "mine_v2"):
        assert (copy / "models" / name / "lineage.json").is_file(), name
    assert (copy / "eval" / "comparisons" / "fine_tuned_v3" / "report.html").is_file()
    samples = copy / "models" / "fine_tuned_v2" / "samples"
    assert (samples / "comparison_metrics.json").is_file()
    assert len(json.loads((copy / "test_results_mine.json").read_text(encoding="utf-8"))) > 0
