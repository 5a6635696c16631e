"""Python's, NumPy's and torch's random states on disk without pickles."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from lorachain.adapters import read_tensors
from lorachain.faults import reached
from lorachain.files import dump_json, load_json

RNG, RNG_TENSORS = "rng.json", "rng.safetensors"


def random_state() -> dict[str, Any]:
    """This process's random states: python, numpy, cpu and, with CUDA, its own device."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    state = {
        "python": random.getstate(),
        "numpy": [kind, [int(k) for k in keys], position, has_gauss, gauss],
        "cpu": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def save_rng(folder: Path, states: Sequence[dict[str, Any]] | None = None) -> None:
    """The random states of all processes, in their order; of this one alone by default."""
    states = [random_state()] if states is None else states
    plain = [{k: v for k, v in s.items() if not isinstance(v, torch.Tensor)} for s in states]
    tensors = {
        f"{rank}.{name}": value.cpu()
        for rank, state in enumerate(states)
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    dump_json(folder / RNG, plain)
    reached("write", folder / RNG_TENSORS)
    save_file(tensors, str(folder / RNG_TENSORS))


def load_rng(folder: Path, rank: int = 0) -> None:
    """Put this process's random states back to where `save_rng` found them."""
    saved = load_json(folder / RNG)[rank]
    version, numbers, gauss = saved["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, position, has_gauss, cached = saved["numpy"]
    state = (kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached)
    np.random.set_state(state)
    tensors = read_tensors(folder / RNG_TENSORS)
    torch.set_rng_state(tensors[f"{rank}.cpu"])
    if torch.cuda.is_available() and f"{rank}.cuda" in tensors:
        torch.cuda.set_rng_state(tensors[f"{rank}.cuda"])
