"""The batch tester: one or several versions, one file of questions, one file of results."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lorachain import lineage, machine, models
from lorachain.config import StageConfig
from lorachain.errors import UserError
from lorachain.evaluation.evaluate import (
    BASE,
    Evaluation,
    Version,
    VersionResult,
    check_base,
    evaluate_versions,
    evaluation_precision,
    find_version,
)
from lorachain.evaluation.generated import Decoding
from lorachain.evaluation.progress import Progress
from lorachain.evaluation.score import Scored, by_task, summary
from lorachain.evaluation.suites import Suite, read_suite
from lorachain.evaluation.tables import summary_table
from lorachain.files import write_json
from lorachain.paths import shown

log = logging.getLogger("lorachain")


@dataclass(frozen=True)
class Request:
    """What the command line asks for. None means: not asked for."""

    models: tuple[Path, ...]
    with_base: bool
    questions: Path
    output: Path
    base_model: str | None = None
    batch_size: int = 8
    decoding: Decoding = field(default_factory=Decoding)
    system: str | None = None
    limit: int | None = None
    schema: str | None = None
    dtype: str | None = None
    quantization: str | None = None
    cpu: bool = False

    @property
    def store(self) -> Path:
        """Where the answers are kept as they are made: beside the output."""
        return self.output.with_suffix(".answers")


def run(request: Request) -> str:
    """Ask, score, write the results. Returns the table to show.

    Raises UserError for whatever the user can mend, before any weights are loaded, and
    Interrupted after Ctrl-C.
    """
    suite = read_suite(
        request.questions, system=request.system, schema=request.schema, limit=request.limit
    )
    versions = _versions(request)
    _check_output(request)
    base = models.find_base(request.base_model or _base_name(versions))
    for version in versions:
        check_base(version, base)
    if request.cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # before torch is imported; "" is lost on Windows
    here = machine.detect()
    precision = evaluation_precision(versions, here, request.dtype, request.quantization)
    for line in precision.replaced:
        if not line.startswith("training."):
            log.info("%s", line)
    with Progress() as progress:
        evaluation = evaluate_versions(
            base,
            versions,
            [suite],
            store=request.store,
            machine=here,
            precision=precision,
            decoding=request.decoding,
            batch_size=request.batch_size,
            on_progress=progress,
        )
    write_json(request.output, results(evaluation, datetime.now(UTC)))
    for result in evaluation.versions:
        if result.reused:
            log.info("%s: %d answers were there already.", result.version.name, result.reused)
    return f"{summary_table(evaluation.summary())}\n\nResults: {shown(request.output)}"


def results(evaluation: Evaluation, now: datetime) -> dict[str, Any]:
    """The results file: {summary, results} for one version, one such section each for several."""
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
    }


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


def _versions(request: Request) -> list[Version]:
    """The base first, then the versions in the order given, each name once."""
    folders = list(dict.fromkeys(request.models))
    found = [find_version(folder) for folder in folders]
    _check_one_base(found)
    times = Counter([BASE, *(version.name for version in found)])
    named = [
        replace(version, name=_path_name(version)) if times[version.name] > 1 else version
        for version in found
    ]
    return [Version(BASE), *named] if request.with_base else named


def _path_name(version: Version) -> str:
    """What tells a version from another one, or from the base, of the same name."""
    name = shown(version.folder or BASE)
    return str(version.folder) if name == BASE else name


def _check_one_base(versions: Sequence[Version]) -> None:
    bases: dict[str, str] = {}
    for version in versions:
        assert version.folder is not None
        found = lineage.read(version.folder)
        bases[found.base_fingerprint["id"]] = f"{shown(version.folder)} on {found.base_name}"
    if len(bases) > 1:
        raise UserError(
            f"These versions stand on different bases: {'; '.join(bases.values())}. Test them one "
            "base at a time."
        )


def _base_name(versions: Sequence[Version]) -> str:
    folder = next((version.folder for version in versions if version.folder), None)
    return StageConfig().model.base_model if folder is None else lineage.read(folder).base_name


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
