"""Files of rows: appended to line by line, read with all problems at once, finished in one order.

A file that grows has one writer (hold the folder's lock). Each line is on the disk before `append`
returns; a line that a kill cut off is cut away by the next writer, and readers pass it over. Of
several lines with one id the last one counts. Only offsets stay in memory, not texts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from lorachain.datagen.rows import Row
from lorachain.datagen.rowtext import dumped, is_json, parsed
from lorachain.errors import UserError
from lorachain.faults import reached
from lorachain.files import fsync_folder, make_folder, replace
from lorachain.jsonl import raise_all
from lorachain.paths import shown

R = TypeVar("R", bound=Row)


class LineFile:
    """A file that lines are appended to, each flushed to the disk. What was torn off goes first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        make_folder(path.parent)
        is_new = not path.exists()
        self._file = path.open("ab", buffering=0)  # what could not be written waits nowhere
        try:
            self.cut = 0 if is_new else self._cut_torn_tail()
            if is_new:
                fsync_folder(path.parent)
        except BaseException:
            self._file.close()
            raise

    def append(self, text: str) -> int:
        """Write one line (without its end) and flush it to the disk. Returns where it begins.

        After an error (a full disk) the file is as it was before.
        """
        start = self._file.seek(0, os.SEEK_END)
        try:
            reached("append", self.path)
            left = memoryview(text.encode("utf-8", "backslashreplace") + b"\n")
            while left:
                left = left[self._file.write(left) :]
            reached("fsync", self.path)
            os.fsync(self._file.fileno())
        except BaseException:
            with suppress(OSError):
                os.truncate(self.path, start)
            raise
        return start

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def __enter__(self) -> LineFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _cut_torn_tail(self) -> int:
        """Bytes that were cut away behind the last whole line. JSON that lacks its end gets it."""
        size = self.path.stat().st_size
        whole = _end_of_last_line(self.path, size)
        if whole == size:
            return 0
        with self.path.open("rb") as file:
            file.seek(whole)
            is_whole = is_json(file.read())
        if is_whole:
            self._file.write(b"\n")
        else:
            os.truncate(self.path, whole)
        os.fsync(self._file.fileno())
        return 0 if is_whole else size - whole


class RowWriter:
    """Appends rows to a JSON Lines file: one row, one line, one fsync."""

    def __init__(self, path: Path) -> None:
        self._lines = LineFile(path)

    def write(self, row: Row) -> None:
        """Append a row. It is on the disk when this returns."""
        self._lines.append(dumped(row))

    def close(self) -> None:
        """Give the file back."""
        self._lines.close()

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RowIndex(Generic[R]):
    """The rows of a file by id, in the order of their `index`; a text is read when asked for.

    Raises one UserError that lists every line that is no such row, or for a row that no teacher
    wrote, unless this is a `dry_run` too.
    """

    def __init__(self, path: Path, kind: type[R], *, dry_run: bool = False) -> None:
        self.path = path
        self.kind = kind
        places: dict[str, tuple[int, int]] = {}
        problems: list[str] = []
        for number, start, line in _whole_lines(path):
            where = f"{shown(path)}:{number}"
            try:
                row = parsed(line, kind)
            except ValueError as error:
                problems.append(f"{where}: {error}")
                continue
            if row.dry_run and not dry_run:  # type: ignore[attr-defined]
                raise UserError(
                    f"{where} is a row of a dry run: no teacher wrote it. Name the file of a real "
                    "run (not the one under dry_run), or make one without --dry-run."
                )
            places[row.id] = (row.index, start)  # type: ignore[attr-defined]
        raise_all(problems, f"{shown(path)} has lines that are no {_title(kind)}")
        ordered = sorted(places.items(), key=lambda item: (item[1][0], item[0]))
        self._starts = {id_: start for id_, (_, start) in ordered}

    def __len__(self) -> int:
        return len(self._starts)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._starts

    @property
    def ids(self) -> list[str]:
        """Every id, in order."""
        return list(self._starts)

    def __getitem__(self, id_: str) -> R:
        with self.path.open("rb") as file:
            file.seek(self._starts[id_])
            return parsed(file.readline(), self.kind)

    def __iter__(self) -> Iterator[R]:
        return (self[id_] for id_ in self._starts)


def read_rows(path: Path, kind: type[R], *, dry_run: bool = False) -> list[R]:
    """All rows of a file, the last of each id, in the order of their `index`. As `RowIndex`."""
    return list(RowIndex(path, kind, dry_run=dry_run))


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write a whole file of rows atomically, one row in memory at a time. Returns their number."""
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    count = 0
    try:
        reached("write", path)
        with temporary.open("wb") as file:
            for row in rows:
                file.write(dumped(row).encode("utf-8", "backslashreplace") + b"\n")
                count += 1
            file.flush()
            reached("fsync", temporary)
            os.fsync(file.fileno())
        replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    fsync_folder(path.parent)
    return count


def _whole_lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """(number, where it begins, bytes) of each line that has an end and is not blank.

    A last line without an end counts where it is JSON: an editor may have left it so.
    """
    if path.is_dir():
        raise UserError(f"{shown(path)} is a folder; a .jsonl file was expected.")
    try:
        with path.open("rb") as file:
            start = 0
            for number, line in enumerate(file, start=1):
                if line.strip() and (line.endswith(b"\n") or is_json(line)):
                    yield number, start, line
                start += len(line)
    except FileNotFoundError:
        raise UserError(f"File not found: {shown(path)}") from None


def _end_of_last_line(path: Path, size: int) -> int:
    with path.open("rb") as file:
        end = size
        while end > 0:
            start = max(0, end - 65_536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0


def _title(kind: type[Any]) -> str:
    return f"{kind.__name__.removesuffix('Row').lower()} rows"
