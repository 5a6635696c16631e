"""The first stage that costs: the teacher's answer to each prompt of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lorachain.answers import parse_answer
from lorachain.datagen.answer_checks import document_of, schema_of, unreadable
from lorachain.datagen.ask import Ask, Asked
from lorachain.datagen.rowfiles import RowIndex
from lorachain.datagen.rows import DraftRow, PlanRow
from lorachain.datagen.stage import Stage
from lorachain.datagen.teacher_templates import DRAFT, asked_for, message, read_template
from lorachain.errors import UserError
from lorachain.paths import shown

NAME = "draft"


class DraftStage(Stage[DraftRow]):
    """From a plan to drafts."""

    name = NAME
    kind = DraftRow

    def __init__(self, plan: Path, output: Path, *, dry_run: bool = False) -> None:
        self.inputs = (plan,)
        self.output = output
        self._dry_run = dry_run
        self._plan = RowIndex(plan, PlanRow, dry_run=dry_run)
        if not len(self._plan):
            raise UserError(f"{shown(plan)} has no rows. Make a plan with plan_prompts.py.")
        for name in sorted({row.schema for row in self._plan if row.schema}):
            schema_of(name)
        self._template = read_template(DRAFT)
        self.settings: Mapping[str, Any] = {"template_sha256": self._template.sha256}

    @property
    def ids(self) -> Sequence[str]:
        """The plan's."""
        return self._plan.ids

    def stamp(self, id_: str) -> str:
        """Over the plan row and what is asked."""
        return self._ask(self._plan[id_]).stamp

    def asks(self, id_: str) -> Sequence[Ask]:
        """One question a row."""
        return [self._ask(self._plan[id_])]

    async def make(self, id_: str, teacher: Asked) -> DraftRow:
        """Ask for the answer."""
        plan = self._plan[id_]
        ask = self._ask(plan)
        call = await teacher.ask(ask)
        schema = None if plan.schema is None else schema_of(plan.schema)[0]
        tier = "none" if schema is None else parse_answer(call.text, schema).tier
        return DraftRow(
            id=plan.id,
            index=plan.index,
            plan=plan.as_dict(),
            answer=call.text,
            tier=tier,
            call=call.provenance(),
            stamp=ask.stamp,
            dry_run=self._dry_run,
        )

    def is_accepted(self, row: DraftRow) -> bool:
        """Whether it is an answer."""
        return not row.call.get("fault")

    def calls(self, row: DraftRow) -> Iterable[Mapping[str, Any]]:
        """The one."""
        return [row.call]

    def _ask(self, plan: PlanRow) -> Ask:
        schema = document_of(plan.schema)
        system = self._template.fill(**asked_for(plan, schema))
        return Ask(
            stage=NAME,
            messages=[message("system", system), message("user", plan.prompt)],
            schema_name=plan.task or plan.schema,
            schema=schema,
            template_sha256=self._template.sha256,
            seed=plan.seed,
            check=partial(unreadable, schema=plan.schema),
        )


def plan_of(draft: DraftRow) -> PlanRow:
    """The plan row that a draft answers."""
    return PlanRow(**draft.plan)
