"""A mixin over transformers' Trainer that saves, verifies and resumes without pickles.

It replaces every place where the stock Trainer writes or reads `training_args.bin`,
`optimizer.pt`, `scheduler.pt` and `rng_state.pth`:

1. A checkpoint is written by `lorachain.checkpoint` (temporary folder, manifest last, rename).
2. The scheduler's state is always saved and restored, so a resume without optimizer state goes on
   at the learning rate where it stopped. The stock Trainer starts the schedule over.
3. RNG states are safetensors and JSON. The order of the rows depends on seed and epoch alone.
4. With `level="exact"` the optimizer's state is saved too, as safetensors and JSON.
5. With `level="weights"` a resumed optimizer is fresh: its first steps are scaled up linearly
   (`REWARM_STEPS`), because Adam's first steps have full size whatever the gradient.
"""

from __future__ import annotations

import json
import logging
import math
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers import Trainer, TrainerCallback, TrainerState

from lorachain import checkpoint
from lorachain.adapters import WEIGHTS, check_arrived, read_tensors, save_adapter
from lorachain.errors import UserError

log = logging.getLogger("lorachain")

REWARM_STEPS = 5
STATE = "trainer_state.json"  # the name under which the Trainer looks for its own state
SCHEDULER = "scheduler.json"
RNG, RNG_TENSORS = "rng.json", "rng.safetensors"
OPTIMIZER, OPTIMIZER_TENSORS = "optimizer.json", "optimizer.safetensors"


class SafeCheckpointMixin(Trainer):  # type: ignore[misc,unused-ignore]
    """Put it before a Trainer class. Call `set_checkpoints` before `train`."""

    def set_checkpoints(
        self, identity: Mapping[str, Any], level: str, keep: int, select_best: bool
    ) -> None:
        """`identity` is what a resuming run must share; `keep` valid checkpoints stay on disk."""
        self._identity = dict(identity)
        self._level = level
        self._keep = keep
        self._select_best = select_best

    # ---- saving

    def _save_checkpoint(self, model: Any, trial: Any = None) -> None:
        self.accelerator.wait_for_everyone()
        if not self.args.should_save:
            return
        root = Path(self.args.output_dir)
        step = self.state.global_step
        newest = checkpoint.folders(root)[:1]
        if newest and newest[0].name == f"checkpoint-{step}":
            return  # saved a moment ago, at the same step
        try:
            checkpoint.write(root, step, self._identity, self._fill)
        except (OSError, SafetensorError) as error:  # safetensors has no OSError for a full disk
            why = getattr(error, "strerror", None) or error
            raise UserError(
                f"The checkpoint of step {step} could not be written: {why}. "
                "Earlier checkpoints are untouched. Make room and run the same command again."
            ) from error
        best = self.state.best_global_step if self._select_best else None
        checkpoint.rotate(root, self._keep, best)

    def _fill(self, folder: Path) -> None:
        save_adapter(self.accelerator.unwrap_model(self.model), folder)
        self._save_state(folder / STATE)
        _dump(folder / SCHEDULER, self.lr_scheduler.state_dict())
        save_rng(folder)
        if self._level == "exact":
            save_optimizer(self.optimizer, folder)

    def _save_state(self, path: Path) -> None:
        """The Trainer's state. The log is left out: it stands in training_log.jsonl."""
        for callback in [*self.callback_handler.callbacks]:
            name = type(callback).__name__
            if name in self.state.stateful_callbacks:
                self.state.stateful_callbacks[name] = callback.state()
        history, self.state.log_history = self.state.log_history, []
        try:
            self.state.save_to_json(str(path))
        finally:
            self.state.log_history = history

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The adapter alone, as safetensors: the stock method pickles its arguments beside it."""
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            save_adapter(self.accelerator.unwrap_model(self.model), folder)

    # ---- resuming

    def take_over(self, folder: Path) -> None:
        """Be as after the last step of all. `train` would take one more where that step ends no
        epoch."""
        load_adapter_weights(self.accelerator.unwrap_model(self.model), folder)
        self.state = TrainerState.load_from_json(str(folder / STATE))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_adapter_weights(model or self.model, Path(resume_from_checkpoint))

    def _load_callback_state(self) -> None:
        """Restore what callbacks keep (early stopping's patience), never a request to stop."""
        for callback in self.callback_handler.callbacks:
            saved = self.state.stateful_callbacks.get(type(callback).__name__)
            for key, value in (saved or {}).get("attributes", {}).items():
                setattr(callback, key, value)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        folder = Path(checkpoint)
        if self._level == "exact":
            load_optimizer(self.optimizer, folder)
        self.lr_scheduler.load_state_dict(_load(folder / SCHEDULER))
        for group, rate in zip(
            self.optimizer.param_groups, self.lr_scheduler.get_last_lr(), strict=True
        ):
            group["lr"] = rate
        if self._level != "exact":
            self.add_callback(Rewarm(REWARM_STEPS))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_rng(Path(checkpoint))

    # ---- never save what went wrong

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if norm is not None and self.accelerator.scaler is None and not math.isfinite(float(norm)):
            raise UserError(_diverged("gradient", self.state.global_step))
        return norm


class Rewarm(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Scales the first steps of a fresh optimizer, leaving the schedule as it is."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.done = 0
        self._rates: list[float] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Scale the step that is about to be taken."""
        if self.done >= self.steps:
            return
        groups = kwargs["optimizer"].param_groups
        self._rates = [group["lr"] for group in groups]
        for group, rate in zip(groups, self._rates, strict=True):
            group["lr"] = rate * (self.done + 1) / (self.steps + 1)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the schedule's rates back."""
        if self.done >= self.steps:
            return
        self.done += 1
        for group, rate in zip(kwargs["optimizer"].param_groups, self._rates, strict=True):
            group["lr"] = rate


def _diverged(what: str, step: int) -> str:
    return (
        f"The {what} became NaN or infinite at step {step + 1}: training has diverged, and nothing "
        "of it is saved. The last checkpoint is good. Lower training.learning_rate, or add "
        "warm-up, and start again with --restart."
    )


def check_loss(loss: float, step: int) -> None:
    """Raises UserError when a step's loss is not finite."""
    if not math.isfinite(loss):
        raise UserError(_diverged("loss", step))


def load_adapter_weights(model: Any, folder: Path) -> None:
    """Put a checkpoint's adapter into the model, every tensor of it and no other."""
    from peft import set_peft_model_state_dict

    saved = read_tensors(folder / WEIGHTS)
    set_peft_model_state_dict(model, dict(saved))
    check_arrived(model, saved, folder.name)


def save_rng(folder: Path) -> None:
    """Python's, NumPy's and torch's random states, as JSON and safetensors."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    _dump(
        folder / RNG,
        {
            "python": random.getstate(),
            "numpy": [kind, [int(k) for k in keys], position, has_gauss, gauss],
        },
    )
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    save_file(states, str(folder / RNG_TENSORS))


def load_rng(folder: Path) -> None:
    """Put all random states back to where `save_rng` found them."""
    saved = _load(folder / RNG)
    version, numbers, gauss = saved["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, position, has_gauss, cached = saved["numpy"]
    state = (kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached)
    np.random.set_state(state)
    states = read_tensors(folder / RNG_TENSORS)
    torch.set_rng_state(states["cpu"])
    for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if f"cuda{i}" in states:
            torch.cuda.set_rng_state(states[f"cuda{i}"], i)


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
                tensors[f"{index}.{key}"] = value.detach().cpu().contiguous()
            elif value is None or isinstance(value, bool | int | float | str):
                plain[str(index)][key] = value
            else:
                raise UserError(
                    f"checkpoint.resume: exact cannot save this optimizer ({key} is a "
                    f"{type(value).__name__}). Use checkpoint.resume: weights, or adamw_torch."
                )
    save_file(tensors, str(folder / OPTIMIZER_TENSORS))
    _dump(folder / OPTIMIZER, {"state": plain, "param_groups": state["param_groups"]})


def load_optimizer(optimizer: Any, folder: Path) -> None:
    """Put an optimizer's state back as `save_optimizer` found it."""
    saved = _load(folder / OPTIMIZER)
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


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
