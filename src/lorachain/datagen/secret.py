"""The key of an API: from the environment or from `.env`, and never in any text that is kept."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lorachain.errors import UserError
from lorachain.paths import shown

HIDDEN = "[API key]"
_SHORTEST = 6  # a shorter one is no secret, and hiding it would tear words apart
_BEARER = re.compile(r"(?i)(bearer\s+)[^\s\"',;}\\]+")


class Secret:
    """A key that shows itself only where `reveal` is called."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return HIDDEN if self._value else "no API key"

    def reveal(self) -> str:
        """The key itself, for the request's header alone."""
        return self._value

    def hide(self, text: str) -> str:
        """A text without the key in it, and without what follows the word Bearer."""
        if len(self._value) >= _SHORTEST:
            text = text.replace(self._value, HIDDEN)
        return _BEARER.sub(rf"\1{HIDDEN}", text)

    def __reduce__(self) -> str:
        raise TypeError("a key is not written down")


def read_secret(variable: str | None, env_file: Path) -> Secret:
    """The key in the environment variable of that name, else in `env_file`. None needs none.

    Raises UserError, without the key in it, where there is none or it can be no key.
    """
    if variable is None:
        return Secret("")
    value = os.environ.get(variable, "").strip() or _from_file(variable, env_file)
    if not value:
        raise UserError(
            f"No API key: the environment variable {variable} is not set, and {shown(env_file)} "
            f"has no line {variable}=... Set one of them. (A local server that needs no key: "
            "endpoint.api_key_env: null in the teacher's config.)"
        )
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise UserError(
            f"{variable} can be no API key: there is a blank or a letter in it that no header may "
            "have. Copy it again, without quotes or line ends."
        )
    return Secret(value)


def _from_file(variable: str, env_file: Path) -> str:
    from dotenv import dotenv_values

    if not env_file.is_file():
        return ""
    try:
        return (dotenv_values(env_file, encoding="utf-8-sig").get(variable) or "").strip()
    except (OSError, UnicodeDecodeError):
        raise UserError(
            f"{shown(env_file)} cannot be read as UTF-8. Save it again as UTF-8 text."
        ) from None
