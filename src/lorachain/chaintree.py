"""The chain as a tree of text: which version stands on which, how it did, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lorachain.lineage import Lineage, ancestors, data_notes, problems, read
from lorachain.paths import shown


def draw(folders: Iterable[Path]) -> tuple[str, int]:
    """The trees that hold these versions, a base at each root, and how many are damaged.

    Every hash is checked. A version whose parent is gone stands at the root, marked as damaged.
    Raises UserError for a folder that is no finished version, or whose chain runs in a circle.
    """
    versions: dict[Path, Lineage] = {}
    for folder in folders:
        version = read(folder)
        versions[version.folder] = version
        for one in ancestors(version, to_the_end=False):
            versions[one.folder] = one
    bases: dict[str, list[Lineage]] = {}
    children: dict[Path, list[Lineage]] = {}
    for version in sorted(versions.values(), key=lambda v: (v.data["finished"], v.name)):
        if version.parent not in versions:
            label = f"{version.base_name} ({version.base_fingerprint['id']})"
            bases.setdefault(label, []).append(version)
        else:
            children.setdefault(version.parent, []).append(version)
    lines: list[str] = []
    damaged = 0
    for label, roots in bases.items():
        lines.append(label)
        for i, root in enumerate(roots):
            damaged += _branch(root, children, "", i == len(roots) - 1, lines)
    state = f"{damaged} damaged or stale" if damaged else "every hash is as recorded"
    lines.append(f"{len(versions)} version{'s' if len(versions) != 1 else ''}; {state}.")
    return "\n".join(lines), damaged


def _branch(
    version: Lineage,
    children: dict[Path, list[Lineage]],
    indent: str,
    last: bool,
    lines: list[str],
) -> int:
    """Append a version and what stands on it; the number of damaged ones among them."""
    lines.append(f"{indent}{'└─ ' if last else '├─ '}{version.name}  {_facts(version)}")
    below = indent + ("   " if last else "│  ")
    mine = children.get(version.folder, [])
    bar = below + ("│  " if mine else "   ")
    found = problems(version)
    lines.extend(f"{bar}DAMAGED: {problem}" for problem in found)
    lines.extend(f"{bar}note: {note}" for note in data_notes(version))
    if version.let_pass:
        lines.append(f"{bar}note: trained in spite of {', '.join(version.let_pass)} (--allow)")
    damaged = int(bool(found))
    for i, child in enumerate(mine):
        damaged += _branch(child, children, below, i == len(mine) - 1, lines)
    return damaged


def _facts(version: Lineage) -> str:
    """Kind, steps, rows, validation losses and where it is, in one line."""
    metrics = version.data["metrics"]
    rows = sum(int(entry["rows"]) for entry in version.data_files("train"))
    replayed = sum(int(entry["rows_drawn"]) for entry in version.data_files("replay"))
    losses = ", ".join(f"{name} {loss:.3f}" for name, loss in metrics["validation_loss"].items())
    parts = [
        str(version.data["kind"]),
        f"{metrics['steps']} steps",
        f"{rows} rows" + (f" + {replayed} replayed" if replayed else ""),
        f"validation loss: {losses}" if losses else "not validated",
        shown(version.folder),
    ]
    return " · ".join(parts)
