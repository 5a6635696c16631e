"""What a launcher says when its script has failed: the last lines, and where the rest is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from setup_parts.failures import VC_REDISTRIBUTABLE

TAIL_LINES = 12
SAYS_ITSELF = (2, 130)  # a user's mistake and Ctrl-C end in a sentence of their own, just above
KEPT_BYTES = 2_000_000

CRASH = "it crashed in native code: a driver or a library, or the memory ran out"
CRASHES = {
    0xC0000005: CRASH,
    0xC0000374: CRASH,
    0xC0000409: CRASH,
    0xC0000017: "the memory ran out",
    0xC000012D: "the memory ran out: close other programs, or let Windows enlarge its paging file",
    0xC0000135: f"a system library is missing: install {VC_REDISTRIBUTABLE}",
    128 + 9: "it was killed, as a system does whose memory ran out",
    128 + 11: CRASH,
}


def begin_log(path: Path) -> int:
    """Make room for a log that is appended to; returns where this run begins in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if path.stat().st_size > KEPT_BYTES:
            path.replace(path.with_suffix(".old.log"))
            return 0
        return path.stat().st_size
    except OSError:  # there is none yet; or another run has it open
        return 0


def farewell(name: str, code: int, log: Path, begin: int) -> Iterator[str]:
    """The lines to print after a failure."""
    if code in (0, 130):
        return
    lines = _last_lines(log, begin)
    if code not in SAYS_ITSELF:
        why = CRASHES.get(code & 0xFFFFFFFF)
        number = f"{code} (0x{code & 0xFFFFFFFF:08X})" if code < 0 else str(code)
        yield f"{name} ended with exit code {number}" + (f": {why}." if why else ".")
        if lines:
            yield "The last lines of its output:"
        for line in lines:
            yield "    " + line
    if lines:
        yield f"The whole output: {log}"


def _last_lines(log: Path, begin: int) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(begin)
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-TAIL_LINES:]
