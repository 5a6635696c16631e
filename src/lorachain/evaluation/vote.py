"""A page on which a person says which of two answers is better, without knowing whose they are."""

from __future__ import annotations

import random
from collections.abc import Sequence

from lorachain.errors import UserError
from lorachain.evaluation.report_data import AnswerRow
from lorachain.files import canonical_json, sha256_text
from lorachain.pages.page import render_page, script_json

FORMAT = 1
MOST = 200  # items of one page: more than a person votes on


def render_vote(
    rows: Sequence[AnswerRow],
    earlier: str,
    later: str,
    *,
    title: str,
    seed: int = 0,
    most: int = MOST,
) -> str:
    """A blind A/B vote over the items that two versions answer differently, as one HTML page.

    Items and sides are in an order drawn from `seed`, at most `most` items. Votes stay in the
    page; its button saves them as votes.json: {format, page, earlier, later, votes: [{suite, item,
    better: a version's name or "tie"}]}, which the page can load again. Equal answers are left out
    and counted. Raises UserError where there is nothing to vote on.
    """
    both = [row for row in rows if {earlier, later} <= row.answers.keys()]
    different = [row for row in both if _text(row, earlier) != _text(row, later)]
    if not different:
        raise UserError(
            f"There is nothing to vote on: {earlier} and {later} answered {len(both)} items of "
            "these suites, all of them alike. Choose two other versions."
        )
    luck = random.Random(seed)
    chosen = luck.sample(different, min(most, len(different)))
    items = []
    for row in chosen:
        first = luck.randrange(2)  # 1: the later version's answer is Answer 1
        texts = [_text(row, earlier), _text(row, later)]
        items.append(
            {
                "suite": row.suite,
                "item": row.item,
                "task": row.task,
                "turns": [list(turn) for turn in row.prompt],
                "first": first,
                "texts": texts[::-1] if first else texts,
            }
        )
    data = {
        "format": FORMAT,
        "earlier": earlier,
        "later": later,
        "equal": len(both) - len(different),
        "different": len(different),
        "items": items,
    }
    data["page"] = sha256_text(canonical_json(data))[:16]
    return render_page(
        __package__,
        "vote.html.j2",
        styles=("page.css.j2", "vote.css.j2"),
        scripts=("theme.js", "vote.js"),
        title=title,
        data=script_json(data),
    )


def _text(row: AnswerRow, version: str) -> str:
    return row.answers[version].text
