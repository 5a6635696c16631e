"""How a report words its numbers: percent, points, probabilities, and sentences for verdicts."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lorachain.evaluation.comparison import Interval, Overall
from lorachain.evaluation.verdicts import p_text

METRICS: Mapping[str, tuple[str, str]] = {
    "strict_task_valid": (
        "Right kind of answer",
        "all of it is JSON, it fits the schema, and is what the task asks for",
    ),
    "task_valid": ("Right kind, forgivingly read", "the same after forgiving parsing"),
    "strict_valid": ("Strictly valid", "the whole answer is JSON, and it fits the schema"),
    "schema_valid": ("Fits the schema", "after forgiving parsing"),
    "strict": ("Strict JSON", "the whole answer is JSON and nothing else"),
    "parse": ("JSON object found", "after forgiving parsing; a list is none"),
    "exact_fields": ("All fields right", "every checked value is right"),
    "fields": ("Right fields", "share of checked values that are right"),
}
KINDS: Mapping[str, str] = {
    "cut": "cut at the token limit",
    "no JSON": "no JSON found",
    "not plain JSON": "right, but not plain JSON",
    "parse": "no JSON found",
    "unclosed": "ends inside its object",
    "type": "wrong type",
    "required": "a required field is missing",
    "additionalProperties": "a field that is not allowed",
    "enum": "a value that is not allowed",
    "const": "a value that is not allowed",
    "expected": "not what the task asks for",
    "check": "a checked value is wrong",
    "low score": "scored too low",
}

_MINUS = re.compile(r"(?<![\w-])-(?=\d)")


def metric_label(name: str) -> str:
    """A metric's name for a reader; a scorer's own name where it is none of ours."""
    return METRICS[name][0] if name in METRICS else name.replace("_", " ")


def metric_meaning(name: str) -> str:
    """What a metric of ours says; nothing for another."""
    return METRICS[name][1] if name in METRICS else ""


def kind_label(name: str) -> str:
    """A kind of failure in words; a scorer's or a schema's own word where we have none."""
    if name.startswith("root "):
        return f"{name.removeprefix('root ')} instead of an object"
    return KINDS.get(name, name)


def percent(value: float | None) -> str:
    """`83%`; never rounded to all or nothing: 199 of 200 is 99%."""
    if value is None:
        return "–"
    if value in (0, 1):
        return f"{value:.0%}"
    return f"{min(max(value, 0.01), 0.99):.0%}"


def percents(interval: Interval | None) -> str:
    """`71–92`, in percent."""
    if interval is None:
        return ""
    return f"{percent(interval.low)[:-1]}–{percent(interval.high)[:-1]}"


def points(value: float | None) -> str:
    """A difference in points of a hundred, signed: `+19`, `−0.4`, `0`."""
    if value is None:
        return "–"
    hundred = value * 100
    text = f"{abs(hundred):.0f}" if abs(hundred) >= 0.95 or value == 0 else f"{abs(hundred):.1f}"
    if float(text) == 0:
        return "0"
    return ("+" if value > 0 else "−") + text


def between(interval: Interval | None) -> str:
    """`+8 to +30`."""
    return "" if interval is None else f"{points(interval.low)} to {points(interval.high)}"


def probability(value: float | None) -> str:
    """`.031`, as a table has it; always on its own side of .05."""
    return "–" if value is None else p_text(value).removeprefix("p ").removeprefix("= ")


def sentence(pair: Overall, margin: float) -> str:
    """A pair's verdict as one says it."""
    earlier, later = pair.earlier, pair.later
    if kind_of(pair) == "mixed":
        return f"{later} is better than {earlier} on some suites and worse on others."
    if pair.doubtful:
        some = f"{later} is better than {earlier} on some suites"
        return f"{some}, but losses on others cannot be ruled out."
    width = points(margin).lstrip("+")
    return {
        "better": f"{later} is better than {earlier}.",
        "worse": f"{later} is worse than {earlier}.",
        "equivalent": f"{later} is as good as {earlier}, within {width} points.",
        "cannot tell": f"These questions cannot tell whether {later} is better than {earlier}.",
    }[pair.verdict]


def kind_of(pair: Overall) -> str:
    """The verdict, or mixed: what a pair's sign and colour stand for."""
    return "mixed" if pair.better and (pair.worse or pair.together_worse) else pair.verdict


def why(verdict: str, reason: str) -> str:
    """A reason without the verdict that stands beside it, set as print is."""
    rest = reason.removeprefix(f"{verdict}: ")
    if rest.startswith("cannot tell from"):
        rest = rest.removeprefix("cannot tell ")
    rest = _MINUS.sub("−", rest).replace("p = ", "p\u00a0=\u00a0").replace("p < ", "p\u00a0<\u00a0")
    return rest[:1].upper() + rest[1:]


WORDS = {
    word.__name__: word
    for word in (
        *(metric_label, metric_meaning, kind_label, percent, percents, points, between),
        *(probability, sentence, kind_of, why),
    )
}
"""For templates."""
