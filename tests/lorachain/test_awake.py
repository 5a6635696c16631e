"""The computer stays awake for as long as a run takes, and may do as it likes afterwards."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorachain import awake
from lorachain.awake import ES_CONTINUOUS, ES_SYSTEM_REQUIRED, kept_awake
from lorachain.errors import Interrupted, UserError
from lorachain.training import stage

ON = ES_CONTINUOUS | ES_SYSTEM_REQUIRED


class Kernel32:
    """What Windows does with SetThreadExecutionState, as recorded from a real Windows CPython under
    Wine: the flags before come back; a first call got 7, which says nothing of a request."""

    def __init__(self) -> None:
        self.state = 0x7
        self.calls: list[int] = []

    def __call__(self, flags: int) -> int:
        self.calls.append(flags)
        before, self.state = self.state, flags
        return before


@pytest.fixture
def kernel32(monkeypatch: pytest.MonkeyPatch) -> Kernel32:
    found = Kernel32()
    monkeypatch.setattr(awake, "execution_state", lambda: found)
    return found


def test_awake_inside_and_free_again_afterwards(kernel32: Kernel32) -> None:
    with kept_awake():
        assert kernel32.state == ON
    assert kernel32.calls == [ON, ES_CONTINUOUS]


@pytest.mark.parametrize("error", [KeyboardInterrupt, Interrupted, RuntimeError, SystemExit])
def test_free_again_after_every_end(kernel32: Kernel32, error: type[BaseException]) -> None:
    with pytest.raises(error), kept_awake():
        raise error
    assert kernel32.state == ES_CONTINUOUS


def test_a_block_in_a_block_leaves_the_outer_one_awake(kernel32: Kernel32) -> None:
    with kept_awake():
        with kept_awake():
            pass
        assert kernel32.state == ON
    assert kernel32.state == ES_CONTINUOUS


def test_a_refusal_is_a_warning_and_nothing_is_taken_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def refuse(flags: int) -> int:
        calls.append(flags)
        return 0

    monkeypatch.setattr(awake, "execution_state", lambda: refuse)
    with caplog.at_level(logging.WARNING, logger="lorachain"), kept_awake():
        pass
    assert calls == [ON]
    assert "Windows did not take the request to stay awake" in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="there the real call is made, below")
def test_elsewhere_nothing_is_asked() -> None:
    assert awake.execution_state() is None
    with kept_awake():
        pass


@pytest.mark.skipif(os.name != "nt", reason="needs Windows' kernel32")
def test_windows_itself_takes_the_request_and_gives_it_back() -> None:
    ask = awake.execution_state()
    assert ask is not None
    with kept_awake():
        assert ask(ON) == ON
    assert ask(ES_CONTINUOUS) == ES_CONTINUOUS


@pytest.mark.parametrize("ends_with", [None, UserError("no"), KeyboardInterrupt(), ValueError()])
def test_a_stage_keeps_it_awake_from_its_first_look_to_its_end(
    kernel32: Kernel32, monkeypatch: pytest.MonkeyPatch, ends_with: BaseException | None
) -> None:
    """What a stage does is put in its place; that training itself runs in it is tested in
    tests/faults/test_awake_run.py."""
    states: list[int] = []

    def body(request: Any) -> Path:
        states.append(kernel32.state)
        if ends_with is not None:
            raise ends_with
        return Path()

    monkeypatch.setattr(stage, "_hold_and_run", body)
    if ends_with is None:
        stage.run(None)  # type: ignore[arg-type]
    else:
        with pytest.raises(type(ends_with)):
            stage.run(None)  # type: ignore[arg-type]
    assert (states, kernel32.state) == ([ON], ES_CONTINUOUS)


# --- priority ---

NICENESS = "import psutil; print(psutil.Process().nice())"
SHOWS_NICENESS = """
import lorachain.training.stage as stage, psutil, subprocess, sys
from lorachain.training.command import V1, main
stage.run = lambda request: print(psutil.Process().nice(), flush=True) or subprocess.run(
    [sys.executable, "-c", {child!r}], check=True)
main(V1, "", sys.argv[1:])
"""


@pytest.fixture
def niceness(tmp_path: Path) -> Callable[..., list[int]]:
    """The priorities at which a training would run, and a process that it starts."""
    for name in ("train", "val"):
        (tmp_path / f"{name}.jsonl").write_text('{"question": "a", "answer": "b"}\n')
    code = SHOWS_NICENESS.format(child=NICENESS)
    data = ["--train-data", "train.jsonl", "--val-data", "val.jsonl", "--output", "out"]

    def ask(*flags: str) -> list[int]:
        out = subprocess.run(
            [sys.executable, "-c", code, *data, *flags],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        return [int(line) for line in out.split()]

    return ask


def test_priority_is_lowered_on_request_alone(niceness: Callable[..., list[int]]) -> None:
    import psutil

    own = psutil.Process().nice()
    if os.name == "nt":
        wanted = [psutil.BELOW_NORMAL_PRIORITY_CLASS, psutil.IDLE_PRIORITY_CLASS]
    else:
        wanted = [max(own, 10), max(own, 19)]
    assert niceness() == [own, own]
    assert niceness("--priority", "below-normal") == [wanted[0]] * 2
    assert niceness("--priority", "low") == [wanted[1]] * 2
