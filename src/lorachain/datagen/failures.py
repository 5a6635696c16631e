"""What the newest version of a comparison failed at, and how many prompts that asks for.

Read from a comparison's folder: `comparison.json` (versions, suites and their headline metrics),
`scores.jsonl` (every answer's score) and `run.json`. The failed prompts themselves are never
planned: the suites stay what is tested, and only their tasks and kinds of failure are learned from.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from lorachain.errors import UserError
from lorachain.files import read_json
from lorachain.jsonl import read_objects
from lorachain.paths import shown

PASS_MARK = 0.5
# Strict headlines first, each with what the same is called after forgiving parsing.
_HEADLINES = {
    "strict_task_valid": "task_valid",
    "strict_valid": "schema_valid",
    "exact_fields": "",
    "strict": "parse",
}
NO_TASK = "(no task)"
_AFTER = "-after-"


@dataclass(frozen=True)
class Failures:
    """`counts[task, kind]` of one version, of `scored` answers."""

    version: str
    counts: Mapping[tuple[str, str], int]
    scored: int

    @property
    def total(self) -> int:
        """All failures."""
        return sum(self.counts.values())


def read_failures(results: Path) -> Failures:
    """The newest version's failures. `results` is a comparison's folder, or a results file of
    batch_test_model.py, whose answers lie beside it. Raises UserError where it is neither."""
    folder = results.with_suffix(".answers") if results.suffix == ".json" else results
    if not (folder / "scores.jsonl").is_file():
        raise UserError(
            f"{shown(folder)} holds no scores (no scores.jsonl). Name a folder that "
            "compare_versions.py wrote, or a results file of batch_test_model.py."
        )
    scores = [row for _, row in read_objects(folder / "scores.jsonl")]
    try:
        version, headlines = _newest(folder)
        own = [row for row in scores if row["version"] == version]
        for suite in {row["suite"] for row in own}:
            headlines.setdefault(suite, _headline(r["score"] for r in own if r["suite"] == suite))
        found: Counter[tuple[str, str]] = Counter()
        scored = 0
        for row in own:
            metric = headlines[row["suite"]]
            value = _value(row["score"], metric)
            scored += value is not None
            if value is not None and value < PASS_MARK:
                found[row["task"] or NO_TASK, _kind(row["score"], metric)] += 1
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(
            f"{shown(folder)} is damaged ({type(error).__name__}: {error}). Compare again: stored "
            "answers are used, none is made anew."
        ) from None
    return Failures(version, dict(sorted(found.items())), scored)


def _newest(folder: Path) -> tuple[str, dict[str, str]]:
    """The newest version, and the metric that each suite's verdict stands on, where it is known."""
    if not (folder / "comparison.json").is_file():
        return read_json(folder / "run.json", "The record of results")["versions"][-1]["name"], {}
    data = read_json(folder / "comparison.json", "The comparison")
    headlines = {suite["name"]: suite["headline"] for suite in data["suites"]}
    return data["versions"][-1]["name"], headlines


def _headline(scores: Iterable[Mapping[str, Any]]) -> str:
    known = list(scores)
    for metric in _HEADLINES:
        if any(score.get(metric) is not None for score in known):
            return metric
    return next((name for score in known for name in score.get("values", {})), "strict_task_valid")


def _value(score: Mapping[str, Any], metric: str) -> float | None:
    value = score.get(metric, score.get("values", {}).get(metric))
    return None if value is None else float(value)


def _kind(score: Mapping[str, Any], metric: str) -> str:
    """Why an answer failed, in the words of a comparison. Whether an answer that ends inside its
    root was cut at the token limit is not in its score: it is `unclosed` either way."""
    root = score.get("root_type")
    if root == "none":
        return "no JSON"
    if root not in (None, "object"):
        return f"root {root}"
    if score.get("truncated"):
        return "unclosed"
    lenient = _value(score, _HEADLINES.get(metric, ""))
    if lenient is not None and lenient >= PASS_MARK:
        return "not plain JSON"
    problems = score.get("problems") or []
    return str(problems[0]["kind"]) if problems else "low score"


def apportioned(shares: Mapping[tuple[str, str], int], total: int) -> dict[tuple[str, str], int]:
    """`total` dealt out in proportion, whole: the largest remainders get what is left over."""
    of = sum(shares.values())
    exact = {key: Fraction(total * count, of) for key, count in shares.items()}
    found = {key: int(value) for key, value in exact.items()}
    left = total - sum(found.values())
    for key in sorted(exact, key=lambda k: (found[k] - exact[k], k))[:left]:
        found[key] += 1
    return found


def plan_name(spec: str, version: str) -> str:
    """The name of the plan that follows a version, which its rows' ids begin with."""
    return f"{spec}{_AFTER}{re.sub(r'[^0-9A-Za-z_.-]+', '_', version).strip('_') or 'version'}"


def is_after(name: str) -> bool:
    """Whether a plan's name is that of one that follows failures: it is uneven on purpose."""
    return _AFTER in name
