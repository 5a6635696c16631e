"""A stage's rows: its own, its validation set, what it replays, and its ancestors' tests."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorachain.chat import ChatEncoder
from lorachain.config import StageConfig
from lorachain.errors import UserError
from lorachain.files import canonical_json, sha256_file, sha256_text
from lorachain.lineage import Lineage, data_path, portable
from lorachain.paths import PROJECT_ROOT, from_project, shown
from lorachain.preflight.finding import Finding
from lorachain.records import TrainingData, read_training_data
from lorachain.training.dataset import (
    Encoded,
    Example,
    Overlong,
    encode_file,
    encode_rows,
    encode_whole,
    limit_rows,
)
from lorachain.training.replay import Replay, Source, draw
from lorachain.training.unreadable import nothing_left, read_own, template_refuses

log = logging.getLogger("lorachain")


@dataclass(frozen=True)
class Files:
    """The files of a stage, read and checked, before anything heavy is imported. `findings` name
    the rows of its own that cannot be read; the others are there."""

    train: TrainingData
    validation: TrainingData | None
    replay: tuple[tuple[str, TrainingData], ...]  # (source's name, rows)
    ancestors: tuple[tuple[str, TrainingData], ...]  # (version's name, its validation rows)
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class StageData:
    """Encoded rows. `groups[i]` is 0 for a row of the stage's own and 1 for a replayed one;
    `overlong` is by role and, for what is replayed, the source's name. `whole` has the stage's own
    rows before the length limit, by role; `findings` name those that cannot be encoded."""

    examples: list[Example]
    groups: list[int]
    validation: list[Example]
    ancestors: dict[str, list[Example]]
    replay: Replay | None
    overlong: Mapping[tuple[str, str], Overlong]
    whole: Mapping[str, list[Example]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def trained_tokens(self) -> int:
        """Trained tokens of one epoch."""
        return sum(example.trained_tokens for example in self.examples)


def read_files(
    config: StageConfig,
    train: Path,
    validation: Path | None,
    line: Sequence[Lineage],
    own: str,
) -> Files:
    """Read all files of a stage called `own`. `line` is the parent, its parent, ... up to V1.

    Raises UserError for a file of its own without a single good row, and for replay data that is
    bad, gone or has changed.
    """
    own_rows, bad = read_own(train, validation)
    named = list(zip(distinct([own, *(v.name for v in line)])[1:], line, strict=True))
    replay: list[tuple[str, TrainingData]] = []
    if config.replay.share > 0:
        replay = [
            (name, read_training_data(_unchanged(version, entry)))
            for name, version in named
            for entry in version.data_files("train")
        ]
    for path in config.replay.data:
        replay.append((Path(path).name, read_training_data(from_project(path))))
    names = distinct([name for name, _ in replay])
    return Files(
        own_rows[0],
        own_rows[1] if validation else None,
        tuple((name, rows) for name, (_, rows) in zip(names, replay, strict=True)),
        tuple(_ancestor_validation(named)),
        tuple(bad),
    )


def distinct(names: Iterable[str]) -> list[str]:
    """The same names, a later one of two that are equal with a number: final, final (2)."""
    found: list[str] = []
    for name in names:
        number, label = 1, name
        while label in found:
            number += 1
            label = f"{name} ({number})"
        found.append(label)
    return found


def _unchanged(version: Lineage, entry: Any) -> Path:
    path = data_path(entry)
    what = f"Replay needs the training data of {version.name}, {shown(path)}"
    if not path.is_file():
        raise UserError(
            f"{what}, which is not there any more. Put it back, or pass --replay-share 0 and "
            "name the rows to mix in with --replay-data."
        )
    if sha256_file(path) != entry["sha256"]:
        raise UserError(
            f"{what}, which has changed since {version.name} was trained. Restore it, or pass "
            "--replay-share 0 and name the rows to mix in with --replay-data."
        )
    return path


def _ancestor_validation(
    named: Iterable[tuple[str, Lineage]],
) -> Iterable[tuple[str, TrainingData]]:
    for name, version in named:
        for entry in version.data_files("validation"):
            path = data_path(entry)
            if path.is_file() and sha256_file(path) == entry["sha256"]:
                yield name, read_training_data(path)
            else:
                log.warning(
                    "The validation data of %s (%s) is gone or has changed: what this version "
                    "forgets of it cannot be measured.",
                    *(name, shown(path)),
                )


def encode_files(files: Files, encoder: ChatEncoder, config: StageConfig) -> StageData:
    """Encode everything, draw what is replayed, and apply the length limit to the stage's rows."""
    limit, on_overlong = config.data.max_seq_length, config.data.on_overlong
    encoded: dict[tuple[str, str], Encoded] = {}
    whole: dict[str, list[Example]] = {}
    refused: list[Finding] = []
    for role, rows in (("train", files.train), ("validation", files.validation)):
        if rows is not None:
            whole[role], problems = encode_whole(rows, encoder)
            encoded[role, ""] = limit_rows(whole[role], limit, on_overlong)
            refused += template_refuses(rows, problems)
            refused += nothing_left(rows, whole[role], encoded[role, ""], limit)
    own = encoded["train", ""].examples
    replay = None
    if files.replay:
        for name, data in files.replay:
            encoded["replay", name] = encode_file(data, encoder, limit, "drop")
        sources = [Source(name, encoded["replay", name].examples) for name, _ in files.replay]
        replay = draw(own, sources, config.replay.share, config.training.seed)
        if replay.exhausted:
            log.warning(
                "Replay: the earlier data holds %d trained tokens, fewer than the %d that a share "
                "of %g asks for; all of it is mixed in.",
                *(replay.trained_tokens, replay.wanted_tokens, config.replay.share),
            )
    replayed = list(replay.examples) if replay else []
    return StageData(
        own + replayed,
        [0] * len(own) + [1] * len(replayed),
        encoded["validation", ""].examples if files.validation else [],
        dict(_encode_ancestors(files, encoder, limit)),
        replay,
        {key: one.overlong for key, one in encoded.items()},
        whole,
        tuple(refused),
    )


def _encode_ancestors(
    files: Files, encoder: ChatEncoder, limit: int
) -> Iterable[tuple[str, list[Example]]]:
    for name, data in files.ancestors:
        try:
            yield name, encode_rows(data, encoder, limit, "drop")
        except UserError as error:  # a shorter limit than the ancestor had is no mistake
            log.warning("What this version forgets of %s cannot be measured: %s", name, error)


def describe(files: Files, data: StageData) -> list[dict[str, Any]]:
    """The data part of a lineage: every file with its role, hash, row count, and what became of
    its rows over the length limit."""
    entries = [_entry("train", files.train, data)]
    if files.validation:
        entries.append(_entry("validation", files.validation, data))
    for name, source in files.replay:
        drawn = data.replay.rows.get(name, 0) if data.replay else 0
        entry = _entry("replay", source, data, name)
        entries.append(entry | {"from": name, "rows_drawn": drawn})
    return entries


def _entry(role: str, rows: TrainingData, data: StageData, name: str = "") -> dict[str, Any]:
    return {
        "role": role,
        "path": portable(rows.path, PROJECT_ROOT),
        "sha256": sha256_file(rows.path),
        "format": rows.format,
        "rows": len(rows.rows),
        "overlong": data.overlong[role, name].as_dict(),
    }


def rows_hash(examples: Iterable[Example]) -> str:
    """Over the tokens and masks that are trained on, in their order: 16 hexadecimal digits."""
    return sha256_text(canonical_json([[e.ids, e.trained] for e in examples]))[:16]
