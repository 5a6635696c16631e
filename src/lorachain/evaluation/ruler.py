"""Whether two comparisons of one folder were measured by one ruler, and which each was.

    before = read_ruler(folder)                      # before the folder is written anew
    note = before.change(evaluation, headlines, scorers)

Only what both comparisons asked is looked at: a suite that is new changes no ruler.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lorachain.errors import UserError
from lorachain.evaluation.evaluate import Evaluation
from lorachain.evaluation.run_record import COMPARISON, RUN, ComparisonRecord, read_run
from lorachain.evaluation.scorers import Scorers, same_tasks, scoring_identity
from lorachain.files import read_json
from lorachain.suites import Suite

_Items = set[tuple[str, str]]
_DEFAULT = "default"


@dataclass(frozen=True)
class Ruler:
    """What scored an earlier comparison. `headlines` are {suite: the metric that decided it}."""

    record: ComparisonRecord
    headlines: Mapping[str, str]

    def change(
        self, evaluation: Evaluation, headlines: Mapping[str, str], scorers: Scorers | None
    ) -> str | None:
        """What is another ruler now, as a note; None where nothing is."""
        items: _Items = {(suite, item) for _, suite, item in self.record.scores}
        suites = [_shared(suite, items) for suite in evaluation.suites]
        shared = {(suite.name, str(item.id)) for suite in suites for item in suite.items}
        if not shared:
            return None
        now = scoring_identity(suites, scorers)
        before = self._before(shared, now)
        changes = list(_changes(*same_tasks(before, now)))
        changes += [
            f"{suite.name} was judged by {then}, now by {headlines[suite.name]}"
            for suite in suites
            if suite.items and (then := self.headlines.get(suite.name)) is not None
            if suite.name in headlines and then != headlines[suite.name]
        ]
        if not changes:
            return None
        return (
            f"The scoring changed since these answers were last scored: {'; '.join(changes)}. "
            "Compare these figures with none from before."
        )

    def _before(self, shared: _Items, now: Mapping[str, str]) -> dict[str, str]:
        """What scored the items of both: the keys of `scoring_identity`, as they were."""
        scoring = self.record.scoring
        asked = {
            one.task or _DEFAULT
            for (_, suite, item), one in self.record.scores.items()
            if (suite, item) in shared
        }
        named = {task for task in asked if any(key.startswith(f"{task}: ") for key in scoring)}
        starts = tuple(f"{task}: " for task in named | ({_DEFAULT} if asked - named else set()))
        whole = {suite.name for suite in self.record.suites} <= {suite for suite, _ in shared}
        return {
            key: value
            for key, value in scoring.items()
            if key in now or key.startswith(starts) or (whole and key.startswith("schema "))
        }


def read_ruler(folder: Path) -> Ruler | None:
    """What scored the comparison that a folder holds; None where it holds none that is whole."""
    if not (folder / RUN).is_file():
        return None
    try:
        record = read_run(folder)
        path = folder / COMPARISON
        data = read_json(path, "The comparison") if path.is_file() else {}
        return Ruler(record, {suite["name"]: suite["headline"] for suite in data["suites"]})
    except UserError:
        return None
    except (KeyError, TypeError):
        return Ruler(record, {})


def _shared(suite: Suite, items: _Items) -> Suite:
    """A suite with the items alone that were asked before, and with the schemas of those."""
    kept = tuple(item for item in suite.items if (suite.name, str(item.id)) in items)
    used = {item.schema for item in kept}
    schemas = {name: schema for name, schema in suite.schemas.items() if name in used}
    return replace(suite, items=kept, schemas=schemas)


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    gone = [key for key in before if key not in now]
    new = [key for key in now if key not in before]
    other = [key for key in now if key in before and before[key] != now[key]]
    if gone or new:
        yield f"scored then by {_listed(gone)}, now by {_listed(new)}"
    if other:
        yield f"not as it was: {', '.join(other)}"


def _listed(keys: list[str]) -> str:
    return ", ".join(keys) or "nothing in its place"
