"""A comparison's folder: the data, the report, the vote page, and the next stage's settings.

folder/report.html        the report
folder/vote.html          a blind vote between the newest version and what it stands on
folder/next_config.yaml   what the advice would change, where it would change anything
folder/comparison.json, scores.jsonl, run.json    for programs and for rescore.py
folder/rescore.json      what a change of scoring moved, where rescore.py wrote the folder
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorachain.errors import UserError
from lorachain.evaluation import advice
from lorachain.evaluation.comparison import Comparison
from lorachain.evaluation.evaluate import BASE, Evaluation
from lorachain.evaluation.report import render_comparison, write_report
from lorachain.evaluation.report_data import AnswerRow, answer_rows
from lorachain.evaluation.report_views import pair_views
from lorachain.evaluation.rescore_moves import Moves
from lorachain.evaluation.run_record import MOVES, RUN, Asked, write_run
from lorachain.evaluation.scorers import Scorers
from lorachain.evaluation.vote import render_vote
from lorachain.files import make_folder, write_json, write_text

REPORT = "report.html"
VOTE = "vote.html"
NEXT = "next_config.yaml"


@dataclass(frozen=True)
class Written:
    """What a folder holds now. `vote` and `config` are None where there was nothing to write."""

    report: Path
    vote: Path | None
    config: Path | None
    advice: Sequence[advice.AdviceItem]
    conflicts: Sequence[str]


def write_comparison(
    folder: Path,
    evaluation: Evaluation,
    comparison: Comparison,
    *,
    store: Path,
    title: str,
    facts: Mapping[str, str] | None = None,
    asked: Asked | None = None,
    scorers: Scorers | None = None,
    moved: Moves | None = None,
) -> Written:
    """Write all of it, each file atomically and run.json last.

    `moved` is what a change of scoring moved, where these are stored answers scored again. Raises
    UserError where the folder or the rules of advice cannot be used.
    """
    make_folder(folder)
    (folder / RUN).unlink(missing_ok=True)
    rows = answer_rows(evaluation, comparison)
    newest = comparison.versions[-1]
    items = advice.advise(comparison, newest.name, advice.read_rules()) if newest.folder else []
    text, conflicts = advice.next_config(items)
    vote = _write(folder / VOTE, _vote(comparison, rows))
    page = render_comparison(
        comparison,
        rows,
        title=title,
        facts=facts,
        advice=advice.as_dicts(items),
        vote=None if vote is None else VOTE,
        moved=moved,
    )
    write_report(folder / REPORT, page)
    config = _write(folder / NEXT, text)
    if moved is None:
        (folder / MOVES).unlink(missing_ok=True)
    else:
        write_json(folder / MOVES, moved.as_dict())
    write_run(
        *(folder, evaluation),
        store=store,
        scorers=scorers,
        asked=asked,
        comparison=comparison,
        title=title,
        facts=facts,
    )
    return Written(folder / REPORT, vote, config, items, conflicts)


def default_title(comparison: Comparison) -> str:
    """`v3 against v2 and its base`, by the pairs that are judged."""
    newest = comparison.versions[-1].name
    others = [pair.earlier for pair in comparison.overall if pair.later == newest]
    named = [f"its {BASE}" if name == BASE else name for name in others]
    return f"{newest} against {' and '.join(named)}" if named else newest


def _write(path: Path, text: str) -> Path | None:
    """Write a file, or remove what an earlier comparison left where there is nothing to write."""
    if not text:
        path.unlink(missing_ok=True)
        return None
    write_text(path, text)
    return path


def _vote(comparison: Comparison, rows: Sequence[AnswerRow]) -> str:
    """The newest version against what it stands on; nothing where all answers are alike."""
    pairs = pair_views(comparison)
    if not pairs:
        return ""
    pair = pairs[0].overall
    try:
        return render_vote(rows, pair.earlier, pair.later, title="Which answer is better?")
    except UserError:
        return ""
