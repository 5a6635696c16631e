"""The batch tester: one or several versions, one file of questions, one file of results."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lorachain.errors import UserError
from lorachain.evaluation.asking import ask, find_base_of
from lorachain.evaluation.cautions import limit_notes
from lorachain.evaluation.chosen import find_versions
from lorachain.evaluation.compare import compare
from lorachain.evaluation.comparison import Comparison
from lorachain.evaluation.comparison_text import tasks_text, verdict_text
from lorachain.evaluation.evaluate import Evaluation, VersionResult
from lorachain.evaluation.flags import How
from lorachain.evaluation.run_record import Asked, write_run
from lorachain.evaluation.score import Scored, by_task, summary
from lorachain.evaluation.scorer_file import read_scorers
from lorachain.evaluation.scorers import Scorers
from lorachain.evaluation.tables import summary_table
from lorachain.evaluation.unscored import unscored, warn_of
from lorachain.files import write_json
from lorachain.paths import shown
from lorachain.suites import Suite, read_suite

WIDTH = 96


@dataclass(frozen=True)
class Request:
    """What the command line asks for. None means: not asked for."""

    models: tuple[Path, ...]
    with_base: bool
    questions: Path
    output: Path
    base_model: str | None = None
    how: How = field(default_factory=How)
    system: str | None = None
    limit: int | None = None
    schema: str | None = None
    scorers: Path | None = None

    @property
    def store(self) -> Path:
        """Where the answers are kept as they are made: beside the output."""
        return self.output.with_suffix(".answers")


def run(request: Request) -> str:
    """Ask, score, write the results. Returns the table to show.

    Raises UserError for whatever the user can mend, before any weights are loaded, and
    Interrupted after Ctrl-C.
    """
    scorers = None if request.scorers is None else read_scorers(request.scorers)
    suite = read_suite(
        request.questions, system=request.system, schema=request.schema, limit=request.limit
    )
    if scorers is not None:
        scorers.check([suite])
        scorers.warn_of_split([suite])
    versions = find_versions(request.models, with_base=request.with_base)
    _check_output(request)
    base = find_base_of(versions, request.base_model)
    evaluation = ask(
        *(base, versions, [suite]),
        store=request.store,
        store_flag="--output",
        how=request.how,
        scorers=scorers,
    )
    left_out = unscored(evaluation)
    warn_of(left_out)
    asked = Asked(request.system, request.schema, request.limit)
    now = datetime.now(UTC)
    compared = _compared(evaluation, scorers, now, request) if len(versions) > 1 else None
    write_run(
        *(request.store, evaluation),
        store=request.store,
        scorers=scorers,
        asked=asked,
        comparison=compared,
    )
    write_json(request.output, results(evaluation, now, compared))
    parts = [summary_table(evaluation.summary())]
    notes = [*limit_notes(request.limit), *(one.text for one in left_out)]
    if compared is not None and any(cell.scored for cell in compared.cells):
        parts += [verdict_text(compared), tasks_text(compared)]
        notes = list(compared.notes)
    parts += [textwrap.fill(f"Bear in mind: {note}", WIDTH) for note in notes]
    parts.append(f"Results: {shown(request.output)}")
    return "\n\n".join(part for part in parts if part)


def _compared(
    evaluation: Evaluation, scorers: Scorers | None, now: datetime, request: Request
) -> Comparison:
    headlines = scorers.headlines(evaluation.suites) if scorers else None
    found = compare(evaluation, created=now, headlines=headlines)
    return replace(found, notes=[*limit_notes(request.limit), *found.notes])


def results(
    evaluation: Evaluation, now: datetime, compared: Comparison | None = None
) -> dict[str, Any]:
    """The results file: {summary, results} for one version, one such section each for several,
    with the verdicts on them."""
    suite = evaluation.suites[0]
    sections = {r.version.name: _section(r, suite, evaluation, now) for r in evaluation.versions}
    if len(sections) == 1:
        return next(iter(sections.values()))
    return {
        "summary": {
            "test_date": _date(now),
            "questions": _questions(suite),
            "base": evaluation.base.name,
            "versions": {name: found[suite.name] for name, found in evaluation.summary().items()},
        },
        "models": sections,
        "comparison": None if compared is None else _verdicts(compared),
    }


def _verdicts(compared: Comparison) -> dict[str, Any]:
    """What decides between versions; cells and facts stand beside it in `models`."""
    found = compared.as_dict()
    return {key: found[key] for key in ("overall", "differences", "broken", "margin", "notes")}


def _section(
    result: VersionResult, suite: Suite, evaluation: Evaluation, now: datetime
) -> dict[str, Any]:
    answers = result.answers[suite.name]
    folder = result.version.folder
    return {
        "summary": {
            "test_date": _date(now),
            "model_path": str(folder) if folder else evaluation.base.name,
            **_tokens(answers),
            "questions": _questions(suite),
            "base": evaluation.base.name,
            "settings": result.settings.as_dict(),
            "scores": summary(answers),
            "by_task": by_task(answers),
        },
        "results": [_answer(answer) for answer in answers],
    }


def _tokens(answers: Sequence[Scored]) -> dict[str, Any]:
    """Totals and averages, by the names that the seeds' readers know."""
    n = len(answers)
    totals = {
        "input_tokens": sum(a.generated.prompt_tokens for a in answers),
        "output_tokens": sum(a.generated.output_tokens for a in answers),
    }
    totals["tokens"] = totals["input_tokens"] + totals["output_tokens"]
    return {
        "total_questions": n,
        **{f"total_{name}": total for name, total in totals.items()},
        "avg_input_tokens_per_question": round(totals["input_tokens"] / n, 2),
        "avg_output_tokens_per_question": round(totals["output_tokens"] / n, 2),
        "avg_total_tokens_per_question": round(totals["tokens"] / n, 2),
    }


def _answer(answer: Scored) -> dict[str, Any]:
    item, made = answer.item, answer.generated
    expected = item.answer if item.answer is not None else item.reference
    return {
        "question_id": item.id,
        "question": item.question,
        "expected_answer": expected,
        "model_answer": made.text,
        "topic": item.topic,
        "difficulty": item.difficulty,
        "token_usage": {
            "input_tokens": made.prompt_tokens,
            "output_tokens": made.output_tokens,
            "total_tokens": made.prompt_tokens + made.output_tokens,
        },
        "task": item.task,
        "finish": made.finish,
        "seconds": made.seconds,
        "batch_size": made.batch_size,
        "scores": answer.score.as_dict(),
    }


def _questions(suite: Suite) -> Mapping[str, Any]:
    return {"path": str(suite.path), "sha256": suite.sha256, "asked": len(suite.items)}


def _date(now: datetime) -> str:
    return now.isoformat(timespec="seconds")


def _check_output(request: Request) -> None:
    if request.output.is_dir():
        raise UserError(f"--output {shown(request.output)} is a folder; name a .json file in it.")
    if request.output in (request.questions, request.store):
        raise UserError(f"--output {shown(request.output)} would overwrite the questions.")
    try:
        request.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{shown(request.output.parent)} cannot be made: {error.strerror}. Choose another "
            "--output."
        ) from None
