"""Files of rows: appended to, torn, read with every problem at once, finished in order."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from datagen_support import plan_row

from lorachain import faults
from lorachain.datagen.rowfiles import RowIndex, RowWriter, read_rows, write_rows
from lorachain.datagen.rows import PlanRow
from lorachain.errors import UserError


def append(path: Path, *rows: PlanRow) -> None:
    with RowWriter(path) as writer:
        for row in rows:
            writer.write(row)


def test_rows_come_back_as_they_were_in_the_order_of_the_plan(tmp_path: Path) -> None:
    rows = [plan_row(n, prompt=f"ü \ud800 \u2028 {n}", region_tags=["a"]) for n in range(4)]
    append(tmp_path / "rows.jsonl", rows[2], rows[0], rows[3], rows[1])
    assert read_rows(tmp_path / "rows.jsonl", PlanRow) == rows


def test_the_last_row_of_an_id_counts(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append(path, plan_row(1), plan_row(2), plan_row(1, prompt="anew"))
    assert read_rows(path, PlanRow)[0].prompt == "anew"
    assert len(RowIndex(path, PlanRow)) == 2


def test_a_torn_tail_is_passed_over_by_readers_and_cut_by_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append(path, plan_row(1), plan_row(2))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for size in (first + 1, first + 30, len(whole) - 2):
        path.write_bytes(whole[:size])
        assert [row.id for row in read_rows(path, PlanRow)] == ["row-0001"]
        append(path, plan_row(3))
        assert [row.id for row in read_rows(path, PlanRow)] == ["row-0001", "row-0003"]


def test_a_row_that_lacks_only_its_line_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append(path, plan_row(1))
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert len(read_rows(path, PlanRow)) == 1
    append(path, plan_row(2))
    assert len(read_rows(path, PlanRow)) == 2


def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    monkeypatch.setattr(faults, "_times", {})
    append(path, plan_row(1))
    before = path.read_bytes()
    with RowWriter(path) as writer:
        monkeypatch.setenv(faults.ACTION, "full@fsync rows.jsonl#1")
        with pytest.raises(OSError) as caught:
            writer.write(plan_row(2))
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == before


def line(**changed: Any) -> str:
    return json.dumps(plan_row(1).as_dict() | changed)


def test_every_bad_line_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    missing = plan_row(1).as_dict()
    del missing["prompt"]
    lines = [
        line(),
        "nonsense",
        "[1]",
        line(index="1"),
        line(new_key=1),
        json.dumps(missing),
        line(id=""),
        line(dry_run=1),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_rows(path, PlanRow)
    found = str(caught.value).splitlines()
    assert found[0].endswith("has lines that are no plan rows (7):")
    words = ["not JSON", "got list", "index:", "new_key", "prompt: is missing", "id:", "dry_run:"]
    for number, (text, word) in enumerate(zip(found[1:], words, strict=True), start=2):
        assert f":{number}: " in text and word in text


def test_rows_of_a_dry_run_are_refused_where_it_is_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append(path, plan_row(1), plan_row(2, dry_run=True))
    with pytest.raises(UserError, match=r"rows.jsonl:2 is a row of a dry run"):
        read_rows(path, PlanRow)
    assert len(read_rows(path, PlanRow, dry_run=True)) == 2


@pytest.mark.parametrize(("make", "word"), [(None, "not found"), ("folder", "is a folder")])
def test_what_is_no_file_is_a_sentence(tmp_path: Path, make: str | None, word: str) -> None:
    if make:
        (tmp_path / "rows.jsonl").mkdir()
    with pytest.raises(UserError, match=word):
        read_rows(tmp_path / "rows.jsonl", PlanRow)


def test_a_whole_file_is_written_or_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [plan_row(1)])
    before = path.read_bytes()

    def breaks() -> Any:
        yield plan_row(2)
        raise RuntimeError("halfway")

    with pytest.raises(RuntimeError):
        write_rows(path, breaks())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_file_may_be_rewritten_from_its_own_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append(path, plan_row(3), plan_row(1), plan_row(2))
    assert write_rows(path, RowIndex(path, PlanRow)) == 3
    ids = [json.loads(text)["id"] for text in path.read_text(encoding="utf-8").splitlines()]
    assert ids == ["row-0001", "row-0002", "row-0003"]
