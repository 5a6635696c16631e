"""Every script, run as a user runs it: from another folder, and answering before it loads torch."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lorachain.paths import PROJECT_ROOT

SCRIPTS = sorted(
    path
    for folder in ("src/training", "src/data", "src/evaluation", "scripts", ".")
    for path in (PROJECT_ROOT / folder).glob("*.py")
)
# It hands its arguments to pytest, so it refuses none itself.
FORWARDS = {PROJECT_ROOT / "scripts" / name for name in ("run_tests.py", "test_windows_full.py")}
HEAVY = {"torch", "transformers", "peft", "datasets", "bitsandbytes", "scipy", "matplotlib"}
_TIMED = re.compile(r"^import time:.*\| +(\S+)$", re.MULTILINE)


@pytest.fixture(params=SCRIPTS, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def script(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def run(script: Path, folder: Path, *arguments: str) -> tuple[int, str, str, set[str]]:
    """Exit code, stdout, stderr, and the top-level names of all modules that were imported."""
    elsewhere = folder / "an other Ordner ü"
    elsewhere.mkdir()
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", str(script), *arguments],
        cwd=elsewhere,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert not list(elsewhere.iterdir()), "it wrote into the folder where the user stands"
    modules = {name.split(".")[0] for name in _TIMED.findall(ran.stderr)}
    assert "argparse" in modules or ran.stdout  # the import times are really there
    messages = "\n".join(x for x in ran.stderr.splitlines() if not x.startswith("import time:"))
    return ran.returncode, ran.stdout, messages, modules


def test_the_scripts_are_found() -> None:
    names = {str(path.relative_to(PROJECT_ROOT).as_posix()) for path in SCRIPTS}
    assert {"src/training/fine_tune.py", "src/training/fine_tune_v2.py"} <= names
    assert {"batch_test_model.py", "scripts/run_tests.py", "scripts/setup_env.py"} <= names


def test_help_from_another_folder(script: Path, tmp_path: Path) -> None:
    code, out, err, modules = run(script, tmp_path, "--help")
    assert (code, err) == (0, "")
    assert script.name in out
    assert not modules & HEAVY


def test_an_unknown_flag_is_a_sentence(script: Path, tmp_path: Path) -> None:
    if script in FORWARDS:
        assert "[pytest's arguments]" in script.read_text(encoding="utf-8")
        return
    code, out, err, modules = run(script, tmp_path, "--no-such-flag")
    assert (code, out) == (2, "")
    assert re.search(r"error: .*(--no-such-flag|required)", err)
    assert "Traceback" not in err
    assert not modules & HEAVY


def test_importing_it_does_nothing(script: Path) -> None:
    """All work stands in functions, under `if __name__ == "__main__"` (Windows starts workers)."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    guards = [s for s in tree.body if isinstance(s, ast.If) and "__main__" in ast.unparse(s.test)]
    assert len(guards) == 1
    assert tree.body[-1] is guards[0]
    calls = [ast.unparse(s) for s in tree.body if isinstance(s, ast.Expr)]
    assert len(calls) == 1  # the docstring


def test_its_name_is_no_librarys(script: Path) -> None:
    """A script's own folder leads sys.path: a datasets.py would hide the library."""
    spec = importlib.util.find_spec(script.stem)
    # A folder of the tests may have the name too (pytest puts them on sys.path), with no origin.
    assert spec is None or spec.origin in (None, str(script))
    assert script.stem not in sys.stdlib_module_names
