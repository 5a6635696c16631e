"""Findings: what a rule saw, how bad it is, and what to do about it.

Every rule has a stable code that `--allow CODE`, preflight.json and docs/preflight.md use. An
error stops a run before the model is loaded; `--allow` lets a named error pass, and the version's
lineage says so. An error whose rule is not `allowable` cannot be trained at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lorachain.errors import UserError

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
MAX_NAMED = 5


@dataclass(frozen=True)
class Rule:
    """One rule. `about` is one line for the table in the docs."""

    code: str
    part: Literal["rows", "tokens", "answers", "schedule", "machine"]
    severity: Severity
    about: str
    allowable: bool = True


_ROWS = (
    Rule("bad-rows", "rows", "error", "rows that cannot be read, as file:line", False),
    Rule("empty-answers", "rows", "error", "answers without a letter, a digit or a symbol"),
    Rule("duplicate-rows", "rows", "warning", "the same row several times in one file"),
    Rule("near-duplicate-rows", "rows", "note", "rows of one file that say almost the same"),
    Rule("contradicting-rows", "rows", "warning", "one prompt with several answers in one file"),
    Rule("leak-validation", "rows", "error", "rows that are trained on and measured on"),
    Rule("leak-suite", "rows", "error", "rows that a suite asks"),
    Rule(
        *("leak-ancestor-validation", "rows", "error"),
        "training rows that an ancestor is measured on: what it forgot could not be seen",
    ),
    Rule(
        *("leak-ancestor-training", "rows", "error"),
        "validation rows that an ancestor was trained on",
    ),
    Rule(
        *("leak-suite-ancestor", "rows", "warning"),
        "a suite's items that an ancestor was trained on",
    ),
    Rule("repeats-ancestor", "rows", "note", "rows that an ancestor was trained on already"),
    Rule("contradicts-ancestor", "rows", "warning", "an ancestor's prompt with another answer"),
    Rule("suite-unread", "rows", "note", "a suite that cannot be read, so no leak is looked for"),
    Rule("ancestor-data-gone", "rows", "note", "an ancestor's data that is gone or has changed"),
)
_TOKENS = (
    Rule(
        "overlong-rows", "tokens", "error", "rows over the limit, under on_overlong: error", False
    ),
    Rule("answers-cut", "tokens", "warning", "answer tokens that drop or truncate loses"),
    Rule("nothing-trained", "tokens", "error", "rows without a single trained token"),
    Rule("end-untrained", "tokens", "error", "rows whose end token is not trained"),
    Rule("control-tokens", "tokens", "warning", "texts that look like the template's own tokens"),
    Rule("default-system", "tokens", "note", "a system prompt that the template adds by itself"),
    Rule("over-context", "tokens", "error", "rows longer than the base can read", False),
)
_ANSWERS = (
    Rule("invalid-answers", "answers", "warning", "answers that do not fit their schema"),
    Rule("repaired-answers", "answers", "warning", "answers that only a repair makes JSON of"),
)
_SCHEDULE = (
    Rule("few-steps", "schedule", "warning", "fewer than 50 optimizer steps"),
    Rule("partial-epoch", "schedule", "warning", "fewer rows are seen than there are"),
    Rule("dead-tail", "schedule", "warning", "many steps at under 1% of the highest rate"),
    Rule("no-warmup", "schedule", "warning", "a fresh adapter without warm-up"),
    Rule("long-warmup", "schedule", "warning", "a warm-up of more than half of the steps"),
    Rule("no-validation", "schedule", "warning", "no validation rows: the loss is not measured"),
)
_MACHINE = (
    Rule("memory-short", "machine", "warning", "the estimate is more than the memory there is"),
    Rule("probe-failed", "machine", "error", "the largest micro-batch does not fit (--probe)"),
    Rule("disk-short", "machine", "error", "no room for the checkpoints"),
    Rule("gpu-unused", "machine", "warning", "a torch without CUDA beside an NVIDIA card"),
    Rule("may-sleep", "machine", "note", "a computer on battery: it may go to sleep"),
)
RULES: Mapping[str, Rule] = {
    rule.code: rule for rule in (*_ROWS, *_TOKENS, *_ANSWERS, *_SCHEDULE, *_MACHINE)
}


@dataclass(frozen=True)
class Finding:
    """What one rule saw.

    `says` is one sentence with the numbers in it; `do` what to change, with a value where there is
    one (`--set data.max_seq_length=1536`). `where` names rows as file:line, all of them; a screen
    shows the first few. `facts` are the numbers, for preflight.json. `severity` is the rule's
    unless it is less bad here.
    """

    code: str
    says: str
    do: str
    where: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity = "error"

    @property
    def rule(self) -> Rule:
        """The rule behind the code."""
        return RULES[self.code]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "where": list(self.where)}


def found(
    code: str,
    says: str,
    do: str,
    where: Sequence[str] = (),
    *,
    severity: Severity | None = None,
    **facts: Any,
) -> Finding:
    """A finding of a rule, as severe as the rule says unless told otherwise."""
    return Finding(code, says, do, tuple(where), facts, severity or RULES[code].severity)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then warnings, then notes; each in the order of RULES."""
    places = {code: i for i, code in enumerate(RULES)}
    return sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), places[f.code]))


def blocking(findings: Iterable[Finding], allowed: Iterable[str]) -> list[Finding]:
    """The errors that stop a run: those that were not allowed, or cannot be."""
    passed = set(allowed)
    return [
        f for f in findings if f.severity == "error" and not (f.code in passed and f.rule.allowable)
    ]


def check_codes(codes: Iterable[str]) -> None:
    """Raises UserError for a code in `--allow` that is no rule's, or none that can be allowed."""
    from difflib import get_close_matches

    for code in codes:
        if code not in RULES:
            near = get_close_matches(code, RULES, 1)
            errors = [rule.code for rule in RULES.values() if rule.severity == "error"]
            raise UserError(
                f"--allow {code}: there is no such code"
                + (f" (did you mean {near[0]}?)" if near else "")
                + f". Errors that can be allowed: "
                f"{', '.join(code for code in errors if RULES[code].allowable)}."
            )
        if not RULES[code].allowable:
            raise UserError(
                f"--allow {code}: such rows cannot be trained on, so this cannot be allowed. "
                "Mend them, or leave them out."
            )


def named(where: Sequence[str], most: int = MAX_NAMED) -> str:
    """`a.jsonl:3, a.jsonl:7, ... (12 in all)`."""
    if len(where) <= most:
        return ", ".join(where)
    return f"{', '.join(where[:most])}, ... ({len(where):,} in all)"
