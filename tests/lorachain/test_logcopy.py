"""The copy of a script's output that the launchers ask for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lorachain.logcopy import VARIABLE


def run(
    body: str, tmp_path: Path, **variables: str
) -> tuple[subprocess.CompletedProcess[str], str]:
    """A script's run and its log, less the log's first line, which names the command."""
    code = "import logging, os, sys\nfrom lorachain import cli, errors\ndef main(argv):\n"
    code += "".join(f"    {line}\n" for line in body.splitlines()) + "cli.run(main)\n"
    log = tmp_path / "a log.txt"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "", "PYTHONUTF8": "1", VARIABLE: str(log)} | variables,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    text = log.read_text(encoding="utf-8") if log.is_file() else ""
    return done, text.partition("\n")[2]


def test_it_holds_stdout_messages_and_the_last_state_of_a_progress_bar(tmp_path: Path) -> None:
    body = (
        "print('a result ü')\nlogging.getLogger('lorachain').info('a message')\n"
        "for n in range(3): print(n, '%', end='\\r', file=sys.stderr)\n"
        "print('done', file=sys.stderr)\nprint('no end', end='')"
    )
    done, log = run(body, tmp_path)
    assert (done.returncode, done.stdout) == (0, "a result ü\nno end")
    assert log.splitlines() == ["a result ü", "a message", "done", "no end"]


def test_it_holds_what_ended_the_script(tmp_path: Path) -> None:
    done, log = run("raise errors.UserError('No such file.')", tmp_path)
    assert (done.returncode, log) == (2, "Error: No such file.\n") == (2, done.stderr)
    done, log = run("raise AssertionError('a bug')", tmp_path)
    assert done.returncode == 1
    assert log.endswith(done.stderr) and done.stderr.endswith("AssertionError: a bug\n")


@pytest.mark.posix
def test_it_holds_the_stack_of_a_crash_in_native_code(tmp_path: Path) -> None:
    done, log = run("import faulthandler\nfaulthandler._sigsegv()", tmp_path)
    assert done.returncode < 0
    assert "Segmentation fault" in log and "in main" in log


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "a log.txt").mkdir()
    done, _ = run("print('a result')", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "a result\n", "")


def test_without_being_asked_it_does_nothing(tmp_path: Path) -> None:
    done, log = run("print(type(sys.stdout).__name__)", tmp_path, **{VARIABLE: ""})
    assert (done.stdout, log) == ("TextIOWrapper\n", "")
