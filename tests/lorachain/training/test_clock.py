"""How long a training still takes, as it is said once after its first steps."""

from __future__ import annotations

import io
import logging
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from lorachain.training.callbacks import Progress, TokenMeter
from lorachain.training.clock import when_done

FRIDAY = datetime(2026, 1, 2, 14, 23)


@pytest.mark.parametrize(
    ("step", "left", "said"),
    [
        (2.4, 300, "about 2.4 s a step: 12 minutes to go, done at about 14:35"),
        (0.25, 4, "about 0.25 s a step: under a minute to go, done at about 14:23"),
        (1.0, 60, "about 1 s a step: 1 minute to go, done at about 14:24"),
        (90, 400, "about 1:30 a step: 10.0 hours to go, done at about Saturday, 00:23"),
        (600, 1440, "about 10:00 a step: 240.0 hours to go, done at about 2026-01-12, 14:23"),
    ],
)
def test_the_end_is_a_time_of_day(step: float, left: int, said: str) -> None:
    assert when_done(step, left, FRIDAY) == said


def progress_of(steps: int, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What a run of so many steps says of its end: the first step takes 100 s, the others 30 s."""
    now = [0.0]
    progress = Progress(TokenMeter(), "v1", monotonic=lambda: now[0], now=lambda: FRIDAY)
    scheduler = SimpleNamespace(get_last_lr=lambda: [1e-4])

    def state(step: int) -> Any:
        return SimpleNamespace(global_step=step, max_steps=steps, is_world_process_zero=True)

    with caplog.at_level(logging.INFO, logger="lorachain"):
        progress.on_train_begin(None, state(0), None)
        for step in range(1, steps + 1):
            now[0] += 100 if step == 1 else 30
            progress.on_step_end(None, state(step), None, lr_scheduler=scheduler)
    return [record.message for record in caplog.records if "done at" in record.message]


def test_it_is_said_once_and_the_slow_first_step_does_not_count(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert progress_of(43, caplog) == [
        "v1: about 0:30 a step: 20 minutes to go, done at about 14:43"
    ]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_run_that_is_over_by_then_is_not_told(
    steps: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert progress_of(steps, caplog) == []
