"""The three scripts that ask a teacher, run as a user runs them, against a real server."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from datagen_support import Workplace, plan_row
from teacher_server import PRICE, Asked, Reply, TeacherServer, answer, error

from lorachain.datagen.rowfiles import read_rows, write_rows
from lorachain.datagen.rows import CritiqueRow, DatasetRow, DraftRow

DRAFTS, CRITIQUES, DATASET = "generate_drafts", "generate_critiques", "generate_dataset"
PRICES = {"first": PRICE, "second": PRICE}


@pytest.fixture
def server() -> Iterator[TeacherServer]:
    with TeacherServer() as running:
        yield running


@pytest.fixture
def place(server: TeacherServer, tmp_path: Path) -> Workplace:
    made = Workplace(tmp_path, server.url)
    made.make_plan(12)
    made.configure(prices=PRICES)
    return made


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_from_a_plan_to_rows_with_every_file_in_its_place(
    place: Workplace, server: TeacherServer
) -> None:
    for ran in place.run_all("--max-usd", "1"):
        assert ran.code == 0, ran.err
    drafts = read_rows(place.drafts, DraftRow)
    critiques = read_rows(place.critiques, CritiqueRow)
    accepted = read_rows(place.dataset, DatasetRow)
    rejected = read_rows(place.processed / "dataset_v1_rejected.jsonl", DatasetRow)
    stats = read_json(place.processed / "dataset_v1_stats.json")
    assert [row.index for row in drafts] == [row.index for row in critiques] == list(range(12))
    assert sorted(row.index for row in [*accepted, *rejected]) == list(range(12))
    assert (stats["accepted"], stats["rejected"]) == (len(accepted), len(rejected))
    assert all(row.reasons for row in rejected) and not any(row.reasons for row in accepted)
    assert all(isinstance(row.answer, dict) for row in accepted)
    assert any(row.refined for row in accepted)
    assert server.kinds()["draft"] == server.kinds()["critique"] == 12
    manifest = read_json(place.processed / "dataset_v1.jsonl.manifest.json")
    assert manifest["counts"]["complete"] and len(manifest["inputs"]) == 3
    assert "dataset_v1_stats.json" in manifest["outputs"]
    parents = {row.call["key"] for row in drafts}
    assert all(row.parents[0] in parents for row in accepted)


def test_all_again_from_the_store_is_the_same_to_the_byte(
    place: Workplace, server: TeacherServer
) -> None:
    place.run_all()
    before, count = place.final_files(), server.count
    for ran in place.run_all("--restart"):
        assert ran.code == 0 and "0 paid for now" in ran.out
    assert place.final_files() == before and server.count == count


def test_an_output_that_is_there_is_not_written_over(place: Workplace) -> None:
    place.run(DRAFTS)
    before = place.drafts.read_bytes()
    ran = place.run(DRAFTS)
    assert ran.code == 2 and place.drafts.read_bytes() == before
    assert "--resume" in ran.err and "--restart" in ran.err and "Traceback" not in ran.err


def test_rows_of_another_plan_are_not_gone_on_with(place: Workplace) -> None:
    place.run(DRAFTS)
    before = place.drafts.read_bytes()
    write_rows(place.plan, [plan_row(n, id=f"other-{n}") for n in range(3)])
    ran = place.run(DRAFTS, "--resume")
    assert ran.code == 2 and "none of them of" in ran.err
    assert place.drafts.read_bytes() == before


def test_batches_take_the_next_rows_by_their_ids(place: Workplace, server: TeacherServer) -> None:
    """A row that fails in between shifts nothing: what counts is what is not done."""
    server.script = lambda asked: (
        Reply(error(500), status=500) if "number 1." in asked.text else None
    )
    ran = place.run(DRAFTS, "--limit", "4")
    assert ran.code == 2 and "row-0001" in ran.err
    assert [row.index for row in read_rows(place.drafts, DraftRow)] == [0, 2, 3]
    server.script = None
    ran = place.run(DRAFTS, "--limit", "4", "--resume")
    assert ran.code == 0 and "5 rows are left" in ran.out
    assert [row.index for row in read_rows(place.drafts, DraftRow)] == [0, 1, 2, 3, 4, 5, 6]


def test_a_changed_prompt_is_asked_anew_and_the_others_are_not(
    place: Workplace, server: TeacherServer
) -> None:
    place.run_all()
    count = server.count
    rows = [plan_row(n) for n in range(12)]
    rows[3] = plan_row(3, prompt="Something else. This is question number 3.")
    write_rows(place.plan, rows)
    waiting = place.run(DATASET, "--resume")
    assert "1 drafts are of an older plan row" in waiting.err
    ran = place.run(DRAFTS, "--resume")
    assert ran.code == 0 and "1 rows were made from something else" in ran.err
    assert server.count == count + 1
    assert "Something else" in read_rows(place.drafts, DraftRow)[3].plan["prompt"]


def test_a_changed_gate_judges_all_rows_and_asks_only_what_is_new(
    place: Workplace, server: TeacherServer
) -> None:
    place.run_all()
    before, count = place.final_files(), server.count
    strict = place.run(DATASET, "--resume", "--gating-mode", "strict")
    assert strict.code == 0
    rows = read_rows(place.dataset, DatasetRow)
    assert {row.gate["mode"] for row in rows} == {"strict"}
    assert all("pass" in (r.gate["verdict"], r.gate.get("second_verdict")) for r in rows)
    second = server.count - count
    assert second == server.kinds()["critique"] - 12  # second critiques alone
    lenient = place.run(DATASET, "--resume", "--gating_mode", "lenient")
    assert lenient.code == 0 and "0 paid for now" in lenient.out
    assert place.final_files() == before and server.count == count + second


def test_price_says_what_it_would_cost_and_touches_nothing(
    place: Workplace, server: TeacherServer
) -> None:
    before = sorted(path.name for path in place.folder.rglob("*"))
    ran = place.run(DRAFTS, "--price")
    assert ran.code == 0 and "12 rows to make, 12 calls to first" in ran.out
    assert "$" in ran.out and server.count == 0
    assert sorted(path.name for path in place.folder.rglob("*")) == before


def test_a_dry_run_calls_nobody_and_no_stage_takes_its_rows_for_real(
    place: Workplace, server: TeacherServer
) -> None:
    dry = place.interim / "dry_run"
    assert place.run(DRAFTS, "--dry-run", environment={"TEST_TEACHER_KEY": ""}).code == 0
    drafts = str(dry / "drafts_v1.jsonl")
    refused = place.run(CRITIQUES, "--drafts", drafts)
    assert refused.code == 2 and "is a row of a dry run" in refused.err
    assert place.run(CRITIQUES, "--drafts", drafts, "--dry-run").code == 0
    inputs = ["--drafts", drafts, "--critiques", str(dry / "critiques_v1.jsonl")]
    refused = place.run(DATASET, *inputs)
    assert refused.code == 2 and "is a row of a dry run" in refused.err
    assert place.run(DATASET, *inputs, "--dry-run").code == 0
    rows = read_rows(place.processed / "dry_run" / "dataset_v1.jsonl", DatasetRow, dry_run=True)
    assert len(rows) == 12 and all(row.dry_run for row in rows)
    assert server.count == 0 and not place.drafts.exists() and not place.store.exists()


def test_a_hard_limit_stops_in_good_order(place: Workplace, server: TeacherServer) -> None:
    ran = place.run(DRAFTS, "--max-calls", "5")
    assert ran.code == 2 and "--max-calls 5 is reached. 5 of 12 rows" in ran.err
    assert server.count == 5 and len(read_rows(place.drafts, DraftRow)) == 5
    assert place.run(DRAFTS, "--resume").code == 0 and server.count == 12


def test_an_unknown_price_refuses_max_usd_before_the_first_call(
    place: Workplace, server: TeacherServer
) -> None:
    place.configure()
    ran = place.run(DRAFTS, "--max-usd", "1")
    assert ran.code == 2 and "first, second has none" in ran.err
    assert server.count == 0 and not place.drafts.exists()


def test_no_credit_is_one_sentence_and_what_is_finished_is_kept(
    place: Workplace, server: TeacherServer
) -> None:
    server.script = lambda asked: (
        Reply(error(402, "Insufficient credits"), status=402) if asked.number > 6 else None
    )
    ran = place.run(DRAFTS)
    assert ran.code == 2 and "Add credit" in ran.err and "Traceback" not in ran.err
    assert len(read_rows(place.drafts, DraftRow)) == 6


def test_a_server_that_is_down_ends_the_run_soon(place: Workplace, server: TeacherServer) -> None:
    place.make_plan(200)
    server.script = lambda _: Reply(error(500, "down"), status=500)
    place.configure(retries={"per_model": 1, "failed_rows": 3, "first_wait_s": 0.001})
    ran = place.run(DRAFTS)
    assert ran.code == 2 and "rows in a row got no answer" in ran.err and "500: down" in ran.err
    assert server.count < 20


def test_a_refused_prompt_is_a_rejected_row_and_is_not_asked_again(
    place: Workplace, server: TeacherServer
) -> None:
    def script(asked: Asked) -> Reply | None:
        is_two = "number 2." in asked.text and asked.kind == "draft"
        return Reply(answer("I'm sorry, but I can't help with that.")) if is_two else None

    server.script = script
    for ran in place.run_all():
        assert ran.code == 0, ran.err
    assert server.kinds()["critique"] == 11
    rejected = read_rows(place.processed / "dataset_v1_rejected.jsonl", DatasetRow)
    assert ("draft: refused",) in [tuple(row.reasons) for row in rejected]
    count = server.count
    place.run_all("--resume")
    assert server.count == count


@pytest.mark.posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_stop_keeps_what_is_finished_and_what_is_under_way(
    place: Workplace, server: TeacherServer, name: str
) -> None:
    place.configure(limits={"concurrency": 1})
    running: list[Any] = []

    def script(asked: Asked) -> Reply | None:
        if asked.number == 5:
            running[0].send_signal(getattr(signal, name))
        return None

    server.script = script
    running.append(place.start(DRAFTS))
    _, err = running[0].communicate(timeout=60)
    assert running[0].returncode == 130 and "--resume goes on" in err
    assert "Traceback" not in err
    done = len(read_rows(place.drafts, DraftRow))
    assert done == server.count == 5 or done == server.count == 6
    server.script = None
    assert place.run(DRAFTS, "--resume").code == 0
    assert server.count == 12  # nothing was paid for twice


def test_two_runs_at_once_are_refused(place: Workplace, server: TeacherServer) -> None:
    other: list[Any] = []

    def script(asked: Asked) -> Reply | None:
        if asked.number == 1:
            other.append(place.run(DRAFTS, "--resume", environment={}))
        return None

    server.script = script
    assert place.run(DRAFTS).code == 0
    assert other[0].code == 2 and "in use by another run" in other[0].err


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--limit", "0"), "--limit"),
        (("--max-usd", "-1"), "US dollars"),
        (("--resume", "--restart"), "not allowed with"),
        (("--plan", "nowhere.jsonl"), "not found"),
        (("--config", "nowhere.yaml"), "not found"),
    ],
)
def test_a_mistake_is_a_sentence(place: Workplace, flags: tuple[str, ...], word: str) -> None:
    ran = place.run(DRAFTS, *flags)
    assert ran.code == 2 and word in ran.err and "Traceback" not in ran.err
