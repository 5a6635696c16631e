"""What a comparison was made of, kept beside it: enough to score its answers again without a model.

    folder/comparison.json    the comparison (`Comparison.as_dict`), where there is one
    folder/scores.jsonl       each answer's score: {version, suite, item, task, score}
    folder/rescore.json       what a change of scoring moved, where rescore.py wrote the folder
    folder/run.json           base, store, suites, versions, scorers; written last

Paths inside the folder or inside the project are relative to it, so that either may be moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lorachain.errors import UserError
from lorachain.evaluation.comparison import Comparison
from lorachain.evaluation.evaluate import Evaluation, Version
from lorachain.evaluation.results import Settings
from lorachain.evaluation.score import Score, task_of
from lorachain.evaluation.scorers import Scorers
from lorachain.files import make_folder, read_json, write_json
from lorachain.jsonl import read_objects, write_objects
from lorachain.models import Base, Fingerprint
from lorachain.paths import PROJECT_ROOT, absolute, shown
from lorachain.suites import Suite

FORMAT = 1
RUN = "run.json"
SCORES = "scores.jsonl"
COMPARISON = "comparison.json"
MOVES = "rescore.json"

Key = tuple[str, str, str]
"""An answer: version, suite, and the item's id as a text."""


@dataclass(frozen=True)
class Asked:
    """How the suites were read, where it was not as they stand (`suites.read_suite`)."""

    system: str | None = None
    schema: str | None = None
    limit: int | None = None


@dataclass(frozen=True)
class AskedSuite:
    """A suite of a record. `sha256` is over its file as it was."""

    name: str
    path: Path
    sha256: str


@dataclass(frozen=True)
class AskedVersion:
    """A version of a record. `fingerprint` is over `settings`, as the store knows it."""

    version: Version
    settings: Settings
    fingerprint: str


@dataclass(frozen=True)
class Before:
    """How one answer was scored when the record was written."""

    task: str | None
    score: Score


@dataclass(frozen=True)
class ComparisonRecord:
    """A comparison's folder, read. `title` and `facts` are of its report, where it has one."""

    folder: Path
    base: Base
    store: Path
    suites: tuple[AskedSuite, ...]
    versions: tuple[AskedVersion, ...]
    scorers: Path | None
    scoring: Mapping[str, str]
    asked: Asked = Asked()
    scores: Mapping[Key, Before] = field(default_factory=dict, repr=False)
    title: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def write_run(
    folder: Path,
    evaluation: Evaluation,
    *,
    store: Path,
    scorers: Scorers | None = None,
    asked: Asked | None = None,
    comparison: Comparison | None = None,
    title: str | None = None,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Write down what `rescore` needs, and the comparison where there is one, atomically each.

    `store` is the folder of the answers; `asked` says how the suites were read; `title` and
    `facts` head the report, where there is one. Raises UserError where the folder cannot be made.
    """
    make_folder(folder)
    if comparison is not None:
        write_json(folder / COMPARISON, comparison.as_dict())
    write_objects(folder / SCORES, _score_rows(evaluation))
    base = evaluation.base
    run = {
        "format": FORMAT,
        "base": {
            "name": base.name,
            "folder": _written(base.folder, folder),
            "fingerprint": asdict(base.fingerprint),
        },
        "store": _written(store, folder),
        "suites": [
            {"name": s.name, "path": _written(s.path, folder), "sha256": s.sha256}
            for s in evaluation.suites
        ],
        "versions": [
            {
                "name": result.version.name,
                "folder": _written(result.version.folder, folder),
                "sha256": result.version.sha256,
                "settings": result.settings.as_dict(),
            }
            for result in evaluation.versions
        ],
        "scorers": _written(scorers.path if scorers else None, folder),
        "scoring": dict(evaluation.scoring),
        "asked": asdict(asked or Asked()),
        "title": title,
        "facts": dict(facts or {}),
    }
    write_json(folder / RUN, run)


def read_run(folder: Path) -> ComparisonRecord:
    """Read what `write_run` wrote. `folder` may also be a results file of batch_test_model.py,
    whose answers lie beside it.

    Raises UserError for a folder without a record, or one that cannot be read.
    """
    folder = folder.with_suffix(".answers") if folder.suffix == ".json" else folder
    path = folder / RUN
    if not path.is_file():
        raise UserError(
            f"{shown(folder)} holds no comparison (no {RUN}). Name a folder that "
            "compare_versions.py wrote, or a results file of batch_test_model.py. Results from "
            "before there was such a file: run the same command again, it makes no answer anew."
        )
    data = read_json(path, "The record of a comparison")
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UserError(
            f"{shown(path)} is no record that this lorachain reads (format {FORMAT}). Read it with "
            "the lorachain that wrote it, or compare again."
        )
    try:
        return _record(folder, data)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{shown(path)} is damaged ({type(error).__name__}: {error}). Compare again: the "
            "answers in the store are used, none is made anew."
        ) from None


def _record(folder: Path, data: Mapping[str, Any]) -> ComparisonRecord:
    base = data["base"]
    return ComparisonRecord(
        folder=folder,
        base=Base(base["name"], _read_path(base["folder"], folder), _hashes(base["fingerprint"])),
        store=_read_path(data["store"], folder),
        suites=tuple(
            AskedSuite(s["name"], _read_path(s["path"], folder), s["sha256"])
            for s in data["suites"]
        ),
        versions=tuple(_version(v, folder) for v in data["versions"]),
        scorers=_read_path(data["scorers"], folder) if data["scorers"] else None,
        scoring=dict(data["scoring"]),
        asked=Asked(**data["asked"]),
        scores={
            (row["version"], row["suite"], str(row["item"])): Before(
                row["task"], Score.from_dict(row["score"])
            )
            for _, row in read_objects(folder / SCORES)
        },
        title=data.get("title"),
        facts=dict(data.get("facts") or {}),
    )


def _version(data: Mapping[str, Any], folder: Path) -> AskedVersion:
    fields = dict(data["settings"])
    fingerprint = str(fields.pop("fingerprint"))
    at = _read_path(data["folder"], folder) if data["folder"] else None
    return AskedVersion(Version(data["name"], at, data["sha256"]), Settings(**fields), fingerprint)


def _hashes(data: Mapping[str, str]) -> Fingerprint:
    return Fingerprint(**data)


def _score_rows(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    for result in evaluation.versions:
        for suite, answers in result.answers.items():
            for answer in answers:
                yield {
                    "version": result.version.name,
                    "suite": suite,
                    "item": answer.item.id,
                    "task": task_of(answer.item),
                    "score": answer.score.as_dict(),
                }


def _written(path: Path | None, folder: Path) -> str | None:
    """A path as it is kept: relative to the folder of the record, else to the project."""
    if path is None:
        return None
    for start, prefix in ((folder, "."), (PROJECT_ROOT, "project:")):
        if path.is_relative_to(start):
            inner = path.relative_to(start).as_posix()
            return f"{prefix}/{inner}" if prefix == "." else f"{prefix}{inner}"
    return str(path)


def _read_path(text: str, folder: Path) -> Path:
    if text.startswith("project:"):
        return absolute(PROJECT_ROOT, text.removeprefix("project:"))
    return absolute(folder, text)


def changed_suites(record: ComparisonRecord, suites: Sequence[Suite]) -> list[str]:
    """The names of the suites whose files are not as they were."""
    before = {suite.name: suite.sha256 for suite in record.suites}
    return [s.name for s in suites if s.name in before and before[s.name] != s.sha256]
