"""All stages in one command, against a real server: stopped in every way, and gone on with."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pipeline_support import KITS, Pipeline, capable
from teacher_server import Asked, Reply, TeacherServer, error

from lorachain.datagen.rowfiles import read_rows
from lorachain.datagen.rows import DatasetRow, DraftRow, PlanRow, SplitRow

ROWS = 24


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A run that nothing stopped. Read it only."""
    with TeacherServer(capable) as server:
        made = Pipeline(tmp_path_factory.mktemp("whole run ü"), server)
        ran = made.spawn("--full")
        assert ran.code == 0, ran.err
        yield made


@pytest.fixture
def server() -> Iterator[TeacherServer]:
    with TeacherServer(capable) as running:
        yield running


@pytest.fixture
def place(server: TeacherServer, tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path, server)


def test_one_command_makes_every_file(whole: Pipeline) -> None:
    home = whole.home
    judged = read_rows(home / "dataset_v1.journal.jsonl", DatasetRow)
    assert len(judged) == ROWS and 0 < sum(bool(row.reasons) for row in judged) < ROWS / 2
    placed = [
        row
        for split in ("train", "val", "test")
        for row in read_rows(home / "splits" / "v1" / f"{split}.jsonl", SplitRow)
    ]
    clean = read_rows(home / "dataset_v1_clean.jsonl", DatasetRow)
    assert {row.id for row in placed} == {row.id for row in clean}
    trained = (home / "sft" / "v1" / "train_sft.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(trained) == sum(row.split == "train" for row in placed) > 0
    assert "<h1>Training data: kits_v1</h1>" in (home / "report.html").read_text(encoding="utf-8")


def test_again_it_asks_nothing_and_changes_nothing(whole: Pipeline) -> None:
    before, count = whole.files(), whole.server.count
    said = whole.spawn("--full")
    assert said.code == 0 and "0 requests, $0.0000" in said.out
    assert whole.files() == before and whole.server.count == count


def test_status_needs_no_key_and_no_server(whole: Pipeline) -> None:
    said = whole.run("--status", environment={"TEST_TEACHER_KEY": ""})
    assert said.code == 0, said.err
    lines = {line.split()[0]: line for line in said.out.splitlines() if line.strip()}
    for stage in ("plan", "drafts", "critiques", "dataset", "qa", "split", "sft"):
        assert "done" in lines[stage], said.out
    assert f"{ROWS:>6}" in lines["drafts"] and "$0.0048" in lines["drafts"]
    assert "rejected" in lines["dataset"]
    assert "fine_tune.py --train-data" in lines["Next:"]


@pytest.mark.posix
def test_killed_twice_it_goes_on_to_the_same_files(
    place: Pipeline, server: TeacherServer, whole: Pipeline
) -> None:
    """In the drafts, and among critiques; at most what was under way is paid for again."""
    moments = [9, 33]
    running: list[Any] = []

    def script(asked: Asked) -> Reply | None:
        if moments and asked.number >= moments[0]:
            moments.pop(0)
            running[-1].kill()
        return capable(asked)

    server.script = script
    for _ in range(2):
        running.append(place.start("--full"))
        running[-1].communicate(timeout=120)
        assert running[-1].returncode == -signal.SIGKILL
        said = place.done("--status")
        assert "--full" in said and "not begun" in said
    place.done("--full")
    assert place.files() == whole.files()
    assert server.count <= whole.server.count + 2 * 4


def test_without_credit_it_ends_in_a_sentence_and_goes_on_later(
    place: Pipeline, server: TeacherServer, whole: Pipeline
) -> None:
    def script(asked: Asked) -> Reply:
        is_spent = asked.number > 30
        return Reply(error(402, "Insufficient credits"), status=402) if is_spent else capable(asked)

    server.script = script
    ran = place.spawn("--full")
    assert ran.code == 2 and "Add credit" in ran.err and "Traceback" not in ran.err
    said = place.done("--status")
    assert f"6 of {ROWS}" in said and "--full" in said
    server.script = capable
    place.done("--full")
    assert place.files() == whole.files()


def test_one_limit_holds_for_all_stages_and_the_same_command_goes_on(
    place: Pipeline, server: TeacherServer, whole: Pipeline
) -> None:
    """30 requests are all drafts and six critiques."""
    ran = place.run("--full", "--max-calls", "30")
    assert ran.code == 2 and server.count == 30
    assert "--max-calls 30 is reached. 6 of 24 rows" in ran.err
    assert "the same command goes on, and its limits begin anew" in ran.err
    assert server.kinds() == {"draft": 24, "critique": 6}
    place.done("--full", "--max-calls", "30")
    assert place.files() == whole.files() and server.count == whole.server.count


def test_dollars_are_counted_over_all_stages(place: Pipeline, server: TeacherServer) -> None:
    """Each answer costs $0.001 here; what is left must hold the worst case of the next."""

    def script(asked: Asked) -> Reply:
        reply = capable(asked)
        reply.body["usage"]["cost"] = 0.001
        return reply

    server.script = script
    ran = place.run("--full", "--max-usd", "0.045")
    assert ran.code == 2 and "--max-usd 0.045 is reached" in ran.err
    assert server.count * 0.001 <= 0.045
    assert server.kinds()["draft"] == ROWS and server.kinds()["critique"] > 0


def test_batches_take_the_next_prompts_and_finish_what_was_begun(
    place: Pipeline, server: TeacherServer, whole: Pipeline
) -> None:
    ids = [row.id for row in read_rows(whole.interim / "prompt_plan_v1.jsonl", PlanRow)]
    stopped = place.run("--batch", "10", "--max-calls", "14")
    assert stopped.code == 2
    for batch in (10, 20):
        said = place.done("--batch", "10")
        judged = read_rows(place.home / "dataset_v1.journal.jsonl", DatasetRow)
        assert [row.id for row in judged] == ids[:batch]
        assert len(read_rows(place.interim / "drafts_v1.jsonl", DraftRow)) == batch
        assert f"{ROWS - batch} of {ROWS} prompts are left" in said
        assert not (place.home / "splits").exists()
    place.done("--batch", "10")
    assert place.files() == whole.files() and server.count == whole.server.count


def test_more_prompts_leave_every_row_where_it_stood(
    place: Pipeline, server: TeacherServer
) -> None:
    place.done("--full")
    before = places(place)
    count = server.kinds()["draft"]
    place.write_spec(KITS, count=20)
    assert "stale" in place.done("--status")
    place.done("--full")
    after = places(place)
    assert len(after) > len(before) and {id_: after[id_] for id_ in before} == before
    assert server.kinds()["draft"] - count == 2 * (20 - 12)
    keys = Counter(json.dumps(a.body, sort_keys=True) for a in server.asked)
    assert max(keys.values()) == 1  # nothing was asked twice


def places(place: Pipeline) -> dict[str, str]:
    """Where each row stands."""
    lock = place.home / "splits" / "v1" / "splits.lock.jsonl"
    lines = [json.loads(line) for line in lock.read_text(encoding="utf-8").splitlines()]
    return {line["id"]: line["split"] for line in lines[1:]}


def test_a_sample_stays_in_its_own_folders(place: Pipeline, server: TeacherServer) -> None:
    place.done("--sample", "4")
    rows = [p for p in (place.folder / "data").rglob("*") if p.is_file()]
    assert rows and all("sample" in path.parts for path in rows)
    assert not list((place.folder / "suites").iterdir())
    said = place.done("--sample", "--status")
    assert "Next:" in said and "--full" in said
    assert server.kinds()["draft"] == 4


def test_a_dry_run_asks_nobody_and_ends_before_the_gate(
    place: Pipeline, server: TeacherServer
) -> None:
    said = place.run("--full", "--dry-run", environment={"TEST_TEACHER_KEY": ""})
    assert said.code == 0 and "A dry run ends here" in said.out, said.err
    found = read_rows(place.home / "dry_run" / "dataset_v1.jsonl", DatasetRow, dry_run=True)
    assert len(found) == ROWS and server.count == 0
    files = [p for p in (place.folder / "data").rglob("*") if p.is_file()]
    assert all("dry_run" in path.parts for path in files)


def test_a_price_names_its_table_and_writes_nothing(place: Pipeline, server: TeacherServer) -> None:
    said = place.done("--full", "--price")
    assert "drafts: 24 calls to first" in said and "critiques: 24 calls" in said
    assert "first 1 in, 2 out" in said and "check them" in said
    assert server.count == 0 and not (place.folder / "data").exists()


def test_nothing_accepted_is_said_with_where_to_look(
    place: Pipeline, server: TeacherServer
) -> None:
    server.script = lambda asked: Reply({"choices": [{"message": {"content": "I rather not."}}]})
    ran = place.run("--sample", "2")
    assert ran.code == 2 and "No answer was accepted" in ran.err
    assert (place.home / "sample" / "report.html").is_file()
    assert "no answer was accepted" in place.done("--sample", "2", "--status")


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ((), "is required"),
        (("--sample", "0"), "--sample"),
        (("--full", "--batch"), "not allowed with"),
        (("--batch", "--from", "qa"), "--from goes with"),
        (("--from", "nowhere"), "invalid choice"),
        (("--from", "qa"), "not found"),
        (("--full", "--spec", "nowhere.yaml"), "not found"),
    ],
)
def test_a_mistake_is_a_sentence(place: Pipeline, flags: tuple[str, ...], word: str) -> None:
    ran = place.run(*flags)
    assert ran.code == 2 and word in ran.err
