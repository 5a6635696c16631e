"""Progress: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import pytest

from lorachain.evaluation.evaluate import Version
from lorachain.evaluation.progress import SECONDS_BETWEEN_LINES, Progress

BASE, V1 = Version("base"), Version("v1")


def test_lines_come_now_and_then_and_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    now = 0.0
    with Progress(terminal=False, clock=lambda: now) as progress:
        for done in range(1, 6):
            now += SECONDS_BETWEEN_LINES / 2
            progress(BASE, done, 5)
    assert caplog.messages == [f"base: {done} of 5 answers" for done in (2, 4, 5)]


def test_a_terminal_gets_one_bar_for_each_version(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(terminal=True) as progress:
        for version in (BASE, V1):
            for done in (2, 3):  # the first was there already
                progress(version, done, 3)
    shown = capsys.readouterr().err
    for name in ("base", "v1"):
        assert f"{name}: 100%" in shown.replace("\r", "\n")
    assert "3/3" in shown
