"""A version's lineage: what it was made from, written last, so that it marks the version whole.

The first half of the parent contract stands here: before any weights load, a parent must be
finished and unchanged, and its base, tokenizer and chat template must be this base's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorachain.adapters import WEIGHTS, adapter_config
from lorachain.errors import UserError
from lorachain.files import read_json, sha256_file, write_json
from lorachain.models import Fingerprint
from lorachain.paths import PROJECT_ROOT, absolute, quoted, shown

FILE = "lineage.json"
UNFINISHED = "unfinished.json"
FORMAT = 1


@dataclass(frozen=True)
class Lineage:
    """One finished version. `data` is the content of lineage.json."""

    folder: Path
    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The version's name: its folder's when it was made."""
        return str(self.data["name"])

    @property
    def base_name(self) -> str:
        """The base as its user called it."""
        return str(self.data["base"]["name"])

    @property
    def base_fingerprint(self) -> Mapping[str, str]:
        """The base's four hashes and their id."""
        return self.data["base"]["fingerprint"]  # type: ignore[no-any-return]

    @property
    def adapter_sha256(self) -> str:
        """The hash of the adapter's weights when the version was finished."""
        return str(self.data["files"][WEIGHTS])

    @property
    def parent(self) -> Path | None:
        """The parent's folder, as it stands relative to this one."""
        parent = self.data["parent"]
        return None if parent is None else absolute(self.folder, parent["path"])

    @property
    def let_pass(self) -> list[str]:
        """Codes of the preflight errors that it was trained in spite of; older ones record none."""
        found = self.data.get("preflight")
        codes = found.get("errors") if isinstance(found, dict) else None
        return [str(code) for code in codes] if isinstance(codes, list) else []

    def data_files(self, role: str) -> list[Mapping[str, Any]]:
        """The data of one role: train, validation or replay."""
        return [entry for entry in self.data["data"] if entry["role"] == role]


def is_finished(folder: Path) -> bool:
    """Whether a folder holds a finished version."""
    return (folder / FILE).is_file()


def begin(folder: Path, command: str, *, restarted: bool = False) -> None:
    """Mark a folder as a version that is being made, with the command that finishes it, and whether
    it was begun with --restart."""
    mark = {"command": command, "folder": str(Path.cwd()), "restarted": restarted}
    write_json(folder / UNFINISHED, mark)


def was_restarted(folder: Path) -> bool:
    """Whether an unfinished version was begun with --restart."""
    return not is_finished(folder) and _mark(folder).get("restarted") is True


def _mark(folder: Path) -> dict[str, Any]:
    try:
        mark = json.loads((folder / UNFINISHED).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return mark if isinstance(mark, dict) else {}


def how_to_finish(folder: Path) -> str:
    """What to run so that an unfinished version is finished."""
    mark = _mark(folder)
    command, start = str(mark.get("command", "")), str(mark.get("folder", ""))
    if not command or not (command + start).isprintable():
        return "Run the command that began it again; it goes on from its last checkpoint."
    where = "" if Path(start) == Path.cwd() else f" in {start}"
    return f"To finish it, run this{where}; it goes on from its last checkpoint:\n  {command}"


def read(folder: Path) -> Lineage:
    """The lineage of a finished version.

    Raises UserError when the folder is missing, no adapter, or not finished.
    """
    if not is_finished(folder):
        begun = (folder / UNFINISHED).is_file()
        if folder.is_dir() and (begun or any(folder.glob("checkpoint-*"))):
            raise UserError(
                f"{shown(folder)} is not finished: its training stopped before the end. "
                f"{how_to_finish(folder)}"
            )
        adapter_config(folder)  # says so when it is no adapter at all
        raise UserError(
            f"{shown(folder)} is an adapter without {FILE}: it is unfinished, or was not made "
            "by lorachain, so what it stands on cannot be checked."
        )
    data = read_json(folder / FILE, "Lineage")
    try:
        known = data["format"] == FORMAT
        lineage = Lineage(folder, data)
        _ = lineage.name, lineage.base_name, lineage.adapter_sha256, lineage.parent
        _ = [lineage.base_fingerprint[name] for name in (*Fingerprint.__annotations__, "id")]
        _ = [(entry["path"], entry["sha256"], entry["rows"]) for entry in data["data"]]
        _ = [entry["overlong"]["rows"] for entry in data["data"] if "overlong" in entry]
        _ = data["parent"] and data["parent"]["adapter_sha256"]
        _ = data["kind"], data["finished"], data["config"].items(), data["identity"].items()
        _ = data["metrics"]["steps"], data["metrics"]["validation_loss"].items()
    except (KeyError, TypeError, AttributeError):
        raise UserError(
            f"{shown(folder / FILE)} is damaged: it lacks what a lineage has."
        ) from None
    if not known:
        raise UserError(
            f"{shown(folder / FILE)} has format {data['format']}; this lorachain reads {FORMAT}."
        )
    return lineage


def ancestors(lineage: Lineage, *, to_the_end: bool = True) -> Iterator[Lineage]:
    """The parent, its parent, ... up to V1. Raises UserError when one is gone or in a circle;
    without `to_the_end`, one that is gone ends the line."""
    seen = {lineage.folder}
    current = lineage
    while current.parent is not None:
        if current.parent in seen:
            raise UserError(f"The chain of {shown(lineage.folder)} runs in a circle.")
        if not is_finished(current.parent):
            if not to_the_end:
                return
            raise UserError(
                f"{current.name}'s parent is not at {shown(current.parent)} any more. Put it back "
                "there: a chain needs all of its versions."
            )
        current = read(current.parent)
        seen.add(current.folder)
        yield current


def changed_files(lineage: Lineage) -> list[str]:
    """What is not as it was when the version was finished, file by file."""
    found = []
    for name, digest in lineage.data["files"].items():
        path = lineage.folder / name
        if name != Path(name).name or path.is_symlink():
            found.append(f"its {FILE} names {name!r}, which lies elsewhere")
        elif not path.is_file():
            found.append(f"{name} is missing")
        elif sha256_file(path) != digest:
            found.append(f"{name} has changed since the version was finished")
    return found


def problems(lineage: Lineage) -> list[str]:
    """What is damaged or stale about one version: files, parent, data. Reads no weights."""
    found = changed_files(lineage)
    if lineage.parent is not None:
        recorded = lineage.data["parent"]["adapter_sha256"]
        try:
            if not is_finished(lineage.parent):
                found.append(f"its parent is not at {shown(lineage.parent)}")
            elif read(lineage.parent).adapter_sha256 != recorded:
                found.append("its parent was trained again since: this version is stale")
        except UserError as error:
            found.append(f"its parent cannot be read: {error}")
    return found


def data_notes(lineage: Lineage) -> list[str]:
    """Training and validation files that are gone or changed: the version is good, but its rows
    cannot be replayed or tested against."""
    found = []
    for entry in lineage.data["data"]:
        path = data_path(entry)
        if not path.is_file():
            found.append(f"{entry['role']} data {entry['path']} is not there any more")
        elif sha256_file(path) != entry["sha256"]:
            found.append(f"{entry['role']} data {entry['path']} has changed since")
    return found


def data_path(entry: Mapping[str, Any]) -> Path:
    """Where a data file of a lineage stands on this machine."""
    return absolute(PROJECT_ROOT, entry["path"])


def portable(path: Path, start: Path) -> str:
    """`path` relative to `start` with forward slashes, or absolute where it lies elsewhere."""
    try:
        relative = os.path.relpath(path, start)
    except ValueError:  # another drive
        return path.as_posix()
    return Path(relative).as_posix()


def check_parent(lineage: Lineage, base: Fingerprint, base_name: str, output: Path) -> None:
    """The parent contract, as far as it goes without weights.

    Raises UserError for another base, tokenizer or chat template (naming which), for a parent
    whose files changed, and for an output that is the parent.
    """
    if output == lineage.folder or output.resolve() == lineage.folder.resolve():
        raise UserError(
            f"The output {shown(output)} is the parent itself, which is never changed. Choose "
            "another --output."
        )
    different = [
        name
        for name in ("config", "weights", "tokenizer", "template")
        if lineage.base_fingerprint[name] != getattr(base, name)
    ]
    if different:
        names = {"template": "chat template", "config": "model config"}
        raise UserError(
            f"{lineage.name} was trained on another base: it stands on {lineage.base_name} "
            f"({lineage.base_fingerprint['id']}), and {base_name} ({base.id}) differs in its "
            f"{', '.join(names.get(name, name) for name in different)}. An adapter works on its "
            f"own base only: pass --base-model {quoted(lineage.base_name)}, or leave it out."
        )
    if changed := changed_files(lineage):
        raise UserError(
            f"The parent {shown(lineage.folder)} is damaged: {'; '.join(changed)}. Restore it, or "
            "train the parent again."
        )


def write(folder: Path, data: Mapping[str, Any]) -> None:
    """Write lineage.json, the mark that a version is whole. Call it last."""
    write_json(folder / FILE, dict(data))
    (folder / UNFINISHED).unlink(missing_ok=True)
