"""2,000 rows at concurrency 16: none lost, none twice, and memory that does not grow with them."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from datagen_support import KEY, VARIABLE, Workplace, plan_row, settings
from teacher_server import Asked, Reply, TeacherServer, answer

from lorachain.datagen.draft import DraftStage
from lorachain.datagen.rowfiles import write_rows
from lorachain.datagen.run_stage import run_stage
from lorachain.datagen.stage import Options
from lorachain.datagen.teacher_config import TeacherConfig

TEXT = "word " * 2000  # 10 kB an answer


def script(asked: Asked) -> Reply:
    return Reply(answer(f"{TEXT} {asked.text[-40:]}"))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.setenv("NO_PROXY", "*")


def run(folder: Path, server: TeacherServer, rows: int) -> tuple[Workplace, Any]:
    place = Workplace(folder, server.url)
    write_rows(place.plan, (plan_row(n, schema=None, expected={}) for n in range(rows)))
    config = settings(server.url, place.store, limits={"concurrency": 16, "rpm": None})
    stage = DraftStage(place.plan, place.drafts)
    return place, run_stage(stage, TeacherConfig.model_validate(config), Options())


def test_two_thousand_rows(tmp_path: Path) -> None:
    """Among them some that fail on their way: 500, 429, a body that breaks off, no answer."""
    empty = 0

    def unruly(asked: Asked) -> Reply:
        nonlocal empty
        empty += asked.number % 100 == 53
        broken = {
            50: Reply("down", status=500),
            51: Reply("slow", status=429, headers={"Retry-After": "0"}),
            52: Reply(answer(TEXT), cut=True),
            53: Reply(answer("")),
        }
        return broken.get(asked.number % 100) or script(asked)

    with TeacherServer(unruly) as server:
        server.keep = False
        place, result = run(tmp_path, server, 2000)
    lines = place.drafts.read_text(encoding="utf-8").splitlines()
    ids = [json.loads(line)["id"] for line in lines]
    assert ids == [plan_row(n).id for n in range(2000)]
    for line in lines:  # each row has the answer to its own prompt
        row = json.loads(line)
        assert row["answer"].endswith(row["plan"]["prompt"][-40:])
    assert (result.counts.rows, result.counts.accepted, result.paid) == (2000, 2000, 2000 + empty)
    keys = Counter(
        json.loads(line)["key"]
        for line in (place.store / "calls-0001.jsonl").read_text(encoding="utf-8").splitlines()
    )
    assert max(keys.values()) == 1
    assert server.most_at_once <= 16


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """150 rows more, of 10 kB each: had the texts been kept, that would be 1.5 MB more at least."""
    peaks = []
    with TeacherServer(script) as server:
        server.keep = False
        run(tmp_path / "warm", server, 20)
        for rows in (50, 200):
            tracemalloc.start()
            run(tmp_path / str(rows), server, rows)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    grown = peaks[1] - peaks[0]
    assert grown < 150 * len(TEXT) / 2, peaks
