"""The leaner LoRA forward: PEFT's own sums, whatever state the layer is in."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from lorachain.fast_lora import CpuDropout, LoraLinear, speed_up_lora

pytestmark = pytest.mark.usefixtures("one_thread")

IN, OUT, RANK = 48, 80, 4


class Net(nn.Module):
    """Two linear layers, one with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(IN, OUT, bias=True)
        self.second = nn.Linear(OUT, IN, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.nn.functional.silu(self.first(x)))  # type: ignore[no-any-return]


def make(dtype: torch.dtype = torch.float32, **settings: Any) -> Any:
    """A PEFT model with an adapter that does something."""
    torch.manual_seed(0)
    settings = {"target_modules": ["first", "second"], "r": RANK, "lora_alpha": 8, **settings}
    model = get_peft_model(Net().to(dtype), LoraConfig(**settings))
    fill(model)
    return model


def fill(model: Any, scale: float = 0.3) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))


def batch(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(2, 5, IN, generator=torch.Generator().manual_seed(4)).to(dtype)


def gradients(model: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    x = x.clone().requires_grad_()
    model(x).float().pow(2).mean().backward()
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {**found, "input": x.grad}


def assert_equal(fast: Any, plain: Any, x: torch.Tensor | None = None) -> None:
    x = batch() if x is None else x
    torch.testing.assert_close(fast(x), plain(x), atol=1e-6, rtol=1e-6)
    ours, theirs = gradients(fast, x), gradients(plain, x)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert ours[name].dtype == gradient.dtype
        torch.testing.assert_close(ours[name], gradient, atol=1e-6, rtol=1e-5, msg=name)


def both(model: Any) -> tuple[Any, Any]:
    """(fast, plain) copies of one model."""
    fast, plain = copy.deepcopy(model), model
    assert speed_up_lora(fast) == 2
    return fast, plain


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"use_dora": True},
        {"lora_bias": True},
        {"target_modules": ["second"]},
        {"r": 1},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:`lora_bias=True` was passed")
def test_equal_to_peft_with_gradients(settings: dict[str, Any]) -> None:
    model = make(**settings)
    fast = copy.deepcopy(model)
    assert speed_up_lora(fast) == len(settings.get("target_modules", "12"))
    assert_equal(fast, model)


@pytest.mark.parametrize("shape", [(3, IN), (2, 5, IN), (2, 3, 5, IN), (1, 1, IN), (0, IN)])
def test_any_number_of_leading_dimensions(shape: tuple[int, ...]) -> None:
    fast, plain = both(make())
    x = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(fast(x), plain(x), atol=1e-6, rtol=1e-6)


def test_an_input_that_is_not_contiguous() -> None:
    fast, plain = both(make())
    x = torch.randn(5, 2, IN, generator=torch.Generator().manual_seed(5)).transpose(0, 1)
    assert not x.is_contiguous()
    assert_equal(fast, plain, x)


CHANGES: dict[str, Callable[[Any], object]] = {
    "disabled": lambda m: m.base_model.disable_adapter_layers(),
    "disabled and enabled again": lambda m: (
        m.base_model.disable_adapter_layers(),
        m.base_model.enable_adapter_layers(),
    ),
    "merged": lambda m: m.merge_adapter(),
    "merged and taken out again": lambda m: (m.merge_adapter(), m.unmerge_adapter()),
    "second adapter": lambda m: (m.add_adapter("b", LoraConfig(r=2, **TARGETS)), fill(m)),
    "switched": lambda m: (
        m.add_adapter("b", LoraConfig(r=2, lora_alpha=9, **TARGETS)),
        fill(m),
        m.set_adapter("b"),
    ),
    "second adapter on one layer, switched": lambda m: (
        m.add_adapter("b", LoraConfig(r=2, target_modules=["first"])),
        fill(m),
        m.set_adapter("b"),
    ),
    "second is DoRA": lambda m: (
        m.add_adapter("b", LoraConfig(r=2, use_dora=True, **TARGETS)),
        fill(m),
        m.set_adapter("b"),
    ),
    "two at once": lambda m: (
        m.add_adapter("b", LoraConfig(r=2, **TARGETS)),
        fill(m),
        m.base_model.set_adapter(["default", "b"]),
    ),
    "scaled": lambda m: [
        layer.scale_layer(3.0) for layer in m.modules() if hasattr(layer, "scale_layer")
    ],
    "deleted": lambda m: (
        m.add_adapter("b", LoraConfig(r=2, **TARGETS)),
        fill(m),
        m.set_adapter("b"),
        m.delete_adapter("default"),
    ),
}
TARGETS = {"target_modules": ["first", "second"]}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_equal_in_every_state(change: str, when: str) -> None:
    """Whether the layers were made faster before the change or after it."""
    plain = make()
    fast = copy.deepcopy(plain)
    if when == "after":
        speed_up_lora(fast)
    for model in (plain, fast):
        torch.manual_seed(7)
        CHANGES[change](model)
    if when == "before":
        speed_up_lora(fast)
    torch.testing.assert_close(fast(batch()), plain(batch()), atol=1e-6, rtol=1e-6)
    if change not in ("disabled", "merged"):
        assert_equal(fast, plain)


def test_mixed_batches_go_through_peft() -> None:
    model = make()
    model.add_adapter("b", LoraConfig(r=2, **TARGETS))
    fill(model)
    fast, plain = both(model.eval())
    names = ["default", "b"]
    expected = plain(batch(), adapter_names=names)
    torch.testing.assert_close(fast(batch(), adapter_names=names), expected)


def test_dropout_drops_in_training_only() -> None:
    fast, plain = both(make(lora_dropout=0.5))
    fast.eval(), plain.eval()
    torch.testing.assert_close(fast(batch()), plain(batch()), atol=1e-6, rtol=1e-6)
    fast.train()
    torch.manual_seed(1)
    one = fast(batch())
    torch.manual_seed(1)
    assert torch.equal(one, fast(batch()))  # a restored random state restores what is dropped
    assert not torch.equal(one, fast(batch()))


@pytest.mark.parametrize("p", [0.05, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(400, 500)
    dropped = CpuDropout(p).train()(x)
    assert float((dropped == 0).float().mean()) == pytest.approx(p, abs=0.005)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.01)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - p)])
    # Neighbours are dropped independently of each other.
    zero = dropped == 0
    both_zero = (zero[:, 1:] & zero[:, :-1]).float().mean()
    assert float(both_zero) == pytest.approx(p * p, abs=0.005)


def test_the_trained_path_is_the_written_out_sum_with_the_same_places_dropped() -> None:
    """Value and all three gradients, with dropout, in float64."""
    torch.manual_seed(3)
    x, down, up = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((7, 6), (2, 6), (5, 2))
    )
    weight, bias = torch.randn(5, 6, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    places = torch.tensor([0, 5, 5, 17, 41])
    mask = torch.ones(42, dtype=torch.float64).index_fill(0, places, 0).view(7, 6)
    outside = torch.randn(7, 5, dtype=torch.float64)

    def gradients(out: torch.Tensor) -> list[torch.Tensor]:
        return [out, *torch.autograd.grad((out * outside).sum(), (x, down, up))]

    fused = gradients(LoraLinear.apply(x, down, up, weight, bias, 1.5, places))
    plain = gradients(x @ weight.T + bias + ((x * mask) @ down.T) @ up.T * 1.5)
    for a, b in zip(fused, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_gradient_checkpointing_drops_the_same_places_again() -> None:
    from torch.utils.checkpoint import checkpoint

    fast, _ = both(make(lora_dropout=0.5))
    fast.train()

    def gradients(through: bool) -> list[torch.Tensor]:
        torch.manual_seed(5)
        x = batch().requires_grad_()
        out = checkpoint(fast, x, use_reentrant=False) if through else fast(x)
        out.pow(2).sum().backward()
        found = [p.grad.clone() for p in fast.parameters() if p.grad is not None]
        fast.zero_grad()
        return found

    for a, b in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(a, b)


def test_done_twice_is_done_once() -> None:
    model = make()
    assert (speed_up_lora(model), speed_up_lora(model)) == (2, 0)


def test_a_bare_model_has_nothing_to_speed_up() -> None:
    assert speed_up_lora(Net()) == 0


def test_the_state_dict_is_the_same() -> None:
    fast, plain = both(make())
    assert fast.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("scale", "share", "most"), [(0.003, 0.01, 0.85), (0.03, 0.1, 0.9), (0.3, 1.2, 1.8)]
)
def test_closer_to_float32_than_peft(
    dtype: torch.dtype, scale: float, share: float, most: float
) -> None:
    """The error against PEFT's own, for deltas of 1, 10 and 120 % of the base's product."""
    exact, halved = make(), make(dtype)
    fill(exact, scale)
    with torch.no_grad():  # the same numbers in both: those that the half type can hold
        for ours, theirs in zip(halved.parameters(), exact.parameters(), strict=True):
            ours.copy_(theirs)
            theirs.copy_(ours.float())
    fast = copy.deepcopy(halved)
    speed_up_lora(fast)
    x = torch.randn(32, 16, IN, generator=torch.Generator().manual_seed(6)).to(dtype)
    with torch.no_grad():
        layer = exact.get_submodule("base_model.model.first")
        base = layer.get_base_layer()(x.float())
        delta = layer(x.float()) - base
        assert float(delta.std() / base.std()) == pytest.approx(share, rel=0.5)
        for name in ("", "base_model.model.first"):
            ours, theirs = fast.get_submodule(name)(x), halved.get_submodule(name)(x)
            target = exact.get_submodule(name)(x.float())
            assert ours.dtype == theirs.dtype == dtype
            error = float((ours.float() - target).abs().mean())
            assert error < most * float((theirs.float() - target).abs().mean())
    found, true = gradients(fast, x), gradients(exact, x.float())
    for name, gradient in found.items():
        assert gradient.dtype == (dtype if name == "input" else torch.float32)
        close = torch.nn.functional.cosine_similarity(
            gradient.float().flatten(), true[name].flatten(), dim=0
        )
        assert close > 0.999, name


def test_under_autocast() -> None:
    fast, plain = both(make())
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = fast(batch()), plain(batch())
    torch.testing.assert_close(ours.float(), theirs.float(), atol=0.05, rtol=0.02)


@pytest.mark.parametrize("kind", ["4bit", "8bit"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_quantised_layers_on_a_cpu(kind: str, dtype: torch.dtype) -> None:
    """bitsandbytes' layers keep their own product; the delta is added to it."""
    bnb = pytest.importorskip("bitsandbytes")

    torch.manual_seed(0)
    net = Net()
    for name in ("first", "second"):
        dense = getattr(net, name)
        size = (dense.in_features, dense.out_features, dense.bias is not None)
        if kind == "4bit":
            layer = bnb.nn.Linear4bit(*size, compute_dtype=dtype, quant_type="nf4")
        else:
            layer = bnb.nn.Linear8bitLt(*size, has_fp16_weights=False)
        layer.load_state_dict(dense.state_dict())
        setattr(net, name, layer.to("cpu"))
    model = get_peft_model(net, LoraConfig(r=RANK, lora_alpha=8, **TARGETS))
    fill(model)
    x = batch(dtype)
    theirs, grads = model(x), gradients(model, x)
    assert speed_up_lora(model) == 2
    ours, found = model(x), gradients(model, x)
    assert ours.dtype == theirs.dtype
    tolerance = 1e-5 if dtype == torch.float32 else 0.03
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)
    assert found.keys() == grads.keys()
    for name, gradient in grads.items():
        assert bool(gradient.isfinite().all())
        assert float(gradient.abs().max()) > 0
        torch.testing.assert_close(found[name], gradient, atol=tolerance, rtol=tolerance * 4)
