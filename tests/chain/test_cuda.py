"""What only a CUDA device can show: 4-bit bases and paged optimizers through the whole chain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain_support import Place, largest_difference, lineage

from lorachain.errors import UserError

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize(
    ("bits", "optim"),
    [
        ("quantization.load_in_4bit=true", "paged_adamw_8bit"),
        ("quantization.load_in_8bit=true", "adamw_8bit"),
        ("quantization.load_in_4bit=false", "paged_adamw_32bit"),
        ("quantization.load_in_4bit=false", "adamw_torch_fused"),
    ],
)
def test_v1_to_v2_on_cuda(place: Place, bits: str, optim: str) -> None:
    sets = [bits, f"training.optim={optim}", "model.dtype=auto", "training.num_train_epochs=2"]
    v1 = place.v1("v1", sets=sets)
    v2 = place.v2(v1, "v2", "--replay-share", "0.3", sets=sets)
    for folder in (v1, v2):
        found = lineage(folder)
        assert found["replaced"] == []
        assert found["probe"]["device"] == "cuda"
        assert found["metrics"]["train_loss_last"] < found["metrics"]["train_loss_first"]


EXACT = ("checkpoint.resume=exact", "checkpoint.save_steps=2", "lora.lora_dropout=0.1")
EAGER = ("model.attn_implementation=eager",)  # the backward pass of others may add in any order
WAY_OUT = "Use checkpoint.resume: weights, or another optimizer such as adamw_torch."


@pytest.fixture
def deterministic() -> Iterator[None]:
    """The same arithmetic in every run, so that what differs is the optimizer's state."""
    import torch

    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def whole_and_resumed(place: Place, *sets: str) -> tuple[Path, Path]:
    """An uninterrupted run of four steps, and one that goes on from its second step."""
    whole = place.v1("whole", sets=sets)
    half = place.v1("half", sets=sets)
    (half / "lineage.json").unlink()
    place.v1("half", "--resume", str(half / "checkpoint-2"), sets=sets)
    assert lineage(half)["resumed_from_step"] == 2
    assert lineage(half)["replaced"] == []
    return whole, half


@pytest.mark.parametrize("optim", ["adamw_torch", "adamw_torch_fused", "adafactor"])
def test_exact_resume_on_cuda(place: Place, optim: str) -> None:
    """From a checkpoint in the middle to the same end; kernels may round differently by a hair."""
    whole, half = whole_and_resumed(place, *EXACT, f"training.optim={optim}")
    assert largest_difference(whole, half) < 1e-4


@pytest.mark.parametrize(
    "optim",
    [
        *("adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit", "paged_adamw_32bit"),
        *("lion_8bit", "paged_lion_8bit", "lion_32bit", "rmsprop_bnb_8bit", "ademamix_8bit"),
    ],
)
def test_row_02_an_optimizer_of_bitsandbytes_is_resumed_to_the_bit_or_refused_at_the_start(
    place: Place, optim: str, deterministic: None
) -> None:
    """Which of the two is printed. Never is there a third: a run that ends elsewhere."""
    sets = (*EXACT, *EAGER, f"training.optim={optim}")
    try:
        whole, half = whole_and_resumed(place, *sets)
    except UserError as refusal:
        message = str(refusal)
        outcome = f"refused: {message}"
        assert message.startswith("checkpoint.resume: exact cannot ")
        assert message.endswith(WAY_OUT)
        assert not list((place.folder / "whole").glob("checkpoint-*"))
        assert (place.folder / "whole" / "training_log.jsonl").read_text(encoding="utf-8") == ""
    else:
        outcome = f"resumed, largest difference {largest_difference(whole, half)}"
        assert largest_difference(whole, half) == 0.0
    print(f"{optim}: {outcome}")


def test_row_02_large_tensors_keep_their_8_bit_state(place: Place, deterministic: None) -> None:
    """bitsandbytes keeps a tensor in 8 bits from 4,096 elements on: rank 64 makes such ones."""
    from safetensors.torch import load_file

    sets = (*EXACT, *EAGER, "training.optim=paged_adamw_8bit", "lora.r=64", "lora.lora_alpha=64")
    whole, half = whole_and_resumed(place, *sets)
    assert largest_difference(whole, half) == 0.0
    saved = load_file(str(half / "checkpoint-4" / "optimizer.safetensors"))
    assert "torch.uint8" in {str(tensor.dtype) for tensor in saved.values()}
    adapter = load_file(str(half / "adapter_model.safetensors"))
    parameters = sum(tensor.numel() for tensor in adapter.values())
    state = (half / "checkpoint-4" / "optimizer.safetensors").stat().st_size
    assert state / parameters < 5  # AdamW's is 8 in float32


def test_row_02_fp16_goes_on_with_its_loss_scale(place: Place) -> None:
    """The scaler's state is JSON, and a fresh one would start at 65,536 and skip other steps."""
    sets = (*EXACT, "model.dtype=fp16", "training.optim=adamw_torch", "checkpoint.save_steps=1")
    whole, half = whole_and_resumed(place, *sets)
    states = {
        step: json.loads((whole / f"checkpoint-{step}" / "scaler.json").read_text(encoding="utf-8"))
        for step in (3, 4)
    }
    resumed = json.loads((half / "checkpoint-4" / "scaler.json").read_text(encoding="utf-8"))
    assert {"scale", "growth_factor", "_growth_tracker"} <= set(states[4])
    assert resumed == states[4]
    assert states[3] != states[4]  # its tracker counts the steps
    assert largest_difference(whole, half) < 1e-4


def test_row_17_a_gpu_that_runs_out_of_memory_keeps_a_checkpoint_and_says_what_to_do(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The allocator gives nothing more once there is a checkpoint; the next run has all of it."""
    import torch
    from transformers import TrainerCallback

    from lorachain.checkpoint import find_latest
    from lorachain.training.sft import SFTTrainer

    taken: list[torch.Tensor] = []

    class TakeAll(TrainerCallback):  # type: ignore[misc,unused-ignore]
        def on_save(self, args: object, state: object, control: object, **_: object) -> None:
            torch.cuda.empty_cache()
            total = torch.cuda.get_device_properties(0).total_memory
            limit = torch.cuda.memory_reserved() + (1 << 22)
            torch.cuda.set_per_process_memory_fraction(limit / total)
            for size in (1 << 20, 1 << 16, 1 << 9):
                with pytest.raises(torch.OutOfMemoryError):
                    while True:
                        taken.append(torch.empty(size, dtype=torch.uint8, device="cuda"))

    real = SFTTrainer.__init__

    def init(self: SFTTrainer, **kwargs: object) -> None:
        real(self, **kwargs)  # type: ignore[arg-type]
        self.add_callback(TakeAll())

    sets = ("checkpoint.save_steps=2", "checkpoint.resume=exact")
    with monkeypatch.context() as patch:
        patch.setattr(SFTTrainer, "__init__", init)
        try:
            with pytest.raises(UserError) as caught:  # exit code 2
                place.v1("v1", sets=sets)
        finally:
            taken.clear()
            torch.cuda.set_per_process_memory_fraction(1.0)
            torch.cuda.empty_cache()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith("The GPU ran out of memory.")
    assert "--set training.gradient_checkpointing=true" in message
    found = find_latest(place.folder / "v1")
    assert found is not None and found.step == 2
    assert not (place.folder / "v1" / "lineage.json").exists()
    again = place.v1("v1", sets=(*sets, "training.gradient_checkpointing=true"))
    assert lineage(again)["resumed_from_step"] == 2
