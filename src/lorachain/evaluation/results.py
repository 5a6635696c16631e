"""Every answer that was ever made, kept: an append-only file, each line on disk when it is made.

An answer is found again by its prompt and by the fingerprint of everything that shaped it, so a
run that was cut off makes only the rest, and answers made under other settings are never mixed in.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

from lorachain.errors import UserError
from lorachain.evaluation.generated import Decoding, Generated
from lorachain.files import canonical_json, folder_lock, fsync_folder, sha256_text
from lorachain.machine import Precision
from lorachain.models import Base
from lorachain.paths import shown

log = logging.getLogger("lorachain")

FILE = "answers.jsonl"
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes")
DECODER = 1  # raised when a change of our own decode loop can change answers


@dataclass(frozen=True)
class Settings:
    """What shapes an answer, beside its prompt. `model` is an adapter's sha256, or "base"."""

    model: str
    base: str
    template: str
    decoding: Mapping[str, Any]
    dtype: str
    quantization: str
    device: str
    batch_size: int
    packages: Mapping[str, str]
    decoder: int = DECODER

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over all of them."""
        return sha256_text(canonical_json(asdict(self)))[:16]

    def as_dict(self) -> dict[str, Any]:
        """For results: the fields, and the fingerprint over them."""
        return {"fingerprint": self.fingerprint, **asdict(self)}


def settings(
    model: str, base: Base, decoding: Decoding, precision: Precision, device: str, batch_size: int
) -> Settings:
    """The settings of one version on this machine."""
    return Settings(
        model=model,
        base=base.fingerprint.id,
        template=base.fingerprint.template[:16],
        decoding=decoding.as_dict(),
        dtype=precision.dtype,
        quantization=_quantization(precision),
        device=device,
        batch_size=batch_size,
        packages=_versions(),
    )


def _quantization(precision: Precision) -> str:
    """How the base is held, with what changes its answers: 4-bit's type and compute type."""
    if precision.quantization != "4bit":
        return precision.quantization
    double = ", double" if precision.double_quant else ""
    return f"4bit {precision.quant_type}{double}, in {precision.compute_dtype}"


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


@dataclass
class AnswerStore:
    """The answers in one folder. Open it with `open_store`."""

    folder: Path
    _file: BinaryIO = field(repr=False)
    _answers: dict[tuple[str, str], Generated] = field(default_factory=dict, repr=False)
    _settings: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)

    def get(self, made: Settings, prompt_sha256: str) -> Generated | None:
        """The answer to this prompt under exactly these settings, if there is one."""
        return self.made_by(made.fingerprint, prompt_sha256)

    def made_by(self, fingerprint: str, prompt_sha256: str) -> Generated | None:
        """The same by the fingerprint alone, as it was written down with the answers."""
        return self._answers.get((fingerprint, prompt_sha256))

    def put(self, made: Settings, prompt_sha256: str, answer: Generated) -> None:
        """Keep an answer: on disk when this returns."""
        if made.fingerprint not in self._settings:
            self._settings[made.fingerprint] = asdict(made)
            self._append({"fingerprint": made.fingerprint, "settings": asdict(made)})
        self._answers[made.fingerprint, prompt_sha256] = answer
        self._append(
            {"fingerprint": made.fingerprint, "prompt_sha256": prompt_sha256, **asdict(answer)}
        )

    def under_other_settings(self, made: Settings) -> dict[str, int]:
        """Answers of the same model that cannot be used, by the names of what differs."""
        wanted = asdict(made)
        found: dict[str, int] = {}
        for fingerprint, other in self._settings.items():
            if other["model"] == made.model and fingerprint != made.fingerprint:
                names = ", ".join(key for key in wanted if other.get(key) != wanted[key])
                count = sum(key[0] == fingerprint for key in self._answers)
                found[names] = found.get(names, 0) + count
        return {names: count for names, count in found.items() if count}

    def _append(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace")
        self._file.write(line + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def open_store(folder: Path) -> Iterator[AnswerStore]:
    """Hold the store of a folder. A line that was cut off or damaged is left out, with a word.

    Raises UserError when another run holds it.
    """
    with folder_lock(folder, "The store of answers"):
        path = folder / FILE
        with path.open("ab+") as file:
            fsync_folder(folder)
            store = AnswerStore(folder, file)
            _cut_torn_tail(path, file)
            _read(path, file, store)
            yield store


def read_store(folder: Path) -> AnswerStore:
    """The answers of a folder for reading alone: no lock, nothing written, even while another run
    adds to it (a line that is not whole yet is left out). Raises UserError when there is none."""
    path = folder / FILE
    try:
        with path.open("rb") as file:
            store = AnswerStore(folder, file)
            _read(path, file, store)
    except FileNotFoundError:
        raise UserError(f"There are no stored answers in {shown(folder)} (no {FILE}).") from None
    except OSError as error:
        raise UserError(f"{shown(path)} cannot be read: {error.strerror or error}.") from None
    return store


def _cut_torn_tail(path: Path, file: BinaryIO) -> None:
    """Remove what follows the last line end: a line that a killed run did not finish."""
    file.seek(0)
    content = file.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        file.truncate(whole)
        log.info("%s: an answer that was cut off is made again.", shown(path))


def _read(path: Path, file: BinaryIO, store: AnswerStore) -> None:
    file.seek(0)
    damaged = []
    for number, line in enumerate(file, start=1):
        if not line.endswith(b"\n"):
            break  # `read_store` beside a run that is writing it
        try:
            record = json.loads(line)
            fingerprint = str(record.pop("fingerprint"))
            if "settings" in record:
                store._settings[fingerprint] = record["settings"]
            else:
                key = fingerprint, str(record.pop("prompt_sha256"))
                store._answers[key] = Generated(**record)
        except (ValueError, TypeError, KeyError, AttributeError):
            damaged.append(str(number))
    if damaged:
        shown_lines = ", ".join(damaged[:5]) + (", ..." if len(damaged) > 5 else "")
        log.warning(
            "%s: %d damaged lines (%s); those answers count as not made.",
            *(shown(path), len(damaged), shown_lines),
        )
    file.seek(0, os.SEEK_END)
