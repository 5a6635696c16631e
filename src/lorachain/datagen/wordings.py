"""Jinja2 templates of prompts: in a sandbox, and a name that nothing fills is an error.

A file may hold several wordings of one question, parted by lines of three hyphens. Beside Jinja's
own filters there is `comma`: a number as Portuguese, Spanish or German write it (1.234,5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
from jinja2.sandbox import SandboxedEnvironment

from lorachain.errors import UserError
from lorachain.files import sha256_text

_PART = re.compile(r"^---[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Wording:
    """One way to ask: its name (file#number, or the task's own), its text, and the names in it."""

    name: str
    source: str
    names: frozenset[str]

    @property
    def sha256(self) -> str:
        """The hash of the text as it stands."""
        return sha256_text(self.source)


def read_wordings(path: Path, name: str) -> list[Wording]:
    """The wordings of a template file. Raises UserError where it is missing, empty or wrong."""
    try:
        text = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UserError(f"template {name} cannot be read: {why}") from None
    parts = [part.strip("\n") for part in _PART.split(text)]
    found = [wording(f"{name}#{i}", part) for i, part in enumerate(parts, 1) if part.strip()]
    if not found:
        raise UserError(f"template {name} is empty")
    return found


def wording(name: str, source: str) -> Wording:
    """A wording, once it is known to be a template. Raises UserError."""
    return Wording(name, source, names_in(source, name))


def names_in(source: str, where: str) -> frozenset[str]:
    """The names that a template wants filled. Raises UserError where it is none."""
    try:
        found = jinja2.meta.find_undeclared_variables(_environment().parse(source))
        _template(source)
    except jinja2.TemplateError as error:
        line = getattr(error, "lineno", None)
        at = f", line {line}" if line else ""
        raise UserError(f"{where}{at}: no template: {error}") from None
    return frozenset(found)


def render(source: str, values: Mapping[str, Any], where: str) -> str:
    """A template, filled. Raises UserError, naming `where`, for whatever goes wrong in it."""
    try:
        return str(_template(source).render(values))
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"{where} cannot be filled: {error}.") from None


def comma(value: Any, digits: int | None = None) -> str:
    """1234.5 as `1.234,5`; with `digits`, with that many after the comma."""
    number = float(value)
    text = f"{number:,.{digits}f}" if digits is not None else f"{number:,}".removesuffix(".0")
    return text.translate(str.maketrans(",.", ".,"))


@cache
def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters["comma"] = comma
    return environment


@cache
def _template(source: str) -> jinja2.Template:
    return _environment().from_string(source)
