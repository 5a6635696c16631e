"""What only a CUDA device can show: 4-bit bases and paged optimizers through the whole chain."""

from __future__ import annotations

import pytest
from chain_support import Place, largest_difference, lineage

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


@pytest.mark.parametrize("optim", ["paged_adamw_8bit", "adamw_8bit", "adamw_torch"])
def test_exact_resume_on_cuda(place: Place, optim: str) -> None:
    """From a checkpoint in the middle to the same end; kernels may round differently by a hair."""
    sets = [f"training.optim={optim}", "checkpoint.resume=exact", "checkpoint.save_steps=2"]
    whole = place.v1("whole", sets=sets)
    half = place.v1("half", sets=sets)
    (half / "lineage.json").unlink()
    place.v1("half", "--resume", str(half / "checkpoint-2"), sets=sets)
    assert lineage(half)["resumed_from_step"] == 2
    assert largest_difference(whole, half) < 1e-4
