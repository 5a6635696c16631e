"""What a whole run would cost, before it begins: no call, and no file that stays."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from lorachain.datagen.critique import CritiqueStage
from lorachain.datagen.draft import DraftStage
from lorachain.datagen.estimate import Estimate, estimate, prices_text
from lorachain.datagen.pipeline.job import Job
from lorachain.datagen.rowfiles import RowIndex, write_rows
from lorachain.datagen.rows import DraftRow, PlanRow
from lorachain.datagen.stage import Options

_USUAL_ANSWER = "word " * 630  # about 900 tokens, where there is no draft yet
_REFINED = 0.5  # of the rows, as a guess: refined, and criticised again


@dataclass(frozen=True)
class Price:
    """The stages that ask. A refinement is about as long as a critique, and so is a second one."""

    drafts: Estimate
    critiques: Estimate
    unfinished: int  # rows that may be refined


def price_of_run(job: Job) -> str:
    """What the job would cost, for people."""
    return price_text(job, price_of(job))


def price_of(job: Job) -> Price:
    """What is not done yet of the plan as it would be made now; of a batch, its prompts."""
    places = job.places
    limit = job.count if job.mode == "batch" else None
    options = Options(resume=True, limit=limit)
    with tempfile.TemporaryDirectory() as folder:
        plan, drafts = Path(folder) / "plan.jsonl", Path(folder) / "drafts.jsonl"
        write_rows(plan, job.plan().rows)
        stage = DraftStage(plan, places.drafts)
        found = estimate(stage, job.config, options)
        write_rows(drafts, _with_placeholders(stage, plan, places.drafts))
        critiques = estimate(CritiqueStage(drafts, places.critiques), job.config, options)
        judged = _count(places.journal)
        total = len(stage.ids)
    return Price(found, critiques, min(limit or total, max(0, total - judged)))


def _with_placeholders(stage: DraftStage, plan: Path, drafts: Path) -> list[DraftRow]:
    """The drafts that are done, and for every other row one of the usual length."""
    known = {row.id: row for row in RowIndex(drafts, DraftRow)} if drafts.is_file() else {}
    rows = []
    for row in RowIndex(plan, PlanRow):
        if row.id in known and known[row.id].stamp == stage.stamp(row.id):
            rows.append(known[row.id])
            continue
        call = {"key": stage.stamp(row.id)}
        rows.append(DraftRow(row.id, row.index, row.as_dict(), _USUAL_ANSWER, "none", call))
    return rows


def _count(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.is_file() else 0


def price_text(job: Job, found: Price) -> str:
    """The estimate for people."""
    drafts, critiques = found.drafts, found.critiques
    lines = [
        f"drafts: {drafts.calls} calls to {job.config.models[0]}" + _stored(drafts),
        f"critiques: {critiques.calls} calls" + _stored(critiques),
        f"refinements: at most two calls for each of {found.unfinished} rows",
    ]
    if drafts.likely_usd is None or critiques.likely_usd is None:
        lines.append("Cost: unknown. Name the models' prices under prices: in the config.")
        return "\n".join(lines)
    assert drafts.most_usd is not None and critiques.most_usd is not None
    each = critiques.likely_usd / max(1, critiques.calls)
    most = critiques.most_usd / max(1, critiques.calls)
    likely = drafts.likely_usd + critiques.likely_usd + 2 * _REFINED * each * found.unfinished
    worst = drafts.most_usd + critiques.most_usd + 2 * most * found.unfinished
    lines += [
        f"About ${likely:.2f} if half of the rows are refined; at most ${worst:.2f} where each "
        "call takes one request (--max-usd is a hard limit).",
        prices_text(job.config),
    ]
    return "\n".join(lines)


def _stored(found: Estimate) -> str:
    return f", {found.in_store} answers in the store already" if found.in_store else ""
