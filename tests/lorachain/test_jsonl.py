"""JSON Lines: whatever a bad file is, it is told by file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorachain.errors import UserError
from lorachain.jsonl import MAX_SHOWN, raise_all, read_lines, read_objects, write_objects

ROWS: list[dict[str, Any]] = [{"a": 1}, {"b": "ü\u2028日本"}, {"c": [None, {"d": 2.5}]}]


def text_of(rows: list[dict[str, Any]], end: str = "\n") -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + end for row in rows)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "rows.jsonl"


@pytest.mark.parametrize(
    "data",
    [
        text_of(ROWS).encode(),
        text_of(ROWS).rstrip().encode(),
        b"\xef\xbb\xbf" + text_of(ROWS).encode(),
        text_of(ROWS, "\r\n").encode(),
        b"\xef\xbb\xbf" + text_of(ROWS, "\r\n").encode(),
    ],
    ids=["plain", "no last line end", "BOM", "CRLF", "BOM and CRLF"],
)
def test_what_is_accepted(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    assert read_objects(file) == list(enumerate(ROWS, start=1))


def test_blank_lines_count_as_lines(file: Path) -> None:
    file.write_bytes(b'\n{"a": 1}\n  \r\n\t\n{"b": 2}\n\n')
    assert read_objects(file) == [(2, {"a": 1}), (5, {"b": 2})]
    assert list(read_lines(file)) == [(2, '{"a": 1}'), (5, '{"b": 2}')]


def test_an_empty_file_has_no_rows(file: Path) -> None:
    for data in (b"", b"\n \n", b"\xef\xbb\xbf"):
        file.write_bytes(data)
        assert read_objects(file) == []


def test_every_bad_line_is_reported_at_once(file: Path) -> None:
    file.write_bytes(b'{"a": 1}\n{"a": \n[1]\n"text"\n{"b": 2}\n12\nnull\n')
    with pytest.raises(UserError) as caught:
        read_objects(file)
    lines = str(caught.value).splitlines()
    assert lines[0] == "rows.jsonl has lines that cannot be read (5):"
    assert lines[1].startswith("  rows.jsonl:2: not JSON: Expecting value")
    assert lines[2:] == [
        "  rows.jsonl:3: expected a JSON object, got list",
        "  rows.jsonl:4: expected a JSON object, got str",
        "  rows.jsonl:6: expected a JSON object, got int",
        "  rows.jsonl:7: expected a JSON object, got NoneType",
    ]


def test_a_long_list_of_problems_is_cut(file: Path) -> None:
    file.write_bytes(b"{\n" * 50)
    with pytest.raises(UserError) as caught:
        read_objects(file)
    lines = str(caught.value).splitlines()
    assert "(50):" in lines[0]
    assert len(lines) == 1 + MAX_SHOWN + 1
    assert lines[-1] == f"  ... and {50 - MAX_SHOWN} more"


@pytest.mark.parametrize("data", [b'[\n{"a": 1},\n{"a": 2}\n]', b'[{"a": 1}, {"a": 2}]'])
def test_a_json_array_is_told_for_what_it_is(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(UserError, match=r":1: .*looks like one JSON array"):
        read_objects(file)


def test_a_file_that_is_no_text_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "weights.jsonl").write_bytes(b"\x10\x27\0\0\0\0\0\0{}")
    with pytest.raises(UserError, match=r"weights\.jsonl is not a text file"):
        list(read_lines(tmp_path / "weights.jsonl"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf16_is_told_for_what_it_is(file: Path, encoding: str) -> None:
    file.write_bytes('{"a": "ü"}\n'.encode(encoding))
    with pytest.raises(UserError, match=r"is UTF-16, not UTF-8\. Save it again"):
        read_objects(file)


def test_another_encoding_is_told_by_line_and_byte(file: Path) -> None:
    file.write_bytes(b'{"a": 1}\n{"a": "' + "ü".encode("cp1252") + b'"}\n')
    with pytest.raises(UserError, match=r"rows\.jsonl:2: not UTF-8 \(byte 8 of the line\)"):
        read_objects(file)


def test_a_row_as_deep_as_no_row_is(file: Path) -> None:
    file.write_bytes(b'{"a": 1}\n' + b"[" * 200_000 + b"\n")
    with pytest.raises(UserError, match=r"rows\.jsonl:2: not JSON"):
        read_objects(file)


def test_what_is_no_file(file: Path) -> None:
    with pytest.raises(UserError, match=r"File not found: rows\.jsonl"):
        read_objects(file)
    with pytest.raises(UserError, match="is a folder"):
        read_objects(file.parent)
    file.write_text("{}")
    with pytest.raises(UserError, match="cannot be read: Not a directory"):
        read_objects(file / "inside")


@given(
    rows=st.lists(
        st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"])),
            st.text(st.characters(exclude_categories=["Cs"])) | st.integers() | st.none(),
        ),
        max_size=5,
    )
)
def test_written_rows_are_read_back(tmp_path_factory: Any, rows: list[dict[str, Any]]) -> None:
    """Line separators of other alphabets inside a text (U+2028, U+0085) end no line."""
    path = tmp_path_factory.mktemp("rows") / "new" / "rows.jsonl"
    write_objects(path, rows)
    assert [row for _, row in read_objects(path)] == rows
    assert [number for number, _ in read_objects(path)] == list(range(1, len(rows) + 1))


def test_no_problem_no_error() -> None:
    raise_all([], "nothing")
