"""Stored answers scored again, with no model loaded.

    record = read_run(folder)                       # of run_record
    evaluation = rescored(record, scorers=scorers)  # as evaluate_versions would return it now
    found = moves(record, evaluation)               # of rescore_moves: what that moved

After a change of the extractor, of a schema or of a scorer this says what the change did to every
version, so that a change of the ruler is not taken for a change of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lorachain.errors import UserError
from lorachain.evaluation.evaluate import Evaluation, VersionResult
from lorachain.evaluation.generated import Generated
from lorachain.evaluation.results import read_store
from lorachain.evaluation.run_record import AskedVersion, ComparisonRecord, changed_suites, read_run
from lorachain.evaluation.score import Scored, score
from lorachain.evaluation.scorer_file import read_scorers
from lorachain.evaluation.scorers import Scorers, scoring_identity
from lorachain.paths import shown
from lorachain.suites import Item, Suite, read_suite

MAX_NAMED = 5


def rescored(
    record: ComparisonRecord | Path, *, scorers: Scorers | None = None, suites: Sequence[Path] = ()
) -> Evaluation:
    """The evaluation of a comparison, its answers taken from the store and scored as of now.

    Without `scorers` those of the record count, read anew. `suites` are files that take the place
    of the recorded ones, whether or not they changed since; without them all recorded suites
    count, and must be as they were.

    Raises UserError for a suite that changed (named), and for answers that are missing (counted).
    """
    record = read_run(record) if isinstance(record, Path) else record
    if scorers is None and record.scorers is not None:
        scorers = read_scorers(record.scorers)
    found = [_read(path, record) for path in suites or [s.path for s in record.suites]]
    if not suites:
        _check_unchanged(record, found)
    if scorers is not None:
        scorers.check(found)
    answers = _stored(record, found)
    results = tuple(_result(version, found, answers, scorers) for version in record.versions)
    return Evaluation(record.base, tuple(found), results, scoring_identity(found, scorers))


def _read(path: Path, record: ComparisonRecord) -> Suite:
    asked = record.asked
    return read_suite(path, system=asked.system, schema=asked.schema, limit=asked.limit)


def _check_unchanged(record: ComparisonRecord, suites: Sequence[Suite]) -> None:
    changed = changed_suites(record, suites)
    if changed:
        paths = ", ".join(shown(suite.path) for suite in suites if suite.name in changed)
        raise UserError(
            f"{paths} changed since {shown(record.folder)} was made. To score by what it is now, "
            "name it: --suites FILE. To score by what it was, restore it."
        )


def _stored(record: ComparisonRecord, suites: Sequence[Suite]) -> dict[tuple[str, str], Generated]:
    """The answers by version and prompt. Raises UserError that counts and names missing ones."""
    store = read_store(record.store)
    found: dict[tuple[str, str], Generated] = {}
    missing: dict[str, list[str]] = {}
    for version in record.versions:
        for suite in suites:
            for item in suite.items:
                answer = store.made_by(version.fingerprint, item.prompt_sha256)
                if answer is None:
                    missing.setdefault(version.version.name, []).append(f"{suite.name} {item.id}")
                else:
                    found[version.version.name, item.prompt_sha256] = answer
    if missing:
        lines = [f"  {name}: {len(ids)} ({_named(ids)})" for name, ids in missing.items()]
        total = sum(map(len, missing.values()))
        raise UserError(
            f"{total} answers are not in {shown(record.store)}:\n" + "\n".join(lines) + "\n"
            "Compare again to have them made, or leave those suites out: --suites FILE names the "
            "ones to score."
        )
    return found


def _named(ids: Sequence[str]) -> str:
    return ", ".join(ids[:MAX_NAMED]) + (", ..." if len(ids) > MAX_NAMED else "")


def _result(
    version: AskedVersion,
    suites: Sequence[Suite],
    answers: Mapping[tuple[str, str], Generated],
    scorers: Scorers | None,
) -> VersionResult:
    def scored(item: Item, suite: Suite) -> Scored:
        made = answers[version.version.name, item.prompt_sha256]
        return Scored(item, made, score(made.text, item, suite.schemas, scorers))

    found = {suite.name: tuple(scored(item, suite) for item in suite.items) for suite in suites}
    return VersionResult(version.version, version.settings, found, sum(map(len, found.values())))
