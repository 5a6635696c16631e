"""What a resumed run takes up: random states, an optimizer's state, a rate that is eased in."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_support import config_of, tiny_model, with_lora

from lorachain.adapters import adapter_state, save_adapter
from lorachain.checkpoint import SUFFIXES
from lorachain.errors import UserError
from lorachain.training.checkpointing import Rewarm, check_loss, load_adapter_weights
from lorachain.training.optimizer_state import load_optimizer, save_optimizer
from lorachain.training.random_state import load_rng, save_rng


def draws() -> list[Any]:
    return [
        random.random(),
        random.gauss(0, 1),
        np.random.rand(3).tolist(),
        np.random.randn(1).tolist(),
        torch.rand(3).tolist(),
        torch.randn(2).tolist(),
    ]


def test_random_states_come_back_exactly(tmp_path: Path) -> None:
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        random.seed(1), np.random.seed(2), torch.manual_seed(3)
        draws()  # an odd number of normal draws: a cached second one is part of the state
        save_rng(tmp_path)
        expected = [draws() for _ in range(400)]  # past the generators' blocks of 624 numbers
        random.seed(9), np.random.seed(9), torch.manual_seed(9)
        assert draws() != expected[0]
        load_rng(tmp_path)
        assert [draws() for _ in range(400)] == expected
    finally:
        random.setstate(before[0]), np.random.set_state(before[1]), torch.set_rng_state(before[2])
    assert {path.suffix for path in tmp_path.iterdir()} <= SUFFIXES


def adafactor(parameters: Any) -> Any:
    from transformers.optimization import Adafactor

    return Adafactor(parameters, lr=1e-2, scale_parameter=False, relative_step=False, beta1=0.9)


def paged_8bit(parameters: Any) -> Any:
    """The default on a GPU. Its state is in 8 bits and inside a dict of its own."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    return bitsandbytes.optim.PagedAdamW8bit(parameters, lr=1e-2)


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, betas=(0.8, 0.95), amsgrad=True),
    "adamw_fused": lambda p: torch.optim.AdamW(p, lr=1e-2, fused=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-2),
    "sgd_momentum": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, nesterov=True),
    "adafactor": adafactor,
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-2, momentum=0.5, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2, lr_decay=0.1),
    "rprop": lambda p: torch.optim.Rprop(p, lr=1e-2),
    "paged_adamw_8bit": paged_8bit,
}


def trained(make: Callable[[Any], Any]) -> tuple[list[torch.nn.Parameter], Any]:
    """Two groups of parameters, as LoRA+ makes them; one is large enough to be kept in 8 bits."""
    generator = torch.Generator().manual_seed(0)
    parameters = [
        torch.nn.Parameter(torch.randn(shape, generator=generator))
        for shape in ((64, 96), (7,), (5, 3))
    ]
    groups = [
        {"params": parameters[:2], "lr": 1e-2},
        {"params": parameters[2:], "lr": 3e-2, "weight_decay": 0.1},
    ]
    return parameters, make(groups)


def take_steps(parameters: list[torch.nn.Parameter], optimizer: Any, at: range) -> None:
    for step in at:
        generator = torch.Generator().manual_seed(step)
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_to_the_bit(name: str, tmp_path: Path) -> None:
    whole, optimizer = trained(OPTIMIZERS[name])
    take_steps(whole, optimizer, range(3))
    save_optimizer(optimizer, tmp_path)
    halfway = [p.detach().clone() for p in whole]
    take_steps(whole, optimizer, range(3, 7))

    resumed, fresh = trained(OPTIMIZERS[name])
    with torch.no_grad():
        for parameter, value in zip(resumed, halfway, strict=True):
            parameter.copy_(value)
    kinds = [{k: type(v) for k, v in group.items()} for group in fresh.param_groups]
    load_optimizer(fresh, tmp_path)
    assert [{k: type(v) for k, v in group.items()} for group in fresh.param_groups] == kinds
    take_steps(resumed, fresh, range(3, 7))
    for one, two in zip(whole, resumed, strict=True):
        assert torch.equal(one, two)
    assert {path.suffix for path in tmp_path.iterdir()} <= SUFFIXES


@pytest.mark.parametrize("name", ["adamw", "sgd_momentum", "adafactor", "adagrad", "rprop"])
def test_a_fresh_optimizer_would_not_have(name: str) -> None:
    """That the test above can fail: without the state the steps are others."""
    whole, optimizer = trained(OPTIMIZERS[name])
    take_steps(whole, optimizer, range(3))
    halfway = [p.detach().clone() for p in whole]
    take_steps(whole, optimizer, range(3, 7))
    resumed, fresh = trained(OPTIMIZERS[name])
    with torch.no_grad():
        for parameter, value in zip(resumed, halfway, strict=True):
            parameter.copy_(value)
    take_steps(resumed, fresh, range(3, 7))
    assert not torch.equal(whole[0], resumed[0])


def test_a_state_within_a_state_comes_back_in_its_place(tmp_path: Path) -> None:
    parameters, optimizer = trained(OPTIMIZERS["sgd"])
    inner = {"a": torch.arange(3.0), "b": {"c": 7, "d": None, "e.f": torch.ones(())}}
    optimizer.state[parameters[2]] = {"step": 3, "inner": inner}
    save_optimizer(optimizer, tmp_path)
    again, fresh = trained(OPTIMIZERS["sgd"])
    load_optimizer(fresh, tmp_path)
    found = fresh.state[again[2]]
    assert torch.equal(found["inner"].pop("a"), torch.arange(3.0))
    assert torch.equal(found["inner"]["b"].pop("e.f"), torch.ones(()))
    assert found == {"step": 3, "inner": {"b": {"c": 7, "d": None}}}


def test_a_state_that_cannot_be_saved_exactly_is_refused(tmp_path: Path) -> None:
    parameters, optimizer = trained(OPTIMIZERS["adamw"])
    take_steps(parameters, optimizer, range(1))
    optimizer.state[parameters[0]]["history"] = object()
    with pytest.raises(UserError, match=r"cannot save this optimizer \(history is a object\)"):
        save_optimizer(optimizer, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_rates_are_eased_in_and_put_back() -> None:
    _, optimizer = trained(OPTIMIZERS["sgd"])
    rewarm = Rewarm(3)
    seen = []
    for _ in range(5):
        rewarm.on_pre_optimizer_step(None, None, None, optimizer=optimizer)
        seen.append([group["lr"] for group in optimizer.param_groups])
        rewarm.on_optimizer_step(None, None, None, optimizer=optimizer)
        assert [group["lr"] for group in optimizer.param_groups] == [1e-2, 3e-2]
    shares = [0.25, 0.5, 0.75, 1, 1]
    assert seen == [[pytest.approx(1e-2 * s), pytest.approx(3e-2 * s)] for s in shares]


def test_easing_in_follows_a_schedule_that_moves_meanwhile() -> None:
    _, optimizer = trained(OPTIMIZERS["sgd"])
    rewarm = Rewarm(1)
    rewarm.on_pre_optimizer_step(None, None, None, optimizer=optimizer)
    assert optimizer.param_groups[0]["lr"] == 5e-3
    rewarm.on_optimizer_step(None, None, None, optimizer=optimizer)
    optimizer.param_groups[0]["lr"] = 7e-3  # the scheduler's next rate
    rewarm.on_pre_optimizer_step(None, None, None, optimizer=optimizer)
    rewarm.on_optimizer_step(None, None, None, optimizer=optimizer)
    assert optimizer.param_groups[0]["lr"] == 7e-3


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_no_number_stops_the_run(loss: float) -> None:
    with pytest.raises(UserError, match=r"loss became NaN or infinite at step 8.*--restart"):
        check_loss(loss, 7)
    check_loss(3.4e38, 7)


def test_a_checkpoints_adapter_arrives_whole_or_not_at_all(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    saved, other = (with_lora(tiny_model(config_of("Llama"))) for _ in range(2))
    with torch.no_grad():
        for _, parameter in sorted(saved.named_parameters()):
            if parameter.requires_grad:
                parameter.add_(0.25)
    save_adapter(saved, tmp_path)
    load_adapter_weights(other, tmp_path)
    expected = adapter_state(saved)
    assert all(torch.equal(v, expected[k]) for k, v in adapter_state(other).items())
    assert all(p.requires_grad == ("lora_" in n) for n, p in other.named_parameters())

    path = tmp_path / "adapter_model.safetensors"
    tensors = load_file(str(path))
    tensors.pop(next(iter(tensors)))
    save_file(tensors, str(path))
    with pytest.raises(UserError, match="1 tensors are missing from the file"):
        load_adapter_weights(other, tmp_path)


def test_the_state_is_plain_json_that_anyone_can_read(tmp_path: Path) -> None:
    parameters, optimizer = trained(OPTIMIZERS["adamw"])
    take_steps(parameters, optimizer, range(2))
    save_optimizer(optimizer, tmp_path)
    saved = json.loads((tmp_path / "optimizer.json").read_text(encoding="utf-8"))
    assert [group["params"] for group in saved["param_groups"]] == [[0, 1], [2]]
    assert saved["param_groups"][1]["lr"] == 3e-2
