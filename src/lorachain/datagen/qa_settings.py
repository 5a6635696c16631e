"""What the quality gate lets pass: `configs/qa.yaml`, typed, every problem at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator

from lorachain import yamlfile
from lorachain.config import Natural, Section
from lorachain.errors import UserError
from lorachain.jsonl import raise_all
from lorachain.paths import CONFIGS, shown

QA_FILE = CONFIGS / "qa.yaml"
Range = Annotated[list[Natural], Field(min_length=2, max_length=2)]
Factor = Annotated[float, Field(ge=1)]


def _checked(patterns: list[str]) -> list[str]:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    return patterns


class Length(Section):
    """The fewest and the most characters."""

    prompt: Range = Field(default_factory=lambda: [1, 100_000])
    answer: Range = Field(default_factory=lambda: [1, 100_000])


class Duplicates(Section):
    """From which similarity on a prompt repeats another one."""

    near: Annotated[float, Field(gt=0, le=1)] = 0.9


class Balance(Section):
    """The most rows of one task or category, in even shares; null for no cap."""

    task: Factor | None = None
    category: Factor | None = None


class Overconfidence(Section):
    """Words that are absolute, facts that change, and words that hedge."""

    absolute: list[str] = Field(default_factory=list)
    changeable: list[str] = Field(default_factory=list)
    hedges: list[str] = Field(default_factory=list)

    _patterns = field_validator("absolute", "changeable", "hedges")(_checked)


class QaSettings(Section):
    """All of it. What a file leaves out is not looked at, but for lengths and duplicates."""

    length: Length = Length()
    duplicates: Duplicates = Duplicates()
    balance: Balance = Balance()
    verification_steps: bool = False
    overconfidence: Overconfidence = Overconfidence()
    placeholders: list[str] = Field(default_factory=list)
    languages: dict[str, list[str]] = Field(default_factory=dict)

    _patterns = field_validator("placeholders")(_checked)


def read_qa_settings(path: Path = QA_FILE) -> QaSettings:
    """Read the settings. Raises UserError that lists every problem."""
    values = yamlfile.read(path, "QA settings")
    if not isinstance(values, dict):
        raise UserError(f"QA settings {shown(path)} must hold settings (length:, balance:, ...).")
    try:
        return QaSettings.model_validate(values)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors(include_url=False)
        ]
        raise_all(problems, f"QA settings {shown(path)} cannot be used")
        raise
