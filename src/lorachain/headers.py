"""What the header of a safetensors file says: names, types and shapes, without the tensors."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

from lorachain.errors import UserError
from lorachain.paths import shown


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file. `dtype` is safetensors' name (BF16, F32); `start` and `end` are bytes
    from the file's beginning."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def parameters(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


def read_header(path: Path, advice: str) -> list[Tensor]:
    """The tensors of a safetensors file, in its order.

    Raises UserError that ends with `advice` when the header cannot be read, or when the file is
    not as long as it says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, size)))
            header.pop("__metadata__", None)
            tensors = [
                Tensor(
                    *(name, entry["dtype"], tuple(entry["shape"])),
                    *(8 + length + offset for offset in entry["data_offsets"]),
                )
                for name, entry in header.items()
            ]
            whole = size == max((t.end for t in tensors), default=8 + length)
        except (struct.error, ValueError, KeyError, TypeError, AttributeError):
            raise UserError(
                f"{shown(path)} is damaged: its header is unreadable. {advice}"
            ) from None
    if not whole:
        raise UserError(f"{shown(path)} is damaged: it is not as long as it should be. {advice}")
    return tensors
