"""The store of responses: on the disk before anything reads them, whole after a kill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lorachain.datagen.store import CallStore, Stored, call_key
from lorachain.errors import UserError


def stored(number: int, raw: str = "{}") -> Stored:
    return Stored(
        key=f"{number:064x}",
        stage="draft",
        model="m",
        attempt=0,
        raw=raw,
        created="2026-01-01T00:00:00+00:00",
        seconds=0.5,
        attempts=1,
    )


def test_what_is_put_is_there_for_the_next_process(tmp_path: Path) -> None:
    raw = '{"text": "line\\nbreak ü \\ud800"}\n  '
    with CallStore(tmp_path / "s") as store:
        store.put(stored(1, raw))
        assert store.get(stored(1).key) == stored(1, raw)
    with CallStore(tmp_path / "s") as store:
        assert len(store) == 1 and stored(1).key in store
        assert store.get(stored(1).key) == stored(1, raw)
        assert store.get(stored(2).key) is None


def test_it_is_on_the_disk_when_put_returns(tmp_path: Path) -> None:
    with CallStore(tmp_path / "s") as store:
        store.put(stored(1, "seen"))
        text = (tmp_path / "s" / "calls-0001.jsonl").read_text(encoding="utf-8")
        assert json.loads(text)["raw"] == "seen"


def test_a_later_response_replaces_an_earlier_one(tmp_path: Path) -> None:
    with CallStore(tmp_path / "s") as store:
        store.put(stored(1, "old"))
        store.put(stored(1, "new"))
        assert store.get(stored(1).key) == stored(1, "new")
    with CallStore(tmp_path / "s") as store:
        assert store.get(stored(1).key) == stored(1, "new")


def test_it_goes_on_in_another_segment(tmp_path: Path) -> None:
    with CallStore(tmp_path / "s", segment_bytes=300) as store:
        for number in range(8):
            store.put(stored(number, f"raw {number}"))
    assert len(list((tmp_path / "s").glob("calls-*.jsonl"))) > 2
    with CallStore(tmp_path / "s", segment_bytes=300) as store:
        found = [store.get(stored(number).key) for number in range(8)]
    assert [one.raw for one in found if one] == [f"raw {number}" for number in range(8)]


@pytest.mark.parametrize("left", [1, 40, 200])
def test_a_torn_response_is_cut_away_and_nothing_else(tmp_path: Path, left: int) -> None:
    path = tmp_path / "s" / "calls-0001.jsonl"
    with CallStore(tmp_path / "s") as store:
        store.put(stored(1))
        size = path.stat().st_size
        store.put(stored(2, "x" * 300))
    path.write_bytes(path.read_bytes()[: size + left])
    with CallStore(tmp_path / "s") as store:
        assert stored(1).key in store and stored(2).key not in store
        store.put(stored(3))
    with CallStore(tmp_path / "s") as store:
        assert len(store) == 2 and not store.damaged


def test_a_damaged_line_is_named_and_costs_nothing_but_itself(tmp_path: Path) -> None:
    path = tmp_path / "s" / "calls-0001.jsonl"
    with CallStore(tmp_path / "s") as store:
        for number in (1, 2, 3):
            store.put(stored(number))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\x00\x00 not json\n" + lines[2])
    with CallStore(tmp_path / "s") as store:
        assert len(store) == 2
        assert [Path(place).name for place in store.damaged] == ["calls-0001.jsonl:2"]


def test_a_second_process_is_told_so(tmp_path: Path) -> None:
    with CallStore(tmp_path / "s"), pytest.raises(UserError, match="in use by another run"):
        CallStore(tmp_path / "s")
    with CallStore(tmp_path / "s") as store:
        store.put(stored(1))


ASKED = {
    "stage": "draft",
    "model": "m",
    "provider": {"order": ["a"]},
    "messages": [{"role": "user", "content": "hello"}],
    "parameters": {"temperature": 0.2, "seed": 1},
    "schema": {"type": "object"},
    "attempt": 0,
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stage", "critique"),
        ("model", "n"),
        ("provider", None),
        ("messages", [{"role": "user", "content": "hello "}]),
        ("parameters", {"temperature": 0.2, "seed": 2}),
        ("schema", None),
        ("attempt", 1),
    ],
)
def test_all_that_is_asked_is_in_the_key(name: str, value: object) -> None:
    assert call_key(**ASKED) != call_key(**(ASKED | {name: value}))  # type: ignore[arg-type]


def test_the_order_of_keys_is_not_in_the_key() -> None:
    turned = ASKED | {"parameters": {"seed": 1, "temperature": 0.2}}
    assert call_key(**ASKED) == call_key(**turned)  # type: ignore[arg-type]
