"""Versions for evaluation tests: random adapters on a base, with a lineage, made in a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from evaluation_support import FP32, lineage_data

from lorachain import adapters, lineage
from lorachain.models import Base, find_base, load_base

MakeVersion = Callable[..., Path]


@pytest.fixture(scope="session")
def make_version() -> MakeVersion:
    """make_version(base, folder, seed=1, targets=[...], **lora): a finished version."""

    def make(base: Base, folder: Path, seed: int = 1, **lora: Any) -> Path:
        import torch
        from peft import LoraConfig, get_peft_model

        lora.setdefault("target_modules", ["q_proj", "v_proj", "down_proj"])
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = get_peft_model(
                load_base(base, FP32, "cpu"), LoraConfig(task_type="CAUSAL_LM", **{"r": 4, **lora})
            )
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(parameter, std=0.2)
        adapters.save_adapter(model, folder)
        lineage.write(folder, lineage_data(folder, base))
        return folder

    return make


@pytest.fixture(scope="session")
def tiny(tiny_base: Path) -> Base:
    """The tiny Llama."""
    return find_base(str(tiny_base))


@pytest.fixture(scope="session")
def v1(tiny: Base, make_version: MakeVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version on the tiny Llama."""
    return make_version(tiny, tmp_path_factory.mktemp("versions") / "v1", seed=1)


@pytest.fixture(scope="session")
def v2(tiny: Base, make_version: MakeVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, with other target modules."""
    folder = tmp_path_factory.mktemp("versions") / "v2"
    return make_version(tiny, folder, seed=2, target_modules=["o_proj", "up_proj", "q_proj"])


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models are fastest on one thread, and by far where other work runs beside the tests."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
