"""What each launcher runs, and with which arguments where the user gave none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Default:
    """A flag with its value, both as the script takes them, and the setting that it stands for."""

    flag: str
    value: str
    setting: str
    is_path: bool = True
    """Relative to the project, not to where the user stands."""


@dataclass(frozen=True)
class Target:
    """A script of the project, relative to its root."""

    script: str
    defaults: tuple[Default, ...] = ()


TARGETS = {
    "quickstart": Target("scripts/quickstart.py"),
    "train_v1": Target("src/training/fine_tune.py"),
    "train_v2": Target("src/training/fine_tune_v2.py"),
    "train_v3": Target(
        "src/training/fine_tune_v2.py",
        (
            Default("--source-model", "models/fine_tuned_v2", "model.source_model"),
            Default("--output", "models/fine_tuned_v3", "training.output_dir"),
            Default("--train-data", "data/processed/train_finetune3.jsonl", "data.train_data"),
            Default("--val-data", "data/processed/val_finetune3.jsonl", "data.val_data"),
            Default("--replay-share", "0.2", "replay.share", is_path=False),
        ),
    ),
    "compare": Target("src/evaluation/compare_versions.py"),
}


def with_defaults(target: Target, given: Sequence[str], root: Path) -> list[str]:
    """The user's arguments behind the defaults that they leave standing.

    A default gives way to the same flag, to `--set` of its setting, and to a `--config` file that
    names the setting: a file's value would otherwise lose against a flag that nobody typed.
    """
    settings = _config_text(given)
    words: list[str] = []
    for default in target.defaults:
        if _named(default, given) or _in_config(default, settings):
            continue
        value = str(root / default.value) if default.is_path else default.value
        words += [default.flag, value]
    return [*words, *given]


def _named(default: Default, given: Sequence[str]) -> bool:
    for word, following in zip(given, [*given[1:], ""]):  # noqa: B905 (strict= is newer syntax)
        flag, _, value = word.partition("=")
        flag = flag.replace("_", "-")
        if flag == default.flag:
            return True
        setting = value or following if flag == "--set" else ""
        if setting.partition("=")[0].strip() == default.setting:
            return True
    return False


def _config_text(given: Sequence[str]) -> str:
    """The text of the --config file; empty where there is none that can be read."""
    path = ""
    for word, following in zip(given, [*given[1:], ""]):  # noqa: B905
        if word == "--config":
            path = following
        elif word.startswith("--config="):
            path = word[len("--config=") :]
    try:
        return Path(path).expanduser().read_text(encoding="utf-8-sig") if path else ""
    except (OSError, ValueError, RuntimeError):
        return ""  # the script says so better


def _in_config(default: Default, text: str) -> bool:
    """Whether the YAML text names the setting. (Its last part is enough: they are unique.)"""
    key = default.setting.rpartition(".")[2]
    return re.search(rf"(?m)^[^#\n]*\b{key}[\"']?\s*:", text) is not None
