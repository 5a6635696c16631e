"""Stops at awkward moments, and what a run must not do before it knows that it can begin."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chain_support import BASIC, Place, largest_difference, lineage, make_rows, script, write_rows

from lorachain.errors import Interrupted, UserError
from lorachain.paths import PROJECT_ROOT
from lorachain.training.callbacks import TokenMeter


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Ctrl-C within that step, as a person presses it."""
    real, taken = TokenMeter.add, [0]

    def add(self: TokenMeter, *args: Any) -> None:
        real(self, *args)
        taken[0] += 1
        if taken[0] == steps:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(TokenMeter, "add", add)


def log_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "training_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def evaluated(folder: Path) -> list[int]:
    return [entry["step"] for entry in log_of(folder) if "eval_loss" in entry]


def state_of(checkpoint: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (checkpoint / "trainer_state.json").read_text(encoding="utf-8")
    )
    return found


def tree(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.name != ".lock")


EXACT = ("training.num_train_epochs=3", "checkpoint.resume=exact", "checkpoint.save_steps=4")


def test_ctrl_c_in_an_epoch_saves_and_does_not_evaluate_first(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        monkeypatch.context() as patch,
        pytest.raises(Interrupted, match="Stopped at step 6 of 12"),
    ):
        stop_after(patch, 6)
        place.v1("v1", sets=EXACT)
    assert evaluated(place.folder / "v1") == [4]
    assert (place.folder / "v1" / "checkpoint-6" / "MANIFEST.json").is_file()
    v1 = place.v1("v1", sets=EXACT)
    assert evaluated(v1) == [4, 8, 12]
    assert lineage(v1)["resumed_from_step"] == 6
    assert largest_difference(v1, place.v1("whole", sets=EXACT)) == 0.0


BEST = (*EXACT, "training.load_best_model_at_end=true", "training.early_stopping_patience=2")


def test_a_checkpoint_at_an_epochs_end_knows_what_the_evaluation_found(place: Place) -> None:
    """Saved before it, a resumed run would compare with an older best, or with none."""
    v1 = place.v1("v1", sets=(*BEST, "checkpoint.save_total_limit=9"))
    losses = {e["step"]: e["eval_loss"] for e in log_of(v1) if "eval_loss" in e}
    assert list(losses) == [4, 8, 12]
    for step in losses:
        so_far = {s: loss for s, loss in losses.items() if s <= step}
        state = state_of(v1 / f"checkpoint-{step}")
        assert state["best_global_step"] == min(so_far, key=so_far.__getitem__)
        assert state["best_metric"] == pytest.approx(min(so_far.values()))


@pytest.mark.parametrize("at", [3, 4, 8])
def test_the_best_is_the_same_after_a_stop(
    place: Place, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Also where Ctrl-C falls on the step that is evaluated, and where the best came before it."""
    sets = (*BEST, "training.learning_rate=0.08", "training.lr_scheduler_type=constant")
    whole = place.v1("whole", sets=sets)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        stop_after(patch, at)
        place.v1("v1", sets=sets)
    v1 = place.v1("v1", sets=sets)
    assert evaluated(v1) == evaluated(whole)
    assert lineage(v1)["metrics"]["best_step"] == lineage(whole)["metrics"]["best_step"]
    assert largest_difference(v1, whole) == 0.0


@pytest.mark.parametrize("level", ["exact", "weights"])
def test_a_run_that_was_cut_off_at_its_very_end_takes_no_step_more(
    place: Place, level: str
) -> None:
    """All steps are trained, in the middle of an epoch, and only the version is not written yet."""
    sets = ("training.max_steps=6", f"checkpoint.resume={level}")
    v1 = place.v1("v1", sets=sets)
    shutil.copytree(v1, place.folder / "whole")
    (v1 / "lineage.json").unlink()
    (v1 / "adapter_model.safetensors").unlink()
    place.v1("v1", sets=sets)
    found = lineage(v1)
    assert (found["metrics"]["steps"], found["resumed_from_step"]) == (6, 6)
    assert largest_difference(v1, place.folder / "whole") == 0.0
    assert (
        found["metrics"]["validation_loss"]
        == lineage(place.folder / "whole")["metrics"]["validation_loss"]
    )
    assert [e["step"] for e in log_of(v1) if "loss" in e] == [1, 2, 3, 4, 5, 6]


def test_a_full_disk_is_a_sentence_and_the_earlier_checkpoints_stay(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """safetensors reports it with an error of its own, not with an OSError."""
    from safetensors import SafetensorError

    from lorachain.training import checkpointing

    real = checkpointing.save_adapter

    def full(model: Any, folder: Path) -> None:
        if "checkpoint-4" in folder.name:
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        real(model, folder)

    monkeypatch.setattr(checkpointing, "save_adapter", full)
    with pytest.raises(UserError, match=r"step 4 could not be written: .*No space left"):
        place.v1("v1", sets=("checkpoint.save_steps=2",))
    assert {p.name for p in (place.folder / "v1").glob("*checkpoint-*")} == {"checkpoint-2"}


def test_a_restart_that_cannot_begin_moves_nothing(place: Place) -> None:
    v1 = place.v1("v1")
    before = tree(place.folder)
    with pytest.raises(UserError, match="max_seq_length"):
        place.v1("v1", "--restart", sets=("data.max_seq_length=16",))
    assert tree(place.folder) == before
    assert (v1 / "lineage.json").is_file()


@pytest.mark.parametrize("flags", [[], ["--restart"]])
def test_no_version_is_written_over_one_that_it_stands_on(
    place: Place, chain: tuple[Place, list[Path]], flags: list[str]
) -> None:
    for folder in chain[1]:
        shutil.copytree(folder, place.folder / folder.name)
    v1, v2 = place.folder / "v1", place.folder / "v2"
    before = tree(place.folder)
    with pytest.raises(UserError, match="the parent itself"):
        place.v2(v2, "v2", *flags, generation=3)
    with pytest.raises(UserError, match="is v1, on which v2 stands"):
        place.v2(v2, "v1", *flags, generation=3)
    assert tree(place.folder) == before
    assert lineage(v1)["name"] == "v1"


def test_a_refused_checkpoint_leaves_the_later_ones_where_they_are(place: Place) -> None:
    keep = ("checkpoint.save_steps=1", "checkpoint.save_total_limit=9")
    v1 = place.v1("v1", sets=keep)
    (v1 / "lineage.json").unlink()
    before = tree(v1)
    with pytest.raises(UserError, match=r"learning_rate: was 0\.01, now 0\.5"):
        place.v1(
            *("v1", "--resume", str(v1 / "checkpoint-2")),
            sets=(*keep, "training.learning_rate=0.5"),
        )
    assert tree(v1) == before
    place.v1("v1", "--resume", str(v1 / "checkpoint-2"), sets=keep)
    assert lineage(v1)["resumed_from_step"] == 2
    assert {p.name for p in v1.glob("set-aside-*")} == {
        "set-aside-1-checkpoint-3",
        "set-aside-1-checkpoint-4",
    }


def test_versions_of_one_name_are_measured_apart(place: Place) -> None:
    """runs/1/final -> runs/2/final: its own loss is its own, and the parent's stands beside it."""
    one = place.v1("runs/1/final")
    two = place.v2(one, "runs/2/final", "--replay-share", "0.3")
    losses = lineage(two)["metrics"]["validation_loss"]
    assert list(losses) == ["final", "final (2)"]
    logged = [e["eval_loss"] for e in log_of(two) if "eval_loss" in e]
    assert losses["final"] == pytest.approx(logged[-1], abs=1e-5)


@pytest.mark.skipif(os.name == "nt", reason="torch for Windows has no libuv, which torchrun needs")
def test_two_processes_train_what_one_trains(place: Place) -> None:
    """torchrun with half the rows each: the same steps on the same rows, the same adapter."""
    write_rows(place.folder / "train1.jsonl", make_rows(13, "alpha"))  # 8 and 5: parts of 4+4, 3+2
    sets = [text for text in BASIC if "accumulation" not in text]
    sets += ["training.num_train_epochs=1", "training.learning_rate=5e-2"]
    # The first step of a warm-up has a rate of 0.
    sets += ["training.warmup_ratio=0", "training.eval_strategy=no"]

    def argv(output: str, rows: int) -> list[str]:
        settings = [*sets, f"training.gradient_accumulation_steps={rows}"]
        return [
            str(PROJECT_ROOT / "src/training/fine_tune.py"),
            *("--base-model", str(place.base), "--output", str(place.folder / output)),
            *("--train-data", str(place.folder / "train1.jsonl"), "--val-data", "none"),
            *(part for text in settings for part in ("--set", text)),
        ]

    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    started = subprocess.Popen(
        [*launch, *argv("two", 4)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    script("fine_tune").main(argv("one", 8)[1:])
    out, _ = started.communicate(timeout=240)
    assert started.returncode == 0, out
    one, two = place.folder / "one", place.folder / "two"
    assert largest_difference(one, two) < 1e-5
    assert lineage(two)["metrics"]["steps"] == lineage(one)["metrics"]["steps"] == 2
    assert lineage(two)["identity"]["processes"] == 2
    for key in ("loss", "grad_norm"):  # AdamW alone would not tell a gradient from twice as much
        first, last = ([e[key] for e in log_of(folder)] for folder in (one, two))
        assert first == pytest.approx(last, rel=1e-5), key
    assert out.count("is finished after 2 steps") == 1  # one process speaks
