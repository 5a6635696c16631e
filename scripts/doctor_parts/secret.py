"""No token, key or password leaves the doctor: people paste its output into bug reports."""

from __future__ import annotations

import re
from collections.abc import Mapping

MASK = "***"
_NAMES = re.compile(r"TOKEN|_KEY\b|APIKEY|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_SHORTEST = 6  # a shorter value is no secret, and would be found everywhere
_SHAPES = re.compile(r"\b(?:hf_|sk-|ghp_|github_pat_)[\w-]{8,}")
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+(?=@)")


class Masker:
    """Replaces the values of secret variables, and what looks like a token or an address's
    password."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        values = {v for name, v in environment.items() if _NAMES.search(name)}
        # The longest first: one may be the beginning of another.
        self._values = sorted((v for v in values if len(v) >= _SHORTEST), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, MASK)
        return _IN_ADDRESS.sub(MASK, _SHAPES.sub(MASK, text))
