"""What a soak trains: a short chain on few rows, with every kind of randomness switched on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorachain.files import read_json
from lorachain.jsonl import read_objects, write_objects
from lorachain.models import find_base
from lorachain.paths import PROJECT_ROOT

SAMPLE = PROJECT_ROOT / "data" / "processed" / "train_llm.jsonl"
TRAINED, MEASURED = 8, 2  # rows of one version
CHARACTERS = 60  # of a question and of an answer: short rows, so that a run takes seconds
STEPS = 12
SETTINGS = (
    "model.dtype=fp32",
    "quantization.load_in_4bit=false",
    "training.optim=adamw_torch",
    "training.learning_rate=2e-3",
    f"training.max_steps={STEPS}",
    "training.gradient_accumulation_steps=2",
    "training.max_tokens_per_micro_batch=64",  # so that a step really accumulates
    "training.neftune_noise_alpha=1",
    "checkpoint.save_steps=2",
)
FRESH = ("lora.r=8", "lora.lora_alpha=16", "lora.lora_dropout=0.1")  # version 2 inherits these


@dataclass(frozen=True)
class Course:
    """Rows in a folder, and the commands that train version 1 and version 2 on them."""

    folder: Path
    base: str
    level: str
    layers: Sequence[int]

    @classmethod
    def make(cls, folder: Path, base: str, level: str) -> Course:
        """Write the rows and look at the base. Raises UserError when there is none."""
        rows = [row for _, row in read_objects(SAMPLE)]
        size = TRAINED + MEASURED
        for version in (1, 2):
            part = [_short(row, version) for row in rows[(version - 1) * size : version * size]]
            write_objects(folder / f"train{version}.jsonl", part[:TRAINED])
            write_objects(folder / f"val{version}.jsonl", part[TRAINED:])
        config = read_json(find_base(base).folder / "config.json", "The base's config")
        count = int(config["num_hidden_layers"])
        return cls(folder, base, level, range(max(count - 2, 0), count))

    def command(self, version: int, output: Path, parent: Path | None) -> tuple[Path, list[str]]:
        """(script, arguments) that train a version into `output`."""
        settings = [*SETTINGS, f"checkpoint.resume={self.level}"]
        if parent is None:
            name, flags = "fine_tune", ["--base-model", self.base]
            settings += [*FRESH, f"lora.layers_to_transform={list(self.layers)}"]
        else:
            name, flags = "fine_tune_v2", ["--source-model", str(parent), "--replay-share", "0.3"]
        flags += ["--train-data", str(self.folder / f"train{version}.jsonl")]
        flags += ["--val-data", str(self.folder / f"val{version}.jsonl"), "--output", str(output)]
        flags += [part for text in settings for part in ("--set", text)]
        return PROJECT_ROOT / "src" / "training" / f"{name}.py", flags


def _short(row: dict[str, Any], version: int) -> dict[str, Any]:
    """A row cut to a few words, as a plain chat."""
    question = str(row["messages"][-1]["content"])[:CHARACTERS].strip()
    system = {"role": "system", "content": f"Version {version}."}
    return {
        "task": f"soak{version}",
        "messages": [system, {"role": "user", "content": question}],
        "target": str(row["target"])[:CHARACTERS].strip(),
    }
