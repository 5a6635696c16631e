"""Reading JSON Lines: every bad line is reported as file:line, all of them at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lorachain.errors import UserError
from lorachain.files import write_text
from lorachain.paths import shown

MAX_SHOWN = 20
_ARRAY = " (the file looks like one JSON array; JSON Lines has one object a line)"


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text) of each line that is not blank. UTF-8; BOM and CRLF accepted.

    Raises UserError when the file is missing, a folder, or not UTF-8.
    """
    if path.is_dir():
        raise UserError(f"{shown(path)} is a folder; a .jsonl file was expected.")
    try:
        with path.open("rb") as file:
            start = file.read(4)
            if start[:2] in (b"\xff\xfe", b"\xfe\xff") or _is_wide(start):
                raise UserError(
                    f"{shown(path)} is UTF-16, not UTF-8. Save it again as UTF-8 (in Notepad: "
                    "Save as, Encoding: UTF-8)."
                )
            if b"\x00" in start:
                raise UserError(f"{shown(path)} is not a text file.")
            file.seek(0)
            for number, raw in enumerate(file, start=1):
                try:
                    text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError as error:
                    raise UserError(
                        f"{shown(path)}:{number}: not UTF-8 (byte {error.start + 1} of the "
                        "line). Save the file again as UTF-8."
                    ) from None
                if text:
                    yield number, text
    except FileNotFoundError:
        raise UserError(f"File not found: {shown(path)}") from None
    except OSError as error:
        raise UserError(f"{shown(path)} cannot be read: {error.strerror or error}.") from None


def _is_wide(start: bytes) -> bool:
    """Whether Latin letters stand there in two bytes each: UTF-16 that does not say so."""
    return len(start) == 4 and (start[::2] == b"\0\0") != (start[1::2] == b"\0\0")


def read_objects(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Every line's (number, JSON object). Raises one UserError that lists all bad lines."""
    rows, problems = parse_objects(path)
    raise_all([text for _, text in problems], f"{shown(path)} has lines that cannot be read")
    return rows


def parse_objects(path: Path) -> tuple[list[tuple[int, dict[str, Any]]], list[tuple[int, str]]]:
    """Every good line's (number, JSON object), and (number, what is wrong) of the others."""
    rows: list[tuple[int, dict[str, Any]]] = []
    problems: list[tuple[int, str]] = []
    for number, text in read_lines(path):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            hint = _ARRAY if number == 1 and text.startswith("[") else ""
            problems.append((number, f"{shown(path)}:{number}: not JSON: {error}{hint}"))
            continue
        if isinstance(value, dict):
            rows.append((number, value))
        else:
            hint = _ARRAY if number == 1 and isinstance(value, list) else ""
            what = f"expected a JSON object, got {type(value).__name__}{hint}"
            problems.append((number, f"{shown(path)}:{number}: {what}"))
    return rows, problems


def write_objects(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write a whole JSON Lines file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def raise_all(problems: list[str], title: str) -> None:
    """One UserError for all problems (the first 20 spelled out), or nothing when there are none."""
    if not problems:
        return
    lines = [f"  {problem}" for problem in problems[:MAX_SHOWN]]
    if len(problems) > MAX_SHOWN:
        lines.append(f"  ... and {len(problems) - MAX_SHOWN} more")
    raise UserError(f"{title} ({len(problems)}):\n" + "\n".join(lines))
