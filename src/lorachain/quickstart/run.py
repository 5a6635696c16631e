"""Running the plan: train each version as its own command, then ask all of them everything."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lorachain import lineage
from lorachain.errors import EXIT_INTERRUPTED, Interrupted
from lorachain.evaluation.compare import compare
from lorachain.evaluation.comparison import Comparison
from lorachain.evaluation.comparison_folder import write_comparison
from lorachain.evaluation.evaluate import (
    BASE,
    Evaluation,
    Version,
    evaluate_versions,
    evaluation_precision,
    find_version,
)
from lorachain.evaluation.generated import Decoding
from lorachain.evaluation.progress import Progress
from lorachain.evaluation.report_text import sentence
from lorachain.evaluation.tables import format_table, rate, summary_table
from lorachain.files import make_folder, write_json
from lorachain.paths import PROJECT_ROOT, runnable, shown
from lorachain.quickstart.measure import Steps
from lorachain.quickstart.plan import NO_REPLAY, Plan, StagePlan, stage_command, stage_data, suites
from lorachain.suites import read_suite
from lorachain.training.output import put_away

log = logging.getLogger("lorachain")

HEADLINE = "strict_task_valid"
SUMMARY_KEYS = ("n", "strict", "parse", "schema_valid", "task_valid", HEADLINE, "fields")


def run(plan: Plan, *, restart: bool = False) -> str:
    """Train what is not trained yet, ask what is not asked yet. Returns the closing text.

    With `restart` all of it is done again; what was there is moved aside, not deleted.
    Raises Interrupted after Ctrl-C; the same command goes on. A stage that fails has said why
    itself: its exit code is passed on by SystemExit.
    """
    if restart:
        put_away(plan.folder)
    make_folder(plan.folder)
    steps = Steps(plan.folder)
    total = len(plan.stages) + 1
    for number, stage in enumerate(plan.stages, start=1):
        if is_done(plan, stage):
            log.info("[%d/%d] Version %s is finished already.", number, total, stage.name)
            continue
        log.info("[%d/%d] Training version %s:", number, total, stage.name)
        # What it was made from has changed, or it has: made again, the old one moved aside.
        again = ["--restart"] if lineage.is_finished(plan.version(stage.name)) else []
        with steps.step(stage.name, time.monotonic):
            train([*stage_command(plan, stage), *again])
    log.info("[%d/%d] Asking the base and every version the same questions.", total, total)
    with steps.step("evaluation", time.monotonic):
        evaluation = evaluate(plan)
    return conclude(plan, steps, evaluation)


def is_done(plan: Plan, stage: StagePlan) -> bool:
    """Whether a stage's version is finished, whole, and made from today's data."""
    folder = plan.version(stage.name)
    if not lineage.is_finished(folder):
        return False
    version = lineage.read(folder)
    stage_data(plan, stage)
    return not lineage.problems(version) and not lineage.data_notes(version)


def train(argv: Sequence[str]) -> None:
    """Run one stage's command, shown as a user would type it.

    Raises Interrupted after Ctrl-C, once the stage has saved, and SystemExit with the exit code
    of a stage that failed.
    """
    log.info("  %s", runnable(*argv))
    process = subprocess.Popen([sys.executable, *argv])
    stopped = False
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:  # the stage got it too, and is saving: subprocess.run kills it
            stopped = True
    if stopped or code == EXIT_INTERRUPTED:
        raise Interrupted("The quickstart stopped. Run the same command again to go on.")
    if code != 0:
        raise SystemExit(code)


def evaluate(plan: Plan) -> Evaluation:
    """Every version's answers to every suite; those that are there already are not made again."""
    from lorachain.machine import detect
    from lorachain.models import find_base

    versions = [Version(BASE), *(find_version(plan.version(s.name)) for s in plan.stages)]
    asked = [read_suite(path) for path in suites(plan)]
    machine = detect()
    with Progress() as progress:
        return evaluate_versions(
            find_base(plan.base_model),
            versions,
            asked,
            store=plan.folder / "answers",
            machine=machine,
            precision=evaluation_precision(versions, machine),
            decoding=Decoding(max_new_tokens=plan.max_new_tokens),
            batch_size=plan.batch_size,
            on_progress=progress,
        )


def conclude(plan: Plan, steps: Steps, evaluation: Evaluation) -> str:
    """Write summary.json and the report; return the tables and what they mean."""
    summary = evaluation.summary()
    write_json(
        plan.folder / "summary.json",
        {
            "seconds": steps.seconds,
            "peak_mb": steps.peak_mb,
            "versions": {
                version: {
                    suite: {key: found[key] for key in SUMMARY_KEYS}
                    for suite, found in by_suite.items()
                }
                for version, by_suite in summary.items()
            },
        },
    )
    compared, page = write_report(plan, steps, evaluation)
    newest = compared.versions[-1].name
    tester = PROJECT_ROOT / "batch_test_model.py"
    return "\n".join(
        [
            "",
            summary_table(summary),
            "",
            f"{HEADLINE} (all of the answer is JSON, valid, and of the kind that was asked for):",
            "",
            headline(summary),
            "",
            *verdicts(plan, summary),
            *(sentence(p, compared.margin) for p in compared.overall if p.later == newest),
            "",
            *coverage(plan),
            f"Took {steps.seconds / 60:.1f} minutes and {steps.peak_mb:,} MB.",
            f"The report: {shown(page)}",
            f"Try it:     {runnable(tester, '--model', plan.version('v3'))}",
        ]
    )


def coverage(plan: Plan) -> list[str]:
    """What of the suites was asked, where it was not all."""
    if plan.items_per_task is None:
        return []
    return [
        f"Of each generation's suite the first {plan.items_per_task} questions a task were asked; "
        "src/evaluation/compare_versions.py --chain asks all.",
    ]


def headline(summary: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Version x suite, one number each: the share of right answers."""
    names = list(next(iter(summary.values())))
    rows = [
        [version, *(rate(by_suite[name][HEADLINE]) for name in names)]
        for version, by_suite in summary.items()
    ]
    return format_table(["version", *names], rows)


def verdicts(plan: Plan, summary: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """What each version gained and forgot, in sentences, from the numbers alone."""
    own = {s.name: f"generation{i}_v1" for i, s in enumerate(plan.stages, start=1)}
    own[NO_REPLAY.name] = own.get("v3", "generation3_v1")
    lines = []
    for stage in plan.stages:
        now = summary[stage.name]
        before = summary[stage.parent or BASE]
        gained = own[stage.name]
        text = (
            f"{stage.name}: {rate(now[gained][HEADLINE])} on its own suite "
            f"({rate(before[gained][HEADLINE])} before)"
        )
        lost = [
            f"{name} {rate(before[name][HEADLINE])} -> {rate(now[name][HEADLINE])}"
            for name in dict.fromkeys(own.values())
            if name != gained and before[name][HEADLINE] - now[name][HEADLINE] > 0
        ]
        lines.append(f"{text}; {'forgot: ' + ', '.join(lost) if lost else 'forgot nothing'}.")
    if NO_REPLAY.name in summary:
        lines.append(
            "v3_no_replay is v3 trained without earlier rows: what it forgot is what replay keeps."
        )
    return [*lines, ""]


def write_report(plan: Plan, steps: Steps, evaluation: Evaluation) -> tuple[Comparison, Path]:
    """Judge every version against those that it stands on, and write the report with its data."""
    # The version without replay is there to be held against: v3 is what the report is about.
    ranked = sorted(evaluation.versions, key=lambda r: r.version.name != NO_REPLAY.name)
    compared = compare(replace(evaluation, versions=tuple(ranked)), created=datetime.now(UTC))
    written = write_comparison(
        plan.folder,
        evaluation,
        compared,
        store=plan.folder / "answers",
        title="The quickstart: three versions of one small model",
        facts={
            "base": f"{evaluation.base.name} ({evaluation.base.fingerprint.id})",
            "time": f"{steps.seconds / 60:.1f} minutes",
            "memory": f"{steps.peak_mb:,} MB at most",
        },
    )
    return compared, written.report
