"""A comparison on disk, made without a model: the answers are put into the store by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evaluation_support import CPU, FP32

from lorachain.evaluation.compare import compare
from lorachain.evaluation.comparison import Comparison
from lorachain.evaluation.comparison_folder import write_comparison
from lorachain.evaluation.evaluate import Evaluation, Version, evaluate_versions
from lorachain.evaluation.generated import Decoding, Generated
from lorachain.evaluation.results import open_store, settings
from lorachain.evaluation.run_record import write_run
from lorachain.evaluation.scorer_file import read_scorers
from lorachain.models import Base, Fingerprint
from lorachain.suites import read_suite

CARD = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
GOOD = '{"name": "Ana", "age": 31}'
ANSWERS = {
    "base": [GOOD, "I do not know.", '{"name": "Ana"}', GOOD],
    "v1": [GOOD, GOOD, '{"name": "Ana"}', f"Sure: {GOOD}"],
}
CREATED = datetime(2026, 3, 14, 15, 9, tzinfo=UTC)
TASKS = ["card", "card", "short", "short"]


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A JSON Lines file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_suite(folder: Path, **changes: Any) -> Path:
    """Four items of two tasks with a reference, and the schema that they name beside them."""
    schema = folder / "card.schema.json"
    if not schema.exists():
        schema.write_text(json.dumps(CARD), encoding="utf-8")
    item = {"schema": str(schema), "reference": {"name": "Ana", "age": 31}, **changes}
    rows = [{"id": i, "prompt": f"Card {i}?", "task": t, **item} for i, t in enumerate(TASKS)]
    return write_lines(folder / "cards.jsonl", rows)


def make_comparison(
    folder: Path,
    suite: Path,
    answers: Mapping[str, Sequence[str]] = ANSWERS,
    scorers_file: Path | None = None,
) -> Evaluation:
    """Answers in `folder`/answers, scored and written down in `folder`."""
    suites = [read_suite(suite)]
    base = Base("tiny", folder / "tiny", Fingerprint("c", "k", "t", "w"))
    names = {name: "base" if name == "base" else name * 8 for name in answers}
    versions = [Version(name, None, sha256) for name, sha256 in names.items()]
    with open_store(folder / "answers") as store:
        for version in versions:
            made = settings(version.sha256, base, Decoding(), FP32, "cpu", 8)
            texts = answers[version.name]
            for item, text in zip(suites[0].items, texts, strict=False):
                put = Generated(text, 10, 5, "eos", 0.1, 8)
                store.put(made, item.prompt_sha256, put)
    scorers = read_scorers(scorers_file) if scorers_file else None
    evaluation = evaluate_versions(
        *(base, versions, suites),
        store=folder / "answers",
        machine=CPU,
        precision=FP32,
        scorers=scorers,
    )
    write_run(folder, evaluation, store=folder / "answers", scorers=scorers)
    return evaluation


def make_judged(
    folder: Path,
    answers: Mapping[str, Sequence[str]],
    scorers_file: Path | None = None,
    *,
    margin: float = 0.05,
    pairs: Sequence[tuple[str, str]] | None = None,
    **page: Any,
) -> Comparison:
    """A comparison as compare_versions.py writes it in `folder`, on as many items of one suite
    beside it as each version has answers."""
    write_suite(folder.parent)
    schema = str(folder.parent / "card.schema.json")
    reference = {"name": "Ana", "age": 31}
    rows = [
        {"id": f"card-{i}", "prompt": f"Card {i}?", "schema": schema, "reference": reference}
        for i in range(len(next(iter(answers.values()))))
    ]
    suite = write_lines(folder.parent / "many.jsonl", rows)
    evaluation = make_comparison(folder, suite, answers, scorers_file)
    scorers = read_scorers(scorers_file) if scorers_file else None
    comparison = compare(
        evaluation,
        created=CREATED,
        margin=margin,
        pairs=pairs,
        headlines=scorers.headlines(evaluation.suites) if scorers else None,
    )
    given = {"title": "The title", "facts": {"base": "tiny"}, **page}
    store = folder / "answers"
    write_comparison(folder, evaluation, comparison, store=store, scorers=scorers, **given)
    return comparison
