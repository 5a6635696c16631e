"""What the evaluation tests share and no fixture needs to make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lorachain import adapters, lineage
from lorachain.files import sha256_file
from lorachain.machine import Machine, Precision
from lorachain.models import Base, find_base, load_base

FP32 = Precision("fp32", "none", "fp32", "nf4", True, "adamw_torch", ())
CPU = Machine("cpu", "CPU", bf16=False, bitsandbytes=False, memory_bytes=8 << 30)


def lineage_data(folder: Path, base: Base) -> dict[str, Any]:
    """The least that a lineage holds."""
    return {
        "format": lineage.FORMAT,
        "name": folder.name,
        "kind": "sft",
        "parent": None,
        "base": {"name": base.name, "fingerprint": base.fingerprint.as_dict()},
        "data": [],
        "config": {},
        "identity": {"precision": "fp32, none"},
        "metrics": {"steps": 1, "validation_loss": {}},
        "finished": "2025-01-01T00:00:00+00:00",
        "files": {name: sha256_file(folder / name) for name in (adapters.WEIGHTS, adapters.CONFIG)},
    }


def version_on(base_name: Path | str, folder: Path, seed: int = 1, **lora: Any) -> Path:
    """A finished version: a random adapter on a base, with a lineage."""
    import torch
    from peft import LoraConfig, get_peft_model

    base = find_base(str(base_name))
    lora = {"r": 4, "target_modules": ["q_proj", "v_proj", "down_proj"], **lora}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LoraConfig(task_type="CAUSAL_LM", **lora)
        model = get_peft_model(load_base(base, FP32, "cpu"), config)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.2)
    adapters.save_adapter(model, folder)
    lineage.write(folder, lineage_data(folder, base))
    return folder
