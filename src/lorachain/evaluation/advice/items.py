"""What one rule answered, and how that is shown in a terminal and handed to the report."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from lorachain.evaluation.advice.stage_yaml import scalar

WIDTH = 96
_NONE = "No rule holds."


@dataclass(frozen=True)
class AdviceItem:
    """One rule's answer for one version.

    `evidence` holds sentences, fact = value (from where). `do` says what to do where the rule
    holds, and what to measure where that is unknown. `config` is what to change, by dotted keys,
    and `config_yaml` the same as a stage's YAML; both are empty where there is nothing to set.
    `lacks_items` says that it is unknown because the suite has too few items to tell.
    """

    rule: str
    title: str
    source: str
    holds: Literal["yes", "no", "unknown"]
    evidence: Sequence[str]
    do: str
    config: Mapping[str, Any]
    config_yaml: str
    version: str
    lacks_items: bool = False


class ShownAdvice(TypedDict):
    """What a report shows of an item, as plain values."""

    title: str
    holds: str  # yes, no or unknown
    evidence: Sequence[str]
    do: str
    config_yaml: str | None


def as_dicts(items: Iterable[AdviceItem]) -> list[ShownAdvice]:
    """For the report, and for JSON."""
    return [
        {
            "title": item.title,
            "holds": item.holds,
            "evidence": list(item.evidence),
            "do": item.do,
            "config_yaml": item.config_yaml,
        }
        for item in items
    ]


def format_advice(items: Sequence[AdviceItem]) -> str:
    """For a terminal: what holds, in the order of importance, then what to measure."""
    held = [item for item in items if item.holds == "yes"]
    unknown = [item for item in items if item.holds == "unknown"]
    lines = [line for number, item in enumerate(held, start=1) for line in _held(number, item)]
    if not held:
        # No more than that is said: items may be broken, or too few to tell, and no rule holds.
        short = sum(item.lacks_items for item in unknown)
        need = "rule needs" if short == 1 else "rules need"
        lines += [f"No rule holds, but {short} {need} more items to tell." if short else _NONE, ""]
    if unknown:
        lines += ["Not known yet:"]
        lines += [line for item in unknown for line in _wrapped("- ", f"{item.title}: {item.do}")]
        lines += [""]
    no = len(items) - len(held) - len(unknown)
    hold = "rule holds" if len(held) == 1 else "rules hold"
    do = "does" if no == 1 else "do"
    lines.append(f"{len(held)} {hold}, {len(unknown)} cannot be judged, {no} {do} not hold.")
    text = "\n".join(lines)
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def _held(number: int, item: AdviceItem) -> Iterator[str]:
    yield from _wrapped(f"{number}. ", item.title)
    yield from _wrapped("   ", item.do)
    for sentence in item.evidence:
        yield from _wrapped("   - ", sentence)
    for key, value in item.config.items():
        yield f"   {key}: {scalar(value)}"
    yield ""


def _wrapped(start: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_on_hyphens=False,
    )
