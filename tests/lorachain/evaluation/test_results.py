"""The store: every answer on disk when it is made, and none mixed with others' settings."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lorachain.errors import UserError
from lorachain.evaluation.generated import Decoding, Generated
from lorachain.evaluation.results import FILE, Settings, open_store

MADE = Settings(
    model="base",
    base="b" * 16,
    template="t" * 16,
    decoding=Decoding().as_dict(),
    dtype="bf16",
    quantization="none",
    device="cpu",
    batch_size=8,
    packages={"torch": "2"},
)
ANSWER = Generated("Olá \u2028 \ud800 \n", 10, 5, "eos", 0.5, 8)


def fill(folder: Path, count: int = 3) -> None:
    with open_store(folder) as store:
        for i in range(count):
            store.put(MADE, f"prompt {i}", ANSWER)


def test_answers_are_there_again(tmp_path: Path) -> None:
    fill(tmp_path)
    with open_store(tmp_path) as store:
        found = store.get(MADE, "prompt 2")
        assert found is not None and found == replace(ANSWER, text=found.text)
        assert found.text.startswith("Olá \u2028"), "a line separator in a text ends no record"
        assert store.get(MADE, "prompt 3") is None


@pytest.mark.parametrize(
    "change",
    [
        {"model": "a" * 64},
        {"base": "c" * 16},
        {"template": "u" * 16},
        {"decoding": Decoding(max_new_tokens=5).as_dict()},
        {"dtype": "fp32"},
        {"quantization": "4bit"},
        {"device": "cuda"},
        {"batch_size": 16},
        {"packages": {"torch": "3"}},
        {"decoder": 0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_answer_made_otherwise_is_not_used(tmp_path: Path, change: dict[str, object]) -> None:
    fill(tmp_path)
    other = replace(MADE, **change)
    with open_store(tmp_path) as store:
        assert store.get(other, "prompt 0") is None
        expected = {} if "model" in change else {next(iter(change)): 3}
        assert store.under_other_settings(other) == expected


def test_greedy_reads_no_seed() -> None:
    assert Decoding(seed=1).as_dict() == Decoding(seed=2, top_p=0.5).as_dict()
    hot = Decoding(temperature=0.7, seed=1)
    assert hot.as_dict() != replace(hot, seed=2).as_dict()


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_torn_tail_is_cut(tmp_path: Path, cut: int) -> None:
    fill(tmp_path)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-cut])
    with open_store(tmp_path) as store:
        assert store.get(MADE, "prompt 1") is not None
        assert store.get(MADE, "prompt 2") is None
        store.put(MADE, "prompt 2", ANSWER)
    assert all(json.loads(line) for line in path.read_bytes().splitlines())
    with open_store(tmp_path) as store:
        assert store.get(MADE, "prompt 2") is not None


def test_a_damaged_line_costs_its_own_answer_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path)
    path = tmp_path / FILE
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1], b"\x00\xff{]\n", b"[]\n", *lines[3:]]))
    with open_store(tmp_path) as store:
        known = [store.get(MADE, f"prompt {i}") is not None for i in range(3)]
    assert known == [True, False, True]
    assert "2 damaged lines (3, 4)" in caplog.text


def test_two_runs_do_not_share_a_store(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from lorachain.evaluation.results import open_store\n"
        f"with open_store(Path({str(tmp_path)!r})): pass"
    )
    with open_store(tmp_path):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "in use by another run" in done.stderr
    with pytest.raises(UserError), open_store(tmp_path), open_store(tmp_path):
        pass


def test_the_store_needs_no_torch() -> None:
    code = "import sys, lorachain.evaluation.batch_test; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
