"""The heavy part of a stage: load the base and the adapter, train, hand over to `version`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import EarlyStoppingCallback, PrinterCallback
from transformers.integrations import TensorBoardCallback

from lorachain import adapters, checkpoint, machine
from lorachain.checkpoint import Checkpoint
from lorachain.errors import UserError
from lorachain.fast_lora import speed_up_lora
from lorachain.models import load_base
from lorachain.paths import from_user, quoted, shown
from lorachain.steps import total_steps
from lorachain.training.batching import Collator, StepBatches, pad
from lorachain.training.callbacks import JsonlLog, Progress, StopOnInterrupt, TokenMeter
from lorachain.training.checkpointing import REWARM_STEPS, load_adapter_weights, made_with
from lorachain.training.dataset import Example
from lorachain.training.loss import HeadTap, Way, choose_way
from lorachain.training.resume import say_what_else_changed
from lorachain.training.said import interrupted, say_what_follows, stopped_at_once
from lorachain.training.sft import SFTTrainer, training_arguments
from lorachain.training.stage import Stage, is_main_process, probe_setting
from lorachain.training.version import finish, tokenizer_bytes

log = logging.getLogger("lorachain")

PROBE_TOKENS = 96  # of the row that the ways of taking the loss are compared on


def train(stage: Stage, identity: Mapping[str, Any], found: Checkpoint | None) -> Path:
    """Train a prepared stage, from its beginning or from a checkpoint. Returns its folder."""
    if is_main_process():
        say_what_follows(stage)
    args = _arguments(stage)
    try:
        model = load_model(stage)
        trainer = _trainer(stage, model, args, found)
        before = adapters.adapter_state(model)
        with StopOnInterrupt() as stop:
            trainer.add_callback(stop)
            trainer.set_checkpoints(
                identity,
                stage.config.checkpoint.resume,
                stage.config.checkpoint.save_total_limit,
                stage.config.training.load_best_model_at_end,
                tokenizer_bytes(stage.base.folder),
                {"names": stage.names},
            )
            ended = found is not None and trainer.is_the_end(found.folder)
            if found is not None and is_main_process():
                say_what_else_changed(found, made_with(args.device))
                log.info(_resumed(found, stage.config.checkpoint.resume, ended))
            if found is not None and ended:
                trainer.take_over(found.folder)
            else:
                trainer.train(resume_from_checkpoint=str(found.folder) if found else None)
            reached = trainer.state.global_step
            if stop.asked and reached < args.max_steps and not _stopped_early(trainer):
                raise interrupted(stage, reached, args.max_steps)
        _take_best(stage, trainer)
        return finish(stage, trainer, identity, before, found)
    except torch.OutOfMemoryError:
        raise UserError(_out_of_memory(stage)) from None
    except KeyboardInterrupt:
        raise stopped_at_once(stage) from None


def _arguments(stage: Stage) -> Any:
    batches = _batches(stage)
    fp16 = stage.precision.dtype == "fp16" and stage.machine.cuda
    return training_arguments(
        stage.config,
        str(stage.request.output),
        total_steps(stage.config, len(batches)),
        stage.precision.optim,
        fp16,
        cpu=not stage.machine.cuda,
        steps_per_epoch=len(batches),
    )


def _batches(stage: Stage) -> StepBatches:
    training = stage.config.training
    return StepBatches(
        [len(example.ids) for example in stage.data.examples],
        stage.data.groups,
        training.per_device_train_batch_size * training.gradient_accumulation_steps,
        training.seed,
        window=training.length_window,
        rank=int(os.environ.get("RANK", "0")),
        processes=stage.processes,
    )


def load_model(stage: Stage) -> Any:
    """The base with its adapter: a fresh one, or the parent's, checked and trainable."""
    device, config = stage.machine.device, stage.config
    attention = machine.attention(
        config.model.attn_implementation, config.data.max_seq_length, stage.machine
    )
    base = load_base(stage.base, stage.precision, device, attention)
    if stage.parent is None:
        model = adapters.new_adapter(base, config.lora, config.training.seed)
    else:
        model = adapters.continue_adapter(base, stage.parent.folder)
        _set_dropout(model, config.lora.lora_dropout)
    # PEFT notes where the base was loaded from; for a hub model that is a folder of this machine.
    hub = stage.base.folder != from_user(stage.base.name) and "/" in stage.base.name
    where = stage.base.name if hub else str(stage.base.folder)
    model.peft_config["default"].base_model_name_or_path = where
    fast = speed_up_lora(model)
    log.debug("%d LoRA layers take the lean forward pass.", fast)
    then = stage.parent.data.get("probe") if stage.parent else None
    if then:  # taken the way the parent's was, so that only another machine rounds otherwise
        now = adapters.probe(model, stage.encoder, probe_setting(stage, model))
        log.debug("The parent's probe differs by %g.", adapters.compare_probe(now, then))
    return model


def _set_dropout(model: Any, dropout: float) -> None:
    for name, module in model.named_modules():
        if name.endswith("lora_dropout"):
            for key in module:
                module[key] = torch.nn.Dropout(dropout) if dropout else torch.nn.Identity()
    model.peft_config["default"].lora_dropout = dropout


def loss_parts(stage: Stage, model: Any) -> tuple[Collator, HeadTap, Way]:
    """What cuts a step's rows into micro-batches and takes their loss; activations are
    checkpointed from here on where the settings or the memory ask for it."""
    training = stage.config.training
    budget = machine.micro_batch_tokens(
        training.max_tokens_per_micro_batch,
        training.per_device_train_batch_size,
        stage.config.data.max_seq_length,
        stage.machine,
    )
    longest = max(len(example.ids) for example in stage.data.examples)
    _checkpoint_activations(stage, model, max(budget, longest))
    pad_id = stage.tokenizer.pad_token_id
    collator = Collator(budget, stage.tokenizer.eos_token_id if pad_id is None else pad_id)
    tap = HeadTap(model.get_base_model())
    return (
        collator,
        tap,
        choose_way(model, tap, _device_batch(stage.data.examples, stage.machine.device)),
    )


def _trainer(stage: Stage, model: Any, args: Any, found: Checkpoint | None) -> SFTTrainer:
    training = stage.config.training
    collator, tap, way = loss_parts(stage, model)
    if way != "fused":
        log.info(
            "This base's LM head is not of the usual shape: logits are taken %s, which needs more "
            "memory.",
            "at trained positions by its own head" if way == "gathered" else "at every position",
        )
    meter = TokenMeter()
    output = stage.request.output
    callbacks: list[Any] = [Progress(meter, output.name), JsonlLog(output, meter)]
    if is_main_process():
        callbacks.append(_tensorboard(output, found))
    if training.early_stopping_patience is not None:
        callbacks.append(
            EarlyStoppingCallback(
                training.early_stopping_patience, training.early_stopping_threshold
            )
        )
    trainer = SFTTrainer(
        model=model,
        args=args,
        train_dataset=stage.data.examples,
        eval_dataset=stage.data.validation or None,
        callbacks=callbacks,
        batches=_batches(stage),
        collator=collator,
        tap=tap,
        way=way,
        meter=meter,
        loraplus_lr_ratio=stage.config.lora.loraplus_lr_ratio,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _checkpoint_activations(stage: Stage, model: Any, tokens: int) -> None:
    size = 4 if stage.precision.dtype == "fp32" else 2
    needed = machine.activation_bytes(model.config, tokens, size)
    asked = stage.config.training.gradient_checkpointing
    if not machine.use_gradient_checkpointing(asked, needed, stage.machine):
        return
    # Non-reentrant: it needs no input that requires a gradient, so a frozen base is fine.
    model.get_base_model().gradient_checkpointing_enable(
        gradient_checkpointing_kwargs={"use_reentrant": False}
    )
    why = "as asked for" if asked is True else "they would take over half of the free memory"
    log.info(
        "Gradient checkpointing is on: about %.1f GB of activations are not kept (%s). It costs "
        "about a quarter of the speed.",
        *(needed / 1e9, why),
    )


def _device_batch(examples: Sequence[Example], device: str) -> dict[str, torch.Tensor]:
    """The shortest row, cut to what stands before its last trained token: enough to compare the
    ways of taking the loss. (A row that was truncated may end with tokens that are not trained.)"""
    shortest = min(examples, key=lambda example: len(example.ids))
    end = max(i for i, trained in enumerate(shortest.trained) if trained) + 1
    part = slice(max(0, end - PROBE_TOKENS), end)
    cut = Example(shortest.row, shortest.ids[part], shortest.trained[part])
    return {name: tensor.to(device) for name, tensor in pad([cut], 0).items()}


def _tensorboard(output: Path, found: Checkpoint | None) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    forgotten = found.step + 1 if found else None  # steps after the checkpoint are taken again
    return TensorBoardCallback(SummaryWriter(log_dir=str(output / "logs"), purge_step=forgotten))


def _resumed(found: Checkpoint, level: str, ended: bool) -> str:
    if ended:
        return (
            f"Going on from {found.folder.name}: all steps are taken; only the version is still to "
            "be written."
        )
    start = f"Going on from {found.folder.name}: adapter, learning rate, row order"
    if level == "exact":
        return f"{start}, random state and optimizer are where they were."
    return (
        f"{start} and random state are where they were; the optimizer's moments are not kept "
        f"(checkpoint.resume: weights), so its first {REWARM_STEPS} steps are eased in."
    )


def _stopped_early(trainer: SFTTrainer) -> bool:
    """Whether early stopping ended the run (then it is finished, Ctrl-C or not)."""
    patience = trainer.callback_handler.callbacks
    return any(
        isinstance(callback, EarlyStoppingCallback)
        and callback.early_stopping_patience_counter >= callback.early_stopping_patience
        for callback in patience
    )


def _take_best(stage: Stage, trainer: SFTTrainer) -> None:
    """Put the weights with the lowest validation loss back, where that was asked for."""
    best = trainer.state.best_global_step
    if not stage.config.training.load_best_model_at_end or best is None:
        return
    if best != trainer.state.global_step:
        folder = stage.request.output / f"checkpoint-{best}"
        if why := checkpoint.damage(folder):
            raise UserError(
                f"The version should be step {best}, which has the lowest validation loss, but "
                f"{shown(folder)} is damaged: {why}. Train this stage again with --restart, or "
                f"resume from a checkpoint before it (--resume {quoted(stage.request.output)}"
                "/checkpoint-N)."
            )
        load_adapter_weights(trainer.accelerator.unwrap_model(trainer.model), folder)
    log.info(
        "The version is step %d, which has the lowest validation loss (%.4f).",
        best,
        trainer.state.best_metric,
    )


def _out_of_memory(stage: Stage) -> str:
    output = stage.request.output
    kept = (
        f"Checkpoints in {shown(output)} are good."
        if checkpoint.folders(output)
        else "There is no checkpoint yet."
    )
    return (
        f"The GPU ran out of memory. {kept} Run the same command with less in memory, for example: "
        "--set training.gradient_checkpointing=true (the same result, slower), "
        "--set training.max_tokens_per_micro_batch=512 (the same but for what dropout draws), or a "
        "smaller data.max_seq_length (with --restart)."
    )
