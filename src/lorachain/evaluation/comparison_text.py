"""A comparison in a terminal: the verdict, why, the forgetting matrix, tasks, what was broken."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from lorachain.evaluation import verdicts
from lorachain.evaluation.comparison import Cell, Comparison, Difference, SuiteInfo
from lorachain.evaluation.report_text import percent, percents, points, sentence
from lorachain.evaluation.report_views import PairView, forgotten, pair_views, transfer
from lorachain.evaluation.score import LENIENT
from lorachain.evaluation.tables import format_table

WIDTH = 96
MAX_BROKEN = 5
MAX_LOST = 8


def comparison_text(comparison: Comparison) -> str:
    """All of it, the verdict first."""
    parts = [
        verdict_text(comparison),
        matrix_text(comparison),
        forgetting_text(comparison),
        tasks_text(comparison),
        broken_text(comparison),
        "\n".join(line for note in comparison.notes for line in _wrapped("Note: ", note)),
    ]
    return "\n\n".join(part for part in parts if part)


def verdict_text(comparison: Comparison) -> str:
    """Every pair's verdict, the newest version's first and with each suite's reason."""
    pairs = pair_views(comparison)
    if not pairs:
        return "There is one version only, so nothing to compare it with."
    newest = pairs[0].overall.later
    return "\n".join(
        line
        for pair in pairs
        for line in _pair_lines(pair, comparison.margin, closely=pair.overall.later == newest)
    )


def _pair_lines(pair: PairView, margin: float, *, closely: bool) -> Iterator[str]:
    yield from _wrapped("", f"{sentence(pair.overall, margin)} {_by_suite(pair)}")
    if closely:
        for line in pair.suites:
            yield from _wrapped("  - ", f"{line.suite}: {line.difference.reason}")


def _by_suite(pair: PairView) -> str:
    reason = pair.overall.reason.removeprefix("mixed: ")
    return f"({reason[:1].upper()}{reason[1:]}.)"


def matrix_text(comparison: Comparison) -> str:
    """The forgetting matrix: suites down, versions across, 95% intervals, losses under it.

    Under a suite that is judged strictly stands what forgiving parsing makes of it, where that is
    more.

    The last column is what the newest version gained or lost on a suite since the version whose
    suite it is.
    """
    names = [version.name for version in comparison.versions]
    own = {version.name: version.own_suite for version in comparison.versions}
    since = comparison.backward_transfer.get(names[-1], {})
    last = any(value is not None for value in since.values())
    rows: list[list[object]] = []
    for suite in comparison.suites:
        cells = [_cell(comparison.cell(n, suite.name), own[n] == suite.name) for n in names]
        tail = [points(since.get(suite.name))] if last else []
        rows.append([suite.name, suite.headline, suite.n, *cells, *tail])
        if lenient := _lenient_cells(comparison, suite, names):
            rows.append(["", LENIENT[suite.headline], "", *lenient, *([""] if last else [])])
    headers = ["suite", "by", "n", *names, *(["since"] if last else [])]
    for key in dict.fromkeys(key for v in comparison.versions for key in v.validation_loss):
        found = [version.validation_loss.get(key) for version in comparison.versions]
        cells = ["–" if loss is None else f"{loss:.4f}" for loss in found]
        rows.append([f"rows of {key}", "validation loss", "", *cells, *([""] if last else [])])
    caption = "Share of right answers, with 95% intervals"
    if any(row[1] in LENIENT.values() for row in rows):
        caption += "; under it what forgiving parsing still finds right"
    caption += "; * a version's own suite" if any(own.values()) else ""
    caption += f"; since: points that {names[-1]} gained or lost since then" if last else ""
    return f"{caption}:\n\n{format_table(headers, rows)}"


def forgetting_text(comparison: Comparison) -> str:
    """A line for each loss on the suite of an older version, with its test: near and far."""
    if not transfer(comparison).rows:
        return ""
    lost = forgotten(comparison)
    if not lost:
        return "No version has lost anything on the suite of a version that it stands on."
    lines = ["Lost on the suites of older versions:"]
    for change in lost[:MAX_LOST]:
        since = f" since {change.since}" if change.since else ""
        what = f"{change.version} lost {verdicts.points(change.value)} of {change.suite}{since}"
        lines += _wrapped("  ", f"{what}: {_tested(change.test)}")
    if len(lost) > MAX_LOST:
        lines.append(f"  ... and {len(lost) - MAX_LOST:,} more, in the report")
    return "\n".join(lines)


def _tested(test: Difference | None) -> str:
    if test is None or test.p_holm is None:
        return "not tested"
    p = verdicts.p_text(test.p_holm)
    return f"{test.verdict} ({test.wins} won, {test.losses} lost of {test.n:,} items, {p})"


def _lenient_cells(comparison: Comparison, suite: SuiteInfo, versions: Sequence[str]) -> list[str]:
    """The lenient twin of a strict headline; nothing where no version has more by it."""
    if suite.headline not in LENIENT:
        return []
    twin = LENIENT[suite.headline]
    strict, lenient = (
        [None if (c := comparison.cell(v, suite.name, by)) is None else c.value for v in versions]
        for by in (suite.headline, twin)
    )
    return [] if strict == lenient else [percent(value) for value in lenient]


def _cell(cell: Cell | None, own: bool) -> str:
    if cell is None or cell.value is None:
        return "–"
    return f"{percent(cell.value)}{'*' if own else ''} ({percents(cell.interval)})"


def tasks_text(comparison: Comparison) -> str:
    """Every task of the suites that have several, with the newest version's verdict."""
    names = [version.name for version in comparison.versions]
    pairs = pair_views(comparison)
    judged = {}
    if pairs:
        pair = pairs[0].overall
        judged = {
            (d.suite, d.task, d.metric): d.verdict
            for d in comparison.differences
            if (d.earlier, d.later) == (pair.earlier, pair.later)
        }
    rows = [
        [
            f"{suite.name}: {task}",
            *_task_cells(comparison, suite, task, names),
            judged.get((suite.name, task, suite.headline), ""),
        ]
        for suite in comparison.suites
        if len(suite.tasks) > 1
        for task in suite.tasks
    ]
    if not rows:
        return ""
    against = f"{pairs[0].overall.later} against {pairs[0].overall.earlier}" if pairs else ""
    return format_table(["task", "n", *names, against], rows)


def _task_cells(
    comparison: Comparison, suite: SuiteInfo, task: str, names: Sequence[str]
) -> list[object]:
    cells = [comparison.cell(name, suite.name, task=task) for name in names]
    return [cells[0].n if cells[0] else 0, *(percent(c.value if c else None) for c in cells)]


def broken_text(comparison: Comparison) -> str:
    """What the newest version breaks first, then the others: the first few items of each."""
    lines = []
    for version in reversed(comparison.versions):
        broken = [b for b in comparison.broken if b.by == version.name]
        if not broken:
            continue
        mended = sum(b.until is not None for b in broken)
        later = f" ({mended} of them mended later)" if mended else ""
        items = "item" if len(broken) == 1 else "items"
        lines.append(f"{version.name} broke {len(broken):,} {items}{later}:")
        broken.sort(key=lambda b: b.until is not None)
        for b in broken[:MAX_BROKEN]:
            until = f", mended by {b.until}" if b.until else ""
            lines.append(f"  {b.suite}: {b.item} ({b.passed} passed it{until})")
        if len(broken) > MAX_BROKEN:
            lines.append(f"  ... and {len(broken) - MAX_BROKEN:,} more, in the report")
    return "\n".join(lines)


def _wrapped(start: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_on_hyphens=False,
        break_long_words=False,
    )
