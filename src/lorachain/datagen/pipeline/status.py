"""How far a run is: read from its files and manifests, without a key, a network or a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from lorachain.datagen.manifest import manifest_path, read_manifest
from lorachain.datagen.pipeline.flags import STAGES
from lorachain.datagen.pipeline.places import Places
from lorachain.datagen.rowfiles import RowIndex
from lorachain.datagen.rows import CritiqueRow, DatasetRow, DraftRow, PlanRow, Row
from lorachain.files import sha256_file
from lorachain.paths import shown

State = Literal["not begun", "part", "stale", "done"]
ASKING = {"drafts": DraftRow, "critiques": CritiqueRow, "dataset": DatasetRow}


@dataclass
class StageStatus:
    """One stage. `stale` are files that have changed since they were read. Costs are those of the
    rows, whoever made them; `paid`, `stored`, `spent_usd` of all its runs that came to an end."""

    name: str
    state: State = "not begun"
    rows: int = 0
    of_use: int | None = None
    planned: int = 0
    stale: list[str] = field(default_factory=list)
    failed: int = 0
    cost_usd: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 0
    paid: int = 0
    stored: int = 0
    spent_usd: float = 0.0
    note: str = ""


def look_at(places: Places) -> list[StageStatus]:
    """Every stage, in order. Raises UserError where a file is damaged."""
    planned = _rows(places.plan, PlanRow)
    found = [_stage(places, name, planned) for name in STAGES]
    for earlier, later in pairwise(found):
        if later.state == "done" and earlier.state != "done":
            later.state = "part" if later.name in ASKING else "stale"
    return found


def _stage(places: Places, name: str, planned: int) -> StageStatus:
    main = places.main(name)
    found = StageStatus(name, planned=planned)
    manifest = read_manifest(main) or {}
    file = places.journal if name == "dataset" else main
    if name in ASKING:
        found.rows = _rows(file, ASKING[name])
    elif file.is_file() and manifest:
        counts = manifest["counts"]
        found.rows = counts["kept"] if name == "qa" else counts.get("rows", counts.get("train", 0))
    if not (found.rows or manifest or file.is_file()):
        return found
    found.stale = _changed(main, manifest)
    _count(found, manifest)
    found.state = "stale" if found.stale else "done"
    if name in ASKING and found.rows < planned:
        found.state = "part"
    if not manifest:
        found.state = "part"
        found.note = "a run did not come to its end"
    found.note = found.note or _note(name, manifest)
    return found


def _count(found: StageStatus, manifest: dict[str, Any]) -> None:
    counts = manifest.get("counts", {})
    found.failed = len(manifest.get("failed", {}))
    found.of_use = counts.get("accepted") if manifest else None
    found.cost_usd = counts.get("cost_usd", 0.0)
    found.prompt_tokens = counts.get("prompt_tokens", 0)
    found.output_tokens = counts.get("output_tokens", 0)
    for run in manifest.get("runs", ()):
        found.paid += run["answers_paid"]
        found.stored += run["answers_stored"]
        found.spent_usd += run["cost_usd"]


def _note(name: str, manifest: dict[str, Any]) -> str:
    counts = manifest["counts"]
    if name == "dataset":
        return f"{counts['rows'] - counts['accepted']} rejected"
    if name == "qa":
        return f"{counts['rows'] - counts['kept']} dropped"
    if name == "split":
        tasks = counts["by_task"].values()
        return ", ".join(f"{s} {sum(t[s] for t in tasks)}" for s in ("train", "val", "test"))
    if name == "sft":
        suite = next((f for f in manifest["outputs"] if not f.endswith("_sft.jsonl")), None)
        return f"suite {Path(suite).name}" if suite else "no suite"
    return ""


def _changed(main: Path, manifest: dict[str, Any]) -> list[str]:
    """The inputs that are gone, or other than they were."""
    folder = manifest_path(main).parent
    files = {
        (folder / name).resolve(): digest for name, digest in manifest.get("inputs", {}).items()
    }
    return [
        path.name
        for path, digest in files.items()
        if not path.is_file() or sha256_file(path) != digest
    ]


def _rows(path: Path, kind: type[Row]) -> int:
    return len(RowIndex(path, kind, dry_run=True)) if path.is_file() else 0


def status_text(places: Places, stages: list[StageStatus], next_command: str) -> str:
    """The stages as a table, what they cost, and what to do next."""
    lines = [f"{shown(places.interim)}, {shown(places.processed)}", ""]
    head = f"{'stage':<10}{'rows':>6}{'of use':>8}{'cost':>11}{'tokens in':>12}{'out':>10}"
    lines.append(f"{head}{'paid':>7}{'stored':>8}  state")
    for one in stages:
        lines.append(_line(one).rstrip())
    cost = sum(one.cost_usd for one in stages)
    spent = sum(one.spent_usd for one in stages)
    lines += ["", f"The rows' answers cost ${cost:.4f}; all finished runs spent ${spent:.4f}."]
    if places.report.is_file():
        lines.append(f"The page: {shown(places.report)}")
    return "\n".join([*lines, f"Next: {next_command}"])


def _line(one: StageStatus) -> str:
    use = "" if one.of_use is None else str(one.of_use)
    text = f"{one.name:<10}{one.rows:>6}{use:>8}"
    if one.name in ASKING and one.rows:
        text += f"{f'${one.cost_usd:.4f}':>11}{one.prompt_tokens:>12,}{one.output_tokens:>10,}"
        text += f"{one.paid:>7}{one.stored:>8}"
    else:
        text += " " * 48
    return f"{text}  {_state(one)}"


def _state(one: StageStatus) -> str:
    if one.state == "part" and one.name in ASKING:
        words = f"{one.rows} of {one.planned}"
    else:
        words = "unfinished" if one.state == "part" else one.state
    if one.stale:
        words += f" (changed since: {', '.join(one.stale[:3])})"
    if one.failed:
        words += f", {one.failed} got no answer"
    return f"{words}, {one.note}" if one.note else words
