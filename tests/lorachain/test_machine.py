"""What stands in for what a machine cannot do: said, and never more than needed."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lorachain import machine
from lorachain.config import resolve
from lorachain.errors import UserError
from lorachain.machine import Machine, Precision

GIB = 2**30
CPU = Machine("cpu", "CPU (2 cores)", bf16=False, bitsandbytes=True, memory_bytes=8 * GIB)
NEW_CPU = Machine("cpu", "CPU (2 cores)", bf16=True, bitsandbytes=True, memory_bytes=8 * GIB)
NEW = Machine("cuda", "RTX 4090", bf16=True, bitsandbytes=True, memory_bytes=20 * GIB)
OLD = Machine("cuda", "GTX 1080", bf16=False, bitsandbytes=True, memory_bytes=6 * GIB)
BARE = Machine("cuda", "RTX 4090", bf16=True, bitsandbytes=False, memory_bytes=20 * GIB)


def choose(where: Machine, *sets: str) -> Precision:
    return machine.choose(resolve(None, sets=sets), where)


# --- how the base is held ---


@pytest.mark.parametrize(
    ("where", "dtype"), [(NEW, "bf16"), (OLD, "fp16"), (CPU, "fp32"), (NEW_CPU, "bf16")]
)
def test_auto_takes_what_the_device_has(where: Machine, dtype: str) -> None:
    found = choose(where, "quantization.load_in_4bit=false", "training.optim=adamw_torch")
    assert (found.dtype, found.compute_dtype, found.replaced) == (dtype, dtype, ())


@pytest.mark.parametrize(
    ("where", "asked", "found", "says"),
    [
        (OLD, "bf16", "fp16", "model.dtype: GTX 1080 has no bfloat16, so fp16 is used"),
        (CPU, "fp16", "fp32", "model.dtype: fp16 does not train on a CPU, so fp32"),
        (CPU, "bf16", "bf16", None),
        (NEW, "fp16", "fp16", None),
        (OLD, "fp32", "fp32", None),
    ],
)
def test_a_type_that_the_device_lacks_is_replaced_and_said(
    where: Machine, asked: str, found: str, says: str | None
) -> None:
    precision = choose(
        where,
        f"model.dtype={asked}",
        "quantization.load_in_4bit=false",
        "training.optim=adamw_torch",
    )
    assert precision.dtype == found
    assert len(precision.replaced) == (says is not None)
    if says:
        assert precision.replaced[0].startswith(says)


def test_the_default_on_a_gpu_is_what_was_asked_for() -> None:
    assert choose(NEW) == Precision("bf16", "4bit", "bf16", "nf4", True, "paged_adamw_8bit", ())
    assert choose(OLD) == Precision("fp16", "4bit", "fp16", "nf4", True, "paged_adamw_8bit", ())


def test_the_default_on_a_cpu_is_replaced_and_said() -> None:
    found = choose(CPU)
    assert (found.dtype, found.quantization, found.optim) == ("fp32", "none", "adamw_torch")
    assert found.replaced == (
        "quantization.load_in_4bit: no CUDA device, so the base is held in fp32 instead",
        "training.optim: paged_adamw_8bit needs CUDA, so adamw_torch is used instead",
    )


@pytest.mark.parametrize(
    ("sets", "found"),
    [
        (["quantization.load_in_4bit=true"], "4bit"),
        (["quantization.load_in_4bit=false", "quantization.load_in_8bit=true"], "8bit"),
    ],
)
def test_quantisation_that_was_asked_for_is_done_on_a_cpu_too(sets: list[str], found: str) -> None:
    precision = choose(CPU, *sets, "training.optim=adamw_torch")
    assert (precision.quantization, precision.replaced) == (found, ())


def test_the_details_of_four_bits_arrive() -> None:
    found = choose(
        NEW,
        "quantization.bnb_4bit_quant_type=fp4",
        "quantization.bnb_4bit_use_double_quant=false",
        "quantization.bnb_4bit_compute_dtype=fp32",
    )
    assert (found.quant_type, found.double_quant, found.compute_dtype) == ("fp4", False, "fp32")


def test_quantisation_without_bitsandbytes_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"load_in_4bit needs bitsandbytes.*pip install"):
        choose(BARE)
    sets = ["quantization.load_in_4bit=false", "quantization.load_in_8bit=true"]
    with pytest.raises(UserError, match="load_in_8bit needs bitsandbytes"):
        choose(BARE, *sets)


# --- the optimizer ---


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("paged_adamw_8bit", "adamw_torch"),
        ("paged_adamw_32bit", "adamw_torch"),
        ("adamw_8bit", "adamw_torch"),
        ("adamw_bnb_8bit", "adamw_torch"),
        ("rmsprop_bnb_8bit", "rmsprop"),
        ("lion_8bit", "lion_32bit"),
        ("paged_lion_32bit", "lion_32bit"),
        ("paged_ademamix_8bit", "ademamix"),
        ("galore_adamw_8bit", "adamw_torch"),
    ],
)
def test_an_optimizer_for_cuda_is_replaced_on_a_cpu_by_its_plain_form(
    asked: str, found: str
) -> None:
    four = "quantization.load_in_4bit=false"
    precision = choose(CPU, four, f"training.optim={asked}")
    assert precision.optim == found
    assert precision.replaced == (
        f"training.optim: {asked} needs CUDA, so {found} is used instead",
    )
    assert choose(NEW, four, f"training.optim={asked}").optim == asked


@pytest.mark.parametrize(
    "name", ["adamw_torch", "adamw_torch_fused", "sgd", "adafactor", "rmsprop", "adagrad"]
)
@pytest.mark.parametrize("where", [CPU, NEW, BARE], ids=lambda m: f"{m.device}-{m.bitsandbytes}")
def test_other_optimizers_are_kept_everywhere(where: Machine, name: str) -> None:
    found = choose(where, "quantization.load_in_4bit=false", f"training.optim={name}")
    assert (found.optim, found.replaced) == (name, ())


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("paged_adamw_8bit", "adamw_torch"),
        ("lion_32bit", "adamw_torch"),
        ("rmsprop_bnb", "rmsprop"),
    ],
)
def test_an_optimizer_of_bitsandbytes_is_replaced_where_that_is_missing(
    asked: str, found: str
) -> None:
    precision = choose(BARE, "quantization.load_in_4bit=false", f"training.optim={asked}")
    assert precision.optim == found
    assert precision.replaced == (
        f"training.optim: {asked} needs bitsandbytes, which is not installed, so {found} is used "
        "instead",
    )


def test_every_replacement_is_an_optimizer_that_transformers_knows() -> None:
    from transformers.training_args import OptimizerNames

    for name in OptimizerNames:
        for where in (CPU, BARE):
            found = choose(where, "quantization.load_in_4bit=false", f"training.optim={name.value}")
            OptimizerNames(found.optim)


# --- sizes ---


@pytest.mark.parametrize(
    ("asked", "batch", "length", "where", "found"),
    [
        ("auto", 1, 1024, NEW, 1024),
        ("auto", 4, 2048, NEW, 8192),
        ("auto", 1, 512, CPU, 512),
        ("auto", 4, 2048, CPU, machine.CPU_MICRO_BATCH_TOKENS),
        (4096, 1, 512, CPU, 4096),
        (100, 8, 512, NEW, 100),
    ],
)
def test_the_bound_of_a_micro_batch(
    asked: Any, batch: int, length: int, where: Machine, found: int
) -> None:
    assert machine.micro_batch_tokens(asked, batch, length, where) == found


def test_what_activations_take() -> None:
    config = SimpleNamespace(hidden_size=100, intermediate_size=300, num_hidden_layers=2)
    assert machine.activation_bytes(config, 10, 2) == 10 * 2 * (1600 + 1800) * 2
    nested = SimpleNamespace(text_config=config)
    assert machine.activation_bytes(nested, 10, 2) == machine.activation_bytes(config, 10, 2)
    config.intermediate_size = None
    assert machine.activation_bytes(config, 10, 2) == 10 * 2 * (1600 + 2400) * 2


def test_checkpointing_when_half_the_memory_would_go() -> None:
    use = machine.use_gradient_checkpointing
    assert not use("auto", 4 * GIB, CPU)
    assert use("auto", 4 * GIB + 1, CPU)
    assert use(True, 0, CPU)
    assert not use(False, 100 * GIB, CPU)


# --- this machine ---


def test_this_machine_is_seen_as_it_is() -> None:
    import torch

    found = machine.detect()
    assert found.cuda == torch.cuda.is_available() == (found.device == "cuda")
    assert found.name
    assert found.memory_bytes > 100e6
    assert machine.torch_dtype("bf16") == torch.bfloat16
    assert machine.torch_dtype("fp16") == torch.float16
    assert machine.torch_dtype("fp32") == torch.float32


def test_a_system_that_does_not_say_how_many_cores_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine.os, "cpu_count", lambda: None)
    found = machine.detect()
    assert found.name.startswith("CPU (") and "cores" not in found.name and "None" not in found.name


# --- a GPU that this torch leaves alone ---


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An nvidia-smi on PATH that lists one GPU."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA GeForce RTX 3060 (UUID: GPU-1)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return program


@pytest.mark.posix
@pytest.mark.parametrize(
    ("cuda", "says"),
    [
        (None, "To use the GPU: python scripts/setup_env.py --torch cu130"),
        ("13.0", "What to do says: python scripts/doctor.py"),
    ],
)
def test_row_29_a_gpu_beside_a_torch_that_does_not_use_it_is_said(
    nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch, cuda: str | None, says: str
) -> None:
    import torch

    monkeypatch.setattr(torch.version, "cuda", cuda)
    sentence = machine.unused_gpu()
    assert sentence is not None
    assert "this runs on the CPU" in sentence and "NVIDIA GeForce RTX 3060" in sentence
    assert says in sentence


@pytest.mark.posix
def test_no_gpu_and_a_hidden_one_are_not_spoken_of(
    nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert machine.unused_gpu() is None
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert machine.unused_gpu() is not None
    nvidia_smi.write_text("#!/bin/sh\necho 'No devices were found'\nexit 6\n")
    assert machine.unused_gpu() is None
    monkeypatch.setenv("PATH", str(nvidia_smi.parent / "nothing"))
    assert machine.unused_gpu() is None
