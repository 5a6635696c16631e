"""What this machine can do, and what stands in for what it cannot.

`choose` is a pure function of what was asked and of a `Machine`, so every case has a test.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any, Literal

from lorachain.config import Resolved
from lorachain.errors import UserError

Dtype = Literal["bf16", "fp16", "fp32"]
Quantization = Literal["none", "8bit", "4bit"]

PLAIN_ATTENTION_TOKENS = 1024
CPU_MICRO_BATCH_TOKENS = 1024  # measured best on 2 AVX-512 cores, of 512 to 3,000


@dataclass(frozen=True)
class Machine:
    """The device that training and generation run on."""

    device: str  # "cuda" or "cpu"
    name: str
    bf16: bool  # native bfloat16 arithmetic
    bitsandbytes: bool
    memory_bytes: int  # free now, on the device

    @property
    def cuda(self) -> bool:
        """Whether there is a CUDA device."""
        return self.device == "cuda"


def detect() -> Machine:
    """Look at the machine. Imports torch."""
    import importlib.util

    import torch

    has_bnb = importlib.util.find_spec("bitsandbytes") is not None
    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        return Machine(
            "cuda",
            torch.cuda.get_device_name(),
            torch.cuda.is_bf16_supported(including_emulation=False),
            has_bnb,
            int(free),
        )
    import psutil  # type: ignore[import-untyped,unused-ignore]

    native = any(
        bool(getattr(torch.cpu, probe, bool)())
        for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    count = os.cpu_count()  # None where the system does not say
    name = f"CPU ({platform.machine()}" + (f", {count} cores)" if count else ")")
    return Machine("cpu", name, native, has_bnb, int(psutil.virtual_memory().available))


def unused_gpu() -> str | None:
    """A sentence where an NVIDIA GPU answers and this torch does not use it; else None. A GPU that
    was hidden on purpose (CUDA_VISIBLE_DEVICES) is none."""
    import torch

    program = shutil.which("nvidia-smi")
    if program is None or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return None
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"^GPU 0: (.+?)(?: \(|$)", listed.stdout.decode("utf-8", "replace"), re.M)
    if found is None:
        return None
    if torch.version.cuda is None:
        return (
            f"torch {torch.__version__} has no CUDA, so this runs on the CPU and not on "
            f"{found[1].strip()}. To use the GPU: python scripts/setup_env.py --torch cu130 (cu126 "
            "for GPUs older than the RTX 20 series and for drivers older than 580)."
        )
    return (
        f"torch {torch.__version__} does not reach {found[1].strip()}, so this runs on the CPU. "
        "What to do says: python scripts/doctor.py"
    )


@dataclass(frozen=True)
class Precision:
    """How the base is held, which optimizer runs, and what was replaced to get there."""

    dtype: Dtype
    quantization: Quantization
    compute_dtype: Dtype  # of the 4-bit products
    quant_type: str  # nf4 or fp4
    double_quant: bool
    optim: str
    replaced: tuple[str, ...]  # one sentence each

    @property
    def held(self) -> str:
        """How the base is held, such as 'bf16, none' or 'bf16, 4bit'."""
        return f"{self.dtype}, {self.quantization}"


def choose(resolved: Resolved, machine: Machine) -> Precision:
    """The nearest thing to what was asked for that this machine can do.

    4-bit and 8-bit work on a CPU too, slowly: they are replaced there unless they were asked for
    by name. Raises UserError when bitsandbytes is needed and missing.
    """
    config = resolved.config
    replaced: list[str] = []
    dtype = _dtype(config.model.dtype, machine, "model.dtype", replaced)
    quantization: Quantization = "none"
    for bits, wanted in (
        ("4bit", config.quantization.load_in_4bit),
        ("8bit", config.quantization.load_in_8bit),
    ):
        if not wanted:
            continue
        key = f"quantization.load_in_{bits}"
        if machine.cuda or resolved.asked(key):
            if not machine.bitsandbytes:
                raise UserError(
                    f"{key} needs bitsandbytes, which is not installed here. Install it "
                    f"(pip install bitsandbytes), or pass --set {key}=false."
                )
            quantization = "4bit" if bits == "4bit" else "8bit"
        else:
            replaced.append(f"{key}: no CUDA device, so the base is held in {dtype} instead")
    compute = config.quantization.bnb_4bit_compute_dtype
    return Precision(
        dtype,
        quantization,
        _dtype(compute, machine, "quantization.bnb_4bit_compute_dtype", replaced),
        config.quantization.bnb_4bit_quant_type,
        config.quantization.bnb_4bit_use_double_quant,
        _optimizer(config.training.optim, machine, replaced),
        tuple(replaced),
    )


def _dtype(asked: str, machine: Machine, key: str, replaced: list[str]) -> Dtype:
    if asked == "auto":
        if machine.bf16:
            return "bf16"
        return "fp16" if machine.cuda else "fp32"
    if asked == "bf16" and machine.cuda and not machine.bf16:
        replaced.append(f"{key}: {machine.name} has no bfloat16, so fp16 is used instead of bf16")
        return "fp16"
    if asked == "fp16" and not machine.cuda:
        replaced.append(f"{key}: fp16 does not train on a CPU, so fp32 is used instead")
        return "fp32"
    return asked  # type: ignore[return-value]


def _optimizer(asked: str, machine: Machine, replaced: list[str]) -> str:
    if not any(part in asked for part in ("paged", "8bit", "bnb", "lion", "ademamix")):
        return asked
    nearest = next((name for part, name in _PLAIN.items() if part in asked), "adamw_torch")
    if not machine.bitsandbytes:
        lacks = "bitsandbytes, which is not installed"
        nearest = "adamw_torch" if nearest in ("lion_32bit", "ademamix") else nearest
    elif machine.cuda or asked == nearest:
        return asked
    else:
        lacks = "CUDA"
    replaced.append(f"training.optim: {asked} needs {lacks}, so {nearest} is used instead")
    return nearest


_PLAIN = {
    "ademamix": "ademamix",
    "adamw": "adamw_torch",
    "lion": "lion_32bit",
    "rmsprop": "rmsprop",
    "adagrad": "adagrad",
}


def torch_dtype(name: str) -> Any:
    """torch.bfloat16 for 'bf16', and so on."""
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[name]


def attention(
    asked: Literal["auto", "sdpa", "eager"], max_seq_length: int, machine: Machine
) -> Literal["auto", "sdpa", "eager"]:
    """`auto` is SDPA, but on a CPU plain attention for short rows: there SDPA's backward pass is
    slower (a fifth of a step at 300 tokens), and the memory it saves is small."""
    short = max_seq_length <= PLAIN_ATTENTION_TOKENS
    return "eager" if asked == "auto" and not machine.cuda and short else asked


def micro_batch_tokens(
    asked: int | Literal["auto"], batch_size: int, max_seq_length: int, machine: Machine
) -> int:
    """The token bound of one micro-batch.

    `auto` is batch size x max_seq_length: the memory that those two settings already stand for.
    On a CPU it is at most 1,024, beyond which it gets slower.
    """
    if asked != "auto":
        return asked
    bound = batch_size * max_seq_length
    return bound if machine.cuda else min(bound, CPU_MICRO_BATCH_TOKENS)


def activation_bytes(model_config: Any, tokens: int, dtype_bytes: int) -> int:
    """Roughly what one micro-batch keeps for the backward pass without checkpointing, in bytes.

    Per layer and token: the inputs of the adapted projections twice (as they are and after
    dropout), norms, rotated heads and attention output (16 hidden sizes), and the gated MLP (6
    intermediate sizes).
    """
    text = getattr(model_config, "text_config", model_config)
    hidden = int(text.hidden_size)
    intermediate = int(getattr(text, "intermediate_size", None) or 4 * hidden)
    layers = int(text.num_hidden_layers)
    return tokens * layers * (16 * hidden + 6 * intermediate) * dtype_bytes


def use_gradient_checkpointing(
    asked: bool | Literal["auto"], needed_bytes: int, machine: Machine
) -> bool:
    """`auto` checkpoints only where the activations would take over half of the free memory."""
    if asked != "auto":
        return asked
    return needed_bytes > 0.5 * machine.memory_bytes
