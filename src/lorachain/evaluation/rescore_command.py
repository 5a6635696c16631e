"""The command line of src/evaluation/rescore.py, and the table that it shows."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lorachain import cli
from lorachain.evaluation.rescore import Flip, Moved, Moves, moves, rescored
from lorachain.evaluation.run_record import RUN, SCORES, read_run, write_run
from lorachain.evaluation.scorer_file import read_scorers
from lorachain.evaluation.tables import format_table
from lorachain.evaluation.unscored import unscored, warn_of
from lorachain.files import make_folder, write_json
from lorachain.paths import from_user, shown

FILE = "rescore.json"
MAX_FLIPS = 20


@dataclass(frozen=True)
class Request:
    """What the command line asks for. `output` is a folder; None is the comparison's own."""

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
        help=f"where {FILE} goes; another folder than the comparison's becomes a comparison of its "
        "own, to rescore from there (default: the comparison's folder)",
    )
    return parser


def run(request: Request) -> str:
    """Score again, write down what moved. Returns the table to show.

    Raises UserError for whatever the user can mend. No model is loaded.
    """
    record = read_run(request.comparison)
    path = request.scorers or record.scorers
    scorers = None if path is None else read_scorers(path)
    evaluation = rescored(record, scorers=scorers, suites=request.suites)
    warn_of(unscored(evaluation))
    found = moves(record, evaluation)
    output = request.output or record.folder
    make_folder(output)
    if output != record.folder:
        write_run(output, evaluation, store=record.store, scorers=scorers, asked=record.asked)
    write_json(output / FILE, found.as_dict())
    places = [f"Results: {shown(output / FILE)}"]
    if output != record.folder:
        places += [
            f"Scores:  {shown(output / SCORES)}",
            f"Record:  {shown(output / RUN)} (to rescore from there: --comparison {shown(output)})",
        ]
    return "\n\n".join([text(found), "\n".join(places)])


def text(found: Moves) -> str:
    """What moved, for a terminal: what scores otherwise, the metrics, the answers that flipped."""
    lines = [
        f"{found.answers:,} answers of {len(found.versions)} versions were scored again; no model "
        "was loaded."
    ]
    for what, (before, after) in found.scoring.items():
        lines.append(f"Scored by another {what}: {before or '(none)'} -> {after or '(none)'}")
    lines += [f"The suite {name} changed." for name in found.suites_changed]
    if found.new:
        lines.append(f"{found.new:,} answers were not scored before; they move nothing.")
    if found.gone:
        lines.append(f"{found.gone:,} answers that were scored before are no longer asked for.")
    lines += found.unscored
    if not found.moved:
        return "\n".join([*lines, "Nothing moved."])
    headers = ["version", "suite", "task", "metric", "n", "before", "after", "answers"]
    rows = [
        [m.version, m.suite, m.task or "(all)", m.metric, m.n, *_means(m), m.changed]
        for m in found.moved
    ]
    lines += ["", format_table(headers, rows)]
    if found.flips:
        lines += ["", f"{len(found.flips):,} answers flipped between pass and fail:"]
        lines += [line for flip in found.flips[:MAX_FLIPS] for line in _flip_lines(flip)]
    if len(found.flips) > MAX_FLIPS:
        lines.append(f"  ... and {len(found.flips) - MAX_FLIPS:,} more, in {FILE}")
    return "\n".join(lines)


def _means(moved: Moved) -> list[str]:
    """Three decimals, so that a small move shows; how many could be scored where not all."""
    return [
        "-" if value is None else f"{value:.3f}" + (f" (of {k})" if k < moved.n else "")
        for value, k in ((moved.before, moved.scored_before), (moved.after, moved.scored_after))
    ]


def _flip_lines(flip: Flip) -> list[str]:
    changes = ", ".join(f"{m} {_word(a)} -> {_word(b)}" for m, (a, b) in flip.metrics.items())
    before, after = (", ".join(problems) or "none" for problems in flip.problems)
    tiers = " -> ".join(dict.fromkeys(tier or "-" for tier in flip.tier))
    return [
        f"  {flip.version}, {flip.suite}, {flip.item}: {changes}",
        f"      tier {tiers}; problems before: {before}; after: {after}",
    ]


def _word(value: float | None) -> str:
    """A value as a word where it is one of pass and fail."""
    if value is None:
        return "not scored"
    return {0.0: "fail", 1.0: "pass"}.get(value, f"{value:.3f}")
