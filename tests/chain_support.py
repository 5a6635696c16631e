"""A chain on the tiny base: rows, a way to train through the real scripts, and what comes out."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorachain.paths import PROJECT_ROOT

WORDS = [
    "river",
    "stone",
    "lamp",
    "garden",
    "window",
    "paper",
    "silver",
    "morning",
    "bridge",
    "candle",
    "forest",
    "winter",
]


def make_rows(count: int, salt: str, *, task: str = "") -> list[dict[str, Any]]:
    """Chats of varying length that differ from one salt to another."""
    rows = []
    for i in range(count):
        words = [WORDS[(i * 5 + k * 3 + len(salt)) % len(WORDS)] for k in range(2 + i % 7)]
        row = {
            "messages": [{"role": "user", "content": f"{salt} {i}: say {' '.join(words)}"}],
            "target": f"{salt}: {' '.join(reversed(words))}.",
        }
        rows.append(row | ({"task": task} if task else {}))
    return rows


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """A JSONL file of rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def script(name: str) -> Any:
    """One of the training scripts as a module, so that its `main` can be called in this process."""
    path = PROJECT_ROOT / "src" / "training" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"script_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Fast, and precise enough to compare runs by their last bits.
BASIC = [
    "training.learning_rate=1e-2",
    "training.gradient_accumulation_steps=4",
    "training.optim=adamw_torch",
    "training.num_train_epochs=1",
    "model.dtype=fp32",
    "quantization.load_in_4bit=false",
    "lora.r=4",
    "lora.lora_alpha=8",
    "lora.lora_dropout=0",
]


@dataclass
class Place:
    """A folder with data of three generations, and the two scripts to train with."""

    folder: Path
    base: Path

    def data(self, generation: int) -> list[str]:
        """The --train-data and --val-data flags of a generation."""
        return [
            *("--train-data", str(self.folder / f"train{generation}.jsonl")),
            *("--val-data", str(self.folder / f"val{generation}.jsonl")),
        ]

    def v1(self, output: str, *flags: str, sets: Sequence[str] = (), generation: int = 1) -> Path:
        """Train a version 1 through fine_tune.py."""
        argv = ["--base-model", str(self.base), *self.data(generation)]
        return self._run("fine_tune", output, [*argv, *flags], [*BASIC, *sets])

    def v2(
        self, parent: Path, output: str, *flags: str, sets: Sequence[str] = (), generation: int = 2
    ) -> Path:
        """Train on from `parent` through fine_tune_v2.py."""
        basic = [text for text in BASIC if not text.startswith("lora.")]
        argv = ["--source-model", str(parent), *self.data(generation)]
        return self._run("fine_tune_v2", output, [*argv, *flags], [*basic, *sets])

    def _run(self, name: str, output: str, argv: list[str], sets: Sequence[str]) -> Path:
        folder = self.folder / output
        settings = [part for text in sets for part in ("--set", text)]
        script(name).main(["--output", str(folder), *settings, *argv])
        return folder


def fill_place(folder: Path, base: Path) -> Place:
    """Data of three generations in a folder: 16 training and 4 validation rows each."""
    for generation, salt in enumerate(("alpha", "beta", "gamma"), start=1):
        rows = make_rows(20, salt, task=salt)
        write_rows(folder / f"train{generation}.jsonl", rows[:16])
        write_rows(folder / f"val{generation}.jsonl", rows[16:])
    return Place(folder, base)


def lineage(folder: Path) -> dict[str, Any]:
    """The content of a version's lineage.json."""
    content: dict[str, Any] = json.loads((folder / "lineage.json").read_text(encoding="utf-8"))
    return content


def tensors(folder: Path) -> dict[str, Any]:
    """A version's adapter tensors."""
    from safetensors.torch import load_file

    return load_file(str(folder / "adapter_model.safetensors"))


def largest_difference(a: Path, b: Path) -> float:
    """The largest difference between two adapters' weights."""
    one, two = tensors(a), tensors(b)
    assert one.keys() == two.keys()
    return max(float((one[name] - two[name]).abs().max()) for name in one)
