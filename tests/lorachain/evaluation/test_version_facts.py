"""What is known of a version's training: measured, or left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluation_support import lineage_data

from lorachain import adapters, lineage
from lorachain.config import StageConfig
from lorachain.evaluation.version_facts import LOG, version_facts
from lorachain.files import sha256_file, write_text
from lorachain.models import Base, Fingerprint

BASE = Base("tiny", Path("/bases/tiny"), Fingerprint("c", "t", "p", "w"))
RATES = [0.0, 1e-3, 2e-3, 1e-3, 1.5e-4, 1e-5]


def entry(step: int, rate: float) -> dict[str, Any]:
    norm = 0.5 * step
    return {"step": step, "epoch": step / 3, "loss": 3.0 / step, "grad_norm": norm} | {
        "learning_rate": rate
    }


def rows(path: Path, role: str, tasks: list[str], **more: Any) -> dict[str, Any]:
    lines = [
        {"prompt": f"{i}?", "completion": "!"} | ({"task": t} if t else {})
        for i, t in enumerate(tasks)
    ]
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    found = {"role": role, "path": str(path), "sha256": sha256_file(path), "rows": len(tasks)}
    return found | more


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A version of six steps with a log, 3 own rows and 2 of 4 replayed."""
    folder = tmp_path / "v2"
    folder.mkdir()
    for file in (adapters.WEIGHTS, adapters.CONFIG):
        (folder / file).write_bytes(b"{}")
    data = lineage_data(folder, BASE)
    data["config"] = StageConfig().model_dump(mode="json")
    data["identity"]["processes"] = 2
    data["data"] = [
        rows(tmp_path / "train.jsonl", "train", ["a", "a", "b"]),
        rows(tmp_path / "old.jsonl", "replay", ["c"] * 4, rows_drawn=2),
    ]
    data["metrics"] |= {"steps": 6, "train_loss_first": 3.0, "train_loss_last": 0.5}
    lineage.write(folder, data)
    log = [entry(i, rate) for i, rate in enumerate(RATES, start=1)]
    log += [{"step": 3, "epoch": 1.0, "eval_loss": 0.9}, {"step": 6, "epoch": 2, "eval_loss": 1.1}]
    write_text(folder / LOG, "".join(json.dumps(line) + "\n" for line in log) + '{"step": 7, "lo')
    return folder


def facts(folder: Path) -> dict[str, Any]:
    return version_facts(lineage.read(folder))


def test_what_lineage_and_log_tell(folder: Path) -> None:
    found = facts(folder)
    told = {
        "kind": "sft",
        "steps": 6,
        "epochs_seen": 2,
        "rows": 5,
        "own_rows": 3,
        "rows_replayed": 2,
        "rows_by_task": {"a": 2, "b": 1},
        "steps_per_row": 6 / 5,
        "rows_per_step": 1 * 16 * 2,
        "gradient_accumulation_steps": 16,
        "learning_rate": 5e-5,
        "lr_scheduler_type": "cosine",
        "max_seq_length": 1024,
        "overlong_rows": 0,
        "truncated_answer_share": 0.0,
        "replay_share": 0.0,
        "train_loss_first": 3.0,
        "train_loss_last": 0.5,
        "validation_curve": [[3, 0.9], [6, 1.1]],
        "grad_norm_mean": pytest.approx(1.75),
        "grad_norm_max": 3.0,
    }
    assert {key: found.get(key) for key in told} == told
    assert found["training_curve"][0] == [1, 3.0] and len(found["training_curve"]) == 6
    assert found["config"]["data"]["max_seq_length"] == 1024
    assert json.loads(json.dumps(found)) == found


def test_the_tail_of_the_schedule_is_what_follows_the_peak(folder: Path) -> None:
    found = facts(folder)
    assert found["warmup_steps"] == 2
    assert (found["lr_peak"], found["lr_last"]) == (2e-3, 1e-5)
    assert found["lr_tail_share"] == pytest.approx(2 / 6), "the warm-up is low too, and no tail"
    assert found["lr_dead_share"] == pytest.approx(1 / 6)


def test_no_warm_up_is_0_and_steps_that_were_not_logged_are_unknown(folder: Path) -> None:
    write_text(folder / LOG, "".join(json.dumps(entry(i, 1e-3)) + "\n" for i in (1, 2)))
    assert facts(folder)["warmup_steps"] == 0 and facts(folder)["lr_tail_share"] == 0
    write_text(folder / LOG, "".join(json.dumps(entry(i, 1e-3)) + "\n" for i in (10, 20)))
    assert "warmup_steps" not in facts(folder)


def test_a_lost_log_leaves_out_what_it_told(folder: Path) -> None:
    (folder / LOG).unlink()
    found = facts(folder)
    assert found["steps"] == 6
    assert not {"epochs_seen", "validation_curve", "lr_peak", "grad_norm_max"} & found.keys()


@pytest.mark.parametrize("content", ["", "nonsense\n[1]\n{}\n", '{"step": 1, "loss": "nan"}\n'])
def test_a_log_of_nonsense_is_no_log(folder: Path, content: str) -> None:
    write_text(folder / LOG, content)
    assert not {"training_curve", "lr_peak"} & facts(folder).keys()


def test_rows_that_changed_or_have_no_tasks_are_not_counted_by_task(folder: Path) -> None:
    train = folder.parent / "train.jsonl"
    with train.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"prompt": "?", "completion": "!", "task": "a"}) + "\n")
    assert "rows_by_task" not in facts(folder) and facts(folder)["own_rows"] == 3
    train.unlink()
    assert "rows_by_task" not in facts(folder)


def test_a_long_curve_is_thinned_and_keeps_its_ends(folder: Path) -> None:
    write_text(folder / LOG, "".join(json.dumps(entry(i, 1e-3)) + "\n" for i in range(1, 1001)))
    curve = facts(folder)["training_curve"]
    assert (len(curve), curve[0][0], curve[-1][0]) == (200, 1, 1000)


def test_without_a_lineage_nothing_is_known() -> None:
    assert version_facts(None) == {}
