"""The command line of src/evaluation/rescore.py: score again, judge again, make the report anew.

The comparison that is rescored stays as it is: it is the `before`, however often this is run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from lorachain import cli
from lorachain.errors import UserError
from lorachain.evaluation.cautions import limit_notes
from lorachain.evaluation.comparison_folder import Written, default_title, write_comparison
from lorachain.evaluation.evaluate import Evaluation
from lorachain.evaluation.rescore import rescored
from lorachain.evaluation.rescore_moves import Moves, moves
from lorachain.evaluation.rescore_text import text
from lorachain.evaluation.rescore_verdicts import judged, read_before, same_suites, verdict_moves
from lorachain.evaluation.run_record import MOVES, RUN, ComparisonRecord, read_run, write_run
from lorachain.evaluation.scorer_file import read_scorers
from lorachain.evaluation.scorers import Scorers
from lorachain.evaluation.unscored import unscored, warn_of
from lorachain.files import folder_lock, write_json
from lorachain.paths import from_user, shown

RESCORED = "rescored"
AGAIN = ", scored again"  # after the title of the report


@dataclass(frozen=True)
class Request:
    """What the command line asks for. `output` None is `rescored` in the comparison's folder."""

    comparison: Path
    scorers: Path | None = None
    suites: tuple[Path, ...] = ()
    output: Path | None = None


def read_arguments(description: str, argv: Sequence[str] | None) -> Request:
    """From the command line to a request. Exits with code 2 on an argument that is wrong."""
    args = make_parser(description).parse_args(argv)
    suites = tuple(path for paths in args.suites for path in paths)
    return Request(args.comparison, args.scorers, suites, args.output)


def make_parser(description: str) -> argparse.ArgumentParser:
    """All flags."""
    parser = cli.ArgumentParser(description=description)
    parser.add_argument(
        "--comparison",
        type=from_user,
        required=True,
        metavar="DIR",
        help="a folder that compare_versions.py wrote, or a results file of batch_test_model.py",
    )
    parser.add_argument(
        "--scorers",
        type=from_user,
        metavar="FILE",
        help="who scores what, such as configs/scorers.yaml (default: as the comparison was made)",
    )
    parser.add_argument(
        "--suites",
        type=from_user,
        nargs="+",
        action="append",
        default=[],
        metavar="FILE",
        help="score these alone, even where a file changed since (default: all, as they were)",
    )
    parser.add_argument(
        "--output",
        type=from_user,
        metavar="DIR",
        help="where the report is made anew, a comparison of its own, to rescore from there "
        f"(default: {RESCORED} in the comparison's folder; that comparison stays as it is)",
    )
    return parser


def run(request: Request) -> str:
    """Score again, judge again, write it down. Returns what to show, the verdicts first.

    Raises UserError for whatever the user can mend. No model is loaded.
    """
    record = read_run(request.comparison)
    output = request.output or record.folder / RESCORED
    _check_output(output, record)
    path = request.scorers or record.scorers
    scorers = None if path is None else read_scorers(path)
    evaluation = rescored(record, scorers=scorers, suites=request.suites)
    warn_of(unscored(evaluation))
    with folder_lock(output, "The comparison"):
        found, written = _write(output, record, evaluation, scorers)
    return "\n\n".join([text(found), "\n".join(_places(output, record, written))])


def _check_output(output: Path, record: ComparisonRecord) -> None:
    """The comparison itself is never written over, nor another that rescore.py did not write."""
    is_other = (output / RUN).is_file() and not (output / MOVES).is_file()
    if output == record.folder or is_other:
        raise UserError(
            f"{shown(output)} holds a comparison, and would be written over. Name another --output "
            f"(default: {shown(record.folder / RESCORED)})."
        )


def _write(
    output: Path, record: ComparisonRecord, evaluation: Evaluation, scorers: Scorers | None
) -> tuple[Moves, Written | None]:
    """The whole comparison where there is something to compare, else what moved and the record."""
    found = moves(record, evaluation)
    if len(evaluation.versions) < 2:
        write_json(output / MOVES, found.as_dict())
        write_run(output, evaluation, store=record.store, scorers=scorers, asked=record.asked)
        return found, None
    before = same_suites(read_before(record.folder), record, evaluation)
    comparison = judged(evaluation, before, scorers, created=datetime.now(UTC))
    notes = [*limit_notes(record.asked.limit), *comparison.notes]
    comparison = replace(comparison, notes=notes)
    found = replace(
        found,
        before=None if before is None else before.created,
        verdicts=verdict_moves(before, comparison),
    )
    title = record.title or default_title(comparison)
    facts = record.facts or {"base": f"{record.base.name} ({record.base.fingerprint.id})"}
    written = write_comparison(
        *(output, evaluation, comparison),
        store=record.store,
        title=title.removesuffix(AGAIN) + AGAIN,
        facts=facts,
        asked=record.asked,
        scorers=scorers,
        moved=found,
    )
    return found, written


def _places(output: Path, record: ComparisonRecord, written: Written | None) -> list[str]:
    places: dict[str, Path | None] = {}
    if written is not None:
        places = {"Report:": written.report, "Vote:": written.vote, "Next:": written.config}
    places |= {"Moved:": output / MOVES, "Before:": record.folder}
    return [f"{name:<7} {shown(path)}" for name, path in places.items() if path is not None]
