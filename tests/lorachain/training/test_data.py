"""A stage's rows: its own, what it replays, what its ancestors are measured on, what is noted."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lorachain.chat import ChatEncoder
from lorachain.config import StageConfig, resolve
from lorachain.errors import UserError
from lorachain.files import sha256_file
from lorachain.lineage import Lineage
from lorachain.training.data import (
    Files,
    StageData,
    describe,
    distinct,
    encode_files,
    read_files,
    rows_hash,
)


@pytest.fixture(scope="module")
def encoder(smol_tokenizer: Any) -> ChatEncoder:
    return ChatEncoder(smol_tokenizer)


def write(folder: Path, name: str, count: int, words: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jsonl"
    rows = [{"question": f"{name} {i}?", "answer": "yes " * words} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def version(folder: Path, *, train: Path, validation: Path | None = None) -> Lineage:
    """What a version's lineage says about its data."""
    files = [("train", train), *([("validation", validation)] if validation else [])]
    entries = [
        {"role": role, "path": str(path), "sha256": sha256_file(path), "rows": 1}
        for role, path in files
    ]
    return Lineage(folder, {"name": folder.name, "data": entries})


def config(*sets: str) -> StageConfig:
    return resolve(None, None, ["model.source_model=x", *sets]).config


def stage(
    tmp_path: Path, encoder: ChatEncoder, line: Sequence[Lineage], *sets: str, own: str = "v9"
) -> tuple[Files, StageData]:
    train, validation = write(tmp_path, "own", 8), write(tmp_path, "ownval", 2)
    files = read_files(config(*sets), train, validation, line, own)
    return files, encode_files(files, encoder, config(*sets))


@pytest.fixture
def line(tmp_path: Path) -> list[Lineage]:
    """V2 and V1, each with 20 rows of its own and 3 to be tested on."""
    return [
        version(
            tmp_path / name,
            train=write(tmp_path, f"train_{name}", 20),
            validation=write(tmp_path, f"val_{name}", 3),
        )
        for name in ("v2", "v1")
    ]


def test_without_replay_the_rows_are_the_stages_own(
    tmp_path: Path, encoder: ChatEncoder, line: list[Lineage]
) -> None:
    files, data = stage(tmp_path, encoder, line)
    assert len(data.examples) == 8 and data.groups == [0] * 8
    assert data.replay is None and files.replay == ()
    assert data.trained_tokens == sum(e.trained_tokens for e in data.examples)


def test_ancestors_are_measured_even_where_nothing_of_theirs_is_replayed(
    tmp_path: Path, encoder: ChatEncoder, line: list[Lineage]
) -> None:
    _, data = stage(tmp_path, encoder, line)
    assert {name: len(rows) for name, rows in data.ancestors.items()} == {"v2": 3, "v1": 3}


def test_replayed_rows_come_from_the_whole_line_and_are_a_group_of_their_own(
    tmp_path: Path, encoder: ChatEncoder, line: list[Lineage]
) -> None:
    files, data = stage(tmp_path, encoder, line, "replay.share=0.5")
    assert data.replay is not None
    assert data.groups == [0] * 8 + [1] * 8
    assert data.replay.rows == {"v1": 4, "v2": 4}
    entries = describe(files, data)
    assert [(e["role"], e.get("from"), e["rows"], e.get("rows_drawn")) for e in entries] == [
        ("train", None, 8, None),
        ("validation", None, 2, None),
        ("replay", "v2", 20, 4),
        ("replay", "v1", 20, 4),
    ]
    for entry in entries:
        assert sha256_file(tmp_path / Path(entry["path"]).name) == entry["sha256"]


def test_other_rows_are_all_mixed_in_where_no_share_is_asked_for(
    tmp_path: Path, encoder: ChatEncoder, line: list[Lineage]
) -> None:
    extra = write(tmp_path, "extra", 5)
    _, data = stage(tmp_path, encoder, line, f"replay.data=['{extra.as_posix()}']")
    assert data.replay is not None and data.replay.rows == {"extra.jsonl": 5}
    assert data.groups == [0] * 8 + [1] * 5


def test_two_files_of_one_name_are_told_apart(tmp_path: Path, encoder: ChatEncoder) -> None:
    one, two = write(tmp_path / "a", "extra", 5), write(tmp_path / "b", "extra", 7)
    two.write_text(two.read_text(encoding="utf-8").replace("extra", "other"), encoding="utf-8")
    paths = f"replay.data=['{one.as_posix()}', '{two.as_posix()}']"
    files, data = stage(tmp_path, encoder, [], paths)
    drawn = {e["from"]: e["rows_drawn"] for e in describe(files, data) if e["role"] == "replay"}
    assert drawn == {"extra.jsonl": 5, "extra.jsonl (2)": 7}


def test_versions_of_one_name_are_told_apart(tmp_path: Path, encoder: ChatEncoder) -> None:
    """runs/1/final -> runs/2/final -> runs/3/final: each has a loss and rows of its own."""
    line = [
        version(
            tmp_path / number / "final",
            train=write(tmp_path / number, f"train{number}", 20),
            validation=write(tmp_path / number, f"val{number}", int(number)),
        )
        for number in ("2", "1")
    ]
    _, data = stage(tmp_path, encoder, line, "replay.share=0.5", own="final")
    assert {n: len(rows) for n, rows in data.ancestors.items()} == {"final (2)": 2, "final (3)": 1}
    assert data.replay is not None and set(data.replay.rows) == {"final (2)", "final (3)"}


def test_distinct_names_stay_as_they_are() -> None:
    assert distinct(["a", "b"]) == ["a", "b"]
    assert distinct(["a", "a", "a (2)", "a"]) == ["a", "a (2)", "a (2) (2)", "a (3)"]


def test_validation_rows_of_an_ancestor_that_are_gone_or_changed_are_said_not_fatal(
    tmp_path: Path, encoder: ChatEncoder, line: list[Lineage], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "val_v1.jsonl").unlink()
    write(tmp_path, "val_v2", 4)
    with caplog.at_level(logging.WARNING, logger="lorachain"):
        _, data = stage(tmp_path, encoder, line)
    assert data.ancestors == {}
    assert caplog.text.count("what this version forgets of it cannot be measured") == 2


def test_an_ancestors_rows_that_are_all_too_long_now_are_said_not_fatal(
    tmp_path: Path, encoder: ChatEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    old = version(
        tmp_path / "v1",
        train=write(tmp_path, "train_v1", 3),
        validation=write(tmp_path, "val_v1", 3, words=200),
    )
    with caplog.at_level(logging.WARNING, logger="lorachain"):
        _, data = stage(tmp_path, encoder, [old], "data.max_seq_length=100")
    assert data.ancestors == {}
    assert "What this version forgets of v1 cannot be measured" in caplog.text


@pytest.mark.parametrize(("damage", "said"), [("gone", "not there"), ("changed", "has changed")])
def test_replay_data_that_is_not_as_it_was_is_an_error_that_names_it(
    tmp_path: Path, encoder: ChatEncoder, line: list[Lineage], damage: str, said: str
) -> None:
    if damage == "gone":
        (tmp_path / "train_v1.jsonl").unlink()
    else:
        write(tmp_path, "train_v1", 21)
    with pytest.raises(UserError, match=rf"training data of v1, .*train_v1\.jsonl, which .*{said}"):
        stage(tmp_path, encoder, line, "replay.share=0.5")


def test_too_little_to_replay_is_said_with_both_numbers(
    tmp_path: Path, encoder: ChatEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    old = version(tmp_path / "v1", train=write(tmp_path, "train_v1", 2))
    with caplog.at_level(logging.WARNING, logger="lorachain"):
        _, data = stage(tmp_path, encoder, [old], "replay.share=0.5")
    assert data.replay is not None
    assert (
        f"holds {data.replay.trained_tokens} trained tokens, fewer than the "
        f"{data.replay.wanted_tokens} that a share of 0.5" in caplog.text
    )


def test_replayed_rows_that_are_too_long_are_left_out_whatever_the_own_ones_do(
    tmp_path: Path, encoder: ChatEncoder
) -> None:
    path = write(tmp_path, "mixed", 4)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"question": "long", "answer": "yes " * 200}) + "\n")
    old = version(tmp_path / "v1", train=path)
    _, data = stage(tmp_path, encoder, [old], "replay.share=0.9", "data.max_seq_length=100")
    assert data.replay is not None and data.replay.rows == {"v1": 4}


def test_the_hash_of_rows_sees_tokens_masks_and_order(tmp_path: Path, encoder: ChatEncoder) -> None:
    from dataclasses import replace

    _, data = stage(tmp_path, encoder, [])
    rows = data.examples
    one = rows_hash(rows)
    assert one == rows_hash(list(rows)) and len(one) == 16
    assert rows_hash(rows[::-1]) != one
    assert rows_hash(rows[1:]) != one
    flipped = replace(rows[0], trained=(True, *rows[0].trained[1:]))
    assert rows_hash([flipped, *rows[1:]]) != one
    other = replace(rows[0], ids=(rows[0].ids[0] + 1, *rows[0].ids[1:]))
    assert rows_hash([other, *rows[1:]]) != one
    moved = replace(rows[0], row=replace(rows[0].row, path=Path("elsewhere"), line=99))
    assert rows_hash([moved, *rows[1:]]) == one  # a file may be moved or renamed
