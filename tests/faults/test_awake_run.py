"""A real run keeps the computer awake until it ends, also when Ctrl-C ends it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fault_support import Bench

from lorachain import awake

RECORD = "TEST_AWAKE_RECORD"


def record_the_calls() -> None:
    """In the run's process: Windows' call, as a line in a file for each."""
    path = Path(os.environ[RECORD])

    def ask(flags: int) -> int:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{flags:#x}\n")
        return awake.ES_CONTINUOUS

    awake.execution_state = lambda: ask


@pytest.mark.posix
@pytest.mark.parametrize(
    ("fault", "code"), [(None, 0), ("interrupt@write checkpoint/rng.json#2", 130)]
)
def test_awake_while_it_trains_and_free_again(bench: Bench, fault: str | None, code: int) -> None:
    calls = bench.folder / "calls"
    ended = bench.run(
        "v1",
        fault=fault,
        environment={RECORD: str(calls)},
        before="test_awake_run:record_the_calls",
    )
    assert ended.code == code, ended.text
    assert calls.read_text(encoding="utf-8").split() == ["0x80000001", "0x80000000"]
