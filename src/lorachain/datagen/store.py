"""Every response of the teacher, kept as it came, under a hash of what was asked.

A response is on the disk (fsync) before anything reads it, so what was paid for is never paid for
again: not after a kill, and not after a change of a parser or a gate. Segments of JSON Lines are
appended to by one process (the folder's lock); in memory there are only keys and offsets. Only what
came with HTTP status 200 is kept. No key of an API is ever in it: see `secret.Secret.hide`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lorachain.datagen.rowfiles import LineFile
from lorachain.errors import UserError
from lorachain.files import InUse, canonical_json, folder_lock, sha256_text
from lorachain.paths import shown

SEGMENT_BYTES = 64 * 2**20
_NAME = "calls-{:04d}.jsonl"


@dataclass(frozen=True)
class Stored:
    """One response: `raw` is its body as it came, `attempts` the requests that it took."""

    key: str
    stage: str
    model: str
    attempt: int
    raw: str
    created: str
    seconds: float
    attempts: int


def call_key(
    *,
    stage: str,
    model: str,
    provider: Mapping[str, Any] | None,
    messages: Sequence[Mapping[str, str]],
    parameters: Mapping[str, Any],
    schema: Mapping[str, Any] | None,
    attempt: int,
) -> str:
    """The SHA-256 over all that decides what is answered. The endpoint is no part of it."""
    asked = {
        "stage": stage,
        "model": model,
        "provider": provider,
        "messages": list(messages),
        "parameters": dict(parameters),
        "schema": schema,
        "attempt": attempt,
    }
    return sha256_text(canonical_json(asked))


class CallStore:
    """The store in a folder, held by this process until it is closed. Use it as a context manager.

    Raises UserError where another run holds it or it cannot be made.
    """

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self.damaged: list[str] = []  # places of lines that cannot be read; they are asked for anew
        self._segment_bytes = segment_bytes
        self._places: dict[bytes, tuple[int, int]] = {}
        self._stack = ExitStack()
        try:
            self._stack.enter_context(folder_lock(folder, "The store of the teacher's answers"))
            numbers = sorted(self._numbers())
            for number in numbers:
                self._read_segment(number)
            self._number = numbers[-1] if numbers else 1
            self._lines = LineFile(self._path(self._number))
            self._stack.callback(lambda: self._lines.close())
        except InUse:
            raise UserError(
                f"The store of the teacher's answers is in use by another run: {shown(folder)}. "
                "Wait until it ends, or name another --store."
            ) from None
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> CallStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return bytes.fromhex(key) in self._places

    def close(self) -> None:
        """Give the folder back."""
        self._stack.close()

    def get(self, key: str) -> Stored | None:
        """The last response under a key, None where there is none."""
        place = self._places.get(bytes.fromhex(key))
        if place is None:
            return None
        number, start = place
        with self._path(number).open("rb") as file:
            file.seek(start)
            return Stored(**json.loads(file.readline()))

    def put(self, response: Stored) -> None:
        """Keep a response. It is on the disk when this returns; a later one replaces it."""
        start = self._lines.append(json.dumps(asdict(response), ensure_ascii=False))
        self._places[bytes.fromhex(response.key)] = (self._number, start)
        if start > self._segment_bytes:
            self._lines.close()
            self._number += 1
            self._lines = LineFile(self._path(self._number))

    def _path(self, number: int) -> Path:
        return self.folder / _NAME.format(number)

    def _numbers(self) -> Iterator[int]:
        for path in self.folder.glob("calls-*.jsonl"):
            digits = path.stem.removeprefix("calls-")
            if digits.isdigit():
                yield int(digits)

    def _read_segment(self, number: int) -> None:
        """Note where each response begins. A torn last line is no response: it is cut or left."""
        with self._path(number).open("rb") as file:
            start = 0
            for count, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    try:
                        key = bytes.fromhex(Stored(**json.loads(line)).key)
                        self._places[key] = (number, start)
                    except (ValueError, TypeError, RecursionError):
                        self.damaged.append(f"{shown(self._path(number))}:{count}")
                start += len(line)
