"""Checkpoints that are whole or not there, and are believed only by what their manifest says.

A checkpoint is filled in a temporary folder, every file is flushed to disk, MANIFEST.json is
written last, and the folder is renamed. A reader takes a checkpoint only after every file has the
size and SHA-256 of the manifest; a damaged one is set aside and the one before it is used.

Files have suffixes of an allow list. Nothing is ever pickled or unpickled.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorachain.errors import UserError
from lorachain.files import (
    canonical_json,
    fsync_file,
    fsync_folder,
    remove_folder,
    replace,
    sha256_file,
    sha256_text,
    write_json,
)
from lorachain.paths import shown

log = logging.getLogger("lorachain")

MANIFEST = "MANIFEST.json"
FORMAT = 1
SUFFIXES = frozenset({".safetensors", ".json", ".jsonl", ".txt", ".md", ".jinja", ".model"})
PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npy", ".npz"})
_DROPPED = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", ".directory"})
_NAME = re.compile(r"checkpoint-(\d+)")
_TEMPORARY = re.compile(r"\.checkpoint-\d+\.tmp-\d+")


class DamagedCheckpoint(Exception):
    """A checkpoint that its manifest does not vouch for. The message says why."""


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint. `identity` says what run it belongs to, field by field; `about` is
    what else was written down (packages, device), which a resuming run need not share."""

    folder: Path
    step: int
    identity: Mapping[str, Any]
    about: Mapping[str, Any] = field(default_factory=dict)


def write(
    root: Path,
    step: int,
    identity: Mapping[str, Any],
    fill: Callable[[Path], None],
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write `root/checkpoint-<step>`; `fill` puts the files into the folder that it is given.

    Raises OSError when the disk is full (nothing half-made is left, older ones are untouched) and
    ValueError when `fill` leaves a file whose suffix is not allowed.
    """
    final = root / f"checkpoint-{step}"
    temporary = root / f".checkpoint-{step}.tmp-{os.getpid()}"
    remove_folder(temporary)
    try:
        temporary.mkdir(parents=True)
        fill(temporary)
        files = {}
        for path in sorted(temporary.iterdir()):
            if path.suffix not in SUFFIXES:
                raise ValueError(f"{path.name}: files of this kind are not allowed here")
            fsync_file(path)
            files[path.name] = {"size": path.stat().st_size, "sha256": sha256_file(path)}
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "step": step,
            "identity": dict(identity),
            "about": dict(about or {}),
            "files": files,
        }
        manifest["sha256"] = sha256_text(canonical_json(manifest))
        write_json(temporary / MANIFEST, manifest)
        fsync_folder(temporary)
        if final.exists():
            set_aside(final, "it was written again")
        replace(temporary, final)
        fsync_folder(root)
    except BaseException:
        remove_folder(temporary)
        raise
    return final


def verify(folder: Path) -> Checkpoint:
    """Check a checkpoint against its manifest. Raises DamagedCheckpoint with the reason."""
    match = _NAME.fullmatch(folder.name)
    if match is None or folder.is_symlink() or not folder.is_dir():
        raise DamagedCheckpoint("it is no checkpoint folder")
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        digest = manifest.pop("sha256")
        step, files = manifest["step"], manifest["files"]
        identity, known = manifest["identity"], manifest["format"] == FORMAT
        about = dict(manifest.get("about") or {})
        entries = {str(name): (entry["size"], entry["sha256"]) for name, entry in files.items()}
    except FileNotFoundError:
        raise DamagedCheckpoint(_without_manifest(folder)) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DamagedCheckpoint(f"its {MANIFEST} cannot be read") from None
    if digest != sha256_text(canonical_json(manifest)):
        raise DamagedCheckpoint(f"its {MANIFEST} is not as it was written (hash mismatch)")
    if not known or step != int(match[1]) or not isinstance(identity, dict):
        raise DamagedCheckpoint(f"its {MANIFEST} belongs to another checkpoint or format")
    present = {p.name for p in folder.iterdir() if not _dropped(p)} - {MANIFEST}
    for name in sorted(present | set(entries)):
        if Path(name).suffix.lower() in PICKLES:
            raise DamagedCheckpoint(_pickle(name))
    for name in sorted(present - set(entries)):
        raise DamagedCheckpoint(f"{name} is not in its manifest")
    for name, (size, digest) in sorted(entries.items()):
        file = folder / name
        if name != Path(name).name or file.suffix not in SUFFIXES or file.is_symlink():
            raise DamagedCheckpoint(f"its manifest names {name!r}, which is not allowed")
        if not file.is_file():
            raise DamagedCheckpoint(f"{name} is missing")
        if file.stat().st_size != size:
            raise DamagedCheckpoint(f"{name} has {file.stat().st_size} bytes instead of {size}")
        if sha256_file(file) != digest:
            raise DamagedCheckpoint(f"{name} is not as it was written (hash mismatch)")
    return Checkpoint(folder, step, identity, about)


def _dropped(path: Path) -> bool:
    """Whether a file browser left it there. Nothing reads it."""
    known = path.name in _DROPPED or path.name.startswith("._")
    return known and path.is_file() and not path.is_symlink()


def _without_manifest(folder: Path) -> str:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICKLES:
            return _pickle(path.name)
    return f"it has no {MANIFEST}: it was never finished"


def _pickle(name: str) -> str:
    return f"{name} is a pickle, which can run code; it was not opened"


def folders(root: Path) -> list[Path]:
    """Checkpoint folders by step, highest first. Times and order on disk play no part."""
    if not root.is_dir():
        return []
    found = [(int(m[1]), p) for p in root.iterdir() if (m := _NAME.fullmatch(p.name))]
    return [path for _, path in sorted(found, reverse=True)]


def find_latest(root: Path) -> Checkpoint | None:
    """The valid checkpoint with the highest step; damaged ones above it are set aside.

    Returns None when there is none at all. Raises UserError when there are some and every one is
    damaged: starting afresh is then for the user to say, and nothing is deleted.
    """
    if not root.is_dir():
        return None
    damaged: list[tuple[Path, str]] = []
    for folder in folders(root):
        if _is_empty(folder):
            continue
        try:
            found = verify(folder)
        except DamagedCheckpoint as reason:
            damaged.append((folder, str(reason)))
            continue
        for path, why in damaged:
            try_to_set_aside(path, why)
        _clean(root)
        return found
    if damaged:
        lines = "\n".join(f"  {path.name}: {why}" for path, why in damaged)
        raise UserError(
            f"Every checkpoint in {shown(root)} is damaged:\n{lines}\nNothing was deleted. To "
            "start this stage from its beginning, run the same command with --restart."
        )
    _clean(root)
    return None


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())


def _clean(root: Path) -> None:
    """Remove what stopped writes left behind, or warn where another program holds it open."""
    for stale in list(root.iterdir()):
        if _TEMPORARY.fullmatch(stale.name) or (_NAME.fullmatch(stale.name) and _is_empty(stale)):
            try:
                remove_folder(stale)
            except PermissionError as error:
                log.warning("%s could not be removed now: %s", shown(stale), error)


def try_to_set_aside(folder: Path, reason: str) -> None:
    """`set_aside`, or a warning where another program holds it open."""
    try:
        set_aside(folder, reason)
    except OSError as error:
        log.warning("%s is passed over: %s (%s).", folder.name, reason, error.strerror or error)


def set_aside(folder: Path, reason: str) -> Path:
    """Rename a checkpoint so that it is never taken again, and say so."""
    number = 1
    while (target := folder.with_name(f"set-aside-{number}-{folder.name}")).exists():
        number += 1
    replace(folder, target)
    log.warning("%s set aside as %s: %s.", folder.name, target.name, reason)
    return target


def rotate(root: Path, keep: int, protected: int | None = None) -> None:
    """Remove the oldest checkpoints by step beyond the newest `keep` valid ones, never step
    `protected`. A damaged one among the newest does not count, and is set aside.

    One that is open elsewhere, or is no folder, is left with a warning.
    """
    found = folders(root)
    if len(found) <= keep:
        return
    valid = 0
    for folder in found:
        try:
            if valid == keep:
                if folder.name != f"checkpoint-{protected}":
                    _remove(folder)
            elif (why := damage(folder)) is None:
                valid += 1
            else:
                set_aside(folder, why)
        except (OSError, UserError) as error:
            log.warning("%s could not be removed now: %s", shown(folder), error)


def damage(folder: Path) -> str | None:
    """Why a checkpoint is not to be believed, or None for a good one."""
    try:
        verify(folder)
    except DamagedCheckpoint as reason:
        return str(reason)
    return None


def _remove(folder: Path) -> None:
    """Remove a checkpoint; a stop in between leaves no half of it under its name."""
    if folder.is_symlink() or not folder.is_dir():
        raise UserError("it is no folder; it was left alone.")
    going = folder.with_name(f".{folder.name}.tmp-{os.getpid()}")
    remove_folder(going)
    replace(folder, going)
    remove_folder(going)
