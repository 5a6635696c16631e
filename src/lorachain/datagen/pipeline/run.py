"""Runs the stages one after the other, within one budget. What is done already costs nothing.

The same command goes on after a stop of any kind: each stage makes what is missing, and answers
that were paid for are in the store.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from lorachain.datagen.budget import Budget
from lorachain.datagen.build import DatasetStage
from lorachain.datagen.command import summary
from lorachain.datagen.critique import CritiqueStage
from lorachain.datagen.draft import DraftStage
from lorachain.datagen.local_stages import sft_files, split_files
from lorachain.datagen.pipeline.flags import STAGES
from lorachain.datagen.pipeline.job import Job
from lorachain.datagen.pipeline.places import Places
from lorachain.datagen.pipeline.splitting import SEED, rule_for, suite_for, suite_size
from lorachain.datagen.plan_files import plan_files
from lorachain.datagen.qa_files import qa_files
from lorachain.datagen.rowfiles import RowIndex
from lorachain.datagen.rows import DatasetRow, DraftRow, PlanRow, SplitRow
from lorachain.datagen.run_stage import run_stage
from lorachain.datagen.stage import Options, Stage
from lorachain.errors import UserError
from lorachain.files import write_text
from lorachain.paths import from_project, runnable, shown

log = logging.getLogger("lorachain")
AGAIN = "the same command"


def run_pipeline(job: Job) -> str:
    """Run what the job asks for; what came of it, for people.

    Raises UserError and Interrupted as the stages do. What is finished is kept.
    """
    run = PipelineRun(job)
    for stage in STAGES[STAGES.index(job.first) :]:
        why = run.stops_before(stage)
        if why:
            return run.closing(why)
        log.info("== %s", stage)
        for line in run.stage(stage).splitlines():
            log.info("   %s", line)
    return run.closing("")


class PipelineRun:
    """One run, and what it spent so far."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.places = job.places
        self.dry_run = job.config.runtime.dry_run
        self.budget = Budget(job.config.runtime.max_usd, job.config.runtime.max_calls)
        self._stages: dict[str, Callable[[], str]] = {
            "plan": self._plan,
            "drafts": self._drafts,
            "critiques": self._critiques,
            "dataset": self._dataset,
            "qa": lambda: qa_files(self.places.dataset, self.places.clean),
            "split": self._split,
            "sft": self._sft,
        }

    def stage(self, name: str) -> str:
        """Run one stage; what came of it."""
        return self._stages[name]()

    def stops_before(self, stage: str) -> str:
        """Why a run ends in good order before this stage, "" where it does not."""
        if stage not in ("qa", "split", "sft"):
            return ""
        if self.dry_run:
            return "A dry run ends here: no teacher wrote its rows, and no later stage takes them."
        if self.job.mode == "batch" and (left := self._left()):
            return (
                f"{left} of {len(self._plan_rows())} prompts are left: {AGAIN} makes the next "
                "ones; after the last of them it splits the rows and writes the training files."
            )
        if stage == "qa" and not len(RowIndex(self.places.dataset, DatasetRow)):
            self._report()
            raise UserError(
                f"No answer was accepted, so there is nothing to train on. Why, row by row: "
                f"{shown(self.places.rejected)}; all together: {shown(self.places.report)}."
            )
        return ""

    def closing(self, why: str) -> str:
        """What the user is told at the end. Writes the page."""
        lines = [why] if why else []
        if not self.dry_run:
            self._report()
            spent, calls = self.budget.spent_usd, self.budget.calls
            lines.append(f"This run: {calls} requests, ${spent:.4f}.")
            lines.append(f"The page: {shown(self.places.report)}")
        if not why:
            lines.append(f"Next: {self._next()}")
        return "\n".join(lines)

    def _next(self) -> str:
        return (
            self.job.command("--full") if self.job.mode == "sample" else train_command(self.places)
        )

    def _report(self) -> None:
        from lorachain.datagen.pipeline.page import render_run

        write_text(self.places.report, render_run(self.places))

    def _plan(self) -> str:
        job = self.job
        return plan_files(job.spec, self.places.interim, job.from_failures, job.limit, job.suites)

    def _drafts(self) -> str:
        stage = DraftStage(self.places.plan, self.places.drafts, dry_run=self.dry_run)
        return self._ask(stage, self._new_drafts(stage) if self.job.mode == "batch" else None)

    def _critiques(self) -> str:
        places = self.places
        return self._ask(CritiqueStage(places.drafts, places.critiques, dry_run=self.dry_run))

    def _dataset(self) -> str:
        places = self.places
        inputs = (places.plan, places.drafts, places.critiques, places.dataset)
        return self._ask(DatasetStage(*inputs, self.job.gating_mode, dry_run=self.dry_run))

    def _ask(self, stage: Stage[Any], limit: int | None = None) -> str:
        options = Options(resume=True, limit=limit, dry_run=self.dry_run, again=AGAIN)
        return summary(stage, run_stage(stage, self.job.config, options, self.budget), AGAIN)

    def _new_drafts(self, stage: DraftStage) -> int:
        """How many prompts a batch adds: fewer where the last one stopped half way."""
        assert self.job.count is not None
        if not self.places.drafts.is_file():
            return self.job.count
        drafts = RowIndex(self.places.drafts, DraftRow, dry_run=self.dry_run)
        judged = self._judged()
        pending = [
            id_
            for id_ in stage.ids
            if id_ in drafts and id_ not in judged and drafts[id_].stamp == stage.stamp(id_)
        ]
        return max(0, self.job.count - len(pending))

    def _judged(self) -> set[str]:
        if not self.places.journal.is_file():
            return set()
        return set(RowIndex(self.places.journal, DatasetRow, dry_run=self.dry_run).ids)

    def _plan_rows(self) -> RowIndex[PlanRow]:
        return RowIndex(self.places.plan, PlanRow)

    def _left(self) -> int:
        return len(set(self._plan_rows().ids) - self._judged())

    def _split(self) -> str:
        places, job = self.places, self.job
        rows = len(RowIndex(places.clean, DatasetRow))
        return split_files(
            *(places.clean, places.splits, rule_for(rows, places.splits)),
            drop_leaks=job.drop_leaks,
            suites=job.suites,
            models=job.models,
        )

    def _sft(self) -> str:
        places = self.places
        test = RowIndex(places.splits / "test.jsonl", SplitRow)
        known = suite_for(next(iter(self._plan_rows())).spec, places.suites)
        return sft_files(
            *(places.splits, places.sft, SEED, known),
            count=suite_size(len(test)),
            suites=places.suites,
        )


def train_command(places: Places) -> str:
    """What trains on the rows of a run."""
    train, val = (places.sft / f"{split}_sft.jsonl" for split in ("train", "val"))
    script = from_project("src/training/fine_tune.py")
    return runnable(script, "--train-data", train, "--val-data", val)
