"""Run in the environment by the doctor: memory, torch, the GPU, a 4-bit product. Says JSON lines.

It imports nothing of lorachain, so that it works where that is not installed.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

ROWS, SIZE = 8, 256


def memory() -> dict[str, Any]:
    import psutil

    found = psutil.virtual_memory()
    return {"total": int(found.total), "free": int(found.available)}


def torch() -> dict[str, Any]:
    began = time.monotonic()
    import torch

    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "available": torch.cuda.is_available(),
        "seconds": time.monotonic() - began,
    }


def gpus() -> list[dict[str, Any]]:
    """Every GPU that torch sees. Each multiplies two matrices; `error` is relative to the CPU's."""
    import torch

    found = []
    torch.manual_seed(0)
    left, right = torch.randn(ROWS, SIZE), torch.randn(SIZE, SIZE)
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        product = (left.to(f"cuda:{number}") @ right.to(f"cuda:{number}")).cpu()
        found.append(
            {
                "name": torch.cuda.get_device_name(number),
                "free": int(free),
                "total": int(total),
                "error": _distance(product, left @ right),
            }
        )
    return found


def four_bit() -> dict[str, Any]:
    """Quantise a matrix to NF4, multiply by it on the device, and compare with the float product.

    Rounding normally distributed weights to NF4 in blocks of 64 moves a product by about 10% of its
    length; `error` is that distance.
    """
    import bitsandbytes
    import torch
    from bitsandbytes.functional import quantize_4bit

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    inputs, weights = torch.randn(ROWS, SIZE), torch.randn(SIZE, SIZE)
    dtype = torch.float16 if device == "cuda" else torch.float32
    packed, state = quantize_4bit(weights.to(device, dtype), quant_type="nf4")
    product = bitsandbytes.matmul_4bit(inputs.to(device, dtype), packed.t(), state)
    return {
        "version": bitsandbytes.__version__,
        "device": device,
        "error": _distance(product.float().cpu(), inputs @ weights.t()),
    }


def _distance(found: Any, expected: Any) -> float:
    """How far `found` lies from `expected`, relative to the length of that."""
    return float((found - expected).norm() / expected.norm())


def main() -> None:
    steps: list[Callable[[], Any]] = [memory, torch, gpus, four_bit]
    for step in steps:
        _say({"begin": step.__name__})
        try:
            # What libraries print is not for the doctor, and must not stand between the lines.
            with contextlib.redirect_stdout(sys.stderr):
                facts = step()
        except Exception as error:
            _say({"step": step.__name__, "error": f"{type(error).__name__}: {error}"})
            if step is torch:
                return
        else:
            _say({"step": step.__name__, "facts": facts})


def _say(what: dict[str, Any]) -> None:
    os.write(1, (json.dumps(what) + "\n").encode("ascii"))


if __name__ == "__main__":
    main()
