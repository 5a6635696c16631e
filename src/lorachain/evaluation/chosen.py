"""Which versions a command is about: folders that were named, a chain by its newest version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from lorachain import lineage
from lorachain.config import StageConfig
from lorachain.errors import UserError
from lorachain.evaluation.evaluate import BASE, Version, find_version
from lorachain.lineage import Lineage
from lorachain.paths import shown


def find_versions(folders: Iterable[Path], *, with_base: bool) -> list[Version]:
    """The base first, then the versions in the order given, each once and under its own name.

    Raises UserError for one that is missing, unfinished or damaged, and for different bases.
    """
    found = [find_version(folder) for folder in dict.fromkeys(folders)]
    _check_one_base(found)
    times = Counter([BASE, *(version.name for version in found)])
    named = [
        replace(version, name=_path_name(version)) if times[version.name] > 1 else version
        for version in found
    ]
    return [Version(BASE), *named] if with_base else named


def chain_of(folder: Path) -> list[Lineage]:
    """A version with all of its ancestors, the oldest first.

    Raises UserError where one is missing, unfinished or damaged: a chain needs all of them.
    """
    newest = lineage.read(folder)
    return [newest, *lineage.ancestors(newest)][::-1]


def stale_notes(chain: Sequence[Lineage]) -> list[str]:
    """A sentence for each version whose parent is no longer the one that it was trained from."""
    notes = []
    for parent, child in pairwise(chain):
        if child.data["parent"]["adapter_sha256"] != parent.adapter_sha256:
            notes.append(
                f"{shown(parent.folder)} was trained again since {child.name} was made from it: "
                f"what {child.name} is compared with is not what it stands on."
            )
    return notes


def base_name(versions: Sequence[Version]) -> str:
    """The base that these versions stand on, as their lineage calls it; without any, the
    default."""
    folder = next((version.folder for version in versions if version.folder), None)
    return StageConfig().model.base_model if folder is None else lineage.read(folder).base_name


def _path_name(version: Version) -> str:
    """What tells a version from another one, or from the base, of the same name."""
    name = shown(version.folder or BASE)
    return str(version.folder) if name == BASE else name


def _check_one_base(versions: Sequence[Version]) -> None:
    bases: dict[str, str] = {}
    for version in versions:
        assert version.folder is not None
        found = lineage.read(version.folder)
        base = found.base_fingerprint["id"]
        bases[base] = f"{shown(version.folder)} on {found.base_name} ({base})"
    if len(bases) > 1:
        raise UserError(
            f"These versions stand on different bases: {'; '.join(bases.values())}. Test them one "
            "base at a time."
        )
