"""An optimizer's state on disk without pickles, and the proof that it comes back as it was."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from lorachain.adapters import read_tensors
from lorachain.errors import UserError
from lorachain.faults import reached
from lorachain.files import dump_json, load_json

OPTIMIZER, OPTIMIZER_TENSORS = "optimizer.json", "optimizer.safetensors"
ADVICE = "Use checkpoint.resume: weights, or another optimizer such as adamw_torch."


def save_optimizer(optimizer: Any, folder: Path) -> None:
    """An optimizer's state: tensors as safetensors, the rest as JSON.

    Raises UserError when it holds anything else, which could not be put back exactly.
    """
    state = optimizer.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        plain[str(index)] = {}
        for key, value in _leaves(entries):
            if isinstance(value, torch.Tensor):
                tensors[f"{index}.{key}"] = value.detach().cpu().contiguous().clone()
            elif value is None or isinstance(value, bool | int | float | str):
                plain[str(index)][key] = value
            else:
                raise UserError(
                    f"checkpoint.resume: exact cannot save this optimizer ({key} is a "
                    f"{type(value).__name__}). {ADVICE}"
                )
    reached("write", folder / OPTIMIZER_TENSORS)
    save_file(tensors, str(folder / OPTIMIZER_TENSORS))
    dump_json(folder / OPTIMIZER, {"state": plain, "param_groups": state["param_groups"]})


def load_optimizer(optimizer: Any, folder: Path) -> None:
    """Put an optimizer's state back as `save_optimizer` found it."""
    saved = load_json(folder / OPTIMIZER)
    flat: dict[str, dict[str, Any]] = saved["state"]
    for name, tensor in read_tensors(folder / OPTIMIZER_TENSORS).items():
        index, _, key = name.partition(".")
        flat[index][key] = tensor
    state = {int(index): _nested(entries) for index, entries in flat.items()}
    groups = [
        {k: tuple(v) if isinstance(v, list) and k != "params" else v for k, v in group.items()}
        for group in saved["param_groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def prove_round_trip(
    make: Callable[[list[torch.nn.Parameter]], Any], like: Sequence[torch.Tensor]
) -> float:
    """Try an optimizer on parameters shaped like `like`: two steps, saved, loaded into a second
    one, three more steps of both. Returns the bytes on disk per trained parameter.

    Raises UserError when the two do not end equal to the last bit: then a resumed run would not
    end where the uninterrupted one does, and that is better known before the first step.
    """
    generator = torch.Generator().manual_seed(0)

    def random(scale: float) -> list[torch.Tensor]:
        return [
            (torch.randn(tensor.shape, generator=generator) * scale).to(tensor.device, tensor.dtype)
            for tensor in like
        ]

    try:
        first = [torch.nn.Parameter(tensor) for tensor in random(0.1)]
        optimizer = make(first)
        for _ in range(2):
            _step(optimizer, first, random(1.0))
        second = [torch.nn.Parameter(parameter.detach().clone()) for parameter in first]
        resumed = make(second)
        with tempfile.TemporaryDirectory() as name:
            save_optimizer(optimizer, Path(name))
            size = sum(path.stat().st_size for path in Path(name).iterdir())
            load_optimizer(resumed, Path(name))
        for _ in range(3):
            gradients = random(1.0)
            _step(optimizer, first, gradients)
            _step(resumed, second, gradients)
        equal = all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    except UserError:
        raise
    except (OSError, SafetensorError) as error:
        raise UserError(
            "checkpoint.resume: exact tries the optimizer out in the folder for temporary files, "
            f"which could not be written to: {error}. Make room there."
        ) from error
    except Exception as error:
        raise UserError(
            f"checkpoint.resume: exact cannot be kept with this optimizer: trying to save and "
            f"restore it failed ({type(error).__name__}: {error}). {ADVICE}"
        ) from error
    if not equal:
        raise UserError(
            "checkpoint.resume: exact cannot be kept with this optimizer: saved and restored, it "
            f"takes other steps than before. {ADVICE}"
        )
    return size / sum(tensor.numel() for tensor in like)


def _step(
    optimizer: Any, parameters: Sequence[torch.nn.Parameter], gradients: Sequence[torch.Tensor]
) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    optimizer.step()
    optimizer.zero_grad()


def _leaves(entries: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A parameter's state with its dicts opened: bitsandbytes keeps its tensors in one."""
    for key, value in entries.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """What `_leaves` opened, put together again."""
    entries: dict[str, Any] = {}
    for path, value in flat.items():
        *outer, key = path.split("/")
        inner = entries
        for name in outer:
            inner = inner.setdefault(name, {})
        inner[key] = value
    return entries
