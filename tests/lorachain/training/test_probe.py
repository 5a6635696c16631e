"""The largest micro-batch, run for real on the tiny base before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chain_support import BASIC, make_rows, write_rows

from lorachain.config import resolve
from lorachain.training.batching import Collator, StepBatches
from lorachain.training.probe import forward_backward, largest_micro_batch, probe
from lorachain.training.stage import Request, Stage, prepare


@pytest.fixture
def stage(tmp_path: Path, tiny_base: Path) -> Stage:
    return make_stage(tmp_path, tiny_base)


def make_stage(folder: Path, base: Path, *sets: str) -> Stage:
    rows = write_rows(folder / "rows.jsonl", make_rows(24, "alpha"))
    asked = [*BASIC, f"model.base_model={base}", "training.max_tokens_per_micro_batch=128", *sets]
    return prepare(Request(resolve(None, sets=asked), rows, None, folder / "out"))


def test_the_probe_runs_the_largest_micro_batch_and_says_what_it_took(stage: Stage) -> None:
    done, findings = probe(stage)
    assert findings == [] and done is not None
    rows = largest_micro_batch(stage, 128)
    assert done.rows == len(rows) and done.longest == max(len(row.ids) for row in rows)
    assert done.tokens == done.rows * done.longest <= 128
    assert done.trained_tokens == sum(row.trained_tokens for row in rows)
    assert done.seconds > 0 and done.device == "cpu"
    assert done.peak_bytes is not None and done.peak_bytes > 10**7  # torch alone is larger
    assert not stage.request.output.exists()


def test_no_step_of_a_training_has_a_larger_one(stage: Stage) -> None:
    """No real step's micro-batch holds more tokens than the one that is probed."""
    probed = largest_micro_batch(stage, 128)
    largest = len(probed) * max(len(row.ids) for row in probed)
    examples = stage.data.examples
    batches = StepBatches([len(e.ids) for e in examples], stage.data.groups, 4, seed=1)
    collator = Collator(128, 0)
    sizes = []
    for epoch in range(20):
        batches.set_epoch(epoch)
        for step in batches:
            item = collator([examples[i] for i in step])
            sizes += [batch["input_ids"].numel() for batch in item["micro_batches"]]
    assert max(sizes) <= largest


def test_a_row_over_the_budget_is_probed_alone(stage: Stage) -> None:
    (row,) = largest_micro_batch(stage, 8)
    assert len(row.ids) == max(len(e.ids) for e in stage.data.examples)


def test_gradients_are_really_taken_and_nothing_stays(stage: Stage) -> None:
    seen: list[Any] = []

    def watched(model: Any, *rest: Any) -> None:
        trained = [p for p in model.parameters() if p.requires_grad]
        before = [p.detach().clone() for p in trained]
        hooks = [p.register_hook(lambda grad: seen.append(grad)) for p in trained]
        forward_backward(model, *rest)
        assert len(hooks) == len(seen) > 0
        assert all(bool((a == b).all()) for a, b in zip(before, trained, strict=True))
        assert all(p.grad is None for p in trained)

    done, findings = probe(stage, watched)
    assert done is not None and findings == []
    assert any(bool(grad.any()) for grad in seen)


def test_there_is_room_for_the_optimizers_state(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adam keeps two numbers of 4 bytes for each that is trained."""
    import torch

    asked: list[int] = []
    empty = torch.empty

    def watched(*size: Any, **options: Any) -> Any:
        if options.get("dtype") is torch.uint8:
            asked.extend(size)
        return empty(*size, **options)

    monkeypatch.setattr("lorachain.training.probe.torch.empty", watched)
    counted: list[int] = []

    def count(model: Any, *_: Any) -> None:
        counted.append(sum(p.numel() for p in model.parameters() if p.requires_grad))

    probe(stage, count)
    assert 8 * counted[0] in asked


def test_random_numbers_are_as_they_were(stage: Stage) -> None:
    import torch

    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    probe(stage)
    assert bool((torch.random.get_rng_state() == before).all())


@pytest.mark.parametrize(
    "error",
    [
        "out of memory",
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        MemoryError(),
    ],
)
def test_memory_that_does_not_suffice_is_a_finding(stage: Stage, error: Any) -> None:
    import torch

    def fails(*_: Any) -> None:
        raise torch.OutOfMemoryError(error) if isinstance(error, str) else error

    done, (found,) = probe(stage, fails)
    assert done is None and (found.code, found.severity) == ("probe-failed", "error")
    longest = max(len(e.ids) for e in stage.data.examples)
    assert f"{longest} tokens" in found.says
    assert "gradient_checkpointing=true" in found.do
    assert f"data.max_seq_length={longest // 2}" in found.do


def test_memory_that_really_does_not_suffice(stage: Stage) -> None:
    """torch is asked for more than any computer has."""
    import torch

    def greedy(*_: Any) -> None:
        torch.ones(2**55, dtype=torch.uint8)

    done, (found,) = probe(stage, greedy)
    assert done is None and found.code == "probe-failed"


def test_another_error_is_not_hidden(stage: Stage) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        probe(stage, fails)


def test_checkpointing_that_is_on_is_not_advised(tmp_path: Path, tiny_base: Path) -> None:
    def fails(*_: Any) -> None:
        raise MemoryError

    stage = make_stage(tmp_path, tiny_base, "training.gradient_checkpointing=true")
    assert "gradient_checkpointing" not in probe(stage, fails)[1][0].do
    assert probe(stage)[0] is not None
