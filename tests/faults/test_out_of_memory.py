"""Row 17: the device runs out of memory in a step. (For real: tests/chain/test_cuda.py.)"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from chain_support import largest_difference
from fault_support import Bench, copy_of, hashes, is_finished, log_of, resumed_from, steps_of

from lorachain.checkpoint import verify

pytestmark = pytest.mark.posix

# Without dropout and noise, which depend on how a step's rows are cut up: the advice cuts them.
SETS = (
    "checkpoint.resume=exact",
    "lora.lora_dropout=0",
    "training.neftune_noise_alpha=null",
)


def run_out_of_memory() -> None:
    """As torch does it on a GPU, within the fifth step."""
    import torch

    from lorachain.training.sft import SFTTrainer

    real = SFTTrainer.training_step

    def training_step(self: Any, *args: Any) -> Any:
        if self.state.global_step == 4:
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
                "8.00 GiB of which 1.00 GiB is free."
            )
        return real(self, *args)

    SFTTrainer.training_step = training_step  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Bench:
    """One place for the runs of this file."""
    return Bench.make(tmp_path_factory.mktemp("memory"), tiny_base)


@pytest.fixture(scope="module")
def stopped(bench: Bench) -> tuple[Path, str]:
    """A run that ran out of memory, and what it said."""
    ended = bench.run("stopped", sets=SETS, before="test_out_of_memory:run_out_of_memory")
    assert ended.code == 2, ended.text
    return ended.folder, ended.text


def test_row_17_out_of_memory_is_one_line_of_advice(stopped: tuple[Path, str]) -> None:
    folder, text = stopped
    assert "Traceback" not in text
    errors = [line for line in text.splitlines() if line.startswith("Error: ")]
    assert errors == [text.splitlines()[-1]]
    assert errors[0].startswith(f"Error: The GPU ran out of memory. Checkpoints in {folder} are")
    assert "--set training.gradient_checkpointing=true" in errors[0]
    assert "--set training.max_tokens_per_micro_batch=512" in errors[0]


def test_row_17_out_of_memory_keeps_the_checkpoints_and_writes_no_version(
    stopped: tuple[Path, str],
) -> None:
    folder, _ = stopped
    assert steps_of(folder) == [2, 4]
    assert [verify(folder / f"checkpoint-{step}").step for step in (2, 4)] == [2, 4]
    assert not is_finished(folder)
    assert not (folder / "adapter_model.safetensors").exists()
    assert [e["step"] for e in log_of(folder) if "loss" in e] == [1, 2, 3, 4]
    assert not [name for name in hashes(folder) if ".tmp" in name]


def test_row_17_the_same_command_with_what_is_advised_goes_on_to_the_same_end(
    bench: Bench, stopped: tuple[Path, str]
) -> None:
    folder, text = stopped
    whole = bench.run("whole", sets=SETS)
    assert whole.code == 0, whole.text
    advised = re.findall(r"--set (\S+=[^\s,]+)", text.splitlines()[-1])
    assert len(advised) == 2
    for number, sets in enumerate(([], advised), start=1):
        output = copy_of(folder, f"again-{number}")
        again = bench.run(output.name, sets=(*SETS, *sets))
        assert again.code == 0, again.text
        assert resumed_from(output) == 4
        assert largest_difference(output, whole.folder) <= (1e-5 if sets else 0.0)


def test_row_17_before_the_first_checkpoint_it_does_not_promise_one(bench: Bench) -> None:
    sets = (*SETS, "checkpoint.save_steps=200")
    ended = bench.run("early", sets=sets, before="test_out_of_memory:run_out_of_memory")
    assert ended.code == 2
    assert steps_of(ended.folder) == []
    assert "Checkpoints in" not in ended.lines[-1]
