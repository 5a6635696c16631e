"""What the tests share: the real base, and tiny models that train in seconds.

A fixture gives the folder of a model: what users name. Nothing here ever asks a model hub.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from lorachain.builtin_base import ensure_builtin_base
from lorachain.paths import BASES

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub; scripts inherit it
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Under nohup or in a background job these are ignored, and what a test starts would inherit that.
for _name in ("SIGHUP", "SIGINT"):
    if signal.getsignal(_number := getattr(signal, _name, signal.SIGTERM)) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _name == "SIGINT" else signal.SIG_DFL)

# The same examples on every run, and no verdict that depends on how busy the machine is.
settings.register_profile("lorachain", derandomize=True, deadline=None)
settings.load_profile("lorachain")


@pytest.fixture(scope="session")
def base_dir() -> Path:
    """SmolLM2-135M-Instruct as plain safetensors; made by the first test run on a machine."""
    return ensure_builtin_base("smollm2-135m-instruct", BASES)


@pytest.fixture(scope="session")
def smol_tokenizer(base_dir: Path) -> Any:
    """The real base's tokenizer. Shared: a test that changes it loads or copies its own."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base_dir, local_files_only=True)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, smol_tokenizer: Any) -> Path:
    """A Llama of 2 layers and hidden size 64 with fixed random weights, its head untied.

    Tokenizer and chat template are SmolLM2's. Shared: never write into it.
    """
    from transformers import LlamaConfig

    config = LlamaConfig(tie_word_embeddings=False, **_tiny(smol_tokenizer))
    return _save(tmp_path_factory.mktemp("bases") / "tiny-llama", config, smol_tokenizer)


@pytest.fixture(scope="session")
def tiny_qwen(tmp_path_factory: pytest.TempPathFactory, smol_tokenizer: Any) -> Path:
    """The same as a Qwen2: biases in q, k and v, and the head tied to the embeddings."""
    from transformers import Qwen2Config

    config = Qwen2Config(tie_word_embeddings=True, **_tiny(smol_tokenizer))
    return _save(tmp_path_factory.mktemp("bases") / "tiny-qwen", config, smol_tokenizer)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread: for models so small that threads cost more than they bring."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _tiny(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "initializer_range": 0.1,  # logits that differ from token to token, as a real model's do
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _save(folder: Path, config: Any, tokenizer: Any) -> Path:
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):  # a new model's are 0, and a 0 hides mistakes
                torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, visibly, what this machine cannot run."""
    if os.name == "nt" and item.get_closest_marker("posix"):
        pytest.skip("needs POSIX signals or links")
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
