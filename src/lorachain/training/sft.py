"""Supervised fine-tuning on transformers' Trainer: its loop, its optimizers, its schedules.

What is ours: a dataloader item is one whole optimizer step (`batching`), so `training_step` runs
that step's micro-batches, with the loss summed over tokens and divided once by the step's trained
tokens; and the loss itself (`loss`). The Trainer sees gradient_accumulation_steps = 1.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import TrainingArguments

from lorachain.config import StageConfig
from lorachain.errors import UserError
from lorachain.steps import warmup_steps
from lorachain.training.batching import Collator, StepBatches
from lorachain.training.callbacks import TokenMeter
from lorachain.training.checkpointing import SafeCheckpointMixin, check_loss
from lorachain.training.dataset import Example
from lorachain.training.loss import HeadTap, Way, token_loss


class SFTTrainer(SafeCheckpointMixin):
    """Trains a PEFT model on encoded rows.

    `batches` says which rows each step takes; `collator` cuts them into micro-batches.
    """

    def __init__(
        self,
        *,
        batches: StepBatches,
        collator: Collator,
        tap: HeadTap,
        way: Way,
        meter: TokenMeter,
        loraplus_lr_ratio: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.control: Any
        self.optimizer: Any
        self.batches = batches
        self.step_collator = collator
        self.tap = tap
        self.way = way
        self.meter = meter
        self.loraplus_lr_ratio = loraplus_lr_ratio
        super().__init__(**kwargs)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """One item per optimizer step. Not prepared by accelerate: `StepBatches` shards itself."""
        return DataLoader(
            self.train_dataset,
            batch_sampler=self.batches,
            collate_fn=self.step_collator,
        )

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        self.batches.set_epoch(kwargs["epoch"])
        super()._run_epoch(*args, **kwargs)

    def training_step(
        self, model: Any, inputs: Mapping[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Forward and backward of one optimizer step. Returns its mean loss per trained token."""
        began = time.perf_counter()
        model.train()
        processes = self.accelerator.num_processes
        tokens = torch.tensor(float(inputs["trained_tokens"]), device=self.args.device)
        if processes > 1:
            tokens = self.accelerator.reduce(tokens, "sum")
        total = torch.zeros((), device=self.args.device)
        micro_batches = inputs["micro_batches"]
        for i, batch in enumerate(micro_batches):
            last = i == len(micro_batches) - 1
            quiet = contextlib.nullcontext() if last else self.accelerator.no_sync(model)
            with quiet, self.compute_loss_context_manager():
                loss = token_loss(model, self.tap, self._prepare_inputs(batch), self.way)
                # DDP takes the mean over processes, so a sum over all of them needs the factor.
                loss = loss * processes / tokens
                self.accelerator.backward(loss)
            total += loss.detach()
        check_loss(float(total), self.state.global_step)
        self.meter.add(int(tokens), time.perf_counter() - began, float(total))
        return total

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: the stock estimate reads a batch's shape, and ours is a list of batches."""
        return 0

    def evaluate(
        self,
        eval_dataset: Sequence[Example] | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Mean loss per trained token over a data set, whatever its rows' lengths."""
        examples = self.eval_dataset if eval_dataset is None else eval_dataset
        metrics = {f"{metric_key_prefix}_loss": self.mean_loss(examples)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def mean_loss(self, examples: Sequence[Example]) -> float:
        """Loss per trained token of `examples` with the model as it is, without logging."""
        model = self.accelerator.unwrap_model(self.model)
        was_training = model.training
        model.eval()
        loss, tokens = 0.0, 0
        chunk = 64  # rows sorted into micro-batches together
        with torch.no_grad(), self.compute_loss_context_manager():
            for start in range(0, len(examples), chunk):
                item = self.step_collator(examples[start : start + chunk])
                for batch in item["micro_batches"]:
                    batch = self._prepare_inputs(batch)
                    loss += float(token_loss(model, self.tap, batch, self.way))
                tokens += item["trained_tokens"]
        model.train(was_training)
        return loss / tokens

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        best = super()._determine_best_metric(metrics, trial)
        if best and self._select_best:
            self.control.should_save = True  # the best weights must be on disk to be chosen
        return bool(best)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The Trainer's, or LoRA+ (a larger rate for B; Hayou et al. 2024) through PEFT.

        Raises UserError for one that needs what is not installed, or other optim_args.
        """
        with _settings_errors("training.optim", "training.optim_args"):
            return self._create_optimizer(model)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The Trainer's. Raises UserError for one that needs other lr_scheduler_kwargs."""
        with _settings_errors("training.lr_scheduler_type", "training.lr_scheduler_kwargs"):
            return super().create_scheduler(num_training_steps, optimizer)

    def _create_optimizer(self, model: Any) -> torch.optim.Optimizer:
        if self.optimizer is None and self.loraplus_lr_ratio is not None:
            from peft.optimizers import create_loraplus_optimizer

            kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            options.pop("lr", None)
            created: torch.optim.Optimizer = create_loraplus_optimizer(
                model=self.accelerator.unwrap_model(self.model),
                optimizer_cls=kind,
                lr=self.args.learning_rate,
                loraplus_lr_ratio=self.loraplus_lr_ratio,
                loraplus_weight_decay=self.args.weight_decay,
                **options,
            )
            self.optimizer = created
            return created
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        return optimizer


@contextlib.contextmanager
def _settings_errors(kind: str, options: str) -> Iterator[None]:
    """What transformers raises for a setting that it knows but cannot use here."""
    try:
        yield
    except (ImportError, ValueError, TypeError) as error:
        raise UserError(f"{kind} with these {options} cannot be used: {error}") from None


def training_arguments(
    config: StageConfig,
    output: str,
    total: int,
    optim: str,
    fp16: bool,
    cpu: bool,
    steps_per_epoch: int | None = None,
) -> TrainingArguments:
    """The Trainer's arguments for a stage.

    With `steps_per_epoch`, evaluation each epoch becomes evaluation every so many steps: a step is
    then evaluated before it is saved. After an epoch the Trainer evaluates what is saved already,
    without what the evaluation found (the best loss, early stopping's patience).

    Raises UserError for an optimizer or scheduler that transformers does not know.
    """
    t = config.training
    best = t.load_best_model_at_end or t.early_stopping_patience is not None
    by_epoch = t.eval_strategy == "epoch" and steps_per_epoch is not None
    try:
        return TrainingArguments(
            output_dir=output,
            max_steps=total,
            per_device_train_batch_size=t.per_device_train_batch_size
            * t.gradient_accumulation_steps,
            gradient_accumulation_steps=1,
            learning_rate=t.learning_rate,
            lr_scheduler_type=t.lr_scheduler_type,
            lr_scheduler_kwargs=dict(t.lr_scheduler_kwargs),
            warmup_steps=warmup_steps(config, total),
            optim=optim,
            optim_args=t.optim_args,
            weight_decay=t.weight_decay,
            adam_beta1=t.adam_beta1,
            adam_beta2=t.adam_beta2,
            adam_epsilon=t.adam_epsilon,
            max_grad_norm=t.max_grad_norm,
            neftune_noise_alpha=t.neftune_noise_alpha,
            seed=t.seed,
            fp16=fp16,
            use_cpu=cpu,
            eval_strategy="steps" if by_epoch else t.eval_strategy,
            eval_steps=steps_per_epoch if by_epoch else t.eval_steps,
            metric_for_best_model="eval_loss" if best else None,
            greater_is_better=False if best else None,
            save_strategy="steps",
            save_steps=config.checkpoint.save_steps,
            logging_strategy="steps",
            logging_steps=t.logging_steps,
            logging_first_step=True,
            logging_nan_inf_filter=False,
            restore_callback_states_from_checkpoint=True,
            remove_unused_columns=False,
            ddp_find_unused_parameters=False,
            dataloader_pin_memory=False,
            disable_tqdm=True,
            report_to="none",
            log_level="error",
        )
    except (ValueError, TypeError) as error:
        raise UserError(f"The training settings cannot be used: {error}") from None
