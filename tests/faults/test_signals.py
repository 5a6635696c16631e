"""Row 4 and its kin: Ctrl-C, a closed terminal, a system that shuts down."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time

import pytest
from chain_support import largest_difference
from fault_support import STEPS, Bench, is_finished, resumed_from, steps_of

from lorachain import checkpoint
from lorachain.soak.launch import Run

pytestmark = pytest.mark.posix

EXACT = ("checkpoint.resume=exact", "training.num_train_epochs=2")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_row_04_a_signal_saves_the_step_and_exits_130(bench: Bench, name: str) -> None:
    """Ctrl-C in step 5, between two checkpoints: step 5 is saved, and the command is printed."""
    number = getattr(signal, name)

    def act(run: Run) -> None:
        os.kill(run.process.pid, number)

    stopped = bench.stopped_at(2, act, "stopped", sets=EXACT)
    assert stopped.code == 130, stopped.text
    assert "Traceback" not in stopped.text
    step = max(steps_of(stopped.folder))
    assert f"Stopped at step {step} of {STEPS}; it is saved in " in stopped.text
    checkpoint.verify(stopped.folder / f"checkpoint-{step}")
    assert not is_finished(stopped.folder)

    command = shlex.split(stopped.text.partition("To go on, run it again:\n")[2])
    again = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 0, again.stderr
    assert f"Going on from checkpoint-{step}" in again.stderr
    assert resumed_from(stopped.folder) == step
    whole = bench.run("whole", sets=EXACT)
    assert largest_difference(stopped.folder, whole.folder) == 0.0


@pytest.mark.parametrize("others", [("SIGHUP",), ("SIGTERM", "SIGHUP", "SIGHUP")])
def test_row_04_a_system_that_shuts_down_sends_several_and_the_step_is_saved(
    bench: Bench, others: tuple[str, ...]
) -> None:
    def act(run: Run) -> None:
        for name in ("SIGTERM", *others):
            os.kill(run.process.pid, getattr(signal, name))
            time.sleep(0.002)

    stopped = bench.stopped_at(2, act, "stopped", sets=EXACT)
    assert stopped.code == 130, stopped.text
    step = max(steps_of(stopped.folder))
    assert f"Stopped at step {step} of {STEPS}; it is saved in " in stopped.text


def test_row_04_ctrl_c_while_the_base_is_loaded_says_how_to_go_on(bench: Bench) -> None:
    """Before the first step there is nothing to save: it stops at once."""
    stopped = bench.run("early", sets=EXACT, fault="interrupt@write unfinished.json#1")
    assert stopped.code == 130
    assert "Traceback" not in stopped.text


def test_row_04_ctrl_c_while_the_version_is_written_leaves_it_unfinished(bench: Bench) -> None:
    stopped = bench.run("late", sets=EXACT, fault="interrupt@write README.md#1")
    assert stopped.code == 130, stopped.text
    assert "Traceback" not in stopped.text
    assert not is_finished(stopped.folder)
    assert f"Its newest checkpoint is checkpoint-{STEPS}" in stopped.text
    again = bench.run("late", sets=EXACT)
    assert again.code == 0 and resumed_from(stopped.folder) == STEPS


def test_row_04_a_second_ctrl_c_stops_at_once_and_the_checkpoints_are_good(bench: Bench) -> None:
    fault = "interrupt@append training_log.jsonl#4;interrupt@write checkpoint/rng.json#3"
    stopped = bench.run("twice", sets=EXACT, fault=fault)
    assert stopped.code == 130, stopped.text
    assert "Stopped at once. Its newest checkpoint is checkpoint-4." in stopped.text
    assert steps_of(stopped.folder) == [2, 4]
    assert not [p for p in stopped.folder.iterdir() if ".tmp" in p.name]
    assert bench.run("twice", sets=EXACT).code == 0
