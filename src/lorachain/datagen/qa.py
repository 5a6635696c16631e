"""The quality gate: rows that are sound one by one, then not repeated, then not too many of a kind.

    found = check_rows(rows, read_qa_settings(), schemas)
    found.kept, found.dropped, found.report()

Duplicates are looked for among the rows that are sound, so that a broken first one does not cost
the good second one. Of what is repeated or too many, the first rows of the plan stay.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lorachain.datagen.failures import is_after
from lorachain.datagen.near import NearTexts
from lorachain.datagen.qa_checks import Reason, RowChecks
from lorachain.datagen.qa_settings import QaSettings
from lorachain.datagen.rows import DatasetRow
from lorachain.paths import PROJECT_ROOT
from lorachain.preflight.texts import numbers, tight
from lorachain.schemas import Schema, find_schema


@dataclass
class Checked:
    """What the gate lets pass, and what it drops with all reasons."""

    kept: list[DatasetRow]
    dropped: list[tuple[DatasetRow, list[Reason]]] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """How many rows each reason holds for; a row may have several."""
        found = Counter(r for _, reasons in self.dropped for r in {x.reason for x in reasons})
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def report(self) -> dict[str, Any]:
        """For JSON."""
        rows = [*self.kept, *(row for row, _ in self.dropped)]
        return {
            "format": 1,
            "rows": len(rows),
            "kept": len(self.kept),
            "dropped": len(self.dropped),
            "reasons": self.counts(),
            "balance": {
                key: {
                    name: {"rows": count, "kept": _by(key, self.kept)[name]}
                    for name, count in sorted(_by(key, rows).items())
                }
                for key in ("task", "category")
            },
            "dropped_rows": [
                {
                    "id": row.id,
                    "task": row.task,
                    "reasons": [reason._asdict() for reason in reasons],
                }
                for row, reasons in self.dropped
            ],
        }


def find_schemas(rows: Sequence[DatasetRow]) -> dict[str, Schema]:
    """The schemas that rows name. Raises UserError for one that is not there."""
    names = sorted({row.schema for row in rows if row.schema is not None})
    return {name: find_schema(name, PROJECT_ROOT) for name in names}


def check_rows(
    rows: Sequence[DatasetRow], settings: QaSettings, schemas: Mapping[str, Schema]
) -> Checked:
    """Sort rows, in the order of the plan, into those that pass and those that do not."""
    checks = RowChecks(settings)
    found = Checked([])
    ordered = sorted(rows, key=lambda row: (row.index, row.id))
    sound = []
    for row in ordered:
        reasons = checks.reasons(row, schemas[row.schema] if row.schema is not None else None)
        if reasons:
            found.dropped.append((row, reasons))
        else:
            sound.append(row)
    unlike = list(_without_repeated(sound, settings.duplicates.near, found))
    found.kept = list(_capped(unlike, settings, found))
    found.dropped.sort(key=lambda item: (item[0].index, item[0].id))
    return found


def _without_repeated(
    rows: Sequence[DatasetRow], near: float, found: Checked
) -> Iterator[DatasetRow]:
    """The first of each question. Near prompts with other numbers in them ask something else."""
    first: dict[str, DatasetRow] = {}
    known = NearTexts([row.prompt for row in rows], near)
    kept: set[int] = set()
    for place, row in enumerate(rows):
        key = tight(row.prompt)
        if key in first:
            found.dropped.append((row, [Reason("duplicate", f"asks what {first[key].id} asks")]))
            continue
        first[key] = row
        like = (rows[i] for i in known.near(row.prompt) if i in kept)
        same = next((other for other in like if _numbers(other) == _numbers(row)), None)
        if same is not None:
            found.dropped.append((row, [Reason("near_duplicate", f"nearly asks what {same.id}")]))
            continue
        kept.add(place)
        yield row


def _numbers(row: DatasetRow) -> tuple[str, ...]:
    return numbers(tight(row.prompt))


def _capped(
    rows: Sequence[DatasetRow], settings: QaSettings, found: Checked
) -> Iterator[DatasetRow]:
    """Rows until a task or a category has its most. Rows without a category have no cap on it, and
    rows that were planned from failures none at all."""
    caps = {}
    for key in ("task", "category"):
        factor = getattr(settings.balance, key)
        names = {name for name in _by(key, rows) if name}
        caps[key] = math.ceil(factor * len(rows) / len(names)) if factor and names else len(rows)
    times: Counter[tuple[str, str]] = Counter()
    for row in rows:
        keys = [(key, getattr(row, key)) for key in caps]
        over = [(key, name) for key, name in keys if name and times[key, name] >= caps[key]]
        if over and not is_after(row.spec):
            reasons = [Reason("over_cap", f"{k} {n} has its {caps[k]} rows") for k, n in over]
            found.dropped.append((row, reasons))
            continue
        times.update(keys)
        yield row


def _by(key: str, rows: Sequence[DatasetRow]) -> Counter[str]:
    return Counter(str(getattr(row, key)) for row in rows)


def write_up(found: Checked, where: str, report: str) -> str:
    """What came of it, for people."""
    total = len(found.kept) + len(found.dropped)
    lines = [f"{len(found.kept)} of {total} rows pass: {where}"]
    lines += [f"  {count} dropped: {reason}" for reason, count in found.counts().items()]
    return "\n".join([*lines, f"Report: {report}"])
