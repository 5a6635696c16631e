"""The command line of src/evaluation/compare_versions.py."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from lorachain import cli
from lorachain.evaluation import exact
from lorachain.evaluation.advice import format_advice
from lorachain.evaluation.asking import ask, find_base_of
from lorachain.evaluation.cautions import limit_notes
from lorachain.evaluation.chosen import chain_of, find_versions, stale_notes
from lorachain.evaluation.compare import compare
from lorachain.evaluation.comparison import Comparison
from lorachain.evaluation.comparison_folder import (
    Written,
    default_title,
    write_comparison,
)
from lorachain.evaluation.comparison_text import comparison_text
from lorachain.evaluation.evaluate import Evaluation, Version
from lorachain.evaluation.flags import (
    ANSWERS,
    How,
    add_answers,
    add_base_model,
    add_how,
    add_scorers,
    read_how,
    share,
)
from lorachain.evaluation.lines import find_lines
from lorachain.evaluation.ruler import read_ruler
from lorachain.evaluation.run_record import Asked
from lorachain.evaluation.scorer_file import read_scorers
from lorachain.evaluation.scorers import Scorers
from lorachain.evaluation.suite_choice import check_scorable, fitting_suites, named_suites
from lorachain.evaluation.unscored import unscored, warn_of
from lorachain.files import folder_lock, write_json
from lorachain.models import Base
from lorachain.paths import PROJECT_ROOT, from_user, shown
from lorachain.suites import Suite

log = logging.getLogger("lorachain")

COMPARISONS = PROJECT_ROOT / "eval" / "comparisons"


@dataclass(frozen=True)
class Request:
    """What the command line asks for. `output` None is `eval/comparisons/<newest version>`."""

    chain: Path | None = None
    models: tuple[Path, ...] = ()
    suites: tuple[Path, ...] = ()
    output: Path | None = None
    answers: Path = ANSWERS
    scorers: Path | None = None
    margin: float = 0.05
    limit: int | None = None
    base_model: str | None = None
    exact: bool = False
    how: How = field(default_factory=How)


def read_arguments(description: str, argv: Sequence[str] | None) -> Request:
    """From the command line to a request. Exits with code 2 on an argument that is wrong."""
    parser = make_parser(description)
    args = parser.parse_args(argv)
    if args.chain is None and not args.model:
        parser.error("nothing to compare: give --chain FOLDER, or --model FOLDER once or more")
    return Request(
        chain=args.chain,
        models=tuple(args.model),
        suites=tuple(path for paths in args.suites for path in paths),
        output=args.output,
        answers=args.answers,
        scorers=args.scorers,
        margin=args.margin,
        limit=args.limit,
        base_model=args.base_model,
        exact=args.exact,
        how=read_how(args),
    )


def make_parser(description: str) -> argparse.ArgumentParser:
    """All flags, with their defaults in the help."""
    parser = cli.ArgumentParser(description=description)
    what = parser.add_argument_group("what is compared")
    what.add_argument(
        "--chain",
        type=from_user,
        metavar="FOLDER",
        help="a finished version, with all versions that it stands on",
    )
    what.add_argument(
        "--model",
        type=from_user,
        action="append",
        default=[],
        metavar="FOLDER",
        help="one more version, such as another branch; may be given several times",
    )
    what.add_argument(
        "--suites",
        type=from_user,
        nargs="+",
        action="append",
        default=[],
        metavar="FILE",
        help="what they are asked (default: those of eval/suites that fit what was trained)",
    )
    what.add_argument(
        "--limit", type=cli.whole, metavar="N", help="ask only the first N items of each suite"
    )
    add_base_model(what)
    judged = parser.add_argument_group("how they are judged")
    add_scorers(judged)
    judged.add_argument(
        "--margin",
        type=share,
        default=0.05,
        metavar="SHARE",
        help="two versions that surely differ by less are equivalent (default: 0.05, 5 points)",
    )
    judged.add_argument(
        "--exact",
        action="store_true",
        help="ask again one by one in fp32, and say what batches and the dtype changed (slow)",
    )
    where = parser.add_argument_group("where it goes")
    where.add_argument(
        "--output",
        type=from_user,
        metavar="DIR",
        help="report and data (default: eval/comparisons/<the newest version>)",
    )
    add_answers(where)
    add_how(parser.add_argument_group("how answers are made"))
    return parser


def run(request: Request) -> str:
    """Ask, judge, write the folder. Returns what to show, the verdict first.

    Raises UserError for whatever the user can mend, before any weights are loaded, and
    Interrupted after Ctrl-C.
    """
    scorers = None if request.scorers is None else read_scorers(request.scorers)
    suites = named_suites(request.suites, request.limit) if request.suites else []
    versions, stale = _versions(request)
    suites = suites or fitting_suites(versions, request.limit)
    check_scorable(suites, scorers)
    base = find_base_of(versions, request.base_model)
    newest = find_lines(versions).order[-1]
    folder = request.output or COMPARISONS / Path(newest).name
    with folder_lock(folder, "The comparison"):
        return _compare(request, _Asked(base, versions, suites, scorers), stale, folder)


@dataclass(frozen=True)
class _Asked:
    base: Base
    versions: Sequence[Version]
    suites: Sequence[Suite]
    scorers: Scorers | None

    def answers(self, store: Path, how: How) -> Evaluation:
        return ask(
            self.base, self.versions, self.suites, store=store, how=how, scorers=self.scorers
        )


def _versions(request: Request) -> tuple[list[Version], list[str]]:
    """The base and all that was asked for, the chain's newest last; and what is stale of it."""
    chain = chain_of(request.chain) if request.chain else []
    folders = [*request.models, *(version.folder for version in chain)]
    return find_versions(folders, with_base=True), stale_notes(chain)


def _compare(request: Request, asked: _Asked, stale: Sequence[str], folder: Path) -> str:
    evaluation = asked.answers(request.answers, request.how)
    before = read_ruler(folder)
    warn_of(unscored(evaluation))
    comparison = _judged(request, asked, evaluation)
    headlines = {suite.name: suite.headline for suite in comparison.suites}
    change = before.change(evaluation, headlines, asked.scorers) if before else None
    notes = [*stale, *limit_notes(request.limit), *([change] if change else []), *comparison.notes]
    if request.exact:
        found = _exactness(request, asked, evaluation, comparison)
        write_json(folder / exact.FILE, found.as_dict())
        notes = [*found.notes(), *notes]
    else:
        (folder / exact.FILE).unlink(missing_ok=True)  # of a comparison before
    comparison = replace(comparison, notes=notes)
    written = write_comparison(
        folder,
        evaluation,
        comparison,
        store=request.answers,
        title=default_title(comparison),
        facts={"base": f"{asked.base.name} ({asked.base.fingerprint.id})"},
        asked=Asked(limit=request.limit),
        scorers=asked.scorers,
    )
    return closing_text(comparison, written)


def _judged(request: Request, asked: _Asked, evaluation: Evaluation) -> Comparison:
    return compare(
        evaluation,
        created=datetime.now(UTC),
        margin=request.margin,
        headlines=asked.scorers.headlines(asked.suites) if asked.scorers else None,
    )


def _exactness(
    request: Request, asked: _Asked, evaluation: Evaluation, comparison: Comparison
) -> exact.Exactness:
    log.info("Asking again, one by one in %s.", exact.DTYPE)
    how = replace(request.how, batch_size=exact.BATCH_SIZE, dtype=exact.DTYPE)
    again = asked.answers(request.answers, how)
    return exact.check(evaluation, comparison, again, _judged(request, asked, again))


def closing_text(comparison: Comparison, written: Written) -> str:
    """The comparison, the advice, and where everything is."""
    parts = [comparison_text(comparison)]
    if written.advice:
        parts.append(f"What to do next:\n\n{format_advice(written.advice)}")
    parts += written.conflicts
    places = [f"Report: {shown(written.report)}"]
    if written.vote is not None:
        places.append(f"Vote:   {shown(written.vote)}")
    if written.config is not None:
        places.append(f"Next:   {shown(written.config)}")
    return "\n\n".join([*parts, "\n".join(places)])
