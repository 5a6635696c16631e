"""The launchers as files: linted, parsed, and doing the same thing in all three languages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_powershell

from lorachain.paths import PROJECT_ROOT

NAMES = ("quickstart", "train_v1", "train_v2", "train_v3", "compare")
SCRIPTS = PROJECT_ROOT / "scripts"
BATCH = [PROJECT_ROOT / f"{name}.bat" for name in NAMES] + [SCRIPTS / "launch.bat"]
POWERSHELL = [PROJECT_ROOT / f"{name}.ps1" for name in NAMES] + [SCRIPTS / "launch.ps1"]
SHELL = [PROJECT_ROOT / f"{name}.sh" for name in NAMES] + [SCRIPTS / "launch.sh"]

BY_DESIGN = {
    "W001": "the chain into launch.bat is the end, and that ends in `exit /b`",
    "W011": "what is echoed is ASCII, which a test above holds",
    "W057": "control is to go over for good: CALL would change the arguments",
    "W028": "SET leaves ERRORLEVEL alone in a .bat, which is what is wanted",
    "SEC013": "no variable of the user's stands unquoted",
    "SEC014": "%* hands the arguments on as they were quoted",
}


def text(path: Path) -> str:
    return path.read_text(encoding="ascii")


def test_batch_and_powershell_are_ascii_with_crlf_and_shell_with_lf() -> None:
    for path in (*BATCH, *POWERSHELL):
        content = path.read_bytes()
        assert content.isascii() and content.count(b"\n") == content.count(b"\r\n"), path
    for path in SHELL:
        assert path.read_bytes().isascii() and b"\r" not in path.read_bytes()
        assert path.read_bytes().startswith(b"#!/bin/sh\n")
    attributes = text(PROJECT_ROOT / ".gitattributes")
    assert {"*.bat -text", "*.ps1 -text", "*.sh text eol=lf"} <= set(attributes.splitlines())


@pytest.mark.parametrize("path", BATCH, ids=lambda path: path.name)
def test_batch_files_pass_the_linter(path: Path) -> None:
    command = [sys.executable, "-m", "blinter", str(path), "--format", "json", "--no-config"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    found = json.loads(done.stdout)
    assert len(found["processed_files"]) == 1
    issues = [
        issue for issue in found["issues"] if issue["severity"] not in ("Style", "Performance")
    ]
    assert [i for i in issues if i["code"] not in BY_DESIGN] == []


def test_the_linter_would_find_a_missing_label(tmp_path: Path) -> None:
    broken = tmp_path / "broken.bat"
    broken.write_bytes((SCRIPTS / "launch.bat").read_bytes().replace(b":end\r\n", b":other\r\n"))
    command = [sys.executable, "-m", "blinter", str(broken), "--format", "json", "--no-config"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    assert "Error" in {issue["severity"] for issue in json.loads(done.stdout)["issues"]}


def parse(source: bytes) -> tree_sitter.Tree:
    language = tree_sitter.Language(tree_sitter_powershell.language())
    return tree_sitter.Parser(language).parse(source)


@pytest.mark.parametrize("path", POWERSHELL, ids=lambda path: path.name)
def test_powershell_parses(path: Path) -> None:
    assert not parse(path.read_bytes()).root_node.has_error
    assert parse(path.read_bytes().replace(b'"', b"", 1)).root_node.has_error


def test_the_five_differ_in_the_name_alone() -> None:
    for suffix in (".bat", ".ps1", ".sh"):
        bodies = {text(PROJECT_ROOT / f"{name}{suffix}").replace(name, "NAME") for name in NAMES}
        assert len(bodies) == 1, suffix


def handed_on(path: Path) -> tuple[str, str, str]:
    """(the common launcher, the name, the arguments) of a top-level launcher."""
    patterns = {
        ".bat": r'^"%~dp0scripts\\(launch\.bat)" (\w+) (%\*)\r?$',
        ".ps1": r'^& "\$PSScriptRoot\\scripts\\(launch\.ps1)" (\w+) (@args)\r?$',
        ".sh": r'^exec sh "\$\(dirname -- "\$0"\)/scripts/(launch\.sh)" (\w+) ("\$@")$',
    }
    found = re.findall(patterns[path.suffix], path.read_bytes().decode(), flags=re.MULTILINE)
    assert len(found) == 1, path
    return found[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_twins_of_a_launcher_run_the_same_with_the_same_arguments(name: str) -> None:
    """What stands behind a name, script and default arguments, is launch_parts' alone."""
    for suffix in (".bat", ".ps1", ".sh"):
        common, target, _ = handed_on(PROJECT_ROOT / f"{name}{suffix}")
        assert (common, target) == (f"launch{suffix}", name)
    assert text(PROJECT_ROOT / f"{name}.ps1").rstrip().endswith("exit $LASTEXITCODE")


def test_the_common_launchers_do_the_same() -> None:
    batch, powershell, shell = (text(SCRIPTS / f"launch.{s}") for s in ("bat", "ps1", "sh"))

    tried = re.findall(r"in \('(py -3\.\d+|python) \"%ASK%", batch)
    listed = re.search(r"foreach \(\$try in (.*)\) \{", powershell)
    assert listed is not None
    same = [
        " ".join(re.findall(r'"([^"]+)"', part)) for part in re.findall(r"@\(([^)]*)\)", listed[1])
    ]
    assert tried == same[:-1] == ["py -3.13", "py -3.12", "py -3.11", "python"]
    assert same[-1] == "" and "@($venv)" in listed[1] and ".venv\\Scripts\\python.exe" in powershell
    assert '"FOUND=%~dp0..\\.venv\\Scripts\\python.exe"' in batch
    named = re.search(r"for python in (.*); do", shell)
    assert named is not None
    names = named[1].split()
    assert names[:3] == [word.replace("py -", "python") for word in tried[:3]]
    assert names[3:] == ["python3", "python", '"$here/../.venv/bin/python"']

    assert re.findall(r'set "(PYTHON\w+)=(\w+)"', batch) == [("PYTHONUTF8", "1")]
    assert re.findall(r'\$env:(\w+) = "(\w+)"', powershell) == [("PYTHONUTF8", "1")]
    assert re.findall(r"export (\w+)=(\w+)", shell) == [("PYTHONUTF8", "1")]
    for code in (batch, powershell, shell):
        for file in ("no_python.txt", "launch.py", "this_python.py"):
            assert file in code
    for code in (batch, powershell):  # both wait for a key after a double click, unless told
        assert re.search(r"defined CI|env:CI", code) and re.search(
            r"defined NO_PAUSE|env:NO_PAUSE", code
        )


def test_the_question_is_answered_by_a_python_that_will_do(tmp_path: Path) -> None:
    """And by an old one not at all: the same file with older bounds stands for it."""
    question = SCRIPTS / "launch_parts" / "this_python.py"
    done = subprocess.run([sys.executable, question], capture_output=True, encoding="utf-8")
    assert done.stdout.strip() == f"PYTHON={sys.executable}"
    old = tmp_path / "old.py"
    source = text(question)
    assert "(3, 11) <=" in source and "<= (3, 13)" in source
    old.write_text(source.replace("(3, 11)", "(3, 8)").replace("(3, 13)", "(3, 10)"))
    done = subprocess.run([sys.executable, old], capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout, done.stderr) == (9, "", "")


def test_powershell_launchers_are_short() -> None:
    for path in POWERSHELL:
        assert len(text(path).splitlines()) <= 25
