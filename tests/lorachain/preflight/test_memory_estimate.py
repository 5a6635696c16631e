"""The estimate against what libraries really make, part by part, and the advice it gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lorachain import machine
from lorachain.adapters import new_adapter
from lorachain.config import StageConfig, resolve
from lorachain.headers import Tensor
from lorachain.machine import Machine, Precision
from lorachain.models import Base, fingerprint, load_base, weight_tensors
from lorachain.preflight import memory
from lorachain.preflight.inputs import Needs
from lorachain.preflight.memory import (
    activation_bytes,
    adapter_shapes,
    estimate,
    linear_layers,
    logit_bytes,
    optimizer_bytes,
    weight_bytes,
)

pytestmark = pytest.mark.usefixtures("one_thread")

GIB = 2**30
CPU = Machine("cpu", "CPU (2 cores)", bf16=True, bitsandbytes=True, memory_bytes=8 * GIB)
HELD = {
    "fp32": Precision("fp32", "none", "fp32", "nf4", True, "adamw_torch", ()),
    "bf16": Precision("bf16", "none", "bf16", "nf4", True, "adamw_torch", ()),
    "4bit": Precision("fp32", "4bit", "fp32", "nf4", True, "adamw_torch", ()),
    "4bit, single": Precision("fp32", "4bit", "fp32", "nf4", False, "adamw_torch", ()),
    "8bit": Precision("fp32", "8bit", "fp32", "nf4", True, "adamw_torch", ()),
}


def base_of(folder: Path) -> Base:
    return Base("tiny", folder, fingerprint(folder))


def config_of(*sets: str) -> StageConfig:
    return resolve(None, sets=sets).config


# --- parts, against the real thing ---


@pytest.mark.parametrize("held", ["fp32", "bf16"])
@pytest.mark.parametrize("which", ["tiny_base", "tiny_qwen"])
def test_weights_are_those_of_the_loaded_model(
    held: str, which: str, request: pytest.FixtureRequest
) -> None:
    """The head of the one is its own, that of the other is tied to the embeddings."""
    folder = request.getfixturevalue(which)
    model = load_base(base_of(folder), HELD[held], "cpu")
    real = sum(p.numel() * p.element_size() for p in model.parameters())
    assert weight_bytes(weight_tensors(folder), HELD[held]) == real


@pytest.mark.parametrize("held", ["4bit", "4bit, single"])
def test_quantised_weights_are_as_large_as_they_are(tiny_base: Path, held: str) -> None:
    model = load_base(base_of(tiny_base), HELD[held], "cpu")
    real = 0
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            real += parameter.numel() * parameter.element_size()
            state = getattr(parameter, "quant_state", None)
            if state is not None:
                real += state.absmax.numel() * state.absmax.element_size()
                if state.nested:
                    real += state.state2.absmax.numel() * state.state2.absmax.element_size()
    assert weight_bytes(weight_tensors(tiny_base), HELD[held]) == pytest.approx(real, rel=2e-3)


def test_fewer_bits_take_less() -> None:
    tensors = [Tensor("model.layers.0.mlp.up_proj.weight", "BF16", (1024, 1024), 0, 1)]
    sizes = [weight_bytes(tensors, HELD[held]) for held in ("fp32", "bf16", "8bit", "4bit")]
    million = 1024 * 1024
    assert sizes[:3] == [4 * million, 2 * million, million + 4 * 1024]
    assert sizes[3] == pytest.approx(million * (0.5 + 1 / 64 + 4 / (64 * 256)), abs=1)


LORA = [
    [],
    ["lora.target_modules=[q_proj, v_proj]"],
    ["lora.target_modules=[self_attn.o_proj]"],
    ["lora.layers_to_transform=[1]"],
    ["lora.use_dora=true"],
]


@pytest.mark.parametrize("sets", LORA)
@pytest.mark.parametrize("which", ["tiny_base", "tiny_qwen"])
def test_the_adapter_has_the_shapes_that_are_foretold(
    sets: list[str], which: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(which)
    lora = config_of("lora.r=4", *sets).lora
    model = new_adapter(load_base(base_of(folder), HELD["bf16"], "cpu"), lora, seed=0)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert {str(p.dtype) for p in trained} == {"torch.float32"}
    real = sorted(tuple(p.shape) if p.dim() == 2 else (p.numel(), 1) for p in trained)
    assert sorted(adapter_shapes(weight_tensors(folder), lora)) == real


def test_embeddings_head_and_norms_are_no_linear_layers(tiny_base: Path) -> None:
    names = {t.name for t in linear_layers(weight_tensors(tiny_base))}
    assert len(names) == 14 and all(".layers." in n and n.endswith("proj.weight") for n in names)


@pytest.mark.parametrize("optim", ["adamw_torch", "sgd", "adafactor", "rmsprop", "adagrad"])
def test_an_optimizer_keeps_what_is_foretold(optim: str, tmp_path: Path) -> None:
    import torch
    from transformers import Trainer

    from lorachain.training.sft import training_arguments

    config = config_of("training.eval_strategy=no")
    args = training_arguments(config, str(tmp_path), 5, optim, fp16=False, cpu=True)
    shapes = [(8, 96), (64, 8)]
    kind, options = Trainer.get_optimizer_cls_and_kwargs(args)
    parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer = kind(parameters, **options)
    optimizer.step()
    kept = [t for entry in optimizer.state.values() for t in entry.values() if hasattr(t, "numel")]
    real = sum(t.numel() * t.element_size() for t in kept if t.numel() > 1)
    assert optimizer_bytes(optim, shapes) == real


@pytest.mark.parametrize(
    ("optim", "each"),
    [
        ("paged_adamw_8bit", 2),
        ("adamw_bnb_8bit", 2),
        ("paged_adamw_32bit", 8),
        ("adamw_torch_4bit", 1),
        ("lion_8bit", 1),
        ("lion_32bit", 4),
        ("ademamix", 12),
        ("paged_ademamix_8bit", 3),
        ("something_new", 8),
    ],
)
def test_bytes_a_parameter_by_optimizer(optim: str, each: int) -> None:
    assert optimizer_bytes(optim, [(8, 100), (100, 8)]) == each * 1600


def test_what_a_layer_keeps_grows_with_what_it_holds(tiny_base: Path) -> None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(tiny_base)
    deep = AutoConfig.from_pretrained(tiny_base, num_hidden_layers=40)

    def of(tokens: int, which: Any = config, **more: bool) -> int:
        asked = {"eager": False, "checkpointing": False} | more
        return activation_bytes(which, tokens, 100, 2, **asked)

    assert of(2000) == 2 * of(1000)
    assert of(1000, eager=True) - of(1000) == 8 * 1000 * 100 * 4 * 3  # heads, and layers and one
    assert of(1000, deep, checkpointing=True) < 0.15 * of(1000, deep)


def test_logits_are_held_in_chunks(tiny_base: Path) -> None:
    from transformers import AutoConfig

    from lorachain.training import checkpointing, loss

    config = AutoConfig.from_pretrained(tiny_base)
    assert logit_bytes(config, 10) == 2.5 * 4 * 10 * config.vocab_size
    assert logit_bytes(config, 10**6) == logit_bytes(config, 10**7) == 2.5 * loss.CHUNK_BYTES
    assert checkpointing.SMALL_FILES == memory._SMALL_FILES


# --- all of it ---


@pytest.fixture
def needs(tiny_base: Path, tmp_path: Path) -> Callable[..., Needs]:
    def make(*sets: str, held: str = "bf16", where: Machine = CPU, **more: Any) -> Needs:
        asked = {"longest": 500, "steps": 1000} | more
        output = tmp_path / "not" / "there" / "yet"
        return estimate(config_of(*sets), HELD[held], where, tiny_base, output, **asked)

    return make


def test_the_parts_add_up(needs: Callable[..., Needs]) -> None:
    found = needs()
    parts = (found.weights, found.adapter, found.optimizer, found.activations, found.logits)
    assert found.memory == sum(parts) + found.other and min(parts) > 0
    assert found.there == 8 * GIB and found.total > 0 and found.disk_free > 0


def test_settings_that_need_less_need_less(needs: Callable[..., Needs]) -> None:
    plain = needs("training.gradient_checkpointing=false", held="fp32")
    checkpointed = needs("training.gradient_checkpointing=true", held="fp32")
    assert checkpointed.checkpointing and checkpointed.activations < plain.activations
    assert needs(held="4bit").weights < plain.weights
    assert needs("lora.r=4").adapter < needs("lora.r=32").adapter
    assert needs("data.max_seq_length=256", longest=256).activations < needs().activations


def test_auto_checkpoints_as_the_training_will(needs: Callable[..., Needs]) -> None:
    small = replace(CPU, memory_bytes=2**20)
    assert not needs().checkpointing and needs(where=small).checkpointing


def test_a_row_over_the_budget_stands_alone(needs: Callable[..., Needs]) -> None:
    assert needs("training.max_tokens_per_micro_batch=64", longest=200).tokens == 200
    assert needs("training.max_tokens_per_micro_batch=640", longest=200).tokens == 640


def test_the_disk_holds_what_is_kept_at_once(needs: Callable[..., Needs]) -> None:
    def checkpoints(*sets: str, **more: int) -> float:
        found = needs("lora.r=32", *sets, **more)
        return found.checkpoints / (found.adapter / 2)

    one = 1 + 131072 / (needs("lora.r=32").adapter / 2)
    assert checkpoints() == pytest.approx(4 * one + 1)  # three, the one being written, the version
    assert checkpoints("checkpoint.save_total_limit=1") == pytest.approx(2 * one + 1)
    assert checkpoints(steps=150) == pytest.approx(one + 1)
    assert checkpoints("checkpoint.resume=exact") == pytest.approx(4 * (one + 2) + 1)
    assert checkpoints("training.load_best_model_at_end=true") == pytest.approx(5 * one + 1)
    assert checkpoints(steps=150, version_bytes=needs("lora.r=32").adapter) == pytest.approx(
        one + 3
    )


def test_the_way_of_attention_is_the_trainings(tiny_base: Path) -> None:
    assert machine.attention("auto", 1024, CPU) == "eager"
    assert machine.attention("auto", 1025, CPU) == "auto"
    assert machine.attention("auto", 512, replace(CPU, device="cuda")) == "auto"
    assert machine.attention("sdpa", 512, CPU) == "sdpa"


def test_nothing_of_a_machine_stands_in_the_estimate(needs: Callable[..., Needs]) -> None:
    assert not re.search(r"[/\\]", repr(needs()))
