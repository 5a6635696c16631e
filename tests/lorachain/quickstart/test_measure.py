"""Time and memory of the quickstart, over all of its runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lorachain.errors import UserError
from lorachain.quickstart.measure import FILE, INTERVAL, PeakMemory, Steps


def clock(*times: float) -> Callable[[], float]:
    found: Iterator[float] = iter(times)
    return lambda: next(found)


def test_a_step_is_on_disk_when_it_ends(tmp_path: Path) -> None:
    steps = Steps(tmp_path)
    assert (steps.seconds, steps.peak_mb) == (0.0, 0)
    with steps.step("v1", clock(100.0, 112.34)):
        assert not (tmp_path / FILE).exists()
    assert json.loads((tmp_path / FILE).read_text(encoding="utf-8"))["v1"]["seconds"] == 12.3


def test_steps_add_up_and_go_on_in_another_run(tmp_path: Path) -> None:
    with Steps(tmp_path).step("v1", clock(0, 10)):
        pass
    with pytest.raises(KeyboardInterrupt), Steps(tmp_path).step("v2", clock(0, 4)):
        raise KeyboardInterrupt
    with Steps(tmp_path).step("v2", clock(50, 56.5)):
        pass
    steps = Steps(tmp_path)
    assert {name: step["seconds"] for name, step in steps.done.items()} == {"v1": 10, "v2": 10.5}
    assert steps.seconds == 20.5


def test_the_peak_is_that_of_the_largest_step(tmp_path: Path) -> None:
    record = {
        "v1": {"seconds": 1.0, "peak_mb": 900},
        "v2": {"seconds": 1.0, "peak_mb": 10**7},
    }
    (tmp_path / FILE).write_text(json.dumps(record), encoding="utf-8")
    steps = Steps(tmp_path)
    assert steps.peak_mb == 10**7
    with steps.step("v2", clock(0, 1)):  # a second run that needs less forgets nothing
        pass
    assert Steps(tmp_path).peak_mb == 10**7


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"quickstart's record cannot be read: .*steps\.json"):
        Steps(tmp_path)


def test_the_memory_of_children_counts() -> None:
    """A child that holds 200 MB: this process alone holds none of it."""
    with PeakMemory() as nothing:
        time.sleep(3 * INTERVAL)
    child = "import sys, time; x = bytes(range(256)) * (200 * 2**12); print('ready', flush=True);"
    with (
        PeakMemory() as memory,
        subprocess.Popen(
            [sys.executable, "-c", child + "sys.stdin.read()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(4 * INTERVAL)
    assert memory.bytes > nothing.bytes + 150 * 2**20
    assert nothing.bytes > 2**20
