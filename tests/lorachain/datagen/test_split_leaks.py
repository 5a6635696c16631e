"""What may not be trained on, or not be measured with: suites, and earlier versions' data."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from datagen_rows_support import chats, finished, question, suite_file, version

from lorachain.datagen.asked import AskedItems, read_asked
from lorachain.datagen.leaks import Used, find_leaks, used_by_versions
from lorachain.datagen.rows import SplitRow

NOTHING = AskedItems([])


def placed(number: int, split: str, **changes: object) -> SplitRow:
    return SplitRow(**finished(number, **changes).as_dict() | {"split": split, "group": "g"})


@pytest.mark.parametrize(("split", "leaks"), [("train", True), ("val", False), ("test", False)])
def test_what_a_suite_asks_is_not_trained_on(tmp_path: Path, split: str, leaks: bool) -> None:
    suite_file(tmp_path / "suites" / "s.jsonl", question(9), question(1).upper() + "!!")
    found = find_leaks([placed(1, split), placed(2, split)], read_asked(tmp_path / "suites"), [])
    assert [leak.row.id for leak in found] == ([placed(1, split).id] if leaks else [])
    if leaks:
        assert "is asked by the suite's item s:item-1" in str(found[0])


@pytest.mark.parametrize(
    ("role", "leaking"),
    [("train", ["val", "test"]), ("replay", ["val", "test"]), ("validation", ["train"])],
)
def test_versions_hide_their_data(tmp_path: Path, role: str, leaking: list[str]) -> None:
    seen = chats(tmp_path / "seen.jsonl", question(5), question(1) + " Please")
    version(tmp_path / "models" / "v1", **{role: seen})
    used = used_by_versions(tmp_path / "models")
    rows = [placed(1, split, id=split) for split in ("train", "val", "test")]
    found = find_leaks([*rows, placed(2, "test"), placed(3, "train")], NOTHING, used)
    assert [leak.row.id for leak in found] == leaking
    assert "v1" in found[0].why and "seen.jsonl:2" in found[0].why


def test_each_file_is_read_once_and_folders_deep_down_are_found(tmp_path: Path) -> None:
    data = chats(tmp_path / "a.jsonl", question(1))
    version(tmp_path / "models" / "v1", train=data)
    version(tmp_path / "models" / "run" / "v2", replay=data, train=data)
    used = used_by_versions(tmp_path / "models")
    assert sorted((u.role, u.path) for u in used) == [("replay", data), ("train", data)]
    assert used_by_versions(tmp_path / "nowhere") == []


def test_a_file_that_is_gone_is_said_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "lorachain"):
        used = [Used("v1", "train", tmp_path / "gone.jsonl")]
        assert find_leaks([placed(1, "test")], NOTHING, used) == []
    assert "train data of v1 was not compared: File not found" in caplog.text


def test_a_row_leaks_once(tmp_path: Path) -> None:
    suite_file(tmp_path / "suites" / "s.jsonl", question(1))
    seen = chats(tmp_path / "seen.jsonl", question(1))
    used = [Used("v1", "validation", seen)]
    assert len(find_leaks([placed(1, "train")], read_asked(tmp_path / "suites"), used)) == 1
