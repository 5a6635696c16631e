"""Rows 1 and 4 under torchrun: two processes that train together stop and resume together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from chain_support import BASIC, largest_difference, lineage
from fault_support import Bench, log_of, steps_of

from lorachain import checkpoint
from lorachain.paths import PROJECT_ROOT

pytestmark = [
    pytest.mark.posix,
    pytest.mark.skipif(os.name == "nt", reason="torch for Windows has no libuv for torchrun"),
]


def launch(bench: Bench, output: str, **environment: str) -> subprocess.Popen[str]:
    """Two processes with half of each step's rows."""
    sets = [
        *(text for text in BASIC if "accumulation" not in text and "dropout" not in text),
        "training.gradient_accumulation_steps=2",
        "lora.lora_dropout=0.1",  # each process draws its own
        "training.num_train_epochs=10",
        "training.eval_strategy=no",
        "checkpoint.resume=exact",
        "checkpoint.save_steps=3",
    ]
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
            str(PROJECT_ROOT / "src/training/fine_tune.py"),
            *("--base-model", str(bench.place.base), *bench.place.data(1)),
            *("--output", str(bench.folder / output)),
            *(part for text in sets for part in ("--set", text)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_row_01_and_04_two_processes_are_killed_interrupted_and_end_as_if_nothing_had_happened(
    bench: Bench,
) -> None:
    whole = launch(bench, "whole")
    out, _ = whole.communicate(timeout=280)
    assert whole.returncode == 0, out

    killed = launch(bench, "v1", LORACHAIN_FAULT="kill@write checkpoint/MANIFEST.json#3")
    out, _ = killed.communicate(timeout=280)
    assert killed.returncode != 0
    folder = bench.folder / "v1"
    assert steps_of(folder) == [3, 6]
    # A damaged one is set aside once, by one process, and both go on from the one before it.
    weights = folder / "checkpoint-6" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])

    stopped = launch(bench, "v1")
    deadline = time.monotonic() + 200
    while not (folder / "checkpoint-12").is_dir() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(stopped.pid, signal.SIGINT)  # the launcher passes it on to its processes
    out, _ = stopped.communicate(timeout=280)
    assert out.count("checkpoint-6 set aside as set-aside-1-checkpoint-6") == 1
    assert "Going on from checkpoint-3" in out
    last = max(steps_of(folder))
    assert out.count(f"Stopped at step {last} of 40") == 1, out
    assert "torch.distributed.run --nproc_per_node=2" in out
    checkpoint.verify(folder / f"checkpoint-{last}")

    again = launch(bench, "v1")
    out, _ = again.communicate(timeout=280)
    assert again.returncode == 0, out
    assert lineage(folder)["resumed_from_step"] == last
    assert largest_difference(folder, bench.folder / "whole") == 0.0
    assert log_of(folder) == log_of(bench.folder / "whole")
