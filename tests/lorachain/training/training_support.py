"""Examples and tiny models for the training tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lorachain.records import ChatRow, Message
from lorachain.training.dataset import Example

VOCABULARY = 311


def example(
    length: int, trained: int | Sequence[bool] = 1, *, name: str = "row", task: str = ""
) -> Example:
    """A row of `length` tokens, the last `trained` of which carry loss (or exactly those said)."""
    flags = (
        tuple(i >= length - trained for i in range(length))
        if isinstance(trained, int)
        else tuple(trained)
    )
    ids = tuple((i * 7 + length) % VOCABULARY for i in range(length))
    row = ChatRow((Message("user", name), Message("assistant", "yes")), Path("rows.jsonl"), 1, task)
    return Example(row, ids, flags)


def tiny_model(config: Any, seed: int = 0) -> Any:
    """A causal model of a config in float32, its weights large enough for logits that differ."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def config_of(kind: str, **more: Any) -> Any:
    """The config of a two-layer model of one of transformers' architectures."""
    import transformers

    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "initializer_range": 0.3,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return getattr(transformers, f"{kind}Config")(**{**sizes, **more})


def with_lora(model: Any, dropout: float = 0.0) -> Any:
    """The model with a LoRA adapter on every linear layer but the head, its B not zero."""
    import torch
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(task_type="CAUSAL_LM", r=3, target_modules="all-linear", lora_dropout=dropout)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        adapted = get_peft_model(model, lora)
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    return adapted
