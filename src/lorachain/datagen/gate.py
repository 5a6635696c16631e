"""Which answers become training rows: what a form, a schema and a critique have to say.

    strict    the critique of the answer that is kept says pass, and names no severe issue
    lenient   it may say revise, as long as no issue is severe; where there is no critique that can
              be read, the answer's own form decides

In both the answer must fit its schema and its expected values, read without a guess, and what the
critique rejects is out. An answer with faults that can be mended is refined once; what was refined
is criticised again where the first critique is not good enough for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from lorachain.datagen.answer_checks import Judged, document_of, judge_for, unreadable
from lorachain.datagen.ask import Ask, Asked
from lorachain.datagen.critique import critique_ask, read_critique, severe_issues
from lorachain.datagen.rows import Call, CritiqueRow, DraftRow, PlanRow
from lorachain.datagen.teacher_templates import Template, asked_for, message

GatingMode = Literal["lenient", "strict"]
MODES: tuple[GatingMode, ...] = ("lenient", "strict")
GATES = 1
"""Raised when a change of this file can change what is accepted: rows are judged anew."""

REFINE_STAGE = "refine"


@dataclass
class Outcome:
    """What became of a draft. `reasons` are empty for an answer that is kept."""

    judged: Judged
    refined: bool = False
    reasons: tuple[str, ...] = ()
    gate: dict[str, Any] = field(default_factory=dict)
    calls: list[Mapping[str, Any]] = field(default_factory=list)  # made here


@dataclass(frozen=True)
class Gate:
    """The rules, and what the teacher is told."""

    mode: GatingMode
    refine: Template
    critique: Template

    def needs_refining(self, plan: PlanRow, draft: DraftRow, critique: CritiqueRow) -> bool:
        """Whether the draft has faults that the teacher is to mend."""
        if draft.call.get("fault") or _verdict(critique.critique) == "reject":
            return False
        if critique.critique is None and self.mode == "strict":
            return False
        has_problems = bool(judge_for(plan, draft.answer).problems)
        return (
            has_problems
            or _verdict(critique.critique) == "revise"
            or bool(critique.critique and severe_issues(critique.critique))
        )

    def refine_ask(self, plan: PlanRow, draft: DraftRow, critique: CritiqueRow) -> Ask:
        """The question for a better answer."""
        issues = (critique.critique or {}).get("issues", [])
        schema = document_of(plan.schema)
        text = self.refine.fill(
            **asked_for(plan, schema),
            answer=draft.answer,
            issues=list(issues),
            problems=list(judge_for(plan, draft.answer).problems),
        )
        return Ask(
            stage=REFINE_STAGE,
            messages=[message("user", text)],
            schema_name=plan.task or plan.schema,
            schema=schema,
            template_sha256=self.refine.sha256,
            seed=plan.seed,
            check=partial(unreadable, schema=plan.schema),
        )

    async def judge(
        self, plan: PlanRow, draft: DraftRow, critique: CritiqueRow, teacher: Asked
    ) -> Outcome:
        """Keep the draft, refine it, or say why not. Raises what `Asked.ask` raises."""
        judged = judge_for(plan, draft.answer)
        gate = {
            "mode": self.mode,
            "draft": str(draft.call.get("fault") or "pass"),
            "form": judged.problems[0] if judged.problems else "pass",
            "verdict": _verdict(critique.critique) or "none",
            "severe": sorted(set(severe_issues(critique.critique or {"issues": []}))),
        }
        if self.needs_refining(plan, draft, critique):
            return await self._refined(plan, draft, critique, teacher, judged, gate)
        reasons = self._reasons(draft, critique, judged)
        return Outcome(judged, reasons=reasons, gate=gate)

    def _reasons(self, draft: DraftRow, critique: CritiqueRow, judged: Judged) -> tuple[str, ...]:
        """Why a draft that is not refined is out; nothing for one that is kept."""
        if draft.call.get("fault"):
            return (f"draft: {draft.call['fault']}",)
        return (*judged.problems, *self._objections(critique.critique))

    def _objections(self, critique: Mapping[str, Any] | None) -> list[str]:
        """What a critique has against an answer."""
        if critique is None:
            return ["critique: none that can be read"] if self.mode == "strict" else []
        found = [f"critique: {kind}, severe" for kind in sorted(set(severe_issues(critique)))]
        allowed = ("pass",) if self.mode == "strict" else ("pass", "revise")
        if critique["verdict"] not in allowed:
            found.insert(0, f"critique: {critique['verdict']}")
        return found

    async def _refined(
        self,
        plan: PlanRow,
        draft: DraftRow,
        critique: CritiqueRow,
        teacher: Asked,
        first: Judged,
        gate: dict[str, Any],
    ) -> Outcome:
        """A better answer, criticised again where the first critique does not allow it."""
        call = await teacher.ask(self.refine_ask(plan, draft, critique))
        calls: list[Mapping[str, Any]] = [call.provenance()]
        judged = judge_for(plan, call.text)
        reasons = _of_refined(call, judged)
        gate["refined"] = reasons[0] if reasons else "pass"
        objections = self._objections(critique.critique)
        if not reasons and objections:
            again = await teacher.ask(critique_ask(plan, call.text, self.critique))
            calls.append(again.provenance())
            second = read_critique(again)
            gate["second_verdict"] = _verdict(second) or "none"
            reasons = [f"refined: {text}" for text in self._objections(second)]
            if second is None and not reasons:
                reasons = ["refined: critique: none that can be read"]
        if reasons and not first.problems and not objections:
            gate["kept"] = "draft"  # nothing stood against it; only the refinement went wrong
            return Outcome(first, gate=gate, calls=calls)
        return Outcome(judged, True, tuple(reasons), gate, calls)


def _of_refined(call: Call, judged: Judged) -> list[str]:
    if call.fault:
        return [f"refined: {call.fault}"]
    return [f"refined: {problem}" for problem in judged.problems]


def _verdict(critique: Mapping[str, Any] | None) -> str:
    return "" if critique is None else str(critique["verdict"])
