"""What every script does with flags, streams and errors, run as the processes they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from lorachain import errors
from lorachain.cli import ArgumentParser, hyphenated

STREAMS = {"PYTHONUNBUFFERED", "PYTHONIOENCODING", "PYTHONUTF8"}
CLEAN = {k: v for k, v in os.environ.items() if k not in STREAMS}


def script(body: str) -> list[str]:
    """The command of a script whose `main` has this body."""
    code = "import sys, os, logging\nfrom lorachain import cli, errors\ndef main(argv):\n"
    code += textwrap.indent(textwrap.dedent(body), "    ") + "\ncli.run(main)\n"
    return [sys.executable, "-c", code]


def ran(body: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(script(body), env=CLEAN, capture_output=True, timeout=60, **options)


# --- exit codes ---


@pytest.mark.parametrize(
    ("body", "code", "out", "err"),
    [
        ("print('done')", 0, "done\n", ""),
        ("return 3", 3, "", ""),
        ("raise errors.UserError('No such file: x. Check it.')", 2, "", "Error: No such file: x."),
        ("raise errors.Interrupted('Saved. Go on with: x')", 130, "", "Saved. Go on with: x\n"),
        ("raise KeyboardInterrupt", 130, "", "Interrupted.\n"),
        ("sys.exit(7)", 7, "", ""),
    ],
)
def test_exit_codes(body: str, code: int, out: str, err: str) -> None:
    found = ran(body)
    assert found.returncode == code
    assert found.stdout.decode().replace("\r", "") == out
    assert found.stderr.decode().replace("\r", "").startswith(err)
    assert b"Traceback" not in found.stderr


def test_a_bug_keeps_its_traceback() -> None:
    found = ran("return {}['missing']")
    assert found.returncode == errors.EXIT_BUG == 1
    assert b"Traceback" in found.stderr
    assert b"KeyError: 'missing'" in found.stderr


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to a child there")
def test_ctrl_c_ends_with_130_and_no_traceback() -> None:
    body = "print('up', flush=True); import time; time.sleep(60)"
    with subprocess.Popen(
        script(body), env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"up"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"Interrupted.\n")


@pytest.mark.skipif(os.name == "nt", reason="pipes close otherwise there")
@pytest.mark.parametrize("count", [1, 10_000_000], ids=["less than a buffer", "more"])
@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_reader_that_goes_away_is_no_error(count: int, unbuffered: bool) -> None:
    """`script.py | head -1`."""
    env = {**CLEAN, "PYTHONUNBUFFERED": "1"} if unbuffered else CLEAN
    read, write = os.pipe()
    process = subprocess.Popen(
        script(f"sys.stdin.readline(); print('x' * {count})"),
        env=env,
        stdin=subprocess.PIPE,
        stdout=write,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    os.close(read)
    _, err = process.communicate(b"go\n", timeout=60)
    assert (process.returncode, err) == (0, b"")


# --- streams ---


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_output_is_utf8_whatever_the_console_says(encoding: str) -> None:
    body = "print('日本 ü'); logging.getLogger('lorachain').info('日本'); print('\\ud800')"
    found = subprocess.run(
        script(body), env={**CLEAN, "PYTHONIOENCODING": encoding}, capture_output=True, timeout=60
    )
    assert found.returncode == 0
    assert found.stdout.decode("utf-8").split() == ["日本", "ü", "\\ud800"]
    assert found.stderr.decode("utf-8").strip() == "日本"


def test_messages_go_to_stderr_and_other_libraries_only_warn() -> None:
    found = ran(
        "logging.getLogger('lorachain').info('ours')\n"
        "logging.getLogger('lorachain').debug('detail')\n"
        "logging.getLogger('other').info('chatter')\n"
        "logging.getLogger('other').warning('theirs')"
    )
    assert found.stdout == b""
    assert found.stderr.decode().split() == ["ours", "theirs"]


# --- flags ---


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("--source_model", "--source-model"),
        ("--source_model=a_b", "--source-model=a_b"),
        ("--set=training.seed=1_0", "--set=training.seed=1_0"),
        ("a_b", "a_b"),
        ("-a_b", "-a_b"),
        ("training.learning_rate=1", "training.learning_rate=1"),
        ("--", "--"),
        ("", ""),
    ],
)
def test_underscores_in_a_flag_are_hyphens(given: str, read: str) -> None:
    assert hyphenated(given) == read


def parser() -> ArgumentParser:
    found = ArgumentParser(prog="x")
    found.add_argument("--source-model")
    found.add_argument("--set", action="append")
    found.add_argument("--batch-size", type=int, default=8)
    return found


def test_both_spellings_arrive() -> None:
    for flag in ("--source-model", "--source_model"):
        assert parser().parse_args([flag, "a_b"]).source_model == "a_b"
        assert parser().parse_args([f"{flag}=a_b"]).source_model == "a_b"
    found = parser().parse_args(["--set", "training.warmup_ratio=0.1", "--set=lora.r=8"])
    assert found.set == ["training.warmup_ratio=0.1", "lora.r=8"]
    assert parser().parse_args(["--batch_size", "4"]).batch_size == 4


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--source", "a"], "unrecognized arguments: --source"),  # no abbreviations
        (["--no_such"], "unrecognized arguments: --no-such"),
        (["--batch-size", "many"], "invalid int value: 'many'"),
        (["--batch-size"], "expected one argument"),
    ],
)
def test_a_bad_flag_exits_with_2(
    given: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(given)
    assert caught.value.code == errors.EXIT_USER_ERROR == 2
    assert says in capsys.readouterr().err


def test_the_command_line_is_read_when_no_arguments_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--source_model", "v1"])
    assert parser().parse_args().source_model == "v1"
