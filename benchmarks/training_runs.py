"""One contestant of training_speed.py, in a process of its own. Prints one JSON line.

All of them get the same tokens and labels (encoded once by our own encoder, so that templates and
masks are equal), the same LoRA, optimizer, schedule and number of optimizer steps.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

LEARNING_RATE = 1e-3
LORA = {"r": 32, "lora_alpha": 64, "lora_dropout": 0.05}
HELD_OUT = 16


class Watch:
    """Peak resident memory of this process while it trains, in MB."""

    def __init__(self) -> None:
        self.peak = 0
        self._stop = threading.Event()

    def __enter__(self) -> Watch:
        threading.Thread(target=self._look, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def _look(self) -> None:
        import psutil

        me = psutil.Process()
        while not self._stop.wait(0.05):
            self.peak = max(self.peak, me.memory_info().rss)


def make_rows(count: int) -> list[dict[str, Any]]:
    """Chats whose answers are stretched to different lengths, from the sample data."""
    from lorachain.paths import PROJECT_ROOT
    from lorachain.records import read_training_data

    data = read_training_data(PROJECT_ROOT / "data" / "processed" / "train_llm.jsonl")
    rows = []
    for i in range(count):
        system, user, answer = data.rows[i % len(data.rows)].messages[-3:]
        share = (i * 7 % 20 + 1) / 10  # a tenth of the answer up to twice the answer
        length = int(len(answer.content) * share)
        text = (answer.content * 3)[:length]
        rows.append({"messages": [system, user, answer._replace(content=text)]})
    return rows


def encode(rows: list[dict[str, Any]], tokenizer: Any) -> list[Any]:
    """Our encoding of the rows, at most 400 tokens each."""
    from lorachain.chat import ChatEncoder
    from lorachain.records import ChatRow
    from lorachain.training.dataset import Example

    encoder = ChatEncoder(tokenizer)
    examples = []
    for i, row in enumerate(rows):
        chat = encoder.encode(row["messages"])
        source = ChatRow(tuple(row["messages"]), Path("benchmark"), i)
        examples.append(Example(source, chat.ids[:400], chat.trained[:400]))
    return examples


def labelled(examples: list[Any]) -> Any:
    """The examples as a datasets.Dataset of input_ids and labels."""
    from datasets import Dataset

    return Dataset.from_list(
        [
            {
                "input_ids": list(e.ids),
                "labels": [
                    t if on and i else -100
                    for i, (t, on) in enumerate(zip(e.ids, e.trained, strict=True))
                ],
                "attention_mask": [1] * len(e.ids),
                "length": len(e.ids),
            }
            for e in examples
        ]
    )


def load(base_name: str, dtype: str, quantize: str, attention: str = "auto") -> tuple[Any, Any]:
    """(base model, tokenizer) in a dtype, on the device."""
    import torch

    from lorachain.machine import Precision
    from lorachain.models import find_base, load_base, load_tokenizer

    base = find_base(base_name)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    bits = "4bit" if quantize == "4bit" else "none"
    precision = Precision(dtype, bits, "bf16", "nf4", True, "adamw_torch", ())  # type: ignore[arg-type]
    return load_base(base, precision, device, attention), load_tokenizer(base)


def ours(base_name: str, quantize: str, steps: int, rows_per_step: int) -> dict[str, Any]:
    """This project's trainer as a stage runs it."""
    import torch
    from transformers import PrinterCallback

    from lorachain import adapters
    from lorachain.config import LoraSection, StageConfig, TrainingSection
    from lorachain.fast_lora import speed_up_lora
    from lorachain.machine import detect, micro_batch_tokens
    from lorachain.training.batching import Collator, StepBatches
    from lorachain.training.callbacks import TokenMeter
    from lorachain.training.loss import HeadTap, choose_way
    from lorachain.training.sft import SFTTrainer, training_arguments

    machine = detect()
    dtype = "bf16" if machine.bf16 else "fp32"
    attention = "auto" if machine.cuda else "eager"  # as a stage chooses it for rows this short
    model, tokenizer = load(base_name, dtype, quantize, attention)
    examples = encode(make_rows(steps * rows_per_step + HELD_OUT), tokenizer)
    train, held_out = examples[:-HELD_OUT], examples[-HELD_OUT:]
    model = adapters.new_adapter(model, LoraSection(**LORA), seed=42)
    speed_up_lora(model)
    config = StageConfig(
        training=TrainingSection(
            learning_rate=LEARNING_RATE,
            optim="adamw_torch",
            lr_scheduler_type="linear",
            warmup_ratio=0,
            eval_strategy="no",
        )
    )
    budget = micro_batch_tokens("auto", rows_per_step, 512, machine)
    if machine.cuda:
        budget = 8192
    collator = Collator(budget, tokenizer.pad_token_id)
    tap = HeadTap(model.get_base_model())
    device = machine.device
    first = {k: v.to(device) for k, v in collator(train[:1])["micro_batches"][0].items()}
    with tempfile.TemporaryDirectory() as output:
        args = training_arguments(config, output, steps, "adamw_torch", False, not machine.cuda)
        args.save_strategy = "no"
        args.logging_strategy = "no"
        trainer = SFTTrainer(
            model=model,
            args=args,
            train_dataset=train,
            batches=StepBatches(
                [len(e.ids) for e in train], [0] * len(train), rows_per_step, seed=42
            ),
            collator=collator,
            tap=tap,
            way=choose_way(model, tap, first),
            meter=TokenMeter(),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.set_checkpoints({}, "weights", 1, False)
        return measured(trainer, train, held_out, model, machine.device, torch)


def theirs(
    kind: str, base_name: str, quantize: str, steps: int, rows_per_step: int
) -> dict[str, Any]:
    """TRL's SFTTrainer or the plain Trainer in one of the named settings."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments, set_seed

    cuda = torch.cuda.is_available()
    bf16_weights = kind == "trl_best_bf16_weights" or (cuda and kind != "trl_defaults")
    model, tokenizer = load(base_name, "bf16" if bf16_weights else "fp32", quantize)
    examples = encode(make_rows(steps * rows_per_step + HELD_OUT), tokenizer)
    train, held_out = examples[:-HELD_OUT], examples[-HELD_OUT:]
    lora = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", **LORA)  # type: ignore[arg-type]
    set_seed(42)
    rows = {"trl_defaults": 1, "transformers_plain": 8}.get(kind, 16 if cuda else 4)
    common: dict[str, Any] = {
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": rows_per_step // rows,
        "max_steps": steps,
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "linear",
        "optim": "adamw_torch",
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "seed": 42,
        "use_cpu": not cuda,
        "dataloader_pin_memory": False,
    }
    if kind != "trl_defaults":
        common |= {"train_sampling_strategy": "group_by_length", "length_column_name": "length"}
    dataset = labelled(train)
    with tempfile.TemporaryDirectory() as output:
        if kind == "transformers_plain":
            args = TrainingArguments(output_dir=output, bf16=False, **common)
            model = get_peft_model(model, lora)
            collator = DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100)
            trainer: Any = Trainer(
                model=model, args=args, train_dataset=dataset, data_collator=collator
            )
        else:
            from trl import SFTConfig, SFTTrainer

            # Its defaults are gradient checkpointing on and bf16 where the trainer finds it.
            best = {"gradient_checkpointing": False, "bf16": True}
            options = {} if kind == "trl_defaults" else best
            if kind == "trl_defaults" and not cuda:
                options = {"bf16": False}
            config = SFTConfig(
                output_dir=output,
                max_length=None,
                dataset_kwargs={"skip_prepare_dataset": True},
                **(common | options),
            )
            trainer = SFTTrainer(
                model=model,
                args=config,
                train_dataset=dataset,
                peft_config=lora,
                processing_class=tokenizer,
                data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100),
            )
        device = "cuda" if cuda else "cpu"
        return measured(trainer, train, held_out, trainer.model, device, torch)


def measured(
    trainer: Any, train: list[Any], held_out: list[Any], model: Any, device: str, torch: Any
) -> dict[str, Any]:
    """Train, timed; then the loss on held-out rows, the same way for all."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with Watch() as watch:
        began = time.perf_counter()
        trainer.train()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else watch.peak
    tokens = sum(e.trained_tokens for e in train)
    return {
        "trained_tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "peak_mb": peak / 2**20,
        "loss": held_out_loss(model, held_out, device, torch),
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "versions": {
            n: importlib.metadata.version(n) for n in ("torch", "transformers", "peft", "trl")
        },
    }


def held_out_loss(model: Any, held_out: list[Any], device: str, torch: Any) -> float:
    """Loss per trained token, one row at a time, from plain logits."""
    from lorachain.training.batching import pad

    model.eval()
    total, count = 0.0, 0
    for example in held_out:
        batch = {k: v.to(device) for k, v in pad([example], 0).items()}
        with torch.no_grad():
            logits = model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).logits[0, :-1]
        labels = batch["labels"][0, 1:]
        keep = labels != -100
        loss = torch.nn.functional.cross_entropy(
            logits[keep].float(), labels[keep], reduction="sum"
        )
        total += float(loss)
        count += int(keep.sum())
    return total / count


def main() -> None:
    """Run the contestant named on the command line."""
    name, base_name, quantize, steps, rows_per_step = sys.argv[1:6]
    import warnings

    warnings.simplefilter("ignore")
    if name == "lorachain":
        found = ours(base_name, quantize, int(steps), int(rows_per_step))
    else:
        found = theirs(name, base_name, quantize, int(steps), int(rows_per_step))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
