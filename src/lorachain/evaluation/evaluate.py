"""Versions x suites: ask every version every item, keep each answer, score all of them.

evaluation = evaluate_versions(base, [None, v1, v2], suites, store=folder, ...)
evaluation.summary()    # {version: {suite: {n, strict, parse, schema_valid, ...}}}
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorachain import adapters, lineage
from lorachain.awake import kept_awake
from lorachain.config import Resolved, StageConfig, from_dict, with_values
from lorachain.errors import Interrupted, UserError
from lorachain.evaluation.generated import Decoding, Generated, Prompt
from lorachain.evaluation.results import AnswerStore, Settings, open_store, settings
from lorachain.evaluation.score import Scored, by_task, score, summary
from lorachain.evaluation.scorers import Scorers, scoring_identity
from lorachain.files import canonical_json, sha256_file
from lorachain.machine import Machine, Precision, choose
from lorachain.models import Base
from lorachain.paths import shown
from lorachain.suites import Item, Suite

if TYPE_CHECKING:  # torch is imported when something must be asked, not before
    from lorachain.evaluation.generate import Generator

log = logging.getLogger("lorachain")

BASE = "base"


@dataclass(frozen=True)
class Version:
    """One column of a comparison: a finished version, or the base (`folder` is None)."""

    name: str
    folder: Path | None = None
    sha256: str = BASE
    config: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class VersionResult:
    """One version's scored answers, by suite and in the suite's order."""

    version: Version
    settings: Settings
    answers: Mapping[str, tuple[Scored, ...]]
    reused: int

    def summary(self) -> dict[str, dict[str, Any]]:
        """Each suite's summary."""
        return {name: summary(answers) for name, answers in self.answers.items()}

    def by_task(self) -> dict[str, dict[str, Any]]:
        """Each suite's summaries by task."""
        return {name: by_task(answers) for name, answers in self.answers.items()}


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate_versions` found. `scoring` is `scorers.scoring_identity`: what scored it."""

    base: Base
    suites: tuple[Suite, ...]
    versions: tuple[VersionResult, ...]
    scoring: Mapping[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, dict[str, dict[str, Any]]]:
        """{version: {suite: {n, scored, strict, parse, schema_valid, ..., finish, tokens}}}"""
        return {result.version.name: result.summary() for result in self.versions}


def find_version(folder: Path) -> Version:
    """A finished version that is as it was when it was finished. Opens no weights.

    Raises UserError when the folder is no adapter, not finished, or changed since.
    """
    found = lineage.read(folder)
    weights = folder / adapters.WEIGHTS
    if not weights.is_file() or sha256_file(weights) != found.adapter_sha256:
        raise UserError(
            f"{shown(folder)} is damaged: {adapters.WEIGHTS} is not as it was when the version "
            "was finished. Restore it, or train it again."
        )
    adapters.adapter_config(folder)
    return Version(folder.name, folder, found.adapter_sha256, found.data.get("config"))


def check_base(version: Version, base: Base) -> None:
    """Raises UserError when a version stands on another base than this one."""
    if version.folder is None:
        return
    found = lineage.read(version.folder)
    if found.base_fingerprint["id"] != base.fingerprint.id:
        raise UserError(
            f"{shown(version.folder)} stands on another base: {found.base_name} "
            f"({found.base_fingerprint['id']}), and this one is {base.name} "
            f"({base.fingerprint.id}). An adapter works on its own base only; leave --base-model "
            "out, or test versions of different bases one by one."
        )


def evaluation_precision(
    versions: Sequence[Version],
    machine: Machine,
    dtype: str | None = None,
    quantization: str | None = None,
) -> Precision:
    """How the base is held: as the first version was trained, unless asked otherwise.

    What this machine cannot do is replaced, as in training. Raises UserError for 4 or 8 bits
    that were asked for and cannot be had.
    """
    config = next((v.config for v in versions if v.config), None)
    stage = StageConfig() if config is None else from_dict(config, "lineage.json")
    changes: dict[str, Any] = {} if dtype is None else {"model.dtype": dtype}
    if quantization is not None:
        changes["quantization.load_in_4bit"] = quantization == "4bit"
        changes["quantization.load_in_8bit"] = quantization == "8bit"
    asked = with_values(Resolved(stage, {}), changes, "flag")
    return choose(asked, machine)


@kept_awake()
def evaluate_versions(
    base: Base,
    versions: Sequence[Version],
    suites: Sequence[Suite],
    *,
    store: Path,
    machine: Machine,
    precision: Precision,
    decoding: Decoding | None = None,
    batch_size: int = 8,
    scorers: Scorers | None = None,
    on_progress: Callable[[Version, int, int], None] = lambda version, done, total: None,
) -> Evaluation:
    """Every version's answers to every item, from the store where they are there already.

    The base is loaded once, and not at all when nothing is missing. `on_progress(version, done,
    total)` is called after each answer. Raises Interrupted after Ctrl-C (what was made is kept),
    and UserError for scorers that do not fit the suites, before anything is asked.
    """
    decoding = decoding or Decoding()
    if scorers is not None:
        scorers.check(suites)
    for version in versions:
        check_base(version, base)
    with open_store(store) as answers:
        runs = [
            _Run(
                version,
                settings(version.sha256, base, decoding, precision, machine.device, batch_size),
                _distinct(item for suite in suites for item in suite.items),
                answers,
            )
            for version in versions
        ]
        try:
            _make_missing(
                [run for run in runs if run.missing],
                decoding,
                lambda: _load(base, precision, machine, batch_size),
                on_progress,
            )
        except KeyboardInterrupt:
            made = sum(len(run.items) - run.count_missing() for run in runs)
            total = sum(len(run.items) for run in runs)
            raise Interrupted(
                f"Stopped. {made} of {total} answers are made and kept in {shown(store)}. To go "
                "on, run the same command again: it makes only the rest."
            ) from None
        results = tuple(run.result(suites, scorers) for run in runs)
        return Evaluation(base, tuple(suites), results, scoring_identity(suites, scorers))


@dataclass
class _Run:
    """One version's part of an evaluation."""

    version: Version
    settings: Settings
    items: list[Item]
    store: AnswerStore

    @cached_property
    def missing(self) -> list[Item]:
        """The items without an answer when the run began."""
        return [item for item in self.items if self._stored(item) is None]

    def count_missing(self) -> int:
        return sum(self._stored(item) is None for item in self.items)

    def result(self, suites: Sequence[Suite], scorers: Scorers | None) -> VersionResult:
        answers = {
            suite.name: tuple(self._scored(item, suite, scorers) for item in suite.items)
            for suite in suites
        }
        reused = len(self.items) - len(self.missing)
        return VersionResult(self.version, self.settings, answers, reused)

    def make(
        self,
        generator: Generator,
        decoding: Decoding,
        on_progress: Callable[[Version, int, int], None],
    ) -> None:
        """Ask for what is missing; each answer is on disk before the next is looked at."""
        done = len(self.items) - len(self.missing)

        def keep(index: int, answer: Generated) -> None:
            nonlocal done
            self.store.put(self.settings, self.missing[index].prompt_sha256, answer)
            done += 1
            on_progress(self.version, done, len(self.items))

        prompts = [Prompt(item.messages, _expected_characters(item)) for item in self.missing]
        generator.answer(prompts, decoding, keep, self.version.folder)

    def _stored(self, item: Item) -> Generated | None:
        return self.store.get(self.settings, item.prompt_sha256)

    def _scored(self, item: Item, suite: Suite, scorers: Scorers | None) -> Scored:
        found = self._stored(item)
        assert found is not None
        return Scored(item, found, score(found.text, item, suite.schemas, scorers))


def _make_missing(
    runs: Sequence[_Run],
    decoding: Decoding,
    load: Callable[[], Generator],
    on_progress: Callable[[Version, int, int], None],
) -> None:
    if not runs:
        return
    for run in runs:
        for names, count in run.store.under_other_settings(run.settings).items():
            log.info(
                "%s: %d stored answers were made under other settings (%s); they are left alone.",
                *(run.version.name, count, names),
            )
    generator = load()
    for run in runs:
        run.make(generator, decoding, on_progress)


def _load(base: Base, precision: Precision, machine: Machine, batch_size: int) -> Generator:
    from lorachain.evaluation.generate import load_generator

    return load_generator(base, precision, machine, batch_size)


def _distinct(items: Iterable[Item]) -> list[Item]:
    """One item per prompt."""
    return list({item.prompt_sha256: item for item in items}.values())


def _expected_characters(item: Item) -> int:
    if item.reference is not None:
        return len(canonical_json(item.reference))
    return len(str(item.answer or ""))
