"""What `checkpoint.resume: exact` demands of an optimizer, and what it says to one that fails."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainingArguments
from transformers.training_args import OptimizerNames

from lorachain.checkpoint import SUFFIXES
from lorachain.errors import UserError
from lorachain.training.optimizer_state import (
    OPTIMIZER,
    OPTIMIZER_TENSORS,
    load_optimizer,
    prove_round_trip,
    save_optimizer,
)

Make = Callable[[list[torch.nn.Parameter]], Any]
BF16 = torch.bfloat16
WAY_OUT = "Use checkpoint.resume: weights, or another optimizer such as adamw_torch."


def like(dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """A LoRA pair's smallest and largest tensor; the second is large enough to be kept in 8 bit."""
    return [torch.empty(4, 64, dtype=dtype), torch.empty(192, 64, dtype=dtype)]


class Simple(torch.optim.Optimizer):
    """Plain gradient descent, and a base for what is wrong below."""

    def __init__(self, parameters: Iterable[Any], lr: float = 1e-2) -> None:
        super().__init__(parameters, {"lr": lr})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                self.move(parameter, group)

    @torch.no_grad()
    def move(self, parameter: Any, group: dict[str, Any]) -> None:
        parameter.add_(parameter.grad, alpha=-group["lr"])


class KeepsAnObject(Simple):
    def move(self, parameter: Any, group: dict[str, Any]) -> None:
        self.state[parameter]["history"] = SimpleNamespace(gradients=[])
        super().move(parameter, group)


class KeepsAList(Simple):
    """L-BFGS and others keep lists of tensors."""

    def move(self, parameter: Any, group: dict[str, Any]) -> None:
        self.state[parameter].setdefault("old_gradients", []).append(parameter.grad.clone())
        super().move(parameter, group)


class CountsInSecret(Simple):
    """Its steps shrink with a count that its state_dict lacks."""

    taken = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.taken += 1
        super().step()

    @torch.no_grad()
    def move(self, parameter: Any, group: dict[str, Any]) -> None:
        parameter.add_(parameter.grad, alpha=-group["lr"] / self.taken)


class RemembersInSecret(Simple):
    """A momentum that stands beside `self.state`."""

    def __init__(self, parameters: Iterable[Any], lr: float = 1e-2) -> None:
        super().__init__(parameters, lr)
        self.momentum: dict[Any, torch.Tensor] = {}

    @torch.no_grad()
    def move(self, parameter: Any, group: dict[str, Any]) -> None:
        old = self.momentum.get(parameter, torch.zeros_like(parameter))
        self.momentum[parameter] = 0.9 * old + parameter.grad
        parameter.add_(self.momentum[parameter], alpha=-group["lr"])


class CannotStep(Simple):
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        raise RuntimeError("no kernel for this device")


class TakesNothingBack(Simple):
    def load_state_dict(self, state_dict: Any) -> None:
        raise ValueError("loading is not supported")


class ForgetsWhatItIsGiven(torch.optim.AdamW):
    def load_state_dict(self, state_dict: Any) -> None:
        """Accepts anything, keeps nothing."""


class HoldsAFunctionInAGroup(Simple):
    def __init__(self, parameters: Iterable[Any]) -> None:
        super().__init__(parameters)
        self.param_groups[0]["schedule"] = lambda step: 1 / step


def lbfgs(parameters: list[torch.nn.Parameter]) -> Any:
    return torch.optim.LBFGS(parameters)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (KeepsAnObject, r"\(history is a SimpleNamespace\)"),
        (KeepsAList, r"\(old_gradients is a list\)"),
        (CountsInSecret, "saved and restored, it takes other steps than before"),
        (RemembersInSecret, "saved and restored, it takes other steps than before"),
        (ForgetsWhatItIsGiven, "saved and restored, it takes other steps than before"),
        (CannotStep, r"failed \(RuntimeError: no kernel for this device\)"),
        (TakesNothingBack, r"failed \(ValueError: loading is not supported\)"),
        (HoldsAFunctionInAGroup, "function is not JSON serializable"),
        (lbfgs, "closure"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_optimizer_that_does_not_come_back_is_refused_with_the_way_out(
    make: Make, reason: str
) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        prove_round_trip(make, like())
    message = str(caught.value)
    assert message.startswith("checkpoint.resume: exact cannot ")
    assert message.endswith(WAY_OUT)
    assert message.count(WAY_OUT) == 1


def test_one_element_of_the_state_is_enough() -> None:
    class OneElementOff(torch.optim.AdamW):
        def load_state_dict(self, state_dict: Any) -> None:
            super().load_state_dict(state_dict)
            self.state[self.param_groups[0]["params"][-1]]["exp_avg"][-1, -1] *= 1.01

    with pytest.raises(UserError, match="takes other steps"):
        prove_round_trip(OneElementOff, like())


TORCH_OPTIMIZERS: dict[str, Make] = {
    "adamw": lambda p: torch.optim.AdamW(p, amsgrad=True),
    "adamw_fused": lambda p: torch.optim.AdamW(p, fused=True),
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "adamax": torch.optim.Adamax,
    "adadelta": torch.optim.Adadelta,
    "asgd": lambda p: torch.optim.ASGD(p, lr=1e-2, t0=2),
    "torch_adafactor": torch.optim.Adafactor,
    "muon": torch.optim.Muon,
}


@pytest.mark.parametrize("name", TORCH_OPTIMIZERS)
def test_torchs_optimizers_are_proven(name: str) -> None:
    assert prove_round_trip(TORCH_OPTIMIZERS[name], like()) < 17


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
def test_every_optimizer_of_transformers_that_can_be_made_here_is_proven(tmp_path: Path) -> None:
    """With the 8-bit and paged ones of bitsandbytes, where it is installed: they run on a CPU."""
    from transformers import Trainer

    proven = set()
    for name in (name.value for name in OptimizerNames):
        args = TrainingArguments(output_dir=str(tmp_path), optim=name, use_cpu=True)
        try:
            kind, options = Trainer.get_optimizer_cls_and_kwargs(args, torch.nn.Linear(2, 2))
        except (ImportError, ValueError):  # it needs another package
            continue
        size = prove_round_trip(partial(kind, **options), like())
        assert size < 17, name
        proven.add(name)
    assert proven >= {"adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"}
    if importlib.util.find_spec("bitsandbytes"):
        assert proven >= {"adamw_8bit", "paged_adamw_8bit", "lion_8bit", "rmsprop_bnb_8bit"}
        assert proven >= {"paged_adamw_32bit", "paged_lion_32bit", "ademamix", "ademamix_8bit"}


def test_a_state_that_is_rounded_when_it_is_loaded_is_refused() -> None:
    """transformers' Adafactor keeps float32 beside bfloat16 parameters, and torch loads a state in
    its parameter's type."""
    from transformers.optimization import Adafactor

    def make(parameters: list[torch.nn.Parameter]) -> Any:
        return Adafactor(parameters, lr=1e-2, scale_parameter=False, relative_step=False)

    prove_round_trip(make, like())
    with pytest.raises(UserError, match="takes other steps"):
        prove_round_trip(make, like(BF16))


def test_a_bfloat16_state_comes_back_as_bfloat16(tmp_path: Path) -> None:
    prove_round_trip(lambda p: torch.optim.AdamW(p, lr=1e-2), like(BF16))
    parameters, optimizer = stepped(lambda p: torch.optim.AdamW(p, lr=1e-2), BF16)
    save_optimizer(optimizer, tmp_path)
    saved = load_file(str(tmp_path / OPTIMIZER_TENSORS))
    assert {saved[f"{i}.{key}"].dtype for i in (0, 1) for key in ("exp_avg", "exp_avg_sq")} == {
        BF16
    }
    fresh = torch.optim.AdamW(parameters, lr=1e-2)
    load_optimizer(fresh, tmp_path)
    for parameter in parameters:
        for key, value in optimizer.state[parameter].items():
            assert torch.equal(fresh.state[parameter][key], value), key
            assert fresh.state[parameter][key].dtype == value.dtype


def stepped(make: Make, dtype: torch.dtype = torch.float32) -> tuple[list[Any], Any]:
    """Parameters and their optimizer after one step."""
    parameters = [torch.nn.Parameter(torch.ones_like(tensor)) for tensor in like(dtype)]
    optimizer = make(parameters)
    for number, parameter in enumerate(parameters):
        parameter.grad = torch.full_like(parameter, 0.5 + number)
    optimizer.step()
    return parameters, optimizer


def test_the_files_are_safetensors_and_json_and_hold_everything_once(tmp_path: Path) -> None:
    _, optimizer = stepped(lambda p: torch.optim.AdamW(p, lr=1e-2, betas=(0.8, 0.95)))
    save_optimizer(optimizer, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {OPTIMIZER, OPTIMIZER_TENSORS}
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"} <= SUFFIXES
    tensors = load_file(str(tmp_path / OPTIMIZER_TENSORS))
    assert sorted(tensors) == [
        *("0.exp_avg", "0.exp_avg_sq", "0.step"),
        *("1.exp_avg", "1.exp_avg_sq", "1.step"),
    ]
    assert tensors["1.exp_avg"].shape == (192, 64)
    plain = json.loads((tmp_path / OPTIMIZER).read_text(encoding="utf-8"))
    assert plain["state"] == {"0": {}, "1": {}}
    assert plain["param_groups"][0]["params"] == [0, 1]
    assert plain["param_groups"][0]["betas"] == [0.8, 0.95]


def test_a_tuple_in_a_group_comes_back_as_a_tuple(tmp_path: Path) -> None:
    parameters, optimizer = stepped(lambda p: torch.optim.AdamW(p, lr=1e-2, betas=(0.8, 0.95)))
    save_optimizer(optimizer, tmp_path)
    fresh = torch.optim.AdamW(parameters)
    load_optimizer(fresh, tmp_path)
    group, before = fresh.param_groups[0], optimizer.param_groups[0]
    assert group["betas"] == (0.8, 0.95)
    assert isinstance(group["betas"], tuple) and isinstance(group["params"], list)
    assert {k: v for k, v in group.items() if k != "params"} == {
        k: v for k, v in before.items() if k != "params"
    }


def test_an_empty_state_is_saved_and_loaded(tmp_path: Path) -> None:
    """Plain SGD has none, and an optimizer before its first step has none either."""
    assert prove_round_trip(lambda p: torch.optim.SGD(p, lr=1e-2), like()) < 0.2
    for name, make in {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}.items():
        parameters = [torch.nn.Parameter(tensor) for tensor in like()]
        folder = tmp_path / name
        folder.mkdir()
        save_optimizer(make(parameters, lr=0.125), folder)
        assert load_file(str(folder / OPTIMIZER_TENSORS)) == {}
        fresh = make(parameters, lr=1.0)
        load_optimizer(fresh, folder)
        assert fresh.state_dict()["state"] == {}
        assert fresh.param_groups[0]["lr"] == 0.125


@pytest.mark.parametrize(
    ("make", "dtype", "expected"),
    [
        (torch.optim.AdamW, torch.float32, 8),
        (lambda p: torch.optim.AdamW(p, amsgrad=True), torch.float32, 12),
        (torch.optim.AdamW, BF16, 4),
        (lambda p: torch.optim.SGD(p, momentum=0.9), torch.float32, 4),
        (torch.optim.SGD, torch.float32, 0),
    ],
    ids=["adamw", "amsgrad", "adamw_bf16", "momentum", "sgd"],
)
def test_the_bytes_per_parameter_are_those_of_the_files(
    make: Make, dtype: torch.dtype, expected: float
) -> None:
    big = [torch.empty(300, 300, dtype=dtype), torch.empty(300, 400, dtype=dtype)]
    assert expected <= prove_round_trip(make, big) < expected + 0.02


def test_the_proof_draws_no_random_numbers_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run with a proof takes the steps of a run without."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = torch.get_rng_state()
    prove_round_trip(torch.optim.AdamW, like())
    with pytest.raises(UserError):
        prove_round_trip(KeepsAnObject, like())
    assert torch.equal(torch.get_rng_state(), before)
    assert list(tmp_path.iterdir()) == []


def test_a_full_temporary_folder_is_no_fault_of_the_optimizers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere-at-all")
    with pytest.raises(UserError, match="temporary files"):
        prove_round_trip(torch.optim.AdamW, like())
