"""A leaner forward pass for PEFT's plain LoRA layers: same sums, fewer roundings, less work.

Deviations from PEFT's own forward, each of which tests hold:

1. The adapter's products are taken in the type of the activations (bf16 beside a bf16 base). Its
   weights, their gradients and the optimizer stay float32, as PEFT keeps them.
2. The delta is computed first and the base's product accumulates onto it (one `addmm`), so the sum
   is rounded once; PEFT rounds the base's product and then the sum. With a delta of under 0.4 of
   the base's product the result is nearer to float32 than PEFT's (a quarter less error at 0.1);
   with a larger one the rounding of point 1 outweighs that (at 1.2, half as much error again).
3. Scaling goes into B instead of over the whole output.
4. On a CPU, dropout draws the places that it drops, with replacement (`CpuDropout`).
5. In training, a dense layer and its adapter are one autograd function (`LoraLinear`): fewer
   passes, and no dropped copy of the input is kept for the way back.

What it does not cover goes through PEFT as before: DoRA and other variants, several active
adapters, merged adapters, mixed batches, layers that are no plain linear map.
"""

from __future__ import annotations

import math
from typing import Any

import torch


def speed_up_lora(model: Any) -> int:
    """Give every plain LoRA linear layer of a PEFT model the leaner forward. Returns how many."""
    from peft.tuners.lora import Linear

    kinds: list[type] = [Linear]
    try:
        from peft.tuners.lora import Linear4bit, Linear8bitLt

        kinds += [Linear4bit, Linear8bitLt]
    except ImportError:  # bitsandbytes is not installed, so no layer can be of these kinds
        pass
    count = 0
    for module in model.modules():
        if type(module) in kinds and "forward" not in vars(module):
            module.forward = _Forward(module)
            _cheapen_dropout(module)
            count += 1
    return count


def _cheapen_dropout(layer: Any) -> None:
    if next(layer.parameters()).device.type != "cpu":
        return
    for name, dropout in layer.lora_dropout.items():
        if type(dropout) is torch.nn.Dropout:
            layer.lora_dropout[name] = CpuDropout(dropout.p)


class CpuDropout(torch.nn.Module):
    """Dropout that draws the places to drop instead of a number for every element.

    torch's own draws a double for each element on one thread: before each of the adapter's layers
    that was an eighth of a training step at p = 0.05. Places are drawn with replacement, as many as
    make each element's chance `p`: -n ln(1 - p) of n. They come from torch's default generator, so
    a restored random state restores them.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def places(self, x: torch.Tensor) -> torch.Tensor | None:
        """Indices into the flattened x that are dropped this time; None outside training."""
        if not self.training or self.p == 0:
            return None
        return torch.randint(x.numel(), (round(-x.numel() * math.log1p(-self.p)),))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x of any shape, dropped and scaled in training, as it is otherwise."""
        places = self.places(x)
        if places is None:
            return x
        return x.flatten().index_fill(0, places, 0).view(x.shape) / (1 - self.p)

    def extra_repr(self) -> str:
        """For printing a model."""
        return f"p={self.p}"


class LoraLinear(torch.autograd.Function):
    """A frozen linear layer with its adapter, forward and backward in as few passes as it takes.

    x [n, in], down [r, in] and up [out, r] in float32, weight [out, in], bias [out] or None ->
    [n, out] in x's type. Kept for the way back: x itself (one tensor for all layers that read it)
    and the r-wide product, never a dropped copy of x.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        down: torch.Tensor,
        up: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        scale: float,
        places: torch.Tensor | None,
    ) -> torch.Tensor:
        """The delta first, and the base's product accumulated onto it."""
        small_down, small_up = down.to(x.dtype), (up * scale).to(x.dtype)
        inner = _dropped(x, places) @ small_down.T
        out = inner @ small_up.T
        if bias is not None:
            out += bias
        out.addmm_(x, weight.T)
        ctx.save_for_backward(x, inner, small_down, small_up, weight, places)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of x, down and up; the base is frozen."""
        x, inner, down, up, weight, places = ctx.saved_tensors
        grad_up = (grad.T @ inner).float().mul_(ctx.scale)
        grad_inner = grad @ up
        grad_down = (grad_inner.T @ _dropped(x, places)).float()
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = grad_inner @ down
            if places is not None:
                grad_x.view(-1).index_fill_(0, places, 0)
            grad_x.addmm_(grad, weight)
        return grad_x, grad_down, grad_up, None, None, None, None


def _dropped(x: torch.Tensor, places: torch.Tensor | None) -> torch.Tensor:
    return x if places is None else x.flatten().index_fill(0, places, 0).view(x.shape)


class _Forward:
    """The replaced forward of one layer. Holds the layer, so that adapters can be switched."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.original = layer.forward
        base = layer.get_base_layer()
        self.dense = type(base) is torch.nn.Linear and not getattr(layer, "fan_in_fan_out", False)

    def __call__(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        layer = self.layer
        names = layer.active_adapters
        plain = not (args or kwargs or layer.merged or layer.lora_variant)
        if layer.disable_adapters or not plain or len(names) != 1:
            return self.original(x, *args, **kwargs)  # type: ignore[no-any-return]
        base = layer.get_base_layer()
        if names[0] not in layer.lora_A:
            return base(x)  # type: ignore[no-any-return]
        name = names[0]
        if layer.lora_bias[name]:
            return self.original(x)  # type: ignore[no-any-return]
        dropout = layer.lora_dropout[name]
        if torch.is_grad_enabled() and self._fits(base, dropout, x):
            return self._trained(x, base, dropout, name)
        dropped = dropout(x)
        down = layer.lora_A[name].weight.to(x.dtype)
        up = (layer.lora_B[name].weight * layer.scaling[name]).to(x.dtype)
        delta = (dropped @ down.T) @ up.T
        if not self.dense or base.weight.dtype != x.dtype:
            return base(x) + delta  # type: ignore[no-any-return]
        if base.bias is not None:
            delta = delta + base.bias
        flat = torch.addmm(delta.flatten(0, -2), x.flatten(0, -2), base.weight.T)
        return flat.view(delta.shape)

    def _fits(self, base: Any, dropout: Any, x: torch.Tensor) -> bool:
        """Whether `LoraLinear` computes just this: a dense base in x's type, no other dropout, and
        no autocast that would change types on the way."""
        known = type(dropout) in (CpuDropout, torch.nn.Identity)
        plain = known and not torch.is_autocast_enabled(x.device.type)
        return self.dense and plain and base.weight.dtype == x.dtype

    def _trained(self, x: torch.Tensor, base: Any, dropout: Any, name: str) -> torch.Tensor:
        layer = self.layer
        scale, places = layer.scaling[name], None
        flat = x.flatten(0, -2)
        if type(dropout) is CpuDropout:
            places = dropout.places(x)
            if places is not None:
                scale = scale / (1 - dropout.p)
        out: torch.Tensor = LoraLinear.apply(  # type: ignore[no-untyped-call]
            flat,
            layer.lora_A[name].weight,
            layer.lora_B[name].weight,
            base.weight,
            base.bias,
            scale,
            places,
        )
        return out.view(*x.shape[:-1], out.shape[-1])
