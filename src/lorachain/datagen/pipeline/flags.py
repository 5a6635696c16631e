"""The flags of src/data/run_pipeline.py, and the job that they ask for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lorachain import cli
from lorachain.datagen.command import dollars
from lorachain.paths import CONFIGS, SUITES, from_project, from_user

if TYPE_CHECKING:
    from lorachain.datagen.pipeline.job import Job

STAGES = ("plan", "drafts", "critiques", "dataset", "qa", "split", "sft")
SPEC = "data/specs/dataset_v1_spec.yaml"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What to do, with what, within which limits."""
    add, what = parser.add_argument, parser.add_mutually_exclusive_group().add_argument
    what("--sample", type=cli.whole, nargs="?", const=3, metavar="N", help="try N prompts (3)")
    what("--batch", type=cli.whole, nargs="?", const=20, metavar="N", help="the next N (20)")
    what("--full", action="store_true", help="all prompts, all stages")
    add("--from", dest="first", choices=STAGES, help="begin here; what is before it stays")
    add("--status", action="store_true", help="say what is there, what it cost, and what is next")
    add("--price", action="store_true", help="only say what it would cost; no call is made")
    add("--max-usd", type=dollars, metavar="USD", help="hard limit of all stages together")
    add("--max-calls", type=cli.whole, metavar="N", help="hard limit of requests, likewise")
    add("--dry-run", action="store_true", help="make marked rows, without any call")
    modes = ("lenient", "strict")
    add("--gating-mode", choices=modes, default="lenient", help="strict: a critique must say pass")
    add("--drop-leaks", action="store_true", help="leave out rows that a suite or version knows")
    add_paths(parser)


def add_paths(parser: argparse.ArgumentParser) -> None:
    """What is read and written."""
    defaults = {
        "spec": (from_project(SPEC), f"what to ask ({SPEC})"),
        "from-failures": (None, "plan from what this comparison's newest version failed at"),
        "config": (CONFIGS / "teacher.yaml", "the teacher (configs/teacher.yaml)"),
        "data": (from_project("data"), "holds interim and processed (data)"),
        "suites": (SUITES, "suites to keep clear of; a new one comes here (eval/suites)"),
        "models": (from_project("models"), "versions to keep clear of (models)"),
    }
    for name, (default, words) in defaults.items():
        parser.add_argument(
            f"--{name}", type=from_user, default=default, metavar="PATH", help=words
        )


def job_of(parser: argparse.ArgumentParser, args: argparse.Namespace) -> Job:
    """The job of a command line. Ends the script where its flags contradict each other."""
    if not (args.sample or args.batch or args.full or args.first or args.status):
        parser.error("one of --sample, --batch, --full, --from or --status is required")
    if args.first and args.batch:
        parser.error("--from goes with --sample or --full: a batch begins with its drafts")

    from lorachain.datagen.pipeline.job import Job

    return Job(
        mode="sample" if args.sample else "batch" if args.batch else "full",
        count=args.sample or args.batch,
        first=args.first or STAGES[0],
        spec=args.spec,
        from_failures=args.from_failures,
        config_file=args.config,
        gating_mode=args.gating_mode,
        dry_run=args.dry_run,
        max_usd=args.max_usd,
        max_calls=args.max_calls,
        drop_leaks=args.drop_leaks,
        data=args.data,
        suites=args.suites,
        models=args.models,
    )
