"""python tests/rescore_example.py FOLDER      the report of a rescored comparison, and its pictures

The made-up chain of report_example, its answers scored again by another schema: fields that were
required no longer are, summaries must be longer, and so verdicts, means and answers move.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import report_example
from report_example import ADVICE, FACTS, NOW

from lorachain.answers import compile_schema
from lorachain.evaluation.evaluate import Evaluation, VersionResult
from lorachain.evaluation.report import render_comparison, write_report
from lorachain.evaluation.report_data import AnswerRow, answer_rows
from lorachain.evaluation.rescore_moves import Flip, Moved, Moves, moves
from lorachain.evaluation.rescore_verdicts import VerdictMove, before_of, judged, verdict_moves
from lorachain.evaluation.run_record import AskedSuite, Before, ComparisonRecord
from lorachain.evaluation.score import score, task_of
from lorachain.paths import PROJECT_ROOT
from lorachain.suites import Suite

SCHEMA = PROJECT_ROOT / "configs" / "schemas" / "envelope.schema.json"


def record() -> ComparisonRecord:
    """The comparison of report_example, as its folder would be read."""
    found = report_example.evaluation()
    return ComparisonRecord(
        folder=Path("compared"),
        base=found.base,
        store=Path("compared/answers"),
        suites=tuple(AskedSuite(s.name, s.path, s.sha256) for s in found.suites),
        versions=(),
        scorers=None,
        scoring=found.scoring,
        scores={
            (r.version.name, suite, str(a.item.id)): Before(task_of(a.item), a.score)
            for r in found.versions
            for suite, answers in r.answers.items()
            for a in answers
        },
    )


@cache
def rescored() -> Evaluation:
    """The same answers, scored by another schema."""
    found = report_example.evaluation()
    suites = {suite.name: _other_schema(suite) for suite in found.suites}
    results = tuple(_again(result, suites) for result in found.versions)
    scoring = {"extractor": "lorachain 0.2.0, tiers 3", "schema envelope": "90d2a7b15cc3fe08"}
    return Evaluation(found.base, tuple(suites.values()), results, scoring)


def _other_schema(suite: Suite) -> Suite:
    if "envelope" not in suite.schemas:
        return suite
    data = json.loads(SCHEMA.read_text(encoding="utf-8"))
    del data["allOf"]  # payloads may be anything
    data["required"].remove("uncertainty_notes")
    data["properties"]["summary"] = {"type": "string", "minLength": 21}
    return replace(suite, schemas={"envelope": compile_schema(data)})


def _again(result: VersionResult, suites: dict[str, Suite]) -> VersionResult:
    answers = {
        name: tuple(
            replace(a, score=score(a.generated.text, a.item, suites[name].schemas)) for a in given
        )
        for name, given in result.answers.items()
    }
    return replace(result, answers=answers)


@cache
def moved() -> Moves:
    """What that moved."""
    before = before_of(report_example.comparison().as_dict())
    comparison = judged(rescored(), before, None, created=NOW)
    return replace(
        moves(record(), rescored()),
        before=before.created,
        verdicts=verdict_moves(before, comparison),
    )


def page(**changes: Any) -> str:
    """The whole report."""
    before = before_of(report_example.comparison().as_dict())
    comparison = judged(rescored(), before, None, created=NOW)
    given: dict[str, Any] = {"facts": FACTS, "advice": ADVICE, "moved": moved()}
    given["title"] = "v3 against the chain, scored again"
    rows = answer_rows(rescored(), comparison)
    return render_comparison(comparison, rows, **given | changes)


def hostile(text: str, row: AnswerRow) -> Moves:
    """What moved, every word of it being a text, on the comparison of report_example.hostile."""
    first, second = row.answers
    metric = f"{text} metric"
    reason = VerdictMove(first, second, row.suite, "better", "cannot tell", text, [text, metric])
    return Moves(
        answers=2,
        versions=[first, second],
        scoring={text: [text, None]},
        suites_changed=[text],
        metrics=[
            Moved(second, row.suite, task, metric, 3, 2, 2, 0.5, 0.25, 1) for task in (None, text)
        ],
        flips=[
            Flip(
                second,
                row.suite,
                row.item,
                text,
                {metric: [1.0, 0.0]},
                [text, text],
                [[text], [text]],
            )
        ],
        unscored=[text],
        suites_left_out=[text],
        before=text,
        verdicts=[replace(reason, suite=None), reason],
    )


def main(folder: Path) -> None:
    """Write the page and its pictures."""
    from browser_support import take_picture

    folder.mkdir(parents=True, exist_ok=True)
    write_report(folder / "rescored.html", page())
    for theme in ("light", "dark"):
        for name, width in (("desk", 1280), ("phone", 390)):
            take_picture(
                folder / "rescored.html", folder / f"rescored-{name}-{theme}.png", width, theme
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
