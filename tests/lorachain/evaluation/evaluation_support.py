"""What the evaluation tests share and no fixture needs to make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lorachain import adapters, lineage
from lorachain.files import sha256_file
from lorachain.machine import Machine, Precision
from lorachain.models import Base

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
        "files": {name: sha256_file(folder / name) for name in (adapters.WEIGHTS, adapters.CONFIG)},
    }
