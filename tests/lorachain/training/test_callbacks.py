"""What a person sees of a run, what stays of it on disk, and how they stop it."""

from __future__ import annotations

import io
import json
import logging
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import TrainerControl

from lorachain.training.callbacks import (
    JsonlLog,
    Progress,
    StopOnInterrupt,
    TokenMeter,
    clock,
    read_log,
)


def state(step: int, *, epoch: float = 0.0, last: int = 10, zero: bool = True) -> Any:
    return SimpleNamespace(
        global_step=step, epoch=epoch, max_steps=last, is_world_process_zero=zero
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (0.6, "0:01"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (61, "1:01"),
        (3599.6, "1:00:00"),
        (3723, "1:02:03"),
        (100_000, "27:46:40"),
    ],
)
def test_a_duration_is_read_as_on_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_meter_counts_the_steps_that_were_taken() -> None:
    meter = TokenMeter()
    assert meter.rate == 0.0
    meter.add(30, 2.0, 1.5)
    meter.add(50, 2.0, 1.25)
    assert (meter.rate, meter.loss) == (20.0, 1.25)


def entry(step: int, **more: float) -> str:
    return json.dumps({"step": step, "loss": step / 10, **more})


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [entry(1), entry(2), '{"step": 3, "lo', "", "[]", "null", '{"note": "no step"}']
    path.write_text("\n".join(lines), encoding="utf-8")
    assert [e["step"] for e in read_log(path)] == [1, 2]
    assert read_log(tmp_path / "nothing.jsonl") == []


def test_a_resumed_run_forgets_what_was_logged_after_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "training_log.jsonl"
    path.write_text(
        "\n".join([entry(1), entry(2), entry(2, eval_loss=9.0), entry(3), entry(4), '{"st']),
        encoding="utf-8",
    )
    log = JsonlLog(tmp_path, TokenMeter())
    log.on_train_begin(None, state(2), None)
    log.on_log(None, state(3), None, {"loss": 0.5})
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [(e["step"], e["loss"]) for e in found] == [(1, 0.1), (2, 0.2), (2, 0.2), (3, 0.5)]
    assert found[2]["eval_loss"] == 9.0


def test_a_fresh_run_starts_a_fresh_log(tmp_path: Path) -> None:
    (tmp_path / "training_log.jsonl").write_text(entry(1) + "\n", encoding="utf-8")
    JsonlLog(tmp_path, TokenMeter()).on_train_begin(None, state(0), None)
    assert (tmp_path / "training_log.jsonl").read_text(encoding="utf-8") == ""


def test_the_log_holds_losses_and_rates_and_no_summary(tmp_path: Path) -> None:
    meter = TokenMeter()
    meter.add(100, 3.0, 0.5)
    log = JsonlLog(tmp_path, meter)
    log.on_log(None, state(4, epoch=0.123456), None, {"loss": 0.5, "learning_rate": 1e-3})
    log.on_log(None, state(4, epoch=0.123456), None, {"eval_loss": 0.75, "epoch": 0.12})
    log.on_log(None, state(4), None, {"train_runtime": 12.0})
    log.on_log(None, state(4, zero=False), None, {"loss": 0.5})
    assert read_log(tmp_path / "training_log.jsonl") == [
        {
            "step": 4,
            "epoch": 0.1235,
            "loss": 0.5,
            "learning_rate": 1e-3,
            "trained_tokens_per_second": 33.3,
        },
        {"step": 4, "epoch": 0.1235, "eval_loss": 0.75},
    ]


def scheduler(rate: float) -> Any:
    return SimpleNamespace(get_last_lr=lambda: [rate])


def test_without_a_terminal_the_first_and_the_last_step_are_plain_lines(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    meter = TokenMeter()
    meter.add(90, 3.0, 1.5)
    progress = Progress(meter, "v1")
    with caplog.at_level(logging.INFO, logger="lorachain"):
        progress.on_train_begin(None, state(4), None)  # it goes on in the middle
        for step in (5, 6, 10):
            progress.on_step_end(None, state(step), None, lr_scheduler=scheduler(2e-4))
        progress.on_log(None, state(10), None, {"eval_loss": 0.25})
        progress.on_train_end(None, state(10), None)
    lines = caplog.text.splitlines()
    assert len(lines) == 3
    assert "v1: step 5/10, loss 1.500, lr 2.0e-04, 30 trained tokens/s, 0:0" in lines[0]
    assert "step 10/10" in lines[1] and lines[1].endswith("0:00 left")
    assert lines[2].endswith("v1: step 10, validation loss 0.2500")


def test_a_run_beside_the_main_one_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    progress = Progress(TokenMeter(), "v1")
    with caplog.at_level(logging.INFO, logger="lorachain"):
        progress.on_train_begin(None, state(0, zero=False), None)
        progress.on_step_end(None, state(1, zero=False), None, lr_scheduler=scheduler(1.0))
        progress.on_log(None, state(1, zero=False), None, {"eval_loss": 1.0})
        progress.on_train_end(None, state(1, zero=False), None)
    assert caplog.text == ""


def step_end(stop: StopOnInterrupt, *, selects: bool = False) -> TrainerControl:
    control = TrainerControl(should_evaluate=True)
    args = SimpleNamespace(metric_for_best_model="eval_loss" if selects else None)
    stop.on_step_end(args, None, control)
    return control


def test_ctrl_c_asks_for_a_save_and_an_end_and_puts_the_old_handler_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = signal.getsignal(signal.SIGINT)
    with caplog.at_level(logging.INFO, logger="lorachain"), StopOnInterrupt() as stop:
        control = step_end(stop)
        assert not (control.should_save or control.should_training_stop)
        assert control.should_evaluate
        signal.raise_signal(signal.SIGINT)
        assert stop.asked
        control = step_end(stop)
    assert control.should_save and control.should_training_stop
    assert not control.should_evaluate
    assert "this step is finished and saved first" in caplog.text
    assert signal.getsignal(signal.SIGINT) is before


def test_an_evaluation_that_chooses_the_best_is_not_left_out() -> None:
    """The step is never evaluated again: the run that goes on would choose among fewer."""
    with StopOnInterrupt() as stop:
        signal.raise_signal(signal.SIGINT)
        assert step_end(stop, selects=True).should_evaluate


def test_a_second_ctrl_c_stops_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), StopOnInterrupt():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread_it_changes_no_handler() -> None:
    import threading

    before = signal.getsignal(signal.SIGINT)
    found: list[Any] = []

    def work() -> None:
        with StopOnInterrupt() as stop:
            found.append((signal.getsignal(signal.SIGINT), stop.asked))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(before, False)]
    assert signal.getsignal(signal.SIGINT) is before
