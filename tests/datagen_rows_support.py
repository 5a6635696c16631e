"""Specs, plan rows and finished rows for the tests of the data pipeline's local stages."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from lorachain import lineage
from lorachain.adapters import WEIGHTS
from lorachain.datagen.rowfiles import write_rows
from lorachain.datagen.rows import DatasetRow, PlanRow, Row

GARDEN: dict[str, Any] = {
    "id": "garden_v1",
    "count": 12,
    "tasks": {"care": "How do I look after a {{ plant }} {{ place }} with {{ problem }}?"},
    "slots": {
        "plant": ["monstera", "cactus", "orchid", "basil"],
        "place": ["in a dark flat", "on a windy balcony", "next to a radiator"],
        "problem": ["yellow leaves", "no flowers at all", "small black flies"],
    },
}
PAYLOADS: dict[str, dict[str, Any]] = {
    "itinerary": {
        "title": "Days",
        "trip_days": [{"day": 1, "items": [{"time_block": "morning", "activity": "Walk"}]}],
    },
    "checklist": {
        "title": "List",
        "groups": [{"name": "Papers", "items": [{"text": "Passport", "priority": "must"}]}],
    },
    "decision_tree": {
        "title": "Tree",
        "nodes": [{"id": "q", "type": "question", "question": "Is it raining?"}],
        "root_question": "q",
    },
    "procedure": {"title": "Steps", "steps": [{"step": 1, "instruction": "Go there"}]},
}
_NOUNS = """
otter lantern gravel monsoon trumpet walnut harbour saddle magnet pepper glacier violin cabbage
turbine meadow anchor falcon tunnel copper ribbon quarry blanket cinnamon piston orchard compass
marble thicket ladder velvet canyon mustard
"""
NOUNS = _NOUNS.split()


def spec_file(folder: Path, settings: Mapping[str, Any] = GARDEN, **changes: Any) -> Path:
    """A spec as a file; `changes` replace its top-level settings."""
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(dict(settings) | changes, sort_keys=False), encoding="utf-8")
    return path


def envelope(kind: str = "checklist", **changes: Any) -> dict[str, Any]:
    """A whole answer of a payload type."""
    found: dict[str, Any] = {
        "summary": "What to do there.",
        "assumptions": [],
        "uncertainty_notes": "Prices can change.",
        "next_steps": ["Book a room."],
        "verification_steps": ["Ask the embassy."],
        "payload_type": kind,
        "payload": copy.deepcopy(PAYLOADS[kind]),
    }
    return found | changes


def question(number: int) -> str:
    """A prompt that is near no other number's."""
    n = len(NOUNS)
    words = [NOUNS[(number * step + number // n + step) % n] for step in (1, 3, 5, 7, 11, 13)]
    return f"Question {number}: what do {' '.join(words)} have to do with case {number * 7919}?"


def finished(number: int, **changes: Any) -> DatasetRow:
    """A finished row of the envelope; `changes` replace its fields."""
    fields: dict[str, Any] = {
        "id": f"d1-checklist-{number:04d}",
        "index": number,
        "spec": "d1",
        "task": "checklist",
        "prompt": question(number),
        "system": "Answer with one JSON object.",
        "answer": envelope(),
        "schema": "envelope",
        "expected": {"payload_type": "checklist"},
    }
    return DatasetRow(**fields | changes)


def answered(plan: PlanRow, **changes: Any) -> DatasetRow:
    """A plan row of the travel guide with a whole answer."""
    fields: dict[str, Any] = {
        "id": plan.id,
        "index": plan.index,
        "spec": plan.spec,
        "task": plan.task,
        "prompt": plan.prompt,
        "system": plan.system,
        "answer": envelope(plan.task),
        "schema": plan.schema,
        "expected": plan.expected,
        "category": plan.category,
    }
    return DatasetRow(**fields | changes)


def rows_file(path: Path, rows: Iterable[Row]) -> Path:
    """Rows as a file of the pipeline."""
    write_rows(path, rows)
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    """A JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def suite_file(path: Path, *prompts: str, ids: Iterable[str] = ()) -> Path:
    """A suite that asks these prompts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    named = list(ids) or [f"item-{i}" for i in range(len(prompts))]
    rows = [{"id": i, "task": "t", "prompt": p} for i, p in zip(named, prompts, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def version(folder: Path, **data: Path) -> Path:
    """A finished version's lineage, with its data files by role."""
    folder.mkdir(parents=True)
    hashes = dict.fromkeys(("config", "tokenizer", "template", "weights", "id"), "x")
    lineage.write(
        folder,
        {
            "format": lineage.FORMAT,
            "name": folder.name,
            "kind": "sft",
            "parent": None,
            "base": {"name": "b", "fingerprint": hashes},
            "data": [
                {"role": role, "path": str(path), "sha256": "x", "rows": 1}
                for role, path in data.items()
            ],
            "config": {},
            "identity": {},
            "metrics": {"steps": 1, "validation_loss": {}},
            "finished": "2026-01-01T00:00:00+00:00",
            "files": {WEIGHTS: "x"},
        },
    )
    return folder


def chats(path: Path, *prompts: str) -> Path:
    """A training file that asks these prompts."""
    rows = [{"prompt": prompt, "completion": "An answer."} for prompt in prompts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
