"""Row 16: training that diverges stops, and what it made is never the latest checkpoint."""

from __future__ import annotations

from typing import Any

import pytest
from chain_support import tensors
from fault_support import Bench, is_finished, steps_of

from lorachain import checkpoint


def break_a_weight_in_step_3() -> None:
    """What a faulty memory cell does: called in the run's process before the script."""
    import torch

    real, taken = torch.optim.AdamW.step, [0]

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = real(self, *args, **kwargs)
        taken[0] += 1
        if taken[0] == 3:
            self.param_groups[0]["params"][0].data[0, 0] = float("nan")
        return result

    torch.optim.AdamW.step = step  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("what", "step", "options"),
    [
        ("loss", 2, {"sets": ("training.learning_rate=1e25", "training.warmup_ratio=0")}),
        ("adapter", 3, {"before": "test_diverged:break_a_weight_in_step_3"}),
    ],
)
def test_row_16_a_diverged_run_stops_and_is_not_saved(
    bench: Bench, what: str, step: int, options: dict[str, Any]
) -> None:
    sets = (*options.pop("sets", ()), "checkpoint.save_steps=1", "training.eval_strategy=no")
    ended = bench.run("v1", sets=sets, **options)
    assert ended.code == 2, ended.text
    assert f"The {what} became NaN or infinite at step {step}" in ended.text
    assert "Lower training.learning_rate" in ended.text
    assert "Traceback" not in ended.text
    assert steps_of(ended.folder) == list(range(1, step))
    for saved in ended.folder.glob("checkpoint-*"):
        checkpoint.verify(saved)
        assert all(bool(t.isfinite().all()) for t in tensors(saved).values())
    assert not is_finished(ended.folder)
