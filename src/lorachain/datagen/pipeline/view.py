"""What a run came to, read from its files: for the page. Files that are not there yet are empty."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lorachain.datagen.lock import SPLITS
from lorachain.datagen.manifest import read_manifest
from lorachain.datagen.pipeline.places import Places
from lorachain.datagen.qa_checks import answer_text
from lorachain.datagen.rowfiles import RowIndex
from lorachain.datagen.rows import CritiqueRow, DatasetRow, DraftRow, PlanRow, Row, SplitRow
from lorachain.files import read_json

R = TypeVar("R", bound=Row)
OUTCOMES = ("as drafted", "refined", "rejected")
_KINDS_OF_REASON = 2


@dataclass
class Cost:
    """The calls of one stage to one model. `unpriced` of them name no cost."""

    calls: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0

    def add(self, call: Mapping[str, Any]) -> None:
        """One more."""
        self.calls += 1
        self.prompt_tokens += call["prompt_tokens"]
        self.output_tokens += call["output_tokens"]
        self.usd += call["cost_usd"] or 0.0
        self.unpriced += call["cost_usd"] is None


@dataclass
class RunView:
    """Counts by name. `outcomes` have a count for each of OUTCOMES."""

    spec: str = ""
    gating_mode: str = ""
    steps: dict[str, int] = field(default_factory=dict)
    by_task: dict[str, list[int]] = field(default_factory=dict)
    by_category: dict[str, list[int]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    costs: dict[tuple[str, str], Cost] = field(default_factory=dict)
    spent_usd: float = 0.0
    lengths: dict[str, list[int]] = field(default_factory=dict)
    balance: dict[str, Counter[str]] = field(default_factory=dict)
    splits: dict[str, list[int]] = field(default_factory=dict)
    suite: str = ""

    @property
    def judged(self) -> int:
        """Rows that were accepted or rejected."""
        return sum(map(sum, self.by_task.values()))

    @property
    def accepted(self) -> int:
        """Rows that were accepted."""
        return sum(counts[0] + counts[1] for counts in self.by_task.values())


def view_of(places: Places) -> RunView:
    """Read a run."""
    found = RunView()
    plan = list(_rows(places.plan, PlanRow))
    judged = list(_rows(places.journal, DatasetRow))
    clean = list(_rows(places.clean, DatasetRow))
    found.spec = plan[0].spec if plan else ""
    found.gating_mode = str(judged[0].gate.get("mode", "")) if judged else ""
    _judge(found, judged)
    _count_calls(found, places, judged)
    drafts = sum(1 for _ in _rows(places.drafts, DraftRow))
    critiques = sum(1 for _ in _rows(places.critiques, CritiqueRow))
    found.steps = {"planned": len(plan), "drafted": drafts, "criticised": critiques}
    found.steps |= {"accepted": found.accepted, "clean": len(clean)}
    if places.qa_report.is_file():
        found.dropped = Counter(read_json(places.qa_report, "The quality report")["reasons"])
    for row in sorted(clean, key=lambda row: row.task):
        found.lengths.setdefault(row.task, []).append(len(answer_text(row.answer)))
    for key in ("category", "difficulty"):
        found.balance[key] = Counter(getattr(row, key) for row in clean if getattr(row, key))
    found.balance["region"] = Counter(tag for row in clean for tag in row.region_tags)
    _count_splits(found, places)
    return found


def _judge(found: RunView, judged: Sequence[DatasetRow]) -> None:
    by_task: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    by_category: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in judged:
        outcome = 2 if row.reasons else 1 if row.refined else 0
        by_task[row.task][outcome] += 1
        if row.category:
            by_category[row.category][outcome] += 1
        kinds = (reason.split(":")[:_KINDS_OF_REASON] for reason in row.reasons)
        found.reasons.update({":".join(kind).strip() for kind in kinds})
    found.by_task = dict(sorted(by_task.items()))
    found.by_category = dict(sorted(by_category.items(), key=lambda x: (-sum(x[1]), x[0])))


def _count_calls(found: RunView, places: Places, judged: Iterable[DatasetRow]) -> None:
    """Each row's answers, whether or not they were of use; and what all runs spent."""
    for stage, call in _calls(places, judged):
        if call:
            found.costs.setdefault((stage, call["model"]), Cost()).add(call)
    for stage in ("drafts", "critiques", "dataset"):
        manifest = read_manifest(places.main(stage)) or {}
        found.spent_usd += sum(run["cost_usd"] for run in manifest.get("runs", ()))


def _calls(places: Places, judged: Iterable[DatasetRow]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for draft in _rows(places.drafts, DraftRow):
        yield "draft", draft.call
    for critique in _rows(places.critiques, CritiqueRow):
        yield "critique", critique.call
    for row in judged:
        for call in row.provenance["calls"]:
            if call["stage"] not in ("draft", "critique"):
                yield call["stage"], call


def _count_splits(found: RunView, places: Places) -> None:
    splits: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for i, split in enumerate(SPLITS):
        for row in _rows(places.splits / f"{split}.jsonl", SplitRow):
            splits[row.task][i] += 1
            found.steps[split] = found.steps.get(split, 0) + 1
    found.splits = dict(sorted(splits.items()))
    outputs = (read_manifest(places.main("sft")) or {}).get("outputs", {})
    suites = [Path(name).name for name in outputs if not name.endswith("_sft.jsonl")]
    found.suite = suites[0] if suites else ""


def _rows(path: Path, kind: type[R]) -> Iterator[R]:
    if path.is_file():
        yield from RowIndex(path, kind)
