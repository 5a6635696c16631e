"""The command line of src/evaluation/run_samples.py: base against one version on one suite."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lorachain import cli
from lorachain.errors import UserError
from lorachain.evaluation.asking import ask, find_base_of
from lorachain.evaluation.cautions import limit_notes
from lorachain.evaluation.chosen import find_versions
from lorachain.evaluation.compare import compare
from lorachain.evaluation.evaluate import BASE
from lorachain.evaluation.flags import (
    ANSWERS,
    How,
    add_answers,
    add_base_model,
    add_how,
    read_how,
)
from lorachain.evaluation.report_text import between, percent, points
from lorachain.evaluation.samples import TUNED, Samples
from lorachain.evaluation.tables import format_table
from lorachain.files import folder_lock, write_json
from lorachain.jsonl import write_objects
from lorachain.paths import from_user, shown
from lorachain.suites import Suite, read_suite

FOLDER = "samples"
METRICS = "comparison_metrics.json"
FAILURES = "schema_failures_debug.jsonl"
WIDTH = 96


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    run_dir: Path
    prompts: Path
    answers: Path = ANSWERS
    base_model: str | None = None
    schema: str | None = None
    limit: int | None = None
    how: How = field(default_factory=How)


def read_arguments(description: str, argv: Sequence[str] | None) -> Request:
    """From the command line to a request. Exits with code 2 on an argument that is wrong."""
    args = make_parser(description).parse_args(argv)
    return Request(
        run_dir=args.run_dir,
        prompts=args.prompts,
        answers=args.answers,
        base_model=args.base_model,
        schema=args.schema,
        limit=args.limit,
        how=read_how(args),
    )


def make_parser(description: str) -> argparse.ArgumentParser:
    """All flags."""
    parser = cli.ArgumentParser(description=description)
    what = parser.add_argument_group("what is compared")
    what.add_argument(
        "--run-dir",
        type=from_user,
        required=True,
        metavar="FOLDER",
        help=f"a finished version; the results go to its {FOLDER}/",
    )
    what.add_argument(
        "--prompts",
        type=from_user,
        required=True,
        metavar="FILE",
        help="the suite, such as eval/suites/fixed20_v1.jsonl",
    )
    what.add_argument("--limit", type=cli.whole, metavar="N", help="ask only the first N items")
    what.add_argument(
        "--schema", metavar="NAME", help="the schema of items that name none: a name, or a file"
    )
    add_base_model(what)
    add_answers(what)
    add_how(parser.add_argument_group("how answers are made"))
    return parser


def run(request: Request) -> str:
    """Ask both sides, write the files. Returns what to show.

    Raises UserError for whatever the user can mend, before any weights are loaded, and
    Interrupted after Ctrl-C.
    """
    suite = read_suite(request.prompts, schema=request.schema, limit=request.limit)
    _check_schemas(suite)
    versions = find_versions([request.run_dir], with_base=True)
    base = find_base_of(versions, request.base_model)
    folder = request.run_dir / FOLDER
    with folder_lock(folder, "The folder of samples"):
        found = Samples(ask(base, versions, [suite], store=request.answers, how=request.how))
        now = datetime.now(UTC)
        compared = compare(found.evaluation, created=now, margin=found.margin)
        notes = [*limit_notes(request.limit), *compared.notes]
        _write(folder, found, notes, now)
    said = [textwrap.fill(f"Bear in mind: {note}", WIDTH) for note in notes]
    return "\n\n".join([text(found), *said, f"Files: {shown(folder)}"])


def _check_schemas(suite: Suite) -> None:
    if not suite.schemas:
        raise UserError(
            f"No item of {shown(suite.path)} names a schema that answers could be checked against. "
            "Name one for all of them with --schema (envelope, say), or ask them with "
            "batch_test_model.py."
        )


def _write(folder: Path, found: Samples, notes: Sequence[str], now: datetime) -> None:
    """All files, the metrics last: that they are there means that the others belong to them."""
    (folder / METRICS).unlink(missing_ok=True)
    for side in (BASE, TUNED):
        write_objects(folder / f"{side}_outputs.jsonl", found.outputs(side))
    write_objects(folder / FAILURES, found.failures())
    write_json(folder / METRICS, found.metrics(now) | {"notes": list(notes)})


def text(found: Samples) -> str:
    """For a terminal: the verdict, the rates of both sides, what fails."""
    name = found.results[TUNED].version.name
    first = found.lines[0]
    verdict = f"{name} against its base on {found.suite.name}, by {first.rate}: {first.reason}."
    rows = [
        [
            line.rate,
            percent(line.base),
            percent(line.tuned),
            points(line.paired.value),
            between(line.paired.interval),
            line.verdict,
        ]
        for line in found.lines
    ]
    headers = ["", "base", name, "points", "95% interval", ""]
    lines = [*textwrap.wrap(verdict, WIDTH), "", format_table(headers, rows), ""]
    if len(found.tasks) > 1:
        headers = [f"{first.rate} of", "n", "base", name]
        lines += [format_table(headers, list(_task_rows(found, first.rate))), ""]
    return "\n".join([*lines, *_sides(found)])


def _task_rows(found: Samples, rate: str) -> Iterator[list[object]]:
    for task, places in found.tasks.items():
        values = [found.mean(side, rate, places) for side in (BASE, TUNED)]
        yield [task, len(places), *map(percent, values)]


def _sides(found: Samples) -> Iterator[str]:
    for side, counted in found.counts().items():
        label = found.results[side].version.name
        for what, counts in counted.items():
            shown_counts = ", ".join(f"{key} {count}" for key, count in list(counts.items())[:6])
            yield f"{label}: {what}: {shown_counts or 'none'}"
