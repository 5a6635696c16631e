"""What a stage was made from and what came of it: `<output>.manifest.json`, written last.

write_manifest(output, stage="split", inputs=[path], settings={"seed": 42}, counts={"rows": 9})
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lorachain.files import canonical_json, read_json, sha256_file, sha256_text, write_json

FORMAT = 1


def manifest_path(output: Path) -> Path:
    """Where an output's manifest stands: beside it."""
    return output.with_name(f"{output.name}.manifest.json")


def now() -> str:
    """The time as manifests and the store have it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def settings_sha256(settings: Mapping[str, Any]) -> str:
    """One hash over a stage's settings."""
    return sha256_text(canonical_json(settings))


def write_manifest(
    output: Path,
    *,
    stage: str,
    inputs: Iterable[Path],
    settings: Mapping[str, Any],
    counts: Mapping[str, Any],
    outputs: Iterable[Path] = (),
    dry_run: bool = False,
    **more: Any,
) -> Path:
    """Write the manifest of `output` (and of the stage's further `outputs`). Returns its path.

    Every file is named as its place relative to the manifest's folder, with its SHA-256. `more` is
    JSON of the stage's own: cost, calls, runs.
    """
    path = manifest_path(output)
    write_json(
        path,
        {
            "format": FORMAT,
            "stage": stage,
            "dry_run": dry_run,
            "inputs": _hashes(inputs, path.parent),
            "settings": dict(settings),
            "settings_sha256": settings_sha256(settings),
            "outputs": _hashes([output, *outputs], path.parent),
            "counts": dict(counts),
            **more,
        },
    )
    return path


def read_manifest(output: Path) -> dict[str, Any] | None:
    """The manifest of an output, None where there is none. UserError where it cannot be read."""
    path = manifest_path(output)
    if not path.is_file():
        return None
    contents = read_json(path, "The manifest")
    return contents if isinstance(contents, dict) else None


def _hashes(files: Iterable[Path], folder: Path) -> dict[str, str]:
    return {_relative(path, folder): sha256_file(path) for path in files if path.is_file()}


def _relative(path: Path, folder: Path) -> str:
    """Without the machine's own folders: a manifest travels with its files."""
    import os

    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # Windows: another drive
        return path.name
