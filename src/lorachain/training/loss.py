"""Cross-entropy only where there is loss, without ever holding all logits.

The hidden states of trained positions are gathered before the LM head. For the usual shape (a
frozen linear head, nothing after it) head and loss are then one step over chunks of positions: the
head's output is float32 [chunk, vocabulary] and is gone before the next chunk. The gradient of the
hidden states is made on the way forward, since a frozen head needs no other.

The ways, from the fastest to the most general: `fused` (as above), `gathered` (the model's own
head and what follows it, on the gathered positions), `full` (the model's own logits everywhere).
`choose_way` takes the first one whose loss on a real micro-batch agrees with the model's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F

Way = Literal["fused", "gathered", "full"]
CHUNK_BYTES = 64 * 2**20  # of float32 logits held at once; the gradient takes as much again


class FusedHeadLoss(torch.autograd.Function):
    """Summed cross-entropy of a frozen linear head, in chunks.

    hidden [n, hidden size], weight [vocabulary, hidden size], bias [vocabulary] or None,
    targets [n] -> a float32 scalar. Logits, softmax and loss are float32, products are in
    hidden's type, as without fusing.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
    ) -> torch.Tensor:
        """Loss now, and the gradient with respect to `hidden` kept for the way back."""
        needs_grad = ctx.needs_input_grad[0]
        chunk = max(1, CHUNK_BYTES // (4 * weight.shape[0]))
        grad = torch.empty_like(hidden) if needs_grad else None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        minus_one = -torch.ones((1, 1), dtype=torch.float32, device=hidden.device)
        for start in range(0, hidden.shape[0], chunk):
            part = slice(start, start + chunk)
            logits = F.linear(hidden[part], weight, bias).float()
            log_probabilities = torch.log_softmax(logits, dim=-1)
            del logits
            total -= log_probabilities.gather(1, targets[part, None]).sum()
            if grad is not None:
                softmax = log_probabilities.exp_()
                softmax.scatter_add_(1, targets[part, None], minus_one.expand(len(softmax), 1))
                torch.mm(softmax.to(weight.dtype), weight, out=grad[part])
        ctx.save_for_backward(grad)
        return total

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Scale the kept gradient."""
        (grad,) = ctx.saved_tensors
        return (grad.float() * grad_output).to(grad.dtype), None, None, None


class HeadTap:
    """Stands in front of a model's LM head and decides which positions reach it.

    Outside `gather` the head works as ever, so generation and other callers see no difference.
    """

    def __init__(self, model: Any) -> None:
        head = model.get_output_embeddings()
        self.head = head
        self.usable = isinstance(head, torch.nn.Module)
        self.linear = type(head) is torch.nn.Linear and not head.weight.requires_grad
        self._positions: torch.Tensor | None = None
        self._fused = False
        self._met = False
        if self.usable:
            self._forward = head.forward
            head.forward = self._tapped

    def _tapped(self, hidden: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if self._positions is None:
            return self._forward(hidden, *args, **kwargs)
        self._met = True
        gathered = hidden.reshape(-1, hidden.shape[-1])[self._positions]
        return gathered if self._fused else self._forward(gathered, *args, **kwargs)

    @contextmanager
    def gather(self, positions: torch.Tensor, *, fused: bool) -> Iterator[None]:
        """Within, the head gets only `positions` of the flattened [rows x length] states; with
        `fused` they come out of it as they went in."""
        self._positions, self._fused, self._met = positions, fused, False
        try:
            yield
        finally:
            self._positions = None
        if not self._met:
            raise RuntimeError("the model does not call its output embeddings")


def token_loss(
    model: Any, tap: HeadTap, batch: Mapping[str, torch.Tensor], way: Way
) -> torch.Tensor:
    """The summed cross-entropy of a micro-batch's trained tokens, a float32 scalar.

    `model` may be wrapped (PEFT, DDP). `batch` holds input_ids, attention_mask and labels,
    each [rows, length].
    """
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    shifted = F.pad(batch["labels"][:, 1:], (0, 1), value=-100).reshape(-1)
    positions = (shifted != -100).nonzero().squeeze(1)
    targets = shifted[positions]
    if way == "full":
        logits = model(**inputs, use_cache=False).logits
        logits = logits.reshape(-1, logits.shape[-1])[positions]
        return F.cross_entropy(logits.float(), targets, reduction="sum")
    with tap.gather(positions, fused=way == "fused"):
        out = model(**inputs, use_cache=False).logits
    if way == "gathered":
        return F.cross_entropy(out.float(), targets, reduction="sum")
    head = tap.head
    loss: torch.Tensor = FusedHeadLoss.apply(out, head.weight, head.bias, targets)  # type: ignore[no-untyped-call]
    return loss


def choose_way(model: Any, tap: HeadTap, batch: Mapping[str, torch.Tensor]) -> Way:
    """The fastest way whose loss on `batch` agrees with the model's own to rounding.

    Architectures that cap their logits fail the first, others may fail both; the answer is found
    by trying, so no list of architectures has to be kept.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            expected = float(token_loss(model, tap, batch, "full"))
            for way in ("fused", "gathered"):
                if not tap.usable or (way == "fused" and not tap.linear):
                    continue
                try:
                    found = float(token_loss(model, tap, batch, way))
                except (RuntimeError, ValueError, IndexError, AttributeError):
                    continue
                if abs(found - expected) <= 2e-3 * abs(expected) + 1e-3:
                    return way
            return "full"
    finally:
        model.train(was_training)
