"""What the scripts of the stages that ask the teacher share: flags, folders, and what they say."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorachain import cli
from lorachain.paths import CONFIGS, from_user, shown

if TYPE_CHECKING:
    from lorachain.datagen.run_stage import Result
    from lorachain.datagen.stage import Stage

DRY_RUN = "dry_run"
_TEACHER = CONFIGS / "teacher.yaml"


@dataclass(frozen=True)
class Request:
    """What the flags that all of them have ask for. None: as the config says."""

    out_dir: Path
    config: Path
    store: Path | None
    resume: bool
    restart: bool
    limit: int | None
    dry_run: bool
    price: bool
    max_usd: float | None
    max_calls: int | None


def add_flags(parser: argparse.ArgumentParser, out_dir: Path) -> None:
    """The flags that all of them have."""
    add = parser.add_argument
    add(
        "--out-dir",
        type=from_user,
        default=out_dir,
        metavar="DIR",
        help=f"where the output is written ({shown(out_dir)}); of a dry run: its folder {DRY_RUN}",
    )
    add(
        "--config",
        type=from_user,
        default=_TEACHER,
        metavar="FILE",
        help=f"the teacher ({shown(_TEACHER)})",
    )
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--resume", action="store_true", help="go on with an output that is there")
    begin.add_argument(
        "--restart", action="store_true", help="begin again; stored answers are not paid for again"
    )
    add("--limit", type=cli.whole, metavar="N", help="only the next N rows that are not done")
    add("--dry-run", action="store_true", help="make marked rows, without any call")
    add("--price", action="store_true", help="only say what the run would cost; no call is made")
    add("--max-usd", type=dollars, metavar="USD", help="hard limit of what this run may cost")
    add("--max-calls", type=cli.whole, metavar="N", help="hard limit of requests, retries included")
    add(
        "--store",
        type=from_user,
        metavar="DIR",
        help="where every response is kept (runtime.store of the config)",
    )


def request_of(args: argparse.Namespace) -> Request:
    """The shared flags of a command line."""
    names = Request.__dataclass_fields__
    return Request(**{name: getattr(args, name) for name in names})


def run(request: Request, make: Callable[[Path, bool], Stage[Any]]) -> str:
    """Run the stage that `make` gives for (folder, whether it is a dry run). Returns what to show.

    Raises UserError and Interrupted as `run_stage` does.
    """
    from lorachain.datagen.estimate import estimate, estimate_text
    from lorachain.datagen.run_stage import run_stage
    from lorachain.datagen.stage import Options
    from lorachain.datagen.teacher_config import read_teacher_config

    config = read_teacher_config(
        request.config,
        {
            "dry_run": request.dry_run or None,
            "max_usd": request.max_usd,
            "max_calls": request.max_calls,
            "store": None if request.store is None else str(request.store),
        },
    )
    dry_run = config.runtime.dry_run
    folder = request.out_dir / DRY_RUN if dry_run else request.out_dir
    stage = make(folder, dry_run)
    options = Options(request.resume, request.restart, request.limit, dry_run)
    if request.price:
        return estimate_text(stage, config, estimate(stage, config, options))
    return summary(stage, run_stage(stage, config, options))


def summary(stage: Stage[Any], result: Result, again: str = "--resume") -> str:
    """What came of a run, for people."""
    counts = result.counts
    lines = [
        f"{shown(stage.main)}: {counts.rows} of {result.total} rows, {counts.accepted} of use",
        f"Answers: {result.paid} paid for now (${result.budget.spent_usd:.4f}, "
        f"{result.budget.calls} requests), {result.stored} from the store; "
        f"${counts.cost_usd:.4f} in all",
    ]
    if counts.faults:
        found = ", ".join(f"{count} {fault}" for fault, count in counts.faults.items())
        lines.append(f"Answers that are no use: {found}")
    if result.budget.unknown_usd:
        lines.append(
            f"${result.budget.unknown_usd:.4f} of it is the worst case of requests that broke off."
        )
    if result.budget.unpriced:
        lines.append(f"Nothing names a price for {result.budget.unpriced} of them.")
    if result.left:
        lines.append(f"{result.left} rows are left: {again} goes on.")
    return "\n".join(lines)


def named(path: Path, before: str, after: str) -> str:
    """The name of what is made from a file: `prompt_plan_v2.jsonl` makes `drafts_v2.jsonl`."""
    found = re.fullmatch(rf"{before}_([\w.-]+)\.jsonl", path.name)
    return f"{after}_{found[1] if found else 'v1'}.jsonl"


def dollars(text: str) -> float:
    """A flag's value that is an amount of US dollars."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of US dollars")
    return value
