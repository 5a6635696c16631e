"""Which suites a comparison asks where none are named: those that fit what was trained."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lorachain.errors import UserError
from lorachain.evaluation.evaluate import Version
from lorachain.evaluation.lines import read_lineage
from lorachain.evaluation.score import task_of
from lorachain.evaluation.scorers import Scorers
from lorachain.evaluation.version_facts import validation_tasks, version_facts
from lorachain.paths import SUITES, shown
from lorachain.suites import Suite, read_suite

log = logging.getLogger("lorachain")


def named_suites(paths: Sequence[Path], limit: int | None = None) -> list[Suite]:
    """The suites of these files, each once. Raises UserError for two of the same name."""
    found = [read_suite(path, limit=limit) for path in dict.fromkeys(paths)]
    twice = [name for name, times in Counter(s.name for s in found).items() if times > 1]
    if twice:
        same = ", ".join(shown(suite.path) for suite in found if suite.name in twice)
        raise UserError(
            f"These suites have the same name, so they could not be told apart: {same}. Rename "
            "one, or leave one out."
        )
    return found


def fitting_suites(
    versions: Sequence[Version], limit: int | None = None, folder: Path = SUITES
) -> list[Suite]:
    """The suites of a folder that ask for a task which some version was trained or tested on, or
    that name no tasks. All of them where no version's data names tasks. Says which they are.

    Raises UserError where none fits.
    """
    found = named_suites(sorted(folder.glob("*.jsonl")), limit)
    trained = set().union(*(_tasks(version) for version in versions))
    fitting = [s for s in found if not trained or {task_of(i) for i in s.items} & {*trained, None}]
    if not fitting:
        said = f"({', '.join(sorted(trained))})" if trained else "(there are none)"
        raise UserError(
            f"No suite in {shown(folder)} asks what these versions were trained on {said}. Name "
            "yours: --suites FILE."
        )
    log.info("Suites of %s: %s.", shown(folder), ", ".join(suite.name for suite in fitting))
    if not trained:
        log.info("The versions' data names no tasks, so whether these suites fit is not known.")
    for suite in found:
        if suite not in fitting:
            log.info("Left out: %s; none of its tasks was trained. --suites asks it.", suite.name)
    return fitting


def check_scorable(suites: Sequence[Suite], scorers: Scorers | None) -> None:
    """Raises UserError where no item of any suite knows what a right answer is. Says which suites
    are not judged by what the scorers mark as their headline."""
    names = ", ".join(shown(suite.path) for suite in suites)
    if not any((scorers or Scorers()).metrics(suite) for suite in suites):
        if scorers is None:
            raise UserError(
                f"Nothing in {names} says what a right answer is (no item has a schema, `expected` "
                "or `checks`), so versions could not be told apart. Add them, or name scorers that "
                "need less in a file of your own (kinds: configs/scorers.yaml): --scorers FILE."
            )
        scorers.check(suites)
        raise UserError(
            f"The scorers can score nothing in {names}, so versions could not be told apart. Add "
            "what they need to the items (a schema, `expected`, `checks` or a reference), or name "
            "other scorers: --scorers FILE."
        )
    if scorers is not None:
        scorers.warn_of_split(suites)


def _tasks(version: Version) -> set[str]:
    found = read_lineage(version)
    return validation_tasks(found) | set(version_facts(found).get("rows_by_task", ()))
