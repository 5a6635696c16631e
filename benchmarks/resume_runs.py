"""The processes that resume_cost.py starts, beside the real script. Each reads the settings' JSON.

    resume_runs.py train SETTINGS FOLDER weights|full KILL_AT
    resume_runs.py measure SETTINGS WHOLE_RUN OTHER_RUN...

`train` is the stock Trainer: it goes on from the newest checkpoint in the folder where there is
one, and kills itself after the step KILL_AT (0: never). `measure` prints one JSON line.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from training_runs import held_out_loss, labelled, load  # sets OMP_WAIT_POLICY, so before torch

Settings = dict[str, Any]
PACKAGES = ("torch", "transformers", "peft", "accelerate")


def encode(path: str, tokenizer: Any) -> list[Any]:
    """A file's rows as the real script encodes them."""
    from lorachain.chat import ChatEncoder
    from lorachain.records import read_training_data
    from lorachain.training.dataset import encode_rows

    return encode_rows(read_training_data(Path(path)), ChatEncoder(tokenizer), 1024, "error")


def fresh(settings: Settings) -> tuple[Any, Any]:
    """(the base in float32 with the adapter that every contestant starts from, tokenizer)."""
    from lorachain.adapters import new_adapter
    from lorachain.config import LoraSection

    base, tokenizer = load(settings["base"], "fp32", "none", "eager")
    return new_adapter(base, LoraSection(**settings["lora"]), settings["seed"]), tokenizer


def train(settings: Settings, folder: Path, keep: str, kill_at: int) -> None:
    """The stock Trainer, with adapter-only (`weights`) or full checkpoints."""
    import torch
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainerCallback, TrainingArguments
    from transformers.trainer_utils import get_last_checkpoint

    class Watch(TrainerCallback):  # type: ignore[misc,unused-ignore]
        """Logs as the real script does, and ends the process when it is time."""

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any
        ) -> None:
            if "loss" in logs:
                with (folder / "training_log.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"step": state.global_step, **logs}) + "\n")

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    model, tokenizer = fresh(settings)
    args = TrainingArguments(
        output_dir=str(folder),
        max_steps=settings["steps"],
        per_device_train_batch_size=settings["rows_per_step"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="cosine",
        warmup_steps=settings["warmup_steps"],
        optim="adamw_torch",
        seed=settings["seed"],
        save_strategy="steps",
        save_steps=settings["save_steps"],
        save_total_limit=settings["save_total_limit"],
        save_only_model=keep == "weights",
        logging_steps=1,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to="none",
    )
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=labelled(encode(settings["train_data"], tokenizer)),
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100),
        callbacks=[Watch()],
    )
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(folder)))
    trainer.model.save_pretrained(str(folder))


def measure(settings: Settings, folders: list[Path]) -> dict[str, Any]:
    """The distance of each adapter from the first, and each one's loss on the held-out rows."""
    import torch
    from peft import PeftModel

    from lorachain.adapters import adapter_state

    device = "cuda" if torch.cuda.is_available() else "cpu"
    begun, tokenizer = fresh(settings)
    held_out = encode(settings["held_out_data"], tokenizer)
    start = vector(adapter_state(begun))
    del begun
    whole = vector(read(folders[0]))
    runs = []
    for folder in folders:
        base, _ = load(settings["base"], "fp32", "none", "eager")
        model = PeftModel.from_pretrained(base, str(folder)).to(device)
        gap = float((vector(read(folder)) - whole).norm())
        runs.append(
            {
                "distance": gap / float(whole.norm()),
                "distance_to_way": gap / float((whole - start).norm()),
                "validation_loss": held_out_loss(model, held_out, device, torch),
            }
        )
    return {
        "runs": runs,
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def read(folder: Path) -> dict[str, Any]:
    """A version's adapter tensors."""
    from safetensors.torch import load_file

    return dict(load_file(str(folder / "adapter_model.safetensors")))


def vector(tensors: dict[str, Any]) -> Any:
    """All of an adapter's tensors, in the order of their names, as one float64 vector."""
    import torch

    return torch.cat([tensors[name].cpu().double().flatten() for name in sorted(tensors)])


def main() -> None:
    """Run what the command line names."""
    command, settings_file, folder, *rest = sys.argv[1:]
    warnings.simplefilter("ignore")
    settings = json.loads(Path(settings_file).read_text(encoding="utf-8"))
    if command == "train":
        train(settings, Path(folder), rest[0], int(rest[1]))
    else:
        print(json.dumps(measure(settings, [Path(path) for path in [folder, *rest]])))


if __name__ == "__main__":
    main()
