"""What a reader of a comparison must bear in mind, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lorachain.evaluation.comparison import Cell, Difference, SuiteInfo
from lorachain.evaluation.evaluate import VersionResult
from lorachain.evaluation.lines import Lines
from lorachain.evaluation.metrics import MANY_CUT
from lorachain.evaluation.power import fewest_one_way, smallest_visible
from lorachain.evaluation.unscored import Unscored, unscored_in
from lorachain.evaluation.verdicts import points, signed
from lorachain.suites import Suite

FEW_ITEMS = 50
USUAL_DISCORDANT = 0.3  # the share of pairs that differ, where a sentence needs one


def cautions(
    results: Sequence[VersionResult],
    suites: Sequence[Suite],
    infos: Sequence[SuiteInfo],
    cells: Sequence[Cell],
    differences: Sequence[Difference],
    lines: Lines,
) -> list[str]:
    """All notes: settings that differ, what is few, cut or not scored."""
    left_out = unscored_in(suites, results)
    found = list(_other_settings(results))
    found += _other_batches(results, suites)
    found += [one.text for one in left_out]
    found += _drawn(results)
    found += _other_metrics(infos, differences)
    found += _few_items(infos)
    found += _same_items(suites)
    found += _cut(infos, cells)
    found += _not_scored(infos, cells, left_out)
    found += _no_lineage(results, lines)
    return found


def limit_notes(limit: int | None) -> list[str]:
    """What a --limit left out: the first items of a suite may all be of one kind."""
    if limit is None:
        return []
    first = "item" if limit == 1 else f"{limit:,} items"
    return [f"Asked of each suite: the first {first} only (--limit {limit})."]


def _other_settings(results: Sequence[VersionResult]) -> Iterator[str]:
    """Fields of the fingerprint, the model's own hash aside, that are not the same for all."""
    settings = {result.version.name: _flat(asdict(result.settings)) for result in results}
    for key in dict.fromkeys(key for found in settings.values() for key in found):
        groups: dict[str, list[str]] = {}
        for name, found in settings.items():
            groups.setdefault(str(found.get(key, "none")), []).append(name)
        if key != "model" and len(groups) > 1:
            each = "; ".join(f"{', '.join(names)}: {value}" for value, names in groups.items())
            yield (
                f"The answers were made under different settings: {key} is not the same for all "
                f"({each}). What differs between those versions may come from that."
            )


def _other_batches(results: Sequence[VersionResult], suites: Sequence[Suite]) -> Iterator[str]:
    """Items that the versions answered in batches of other sizes: memory ran out, say, and the
    batch was halved. Where fewer than a batch are, it was the one that was left over."""
    asked = {result.settings.batch_size for result in results}
    if len(asked) != 1:  # `_other_settings` says so
        return
    for suite in suites:
        answers = [result.answers[suite.name] for result in results]
        sizes = [tuple(a.generated.batch_size for a in of) for of in zip(*answers, strict=True)]
        differ = [of for of in sizes if len(set(of)) > 1]
        if len(differ) >= max(asked):
            groups: dict[tuple[int, ...], list[str]] = {}
            for result, mine in zip(results, zip(*differ, strict=True), strict=True):
                found = tuple(sorted(set(mine), reverse=True))
                groups.setdefault(found, []).append(result.version.name)
            each = "; ".join(f"{', '.join(n)}: {', '.join(map(str, s))}" for s, n in groups.items())
            yield (
                f"{len(differ)} of the {len(suite.items)} items of {suite.name} were answered in "
                f"batches of different sizes ({each}), as happens after memory ran out. That "
                "alone can change an answer: compare_versions.py --exact shows what batches "
                "change, or compare again with a smaller --batch-size."
            )


def _flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{key}.")
        else:
            found[before + key] = value
    return found


def _drawn(results: Sequence[VersionResult]) -> Iterator[str]:
    drawn = [r.version.name for r in results if r.settings.decoding.get("temperature")]
    if drawn:
        yield (
            f"Answers were drawn at a temperature over 0 ({', '.join(drawn)}): with another seed "
            "they differ, and the intervals do not count that."
        )


def _other_metrics(infos: Sequence[SuiteInfo], differences: Sequence[Difference]) -> Iterator[str]:
    """Losses that a headline does not show: it may be full, or look at other things."""
    headlines = {info.name: info.headline for info in infos}
    verdict = {
        (d.earlier, d.later, d.suite): d.verdict
        for d in differences
        if d.task is None and d.metric == headlines[d.suite]
    }
    lost = [
        f"{d.later} against {d.earlier} on {d.suite} by {d.metric} ({signed(d.value or 0)})"
        for d in differences
        if d.task is None
        and d.metric != headlines[d.suite]
        and d.verdict == "worse"
        and verdict[d.earlier, d.later, d.suite] != "worse"
    ]
    if lost:
        yield f"Worse by a metric that the verdict does not stand on: {'; '.join(lost)}."


def _few_items(infos: Sequence[SuiteInfo]) -> Iterator[str]:
    shown, hopeless = [], []
    for info in infos:
        units = info.n if info.clusters is None else info.clusters
        visible = smallest_visible(info.n, USUAL_DISCORDANT)
        size = f"{info.n} item{'' if info.n == 1 else 's'}"
        if units < fewest_one_way() or visible is None:
            within = f" in {units} cluster{'' if units == 1 else 's'}" if units < info.n else ""
            hopeless.append(f"{info.name} ({size}{within})")
        elif info.n < FEW_ITEMS:
            shown.append(f"{info.name} ({size}: {points(visible)} or more)")
    if shown:
        yield (
            f"Small suites show large differences only: {', '.join(shown)}, where three pairs of "
            "answers in ten come out differently, or as many more as that takes."
        )
    if hopeless:
        yield f"So few items cannot show any difference: {', '.join(hopeless)}."


def _same_items(suites: Sequence[Suite]) -> Iterator[str]:
    for i, suite in enumerate(suites):
        prompts = Counter(item.prompt_sha256 for item in suite.items)
        again = [times for times in prompts.values() if times > 1]
        if again:
            each = "1 prompt" if len(again) == 1 else f"{len(again)} prompts"
            yield f"{suite.name}: {sum(again)} items are {each}, and count as no more than that."
        for other in suites[:i]:
            shared = sum(item.prompt_sha256 in prompts for item in other.items)
            if shared:
                yield (
                    f"{shared} of the {len(other.items)} prompts of {other.name} stand in "
                    f"{suite.name} too: what the two suites say is one piece of evidence, not two."
                )


def _cut(infos: Sequence[SuiteInfo], cells: Sequence[Cell]) -> Iterator[str]:
    cut = [cell for cell in _headlines(infos, cells) if cell.n and cell.cut / cell.n > MANY_CUT]
    if cut:
        each = ", ".join(f"{c.version} on {c.suite}: {c.cut} of {c.n}" for c in cut)
        yield (
            f"Answers ended at the token limit ({each}). They are scored as they are, and may have "
            "been right with more room (--max-new-tokens)."
        )


def _not_scored(
    infos: Sequence[SuiteInfo], cells: Sequence[Cell], left_out: Sequence[Unscored]
) -> Iterator[str]:
    """What is in no score. What a scorer left out is said with its reasons already."""
    left = [cell for cell in _headlines(infos, cells) if cell.scored < cell.n]
    for info in infos:
        mine = [cell for cell in left if cell.suite == info.name]
        failed = [one.metric for one in left_out if one.suite == info.name]
        if mine and not any(cell.scored for cell in mine):
            why = "no item knows of a right answer."
            if failed:
                why = (
                    f"{' and '.join(failed)} gave no value for any answer. Mend what scores and "
                    "run rescore.py; no answer is made again."
                )
            yield f"Nothing in {info.name} could be scored: {why}"
        elif mine and info.headline not in failed:
            each = ", ".join(
                f"{cell.n - cell.scored} of {cell.n} for {cell.version}" for cell in mine
            )
            yield (
                f"Items of {info.name} that could not be scored by {info.headline} are left out: "
                f"{each}."
            )


def _headlines(infos: Sequence[SuiteInfo], cells: Sequence[Cell]) -> list[Cell]:
    wanted = {(info.name, info.headline) for info in infos}
    return [cell for cell in cells if cell.task is None and (cell.suite, cell.metric) in wanted]


def _no_lineage(results: Sequence[VersionResult], lines: Lines) -> Iterator[str]:
    lost = [
        result.version.name
        for result in results
        if result.version.name != lines.base and lines.lineages[result.version.name] is None
    ]
    if lost:
        yield (
            f"How these versions were made is not known, for want of their folders: "
            f"{', '.join(lost)}. Each is taken to stand on the one before it."
        )
