"""What the teacher says of each draft: a verdict, issues with their severity, scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lorachain.answers import check_answer
from lorachain.datagen.answer_checks import document_of, schema_of
from lorachain.datagen.ask import Ask, Asked
from lorachain.datagen.draft import plan_of
from lorachain.datagen.rowfiles import RowIndex
from lorachain.datagen.rows import Call, CritiqueRow, DraftRow, PlanRow
from lorachain.datagen.stage import Stage
from lorachain.datagen.teacher_templates import (
    CRITIQUE,
    Template,
    asked_for,
    message,
    read_template,
)
from lorachain.errors import UserError
from lorachain.files import canonical_json, sha256_text
from lorachain.paths import shown

NAME = "critique"
SCHEMA = "critique"
SEVERE = ("high", "critical")


def critique_ask(plan: PlanRow, answer: str, template: Template) -> Ask:
    """The question for a critique of an answer. What a program finds in its form is not in it, so
    that a change of how answers are read asks nothing anew."""
    values = asked_for(plan, document_of(plan.schema))
    text = template.fill(
        **values,
        answer=answer,
        critique_schema=canonical_json(document_of(SCHEMA)),
    )
    return Ask(
        stage=NAME,
        messages=[message("user", text)],
        schema_name=SCHEMA,
        schema=document_of(SCHEMA),
        template_sha256=template.sha256,
        seed=plan.seed,
        check=unreadable_critique,
    )


def unreadable_critique(text: str) -> str:
    """Why a text is no critique, "" where it is one."""
    checked = check_answer(text, schema_of(SCHEMA)[0])
    if checked.lenient_valid:
        return ""
    first = checked.problems[0] if checked.problems else None
    return f"unreadable: {first.path}: {first.message}" if first else "unreadable: no JSON object"


def read_critique(call: Call) -> Mapping[str, Any] | None:
    """The critique in an answer, None where there is none."""
    if call.fault:
        return None
    value: Mapping[str, Any] = check_answer(call.text, schema_of(SCHEMA)[0]).answer.value
    return value


def severe_issues(critique: Mapping[str, Any]) -> list[str]:
    """The types of the issues that a row must not have."""
    return [issue["type"] for issue in critique["issues"] if issue["severity"] in SEVERE]


class CritiqueStage(Stage[CritiqueRow]):
    """From drafts to critiques. A draft that is no answer gets none, and costs nothing."""

    name = NAME
    kind = CritiqueRow

    def __init__(self, drafts: Path, output: Path, *, dry_run: bool = False) -> None:
        self.inputs = (drafts,)
        self.output = output
        self._dry_run = dry_run
        self._drafts = RowIndex(drafts, DraftRow, dry_run=dry_run)
        if not len(self._drafts):
            raise UserError(f"{shown(drafts)} has no rows. Make drafts with generate_drafts.py.")
        self._template = read_template(CRITIQUE)
        self.settings: Mapping[str, Any] = {"template_sha256": self._template.sha256}
        schema_of(SCHEMA)

    @property
    def ids(self) -> Sequence[str]:
        """The drafts'."""
        return self._drafts.ids

    def stamp(self, id_: str) -> str:
        """Over the draft and what is asked."""
        return self._stamp(self._drafts[id_])

    def asks(self, id_: str) -> Sequence[Ask]:
        """One question a draft that is an answer."""
        draft = self._drafts[id_]
        return [] if draft.call.get("fault") else [self._ask(draft)]

    async def make(self, id_: str, teacher: Asked) -> CritiqueRow:
        """Ask for the critique."""
        draft = self._drafts[id_]
        make = partial(
            CritiqueRow,
            id=draft.id,
            index=draft.index,
            draft_key=draft.call["key"],
            stamp=self._stamp(draft),
            dry_run=self._dry_run,
        )
        if draft.call.get("fault"):
            return make(critique=None, call={})
        call = await teacher.ask(self._ask(draft))
        critique = None if self._dry_run else read_critique(call)
        return make(critique=critique, call=call.provenance())

    def is_accepted(self, row: CritiqueRow) -> bool:
        """Whether it is a critique."""
        return row.critique is not None

    def calls(self, row: CritiqueRow) -> Iterable[Mapping[str, Any]]:
        """The one, if any."""
        return [row.call] if row.call else []

    def _ask(self, draft: DraftRow) -> Ask:
        return critique_ask(plan_of(draft), draft.answer, self._template)

    def _stamp(self, draft: DraftRow) -> str:
        asked = "" if draft.call.get("fault") else self._ask(draft).stamp
        return sha256_text(canonical_json([draft.call["key"], asked]))
