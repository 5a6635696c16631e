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

import importlib.metadata
import logging
import math
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import Trainer, TrainerCallback, TrainerState

from lorachain import checkpoint
from lorachain.adapters import WEIGHTS, adapter_state, check_arrived, read_tensors, save_adapter
from lorachain.errors import UserError
from lorachain.faults import reached
from lorachain.files import dump_json, load_json
from lorachain.oserrors import remedy
from lorachain.paths import shown
from lorachain.training.optimizer_state import load_optimizer, prove_round_trip, save_optimizer
from lorachain.training.random_state import load_rng, random_state, save_rng

log = logging.getLogger("lorachain")

REWARM_STEPS = 5
STATE = "trainer_state.json"  # the name under which the Trainer looks for its own state
SCHEDULER = "scheduler.json"
SCALER = "scaler.json"
SMALL_FILES = 1 << 17  # bytes: a checkpoint's JSON files and random states


class SafeCheckpointMixin(Trainer):  # type: ignore[misc,unused-ignore]
    """Put it before a Trainer class. Call `set_checkpoints` before `train`."""

    def set_checkpoints(
        self,
        identity: Mapping[str, Any],
        level: str,
        keep: int,
        select_best: bool,
        version_bytes: int = 0,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """`identity` is what a resuming run must share, `about` what else is worth writing down;
        `keep` valid checkpoints stay on disk, and the best one. `version_bytes` is what will be
        written beside the adapter at the end."""
        self._identity = dict(identity)
        self._level = level
        self._keep = keep
        self._select_best = select_best
        self._version_bytes = version_bytes
        self._about = dict(about or {})
        self._saved_step: int | None = None
        self.add_callback(_BeforeTheFirstStep(self))

    # ---- before the first step

    def check_checkpoints(self) -> None:
        """Raises UserError when checkpoints could not be kept as promised: an optimizer whose state
        does not come back as it was (`exact`), or too little room on the disk."""
        per_parameter = self._prove_optimizer() if self._level == "exact" else 0.0
        if self.args.should_save:
            self._check_room(per_parameter)

    def _prove_optimizer(self) -> float:
        trained = [p for p in self.model.parameters() if p.requires_grad]
        ends = {p.shape: p for p in sorted(trained, key=lambda p: p.numel())}
        shapes = list(ends.values())
        kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        like = [p.detach() for p in (shapes[0], shapes[-1])]
        return prove_round_trip(lambda parameters: kind(parameters, **options), like)

    def _check_room(self, optimizer_bytes_per_parameter: float) -> None:
        root = Path(self.args.output_dir)
        root.mkdir(parents=True, exist_ok=True)
        trained = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        adapter = 4 * trained
        one = int(adapter + trained * optimizer_bytes_per_parameter) + SMALL_FILES
        there = [
            sum(path.stat().st_size for path in folder.glob("*"))
            for folder in checkpoint.folders(root)
        ]
        kept = self._keep + (1 if self._select_best else 0)
        # One more is being written while the oldest is still there.
        at_once = min(kept + 1, len(there) + self._checkpoints_to_come())
        needed = max(at_once * one - sum(there), 0) + adapter + self._version_bytes
        free = shutil.disk_usage(root).free
        if free < needed:
            raise UserError(
                f"There is too little room at {shown(root)}: {megabytes(free)} are free, and "
                f"{megabytes(needed)} will be needed (up to {at_once} checkpoints of "
                f"{megabytes(one)} at once, and the version). Make room, choose another --output, "
                "or keep fewer checkpoints (--set checkpoint.save_total_limit=1)."
            )

    def _checkpoints_to_come(self) -> int:
        """At most how many checkpoints will be written from here on."""
        if self.args.save_strategy != "steps" or self.args.save_steps < 1:
            return self._keep + 2
        left = int(self.state.max_steps) - int(self.state.global_step)
        count = math.ceil(left / int(self.args.save_steps))
        if self._select_best and self.args.eval_steps:
            count += math.ceil(left / int(self.args.eval_steps))
        return count

    # ---- saving

    def _save_checkpoint(self, model: Any, trial: Any = None) -> None:
        states = _of_all_processes(random_state())
        if not self.args.should_save:
            return
        root = Path(self.args.output_dir)
        step = self.state.global_step
        if step == self._saved_step:
            return  # a moment ago
        adapter = adapter_state(self.accelerator.unwrap_model(self.model))
        if not all(bool(torch.isfinite(tensor).all()) for tensor in adapter.values()):
            raise UserError(_diverged("adapter", step - 1))

        def fill(folder: Path) -> None:
            self._fill(folder, states)

        try:
            about = {**self._about, "made_with": made_with(self.args.device)}
            checkpoint.write(root, step, self._identity, fill, about)
        except (OSError, SafetensorError) as error:  # safetensors has no OSError for a full disk
            why = getattr(error, "strerror", None) or error
            raise UserError(
                f"The checkpoint of step {step} could not be written: {why}. "
                f"Earlier checkpoints are untouched. {remedy(error)}"
            ) from error
        self._saved_step = step
        best = self.state.best_global_step if self._select_best else None
        checkpoint.rotate(root, self._keep, best)

    def _fill(self, folder: Path, states: list[dict[str, Any]]) -> None:
        save_adapter(self.accelerator.unwrap_model(self.model), folder)
        self._save_state(folder / STATE)
        dump_json(folder / SCHEDULER, self.lr_scheduler.state_dict())
        if self.accelerator.scaler is not None:
            dump_json(folder / SCALER, self.accelerator.scaler.state_dict())
        save_rng(folder, states)
        if self._level == "exact":
            save_optimizer(self.optimizer, folder)

    def _save_state(self, path: Path) -> None:
        """The Trainer's state. The log is left out: it stands in training_log.jsonl."""
        for callback in [*self.callback_handler.callbacks]:
            name = type(callback).__name__
            if name in self.state.stateful_callbacks:
                self.state.stateful_callbacks[name] = callback.state()
        history, self.state.log_history = self.state.log_history, []
        reached("write", path)
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

    def is_the_end(self, folder: Path) -> bool:
        """Whether a checkpoint is the last one of its run: all steps are taken, or early stopping
        ended it there. `train` would take one step more."""
        state = TrainerState.load_from_json(str(folder / STATE))
        saved = state.stateful_callbacks.get("EarlyStoppingCallback") or {}
        patience = saved.get("args", {}).get("early_stopping_patience")
        waited = saved.get("attributes", {}).get("early_stopping_patience_counter", 0)
        return state.global_step >= self.args.max_steps > 0 or (
            patience is not None and waited >= patience
        )

    def take_over(self, folder: Path) -> None:
        """Be as after the last step of all."""
        load_adapter_weights(self.accelerator.unwrap_model(self.model), folder)
        self.state = TrainerState.load_from_json(str(folder / STATE))
        self._load_callback_state()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_adapter_weights(model or self.model, Path(resume_from_checkpoint))

    def _load_callback_state(self) -> None:
        """Restore what callbacks keep (early stopping's patience), never a request to stop.

        How often is logged, evaluated and saved is this run's, not the checkpoint's.
        """
        self.state.compute_steps(self.args, self.state.max_steps)
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
        self.lr_scheduler.load_state_dict(load_json(folder / SCHEDULER))
        for group, rate in zip(
            self.optimizer.param_groups, self.lr_scheduler.get_last_lr(), strict=True
        ):
            group["lr"] = rate
        if self._level != "exact":
            self.add_callback(Rewarm(REWARM_STEPS))

    def _load_scaler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(load_json(Path(checkpoint) / SCALER))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            load_rng(Path(checkpoint), self.args.process_index)

    # ---- never save what went wrong

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if norm is not None and self.accelerator.scaler is None and not math.isfinite(float(norm)):
            raise UserError(_diverged("gradient", self.state.global_step))
        return norm


class _BeforeTheFirstStep(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Checks what checkpoints need once the optimizer is there, before it takes a step."""

    def __init__(self, trainer: SafeCheckpointMixin) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Raises UserError."""
        self.trainer.check_checkpoints()


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
    with warnings.catch_warnings(action="ignore"):  # `check_arrived` says it better
        set_peft_model_state_dict(model, dict(saved), ignore_mismatched_sizes=True)
    try:
        check_arrived(model, saved, folder.name)
    except UserError as error:
        raise UserError(
            f"{error}\nGo on from another checkpoint (--resume DIR), or begin anew (--restart)."
        ) from None


def _of_all_processes(value: dict[str, Any]) -> list[dict[str, Any]]:
    """One value of each process, by rank (torchrun starts several)."""
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized():
        return [value]
    found: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, value)
    return found


def made_with(device: Any) -> dict[str, str]:
    """What a checkpoint was written with: the same arithmetic elsewhere is not promised."""
    packages = ("torch", "transformers", "peft", "accelerate")
    versions = {name: importlib.metadata.version(name) for name in packages}
    cuda = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "CPU"
    return {**versions, "device": cuda}


def megabytes(size: float) -> str:
    """'12.3 MB' of a number of bytes."""
    return f"{size / 1e6:,.1f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"
