"""Rules over the answers that rows teach: whether they are the JSON that they should be.

An answer is a row's last turn. Its schema is the row's own (`schema`) or `data.answer_schema`.
Rewards and scores read answers by tiers (`lorachain.answers`); a training row has to be of the
first: what a row spells wrongly, such as `"score": 4,5`, the model learns to spell wrongly.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lorachain.answers import Schema, Tier, check_answer, parse_answer
from lorachain.config import DataSection
from lorachain.errors import UserError
from lorachain.paths import PROJECT_ROOT, shown
from lorachain.preflight.finding import Finding, found
from lorachain.records import ChatRow
from lorachain.schemas import SchemaProblem, find_schema

MOST = 20_000
"""Answers that are looked at; of more rows, this many at even distances."""
NEARLY_ALL = 0.9
"""From this share of JSON objects on, rows without a schema are taken to be JSON answers."""
MAX_PATHS = 5
MAX_HOW = 4  # things that are wrong at one path
_EACH = ("required", "parse")  # of which every message counts; of others the first says it
_NAME = re.compile(r"[\w.-]+(?:[/\\][\w.-]+)*")  # a `schema` of other data may be an SQL table
_HOW: dict[Tier, str] = {
    "scan": "text or a fence around the JSON",
    "numbers": "numbers such as 4,5",
    "repair": "a repair",
    "none": "no JSON",
}


@dataclass
class Fit:
    """How the answers fit one schema. `paths` counts rows by the path that fails in them, `how`
    for each path by what is wrong there (each missing key is one thing)."""

    schema: str
    rows: int = 0
    valid: int = 0
    repaired: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    paths: Counter[str] = field(default_factory=Counter)
    how: dict[str, Counter[str]] = field(default_factory=dict)
    kinds: dict[tuple[str, str], str] = field(default_factory=dict)  # the first message of each
    tiers: Counter[Tier] = field(default_factory=Counter)  # of the repaired ones

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "schema": self.schema,
            "rows": self.rows,
            "valid": self.valid,
            "repaired": len(self.repaired),
            "invalid": len(self.invalid),
            "paths": dict(self.paths.most_common()),
            "how": {path: dict(how.most_common()) for path, how in self.how.items()},
            "tiers": dict(self.tiers),
        }


@dataclass(frozen=True)
class AnswerLook:
    """What was seen of a file's answers. `looked` is fewer than `rows` in large files; `objects`
    counts the strict JSON objects among the `bare` answers, which have no schema, and `others` are
    the rest of them, where nearly all are objects. `unknown` maps names of schemas that are not
    there to their rows."""

    rows: int
    looked: int
    fits: tuple[Fit, ...]
    bare: int
    objects: int
    others: tuple[tuple[str, Tier], ...]
    unknown: dict[str, list[str]]
    file: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the counts. The rows stand in the findings."""
        return {
            "rows": self.rows,
            "looked": self.looked,
            "fits": [fit.as_dict() for fit in self.fits],
            "bare": self.bare,
            "objects": self.objects,
            "others": len(self.others),
            "unknown": {name: len(where) for name, where in self.unknown.items()},
        }


def look_at_answers(rows: Sequence[ChatRow], data: DataSection, *, most: int = MOST) -> AnswerLook:
    """Check the answers of one file against their schemas, and find the odd ones without.

    Raises UserError when `data.answer_schema` is no schema.
    """
    default = None
    if data.answer_schema is not None:
        default = find_schema(data.answer_schema, PROJECT_ROOT)
    chosen = _evenly(rows, most)
    schemas, unknown = _schemas(chosen)
    fits: dict[str, Fit] = {}
    bare: list[ChatRow] = []
    for row in chosen:
        schema = schemas.get(_key(row)) or default
        if schema is None:
            bare.append(row)
            continue
        _check(row, schema, fits.setdefault(schema.name, Fit(schema.name)))
    objects, others = _odd_ones(bare)
    return AnswerLook(
        rows=len(rows),
        looked=len(chosen),
        fits=tuple(fits.values()),
        bare=len(bare),
        objects=objects,
        others=tuple(others),
        unknown=unknown,
        file=shown(rows[0].path) if rows else "",
    )


def _evenly(rows: Sequence[ChatRow], most: int) -> Sequence[ChatRow]:
    if len(rows) <= most:
        return rows
    return [rows[i * len(rows) // most] for i in range(most)]


def _key(row: ChatRow) -> tuple[str, str]:
    return (str(row.path.parent), row.schema)


def _schemas(
    rows: Iterable[ChatRow],
) -> tuple[dict[tuple[str, str], Schema], dict[str, list[str]]]:
    """The schemas that rows name, and the names that lead nowhere with their rows. A text that is
    no name (a table's definition, say) belongs to the data and is passed over."""
    found_here: dict[tuple[str, str], Schema] = {}
    unknown: dict[str, list[str]] = {}
    for row in rows:
        key = _key(row)
        if not _NAME.fullmatch(row.schema) or key in found_here:
            continue
        if row.schema not in unknown:
            try:
                found_here[key] = find_schema(row.schema, row.path.parent)
                continue
            except UserError:
                unknown[row.schema] = []
        unknown[row.schema].append(row.where)
    return found_here, unknown


def _check(row: ChatRow, schema: Schema, fit: Fit) -> None:
    checked = check_answer(row.messages[-1].content, schema)
    fit.rows += 1
    if checked.strict_valid:
        fit.valid += 1
    elif checked.problems or checked.answer.truncated:
        fit.invalid.append(row.where)
        wrong: dict[str, set[str]] = {}
        for problem in checked.problems or [SchemaProblem("$", "parse", "it is cut off")]:
            path, message = re.sub(r"\[\d+\]", "[]", problem.path), problem.message
            if problem.kind not in _EACH:
                message = fit.kinds.setdefault((path, problem.kind), message)
            wrong.setdefault(path, set()).add(message)
        fit.paths.update(wrong.keys())
        for path, messages in wrong.items():
            fit.how.setdefault(path, Counter()).update(messages)
    else:
        fit.repaired.append(row.where)
        fit.tiers[checked.answer.tier] += 1


def _odd_ones(rows: Sequence[ChatRow]) -> tuple[int, list[tuple[str, Tier]]]:
    """Strict JSON objects among answers, and the rest of them where nearly all are objects."""
    likely = sum(row.messages[-1].content.lstrip().startswith("{") for row in rows)
    if not rows or likely < NEARLY_ALL * len(rows):
        return 0, []
    answers = [(row, parse_answer(row.messages[-1].content)) for row in rows]
    good = [answer.strict and answer.root_type == "object" for _, answer in answers]
    if sum(good) < NEARLY_ALL * len(rows):
        return sum(good), []
    others = [
        (row.where, answer.tier)
        for (row, answer), fine in zip(answers, good, strict=True)
        if not fine
    ]
    return sum(good), others


def check_answers(look: AnswerLook) -> list[Finding]:
    """The findings of what was looked at."""
    findings = [finding for fit in look.fits for finding in _fit_findings(fit, look)]
    if look.others:
        tiers = Counter(tier for _, tier in look.others)
        findings.append(
            found(
                "repaired-answers",
                f"In {look.file}, {look.objects:,} of {_answers(look.bare, look)} are JSON "
                f"objects; {len(look.others):,} {_are(len(look.others))} not ({_ways(tiers)}).",
                "Mend them, or name the schema that all should fit (--set data.answer_schema=...).",
                [where for where, _ in look.others],
                objects=look.objects,
                tiers=dict(tiers),
            )
        )
    for name, where in look.unknown.items():
        findings.append(
            found(
                "invalid-answers",
                f"The schema {name} that {len(where):,} rows name is not there: their answers are "
                "not checked against it.",
                "Put it under configs/schemas or beside the rows, or take the name out.",
                where,
                severity="note",
                schema=name,
            )
        )
    return findings


def _fit_findings(fit: Fit, look: AnswerLook) -> list[Finding]:
    findings = []
    if fit.invalid:
        worst = fit.paths.most_common(MAX_PATHS)
        listed = "; ".join(f"{path} in {n:,} ({_how(fit.how[path])})" for path, n in worst)
        more = (
            f"; and {len(fit.paths) - MAX_PATHS} paths more" if len(fit.paths) > MAX_PATHS else ""
        )
        findings.append(
            found(
                "invalid-answers",
                f"In {look.file}, {len(fit.invalid):,} of {_answers(fit.rows, look)} "
                f"({len(fit.invalid) / fit.rows:.1%}) do not fit {fit.schema}: {listed}{more}.",
                "Mend these answers or leave the rows out: what they lack, the model learns to "
                "leave out.",
                fit.invalid,
                schema=fit.schema,
                valid=fit.valid,
                rows=fit.rows,
                paths=dict(fit.paths.most_common()),
            )
        )
    if fit.repaired:
        number = len(fit.repaired)
        findings.append(
            found(
                "repaired-answers",
                f"In {look.file}, {number:,} of {_answers(fit.rows, look)} {_are(number)} JSON "
                f"that fits {fit.schema} only for a forgiving reader ({_ways(fit.tiers)}).",
                "Write the JSON alone, as json.dumps does: the model learns it as it stands.",
                fit.repaired,
                schema=fit.schema,
                tiers=dict(fit.tiers),
            )
        )
    return findings


def _answers(number: int, look: AnswerLook) -> str:
    """`60 answers`, and that these are not all, where not all were looked at."""
    some = f" (a sample of the {look.rows:,} rows)"
    return f"{number:,} answers{some if look.looked < look.rows else ''}"


def _how(how: Counter[str]) -> str:
    """What is wrong at a path: with counts, where there are several things."""
    if len(how) == 1:
        return next(iter(how))
    listed = [f"{message}: {n:,}" for message, n in how.most_common(MAX_HOW)]
    return ", ".join([*listed, "..."] if len(how) > MAX_HOW else listed)


def share_valid(look: AnswerLook) -> str:
    """`54 of 60 fit score.json (90%)` for each schema; '' where none was named."""
    return "; ".join(
        f"{fit.valid:,} of {_answers(fit.rows, look)} fit {fit.schema} "
        f"({math.floor(1000 * fit.valid / fit.rows) / 1000:.1%})"
        for fit in look.fits
    )


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _ways(tiers: Counter[Tier]) -> str:
    said = Counter({_HOW.get(tier, "JSON, but no object"): n for tier, n in tiers.items()})
    return ", ".join(f"{how}: {n:,}" for how, n in said.most_common())
