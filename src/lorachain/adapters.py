"""Adapters: made new, gone on from, checked tensor by tensor, saved as plain PEFT.

The second half of the parent contract (the first needs no weights and stands in `lineage.py`):
every tensor of the parent arrived, none is missing, extra, NaN or infinite, something is
trainable, and the model answers a fixed prompt as the parent did when it was finished.
"""

from __future__ import annotations

import logging
import math
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lorachain.chat import ChatEncoder
from lorachain.checkpoint import PICKLES
from lorachain.config import LoraSection
from lorachain.errors import UserError
from lorachain.faults import reached
from lorachain.files import fsync_file, read_json, replace
from lorachain.paths import shown
from lorachain.records import Message

log = logging.getLogger("lorachain")

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_SHAPE = ("r", "lora_alpha", "lora_dropout", "target_modules")
PROBE = (Message("user", "Name one thing that you can do for me."),)
PROBE_LOGITS = 64
# Largest difference of a probe logit that rounding explains. In the same setting on one machine it
# is 0; the room is for another CPU or GPU. Across settings 1.1 was measured on SmolLM2 (plain
# attention against SDPA, bf16 against fp32), between two versions of one chain 5, to the base 11.
PROBE_TOLERANCE = {"fp32": 0.02, "bf16": 1.5, "fp16": 0.5}
PROBE_TOLERANCE_ACROSS = 3.0  # another dtype, quantisation, attention or device than the parent had


def adapter_config(folder: Path) -> dict[str, Any]:
    """Read and check an adapter folder's config. Opens no weights.

    Raises UserError when the folder is no LoRA adapter, holds pickles, or wants code of its own.
    """
    if not folder.is_dir():
        raise UserError(
            f"Adapter folder not found: {shown(folder)}. Train it first, or check the path."
        )
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in PICKLES)
    if pickles:
        raise UserError(
            f"{shown(folder)} holds pickle files, which can run code and are never opened: "
            f"{', '.join(pickles)}. Remove them if you trust the rest of the folder."
        )
    if not (folder / CONFIG).exists() or not (folder / WEIGHTS).exists():
        missing = CONFIG if not (folder / CONFIG).exists() else WEIGHTS
        raise UserError(f"{shown(folder)} is no adapter: it has no {missing}.")
    config = read_json(folder / CONFIG, "The adapter's config")
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise UserError(f"{shown(folder)} is no LoRA adapter ({CONFIG} says otherwise).")
    mapping = config.get("auto_mapping")
    library = mapping.get("parent_library") if isinstance(mapping, dict) else mapping
    if mapping and str(library).split(".")[0] not in ("transformers", "peft"):
        raise UserError(f"{shown(folder)} wants code of its own (auto_mapping), which is refused.")
    lacking = [key for key in _SHAPE if config.get(key) is None]
    if lacking:
        raise UserError(f"{shown(folder / CONFIG)} is damaged: it has no {', '.join(lacking)}.")
    return config


def lora_shape(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `lora:` that an adapter's config fixes, by their dotted keys."""
    targets = config["target_modules"]
    return {
        "lora.r": config["r"],
        "lora.lora_alpha": config["lora_alpha"],
        "lora.lora_dropout": config["lora_dropout"],
        "lora.target_modules": targets if isinstance(targets, str) else sorted(targets),
        "lora.layers_to_transform": config.get("layers_to_transform"),
        "lora.use_rslora": config.get("use_rslora", False),
        "lora.use_dora": config.get("use_dora", False),
    }


def new_adapter(model: Any, lora: LoraSection, seed: int) -> Any:
    """A fresh, trainable LoRA adapter on a base, initialised from `seed`."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    targets: Any = lora.target_modules
    if targets == "auto":  # PEFT's own "all-linear" cannot be limited to some layers
        targets = "all-linear" if lora.layers_to_transform is None else _linear_names(model)
    try:
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=lora.r,
            lora_alpha=lora.lora_alpha,  # type: ignore[arg-type,unused-ignore]
            lora_dropout=lora.lora_dropout,
            target_modules=targets,
            layers_to_transform=lora.layers_to_transform,
            layers_pattern="layers" if lora.layers_to_transform else None,
            use_rslora=lora.use_rslora,
            use_dora=lora.use_dora,
        )
        adapted = get_peft_model(model, config)
    except ValueError as error:
        raise UserError(f"The adapter does not fit this base: {error}") from None
    _check_targets(adapted, lora)
    check_trainable(adapted)
    return adapted


def _check_targets(model: Any, lora: LoraSection) -> None:
    """PEFT passes over names and layers that the base does not have, where others match."""
    found = model.base_model.targeted_module_names
    wanted = [] if lora.target_modules == "auto" else lora.target_modules
    unknown: list[Any] = [n for n in wanted if not any(f".{f}".endswith(f".{n}") for f in found)]
    if unknown:
        raise UserError(f"lora.target_modules: this base has no layer {', '.join(unknown)}.")
    unknown = [n for n in lora.layers_to_transform or () if not any(f".{n}." in f for f in found)]
    if unknown:
        raise UserError(f"lora.layers_to_transform: this base has no layer {unknown}.")


def _linear_names(model: Any) -> list[str]:
    """Last names of the linear layers inside the decoder's blocks: q_proj, up_proj, ..."""
    import torch

    names = {n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    return sorted({name.rpartition(".")[2] for name in names if ".layers." in name})


def continue_adapter(model: Any, folder: Path) -> Any:
    """The adapter in `folder`, on its base and trainable, verified tensor by tensor."""
    from peft import PeftModel

    adapter_config(folder)
    saved = read_tensors(folder / WEIGHTS)
    try:
        with warnings.catch_warnings(action="ignore"):  # `check_arrived` says it better
            adapted = PeftModel.from_pretrained(
                model,
                str(folder),
                is_trainable=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,
            )
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(
            f"The adapter {shown(folder)} does not fit this base: {str(error)[:500]}"
        ) from None
    check_arrived(adapted, saved, shown(folder))
    check_trainable(adapted)
    return adapted


def read_tensors(path: Path) -> dict[str, Any]:
    """A safetensors file's tensors as copies, so that the file can be replaced on Windows."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return dict(load(path.read_bytes()))
    except (SafetensorError, OSError) as error:
        raise UserError(f"{shown(path)} cannot be read: {error}") from None


def adapter_state(model: Any, adapter: str = "default") -> dict[str, Any]:
    """Copies of an adapter's tensors on the CPU, by the names that PEFT's files use."""
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False)
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}


def check_arrived(
    model: Any, saved: Mapping[str, Any], where: str, adapter: str = "default"
) -> None:
    """Every saved tensor is in the model, equal, and finite; the model has no other.

    Raises UserError that lists the keys that are missing, extra, of another shape, or not finite.
    """
    import torch

    loaded = adapter_state(model, adapter)
    missing = sorted(set(loaded) - set(saved))
    extra = sorted(set(saved) - set(loaded))
    shapes = sorted(k for k in set(saved) & set(loaded) if saved[k].shape != loaded[k].shape)
    broken = sorted(k for k, v in saved.items() if not bool(torch.isfinite(v).all()))
    changed = sorted(
        k
        for k in (set(saved) & set(loaded)) - set(shapes) - set(broken)
        if not torch.equal(saved[k].to(loaded[k].dtype), loaded[k])
    )
    problems = [
        f"{len(keys)} {what}: {', '.join(keys[:4])}{', ...' if len(keys) > 4 else ''}"
        for what, keys in (
            ("tensors are missing from the file", missing),
            ("tensors in the file fit no layer of this base", extra),
            ("tensors have another shape", shapes),
            ("tensors hold NaN or infinity", broken),
            ("tensors did not arrive as they are in the file", changed),
        )
        if keys
    ]
    if problems:
        raise UserError(
            f"The adapter {where} cannot be used:\n  "
            + "\n  ".join(problems)
            + "\nIt is damaged, or it belongs to another base."
        )


def check_trainable(model: Any) -> int:
    """The number of trainable parameters. Raises UserError for none, or for one of the base."""
    count = 0
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            if "lora_" not in name and "modules_to_save" not in name:
                raise UserError(f"{name} of the base is trainable; only the adapter may be.")
            count += parameter.numel()
    if count == 0:
        raise UserError(
            "Nothing is trainable: no layer of this base matches lora.target_modules "
            "(or lora.layers_to_transform)."
        )
    return count


def unmoved_modules(model: Any, before: Mapping[str, Any]) -> list[str]:
    """Names of adapter tensors that training left as they were."""
    import torch

    return sorted(k for k, v in adapter_state(model).items() if torch.equal(v, before[k]))


def save_adapter(model: Any, folder: Path) -> None:
    """Write the adapter's two files: plain PEFT, float32, each whole or not there."""
    from safetensors.torch import save_file

    temporary = folder / f".{WEIGHTS}.tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    config = model.peft_config["default"]
    was = config.inference_mode
    config.inference_mode = True
    try:
        reached("write", folder / WEIGHTS)
        save_file(adapter_state(model), str(temporary / WEIGHTS), metadata={"format": "pt"})
        reached("write", folder / CONFIG)
        config.save_pretrained(str(temporary))
        # safetensors makes it readable by its owner alone; the other files are as usual here.
        (temporary / WEIGHTS).chmod((temporary / CONFIG).stat().st_mode)
        for name in (WEIGHTS, CONFIG):
            fsync_file(temporary / name)
            replace(temporary / name, folder / name)
    finally:
        config.inference_mode = was
        shutil.rmtree(temporary, ignore_errors=True)


def probe(model: Any, encoder: ChatEncoder, setting: Mapping[str, str]) -> dict[str, Any]:
    """How the model answers a fixed prompt: 64 logits of the first answer token, spread evenly
    over the vocabulary. `setting` says under what they were taken (dtype, quantization, device)."""
    import torch

    device = next(model.parameters()).device
    ids = torch.tensor([encoder.encode_prompt(PROBE)], device=device)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0, -1].float()
    model.train(was_training)
    last = logits.numel() - 1  # whole numbers: devices round linspace differently
    at = [i * last // (PROBE_LOGITS - 1) for i in range(PROBE_LOGITS)]
    return {
        "logits": [round(float(x), 5) for x in logits[at]],
        "top": [int(i) for i in logits.topk(5).indices],
        **setting,
    }


def compare_probe(now: Mapping[str, Any], then: Mapping[str, Any]) -> float:
    """The largest difference between two probes' logits.

    Raises UserError when it is more than rounding explains in their settings.
    """
    differences: list[float] = [
        abs(a - b) for a, b in zip(now["logits"], then["logits"], strict=True)
    ]
    largest = max(differences, key=lambda d: (math.isnan(d), d))
    keys = ("dtype", "quantization", "attention", "device")
    same = all(now.get(key) == then.get(key) for key in keys)
    limit = PROBE_TOLERANCE[str(now["dtype"])] if same else PROBE_TOLERANCE_ACROSS
    if not largest <= limit:
        raise UserError(
            "The parent does not answer as it did when it was finished: a logit of the fixed "
            f"prompt differs by {largest:.3g} (at most {limit} can be rounding). Its adapter or "
            "its base has changed."
        )
    return largest
