"""What a run will need, before anything is loaded: bytes by part, in memory and on the disk.

Weights are counted from the headers of the base's files, the adapter from their shapes. The rest
is arithmetic over settings. Beside the peak of a real training step of SmolLM2-135M on a CPU
(r = 32, rows of 194 and 943 tokens, bf16 and fp32, plain attention and SDPA, with and without
checkpointing: 12 settings) it was 0.88 to 1.17 times as much, and once 1.41. On a GPU it was not
measured.

What it leaves out: what the process holds before the base is loaded (it is not free any more), the
CUDA context, what an allocator keeps for later, and what loading holds for a moment. `--probe`
(`training.probe`) runs a real micro-batch and knows.
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lorachain import checkpoint, machine
from lorachain.config import LoraSection, StageConfig
from lorachain.headers import Tensor
from lorachain.machine import Machine, Precision
from lorachain.models import weight_tensors
from lorachain.preflight.inputs import Needs

_DTYPE_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}
_BLOCK = 64  # weights that share one constant in 4 bits (QLoRA, Dettmers et al. 2023, 3)
_SECOND_BLOCK = 256  # such constants that share one of their own, with double quantisation
_LOSS_COPIES = 2.5  # a chunk's logits: as float32, their softmax, and a copy in the head's type
_OTHER = 300 * 10**6  # measured on a CPU: workspaces, and what libraries load with the first step
_PAIR_BYTES = 8  # plain attention's weights; measured alike in bf16 and fp32
_LOSS_CHUNK = 64 * 2**20  # bytes of a chunk's float32 logits, as in training.loss
_SMALL_FILES = 1 << 17  # bytes of a checkpoint's JSON files, as in training.checkpointing
_NUMBERED = re.compile(r"\.(\d+)\.")  # of a decoder's block: model.layers.3.mlp.up_proj.weight


def linear_layers(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The weights of the linear layers inside the decoder's blocks: what LoRA adapts and what is
    quantised. Embeddings, head and norms are not among them."""
    return [
        tensor
        for tensor in tensors
        if len(tensor.shape) == 2
        and tensor.name.endswith(".weight")
        and _NUMBERED.search(tensor.name)
        and "embed" not in tensor.name
    ]


def weight_bytes(tensors: Sequence[Tensor], precision: Precision) -> int:
    """The base as it is held: 4 bits with their constants (half a byte and 0.13 bits a weight with
    double quantisation, 0.5 without), 8 bits with a scale a row, or whole numbers of its dtype."""
    size = _DTYPE_BYTES[precision.dtype]
    if precision.quantization == "none":
        return size * sum(tensor.parameters for tensor in tensors)
    layers = linear_layers(tensors)
    packed = sum(tensor.parameters for tensor in layers)
    rest = size * (sum(tensor.parameters for tensor in tensors) - packed)
    if precision.quantization == "8bit":
        return rest + packed + sum(4 * tensor.shape[0] for tensor in layers)
    constants = packed / _BLOCK
    held = constants + 4 * constants / _SECOND_BLOCK if precision.double_quant else 4 * constants
    return rest + math.ceil(packed / 2 + held)


def adapter_shapes(tensors: Sequence[Tensor], lora: LoraSection) -> list[tuple[int, int]]:
    """The shapes of an adapter's matrices: A [r, in] and B [out, r] of every adapted layer, and
    DoRA's magnitudes [out, 1]."""
    return [shape for tensor in _adapted(tensors, lora) for shape in _of_layer(tensor, lora)]


def _adapted(tensors: Sequence[Tensor], lora: LoraSection) -> Iterator[Tensor]:
    for tensor in linear_layers(tensors):
        name = tensor.name.removesuffix(".weight")
        number = _NUMBERED.search(tensor.name)
        if lora.layers_to_transform is not None and (
            number is None or int(number[1]) not in lora.layers_to_transform
        ):
            continue
        targets = lora.target_modules
        if targets == "auto" or any(f".{name}".endswith(f".{target}") for target in targets):
            yield tensor


def _of_layer(tensor: Tensor, lora: LoraSection) -> list[tuple[int, int]]:
    rows, columns = tensor.shape
    shapes = [(lora.r, columns), (rows, lora.r)]
    return [*shapes, (rows, 1)] if lora.use_dora else shapes


def optimizer_bytes(optim: str, shapes: Sequence[tuple[int, int]]) -> int:
    """What an optimizer keeps beside the adapter, in bytes: its buffers, 4 bytes a number (1 with
    8 bits). One that is not known counts as Adam."""
    parameters = sum(rows * columns for rows, columns in shapes)
    if optim == "sgd":
        return 0
    if optim == "adafactor":  # row and column means alone
        return 4 * sum(rows + columns for rows, columns in shapes)
    single = any(part in optim for part in ("lion", "rmsprop", "adagrad"))
    buffers = 3 if "ademamix" in optim else 1 if single else 2
    each = 0.5 if "4bit" in optim else 1 if "8bit" in optim else 4
    return math.ceil(parameters * buffers * each)


def activation_bytes(
    model_config: Any, tokens: int, longest: int, size: int, *, eager: bool, checkpointing: bool
) -> int:
    """What one micro-batch keeps for the way back, in bytes.

    `tokens` are those of the micro-batch with its padding, `longest` of its longest row. Plain
    attention keeps each head's weights over all pairs of a row besides. Checkpointed, each layer
    keeps its input alone, and one layer at a time has all of it. The layer whose gradients are
    taken has them besides.
    """
    text = getattr(model_config, "text_config", model_config)
    layers = int(text.num_hidden_layers)
    kept = machine.activation_bytes(model_config, tokens, size)
    if eager:
        kept += tokens * longest * int(text.num_attention_heads) * layers * _PAIR_BYTES
    one = kept // layers  # and as much again for its gradients on the way back
    if checkpointing:
        return tokens * int(text.hidden_size) * size * layers + 2 * one
    return kept + one


def logit_bytes(model_config: Any, tokens: int) -> int:
    """What the loss holds at once: a chunk of the trained tokens' logits."""
    text = getattr(model_config, "text_config", model_config)
    return int(_LOSS_COPIES * min(4 * tokens * int(text.vocab_size), _LOSS_CHUNK))


def estimate(
    config: StageConfig,
    precision: Precision,
    where: Machine,
    base: Path,
    output: Path,
    *,
    longest: int,
    steps: int,
    version_bytes: int = 0,
) -> Needs:
    """Everything a run needs on this machine. Reads headers and the base's config; loads nothing.

    `longest` is the longest row that is trained on, in tokens; `version_bytes` what is written
    beside the adapter at the end.
    """
    from transformers import AutoConfig

    tensors = weight_tensors(base)
    model_config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    shapes = adapter_shapes(tensors, config.lora)
    trained = sum(rows * columns for rows, columns in shapes)
    optimizer = optimizer_bytes(precision.optim, shapes)
    tokens = max(_budget(config, where), longest)
    size = _DTYPE_BYTES[precision.dtype]
    whole = machine.activation_bytes(model_config, tokens, size)
    checkpointing = machine.use_gradient_checkpointing(
        config.training.gradient_checkpointing, whole, where
    )
    way = machine.attention(config.model.attn_implementation, config.data.max_seq_length, where)
    activations = activation_bytes(
        *(model_config, tokens, min(longest, tokens), size),
        eager=way == "eager",
        checkpointing=checkpointing,
    )
    return Needs(
        weights=weight_bytes(tensors, precision),
        adapter=2 * 4 * trained,  # float32, and as much again for its gradient
        optimizer=optimizer,
        activations=activations,
        logits=logit_bytes(model_config, tokens),
        there=where.memory_bytes,
        total=_total(where),
        checkpoints=_disk(config, output, 4 * trained, optimizer, steps, version_bytes),
        disk_free=shutil.disk_usage(_existing(output)).free,
        device=where.device,
        checkpointing=checkpointing,
        quantization=precision.quantization,
        tokens=tokens,
        other=_OTHER,
    )


def _budget(config: StageConfig, where: Machine) -> int:
    training = config.training
    return machine.micro_batch_tokens(
        training.max_tokens_per_micro_batch,
        training.per_device_train_batch_size,
        config.data.max_seq_length,
        where,
    )


def _total(where: Machine) -> int:
    if where.cuda:
        import torch

        return int(torch.cuda.mem_get_info()[1])
    import psutil  # type: ignore[import-untyped,unused-ignore]

    return int(psutil.virtual_memory().total)


def _disk(
    config: StageConfig, output: Path, adapter: int, optimizer: int, steps: int, version: int
) -> int:
    """Bytes that checkpoints and version take beside what is there already."""
    keeping = config.checkpoint
    one = adapter + _SMALL_FILES + (optimizer if keeping.resume == "exact" else 0)
    there = [
        sum(path.stat().st_size for path in folder.glob("*"))
        for folder in checkpoint.folders(output)
    ]
    kept = keeping.save_total_limit + (1 if config.training.load_best_model_at_end else 0)
    to_come = math.ceil(steps / keeping.save_steps)
    if config.training.load_best_model_at_end:
        to_come += steps // (config.training.eval_steps or keeping.save_steps)
    at_once = min(kept + 1, len(there) + to_come)  # one more is written while the oldest is there
    return max(at_once * one - sum(there), 0) + adapter + version


def _existing(path: Path) -> Path:
    """The nearest folder of a path that is there."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
