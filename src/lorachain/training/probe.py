"""One real micro-batch before the training: the largest there will be, forward and backward.

An estimate (`preflight.memory`) does arithmetic; this loads base and adapter as the training does,
takes the loss of the largest micro-batch and its gradients beside a tensor of the size of the
optimizer's state, and says what that took. No weight changes: there is no optimizer step, and
torch's random numbers are as they were before.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch

from lorachain.preflight.computer import gigabytes
from lorachain.preflight.finding import Finding, found
from lorachain.preflight.memory import optimizer_bytes
from lorachain.training.batching import pad
from lorachain.training.dataset import Example
from lorachain.training.loss import HeadTap, Way, token_loss
from lorachain.training.stage import Stage
from lorachain.training.train import load_model, loss_parts

Batch = Mapping[str, torch.Tensor]
Step = Callable[[Any, HeadTap, Way, Batch, bool], None]
_CPU_IS_FULL = ("not enough memory", "can't allocate memory")  # torch raises a bare RuntimeError


@dataclass(frozen=True)
class Probe:
    """What the largest micro-batch took. `tokens` counts its padding; `peak_bytes` is the device's
    peak, on a CPU that of this process since it began (None where nobody says)."""

    rows: int
    longest: int
    tokens: int
    trained_tokens: int
    seconds: float
    peak_bytes: int | None
    device: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def forward_backward(model: Any, tap: HeadTap, way: Way, batch: Batch, fp16: bool) -> None:
    """The loss of a micro-batch and the gradients of the adapter, as a training step takes them."""
    model.train()
    half = torch.autocast("cuda", dtype=torch.float16) if fp16 else nullcontext()
    with half:
        loss = token_loss(model, tap, batch, way)
    trained = max(1, int((batch["labels"] != -100).sum()))
    torch.autograd.backward([loss / trained])
    model.zero_grad(set_to_none=True)


def probe(stage: Stage, step: Step = forward_backward) -> tuple[Probe | None, list[Finding]]:
    """Run the largest micro-batch of a prepared stage. Loads the base; frees it again.

    Returns what it took, or the finding `probe-failed` where the memory does not suffice.
    """
    with torch.random.fork_rng():
        try:
            return _run(stage, step), []
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            return None, [_too_large(stage)]
        finally:  # the model is out of reach here
            gc.collect()
            if stage.machine.cuda:
                torch.cuda.empty_cache()


def _run(stage: Stage, step: Step) -> Probe:
    cuda, device = stage.machine.cuda, stage.machine.device
    model = load_model(stage)
    collator, tap, way = loss_parts(stage, model)
    micro = pad(largest_micro_batch(stage, collator.budget), collator.pad_id)
    batch = {name: tensor.to(device) for name, tensor in micro.items()}
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    state = torch.empty(optimizer_state(stage, model), dtype=torch.uint8, device=device)
    began = time.perf_counter()
    step(model, tap, way, batch, cuda and stage.precision.dtype == "fp16")
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    del state  # it lay there for as long as the step took
    rows, longest = batch["input_ids"].shape
    return Probe(
        rows=rows,
        longest=longest,
        tokens=rows * longest,
        trained_tokens=int((batch["labels"] != -100).sum()),
        seconds=seconds,
        peak_bytes=torch.cuda.max_memory_allocated() if cuda else _process_peak(),
        device=device,
    )


def optimizer_state(stage: Stage, model: Any) -> int:
    """The bytes that the optimizer will hold beside every micro-batch after its first step; a paged
    one gives way."""
    if stage.machine.cuda and "paged" in stage.precision.optim:
        return 0
    trained = [p for p in model.parameters() if p.requires_grad]
    return optimizer_bytes(stage.precision.optim, [(p.shape[0], p[0].numel()) for p in trained])


def largest_micro_batch(stage: Stage, budget: int) -> list[Example]:
    """The rows of the largest micro-batch, in tokens with padding, that any step could have; of
    several, those with the longest rows."""
    training = stage.config.training
    step = training.per_device_train_batch_size * training.gradient_accumulation_steps
    ordered = sorted(stage.data.examples, key=lambda example: -len(example.ids))
    best: list[Example] = []
    size = 0
    for i, longest in enumerate(ordered):  # the largest that begins with this row
        length = len(longest.ids)
        rows = ordered[i : i + max(1, min(step, budget // length))]
        if length * len(rows) > size:
            best, size = rows, length * len(rows)
    return best


def _out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        sign in text for sign in _CPU_IS_FULL
    )


def _too_large(stage: Stage) -> Finding:
    longest = max(len(example.ids) for example in stage.data.examples)
    shorter = longest // 2
    free = gigabytes(stage.machine.memory_bytes)
    ways = []
    if stage.config.training.gradient_checkpointing is not True:
        ways.append("--set training.gradient_checkpointing=true (the same result, slower)")
    if stage.precision.quantization == "none" and stage.machine.cuda:
        ways.append("--set quantization.load_in_4bit=true")
    ways.append("--set training.max_tokens_per_micro_batch=512, where rows are that short")
    ways.append(f"--set data.max_seq_length={shorter} --set data.on_overlong=drop")
    return found(
        "probe-failed",
        f"The largest micro-batch (its longest row has {longest:,} tokens) does not fit into the "
        f"{free} that were free.",
        f"{'; or '.join(ways)}.",
        longest=longest,
        free=stage.machine.memory_bytes,
    )


def _process_peak() -> int | None:
    """The most memory that this process has held at once, in bytes."""
    if sys.platform == "win32":
        import psutil  # type: ignore[import-untyped,unused-ignore]

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)  # Linux counts in KiB
