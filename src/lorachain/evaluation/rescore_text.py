"""What a change of scoring moved, for a terminal: verdicts first, then means, then answers."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import groupby

from lorachain.evaluation.rescore_moves import Flip, Moved, Moves
from lorachain.evaluation.rescore_verdicts import VerdictMove
from lorachain.evaluation.run_record import MOVES
from lorachain.evaluation.tables import format_table

MAX_FLIPS = 20
MAX_MEANS = 30
WIDTH = 96


def text(found: Moves) -> str:
    """All of it. Where nothing moved, that is one sentence."""
    parts = [
        verdicts_text(found),
        "\n".join(_scored(found)),
        _means_table(found),
        "\n".join(_flips(found)),
    ]
    return "\n\n".join(part for part in parts if part)


def verdicts_text(found: Moves) -> str:
    """Every pair's verdict over all suites, and those on single suites that changed. The first
    pair's suites say why; the report says it of all."""
    if not found.verdicts:
        return ""
    lines = [heading(found)]
    for pair, verdicts in groupby(found.verdicts, lambda v: (v.earlier, v.later)):
        closely = pair == (found.verdicts[0].earlier, found.verdicts[0].later)
        changes: dict[str, list[str]] = {}
        for verdict in verdicts:
            if verdict.suite is None:
                lines += _wrapped("", f"{pair[1]} against {pair[0]}: {_change(verdict)}")
            elif verdict.changed and closely:
                lines += _wrapped("  - ", f"{verdict.suite}: {_change(verdict)}")
            elif verdict.changed:
                change = f"{verdict.before or 'new'} -> {verdict.after}"
                changes.setdefault(change, []).append(verdict.suite)
        for change, suites in changes.items():
            lines += _wrapped("  - ", f"{change}: {', '.join(suites)}")
    return "\n".join(lines)


def heading(found: Moves) -> str:
    """How many verdicts changed, as a sentence."""
    total, moved = len(found.verdicts), len(found.verdicts_moved)
    if all(verdict.before is None for verdict in found.verdicts):
        return "There was no comparison before that could be read. The verdicts now:"
    if not moved:
        return (
            "The verdict is as it was:" if total == 1 else f"All {total:,} verdicts are as before:"
        )
    return f"{moved:,} of {total:,} verdicts changed:"


def _change(verdict: VerdictMove) -> str:
    if verdict.before is None:
        return verdict.after
    if not verdict.changed:
        return f"{verdict.after}, as before"
    why = verdict.reason.removeprefix(f"{verdict.after}: ").removeprefix(f"{verdict.after} ")
    return f"{verdict.before} -> {verdict.after} ({why})"


def _scored(found: Moves) -> Iterator[str]:
    """What was scored again and what scores otherwise."""
    answers = f"{found.answers:,} answer{'' if found.answers == 1 else 's'}"
    versions = f"{len(found.versions)} version{'' if len(found.versions) == 1 else 's'}"
    yield f"{answers} of {versions} were scored again; no model was loaded."
    for what, (before, after) in found.scoring.items():
        if before is None:
            yield f"Scored now by {what} too ({after})"
        elif after is None:
            yield f"No longer scored by {what} ({before})"
        else:
            yield f"Scored by another {what}: {before} -> {after}"
    for suite, (then, now) in found.judged_otherwise.items():
        yield f"{suite} was judged by {then}, and is now by {now}."
    yield from (f"The suite {name} changed." for name in found.suites_changed)
    if found.suites_left_out:
        left = ", ".join(found.suites_left_out)
        yield f"Left out: {left}; the verdicts, those before too, are without."
    if found.new:
        yield f"{found.new:,} answers were not scored before; they move nothing."
    if found.gone:
        yield f"{found.gone:,} answers that were scored before are no longer asked for."
    yield from found.unscored
    if found.nothing:
        yield "Nothing moved."


def _means_table(found: Moves) -> str:
    if not found.moved:
        return ""
    headers = ["version", "suite", "task", "metric", "n", "before", "after", "answers"]
    newest = {version: -i for i, version in enumerate(found.versions)}
    ranked = sorted(found.moved, key=lambda m: (m.task is not None, newest[m.version]))
    rows = [
        [m.version, m.suite, m.task or "(all)", m.metric, m.n, *_means(m), m.changed]
        for m in ranked[:MAX_MEANS]
    ]
    table = format_table(headers, rows)
    more = len(ranked) - len(rows)
    return f"{table}\n... and {more:,} more means, in {MOVES}" if more else table


def _means(moved: Moved) -> list[str]:
    """Three decimals, so that a small move shows; how many could be scored where not all."""
    return [
        "-" if value is None else f"{value:.3f}" + (f" (of {k})" if k < moved.n else "")
        for value, k in ((moved.before, moved.scored_before), (moved.after, moved.scored_after))
    ]


def _flips(found: Moves) -> Iterator[str]:
    if found.flips:
        yield f"{len(found.flips):,} answers flipped between pass and fail:"
    for flip in found.flips[:MAX_FLIPS]:
        yield from _flip_lines(flip)
    if len(found.flips) > MAX_FLIPS:
        yield f"  ... and {len(found.flips) - MAX_FLIPS:,} more, in {MOVES}"


def _flip_lines(flip: Flip) -> list[str]:
    changes = ", ".join(f"{m} {word(a)} -> {word(b)}" for m, (a, b) in flip.metrics.items())
    before, after = (", ".join(problems) or "none" for problems in flip.problems)
    tiers = " -> ".join(dict.fromkeys(tier or "-" for tier in flip.tier))
    return [
        f"  {flip.version}, {flip.suite}, {flip.item}: {changes}",
        f"      tier {tiers}; problems before: {before}; after: {after}",
    ]


def word(value: float | None) -> str:
    """A value as a word where it is one of pass and fail."""
    if value is None:
        return "not scored"
    return {0.0: "fail", 1.0: "pass"}.get(value, f"{value:.3f}")


def _wrapped(start: str, line: str) -> list[str]:
    return textwrap.wrap(
        line,
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * (len(start) or 4),
        break_on_hyphens=False,
        break_long_words=False,
    )
