"""From plan, drafts and critiques to training rows: joined, judged, refined, and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lorachain.datagen.answer_checks import Judged, fingerprint_of
from lorachain.datagen.ask import Ask, Asked
from lorachain.datagen.gate import GATES, Gate, GatingMode, Outcome
from lorachain.datagen.rowfiles import RowIndex, write_rows
from lorachain.datagen.rows import CritiqueRow, DatasetRow, DraftRow, PlanRow
from lorachain.datagen.stage import Stage
from lorachain.datagen.teacher_templates import CRITIQUE, REFINE, read_template
from lorachain.errors import UserError
from lorachain.files import canonical_json, sha256_text, write_json
from lorachain.paths import shown

NAME = "dataset"
_KINDS_OF_REASON = 2  # parts of a reason that are counted together: `schema: path: ...`


class DatasetStage(Stage[DatasetRow]):
    """Rows of the plan that have a draft and a critique. `output` keeps every row, judged; from it
    come `accepted`, `rejected` and `stats`."""

    name = NAME
    kind = DatasetRow

    def __init__(
        self,
        plan: Path,
        drafts: Path,
        critiques: Path,
        accepted: Path,
        mode: GatingMode,
        *,
        dry_run: bool = False,
    ) -> None:
        self.inputs = (plan, drafts, critiques)
        self.accepted = accepted
        self.rejected = accepted.with_name(f"{accepted.stem}_rejected.jsonl")
        self.stats = accepted.with_name(f"{accepted.stem}_stats.json")
        self.output = accepted.with_name(f"{accepted.stem}.journal.jsonl")
        self._dry_run = dry_run
        self._plan = RowIndex(plan, PlanRow, dry_run=dry_run)
        self._drafts = RowIndex(drafts, DraftRow, dry_run=dry_run)
        self._critiques = RowIndex(critiques, CritiqueRow, dry_run=dry_run)
        self._gate = Gate(mode, read_template(REFINE), read_template(CRITIQUE))
        self.settings: Mapping[str, Any] = {
            "gating_mode": mode,
            "gates": GATES,
            "refine_sha256": self._gate.refine.sha256,
            "critique_sha256": self._gate.critique.sha256,
        }
        self._waiting: Counter[str] = Counter()
        self._ids = [id_ for id_ in self._plan.ids if self._is_ready(id_)]
        self.notes = [f"{count} {what}" for what, count in sorted(self._waiting.items())]
        if not self._ids:
            raise UserError(
                f"No row of {shown(plan)} has a draft in {shown(drafts)} and a critique in "
                f"{shown(critiques)}. " + "; ".join(self.notes)
            )

    @property
    def main(self) -> Path:
        """The accepted rows."""
        return self.accepted

    @property
    def outputs(self) -> Sequence[Path]:
        """What comes from the journal."""
        return (self.accepted, self.rejected, self.stats)

    @property
    def ids(self) -> Sequence[str]:
        """The plan's rows that have all that they need."""
        return self._ids

    def stamp(self, id_: str) -> str:
        """Over the plan row, its draft and critique, the gate, and how answers are read."""
        plan, draft, critique = self._joined(id_)
        made_from = [
            plan.as_dict(),
            [draft.call["key"], draft.answer, draft.call.get("fault")],
            critique.critique,
            dict(self.settings),
            fingerprint_of(plan.schema),
        ]
        return sha256_text(canonical_json(made_from))

    def asks(self, id_: str) -> Sequence[Ask]:
        """A refinement where one is needed. A second critique may follow."""
        joined = self._joined(id_)
        return [self._gate.refine_ask(*joined)] if self._gate.needs_refining(*joined) else []

    async def make(self, id_: str, teacher: Asked) -> DatasetRow:
        """Judge, and refine where that helps."""
        plan, draft, critique = self._joined(id_)
        if self._dry_run:
            judged = Judged(draft.answer, "none", ())
            outcome = Outcome(judged, gate={"mode": self._gate.mode, "dry_run": True})
        else:
            outcome = await self._gate.judge(plan, draft, critique, teacher)
        return self._row(plan, draft, critique, outcome)

    def is_accepted(self, row: DatasetRow) -> bool:
        """Whether it is a training row."""
        return not row.reasons

    def calls(self, row: DatasetRow) -> Iterable[Mapping[str, Any]]:
        """Refinement and second critique: what this stage made itself."""
        calls: list[Mapping[str, Any]] = row.provenance["calls"]
        return [call for call in calls if call["stage"] in ("refine", "second critique")]

    def finish(self, rows: RowIndex[DatasetRow]) -> None:
        """Write accepted and rejected rows and the counts."""
        write_rows(self.accepted, self._chosen(rows, accepted=True))
        write_rows(self.rejected, self._chosen(rows, accepted=False))
        write_json(self.stats, self._counted(rows))

    def _chosen(self, rows: RowIndex[DatasetRow], *, accepted: bool) -> Iterator[DatasetRow]:
        """The rows of one of the two files."""
        for row in rows:
            if self.is_accepted(row) == accepted:
                yield row

    def _counted(self, rows: RowIndex[DatasetRow]) -> dict[str, Any]:
        reasons: Counter[str] = Counter()
        verdicts: Counter[str] = Counter()
        tasks: dict[str, Counter[str]] = {}
        totals: Counter[str] = Counter()
        cost = 0.0
        for row in rows:
            kind = "accepted" if self.is_accepted(row) else "rejected"
            totals[kind] += 1
            totals["refined"] += row.refined
            tasks.setdefault(row.task, Counter())[kind] += 1
            verdicts[str(row.gate.get("verdict", "none"))] += 1
            for reason in {_short(reason) for reason in row.reasons}:
                reasons[reason] += 1
            cost += row.provenance["cost_usd"]
        return {
            "dry_run": self._dry_run,
            "gating_mode": self._gate.mode,
            "planned": len(self._plan),
            "judged": len(rows),
            "waiting": dict(sorted(self._waiting.items())),
            **{kind: totals[kind] for kind in ("accepted", "rejected", "refined")},
            "acceptance_rate": round(totals["accepted"] / len(rows), 4) if len(rows) else None,
            "verdicts": dict(sorted(verdicts.items())),
            "reasons": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
            "tasks": {task: dict(sorted(tasks[task].items())) for task in sorted(tasks)},
            "cost_usd": round(cost, 6),
        }

    def _is_ready(self, id_: str) -> bool:
        """Whether there is a draft of this very plan row, and a critique of this very draft."""
        what = ""
        if id_ not in self._drafts:
            what = "rows have no draft yet (generate_drafts.py --resume)"
        elif dict(self._drafts[id_].plan) != _as_json(self._plan[id_]):
            what = "drafts are of an older plan row (generate_drafts.py --resume)"
        elif id_ not in self._critiques:
            what = "rows have no critique yet (generate_critiques.py --resume)"
        elif self._critiques[id_].draft_key != self._drafts[id_].call["key"]:
            what = "critiques are of an older draft (generate_critiques.py --resume)"
        if what:
            self._waiting[what] += 1
        return not what

    def _joined(self, id_: str) -> tuple[PlanRow, DraftRow, CritiqueRow]:
        return self._plan[id_], self._drafts[id_], self._critiques[id_]

    def _row(
        self, plan: PlanRow, draft: DraftRow, critique: CritiqueRow, outcome: Outcome
    ) -> DatasetRow:
        named = [("draft", draft.call), ("critique", critique.call)]
        named += zip(("refine", "second critique"), outcome.calls, strict=False)
        calls = [{"stage": stage, **call} for stage, call in named if call]
        provenance = {
            "models": sorted({call["model"] for call in calls}),
            "prompt_tokens": sum(call["prompt_tokens"] for call in calls),
            "output_tokens": sum(call["output_tokens"] for call in calls),
            "cost_usd": round(sum(call["cost_usd"] or 0.0 for call in calls), 9),
            "calls": calls,
            "plan": {"template_sha256": plan.template_sha256, "spec_sha256": plan.spec_sha256},
        }
        row = DatasetRow(
            id=plan.id,
            index=plan.index,
            spec=plan.spec,
            task=plan.task,
            prompt=plan.prompt,
            system=plan.system,
            answer=outcome.judged.value,
            schema=plan.schema,
            expected=plan.expected,
            category=plan.category,
            difficulty=plan.difficulty,
            region_tags=list(plan.region_tags),
            refined=outcome.refined,
            reasons=list(outcome.reasons),
            gate=outcome.gate,
            parents=[call["key"] for call in calls],
            provenance=provenance,
            stamp=self.stamp(plan.id),
            dry_run=self._dry_run,
        )
        return replace(row, answer=draft.answer) if row.answer is None else row


def _as_json(plan: PlanRow) -> dict[str, Any]:
    """A plan row as it comes back from a file."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in plan.as_dict().items()}


def _short(reason: str) -> str:
    """A reason without what differs from row to row."""
    return ":".join(reason.split(":")[:_KINDS_OF_REASON]).strip()
