"""Row 26: files that another program holds, a full disk and a long path as Windows reports them.

Linux refuses nothing of the kind, so the run's `os.replace` does, with Windows' numbers.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from fault_support import Bench, is_finished, steps_of

from lorachain import checkpoint, files

NUMBER, PLACE = "TEST_HELD_WINERROR", "TEST_HELD_PLACE"
ERRNO = {
    5: errno.EACCES,
    32: errno.EACCES,
    1224: errno.EINVAL,
    112: errno.ENOSPC,
    206: errno.ENOENT,
}


def hold_what_is_replaced() -> None:
    """In the run's process: from now on Windows refuses every rename onto TEST_HELD_PLACE."""
    number, place, rename = int(os.environ[NUMBER]), os.environ[PLACE], os.replace

    def refuse(source: Any, target: Any) -> None:
        if Path(target).name != place:
            rename(source, target)
            return
        error = OSError(ERRNO[number], "as Windows says it", str(source), None, str(target))
        error.winerror = number  # type: ignore[attr-defined]
        raise error

    os.replace = refuse  # type: ignore[assignment]
    files._RETRY_SECONDS = (0.01,)


@pytest.mark.posix
@pytest.mark.parametrize(
    ("number", "place", "says", "do"),
    [
        (32, "checkpoint-4", "The checkpoint of step 4 could not be written", "Close what may"),
        (1224, "checkpoint-4", "Earlier checkpoints are untouched", "an Explorer window"),
        (112, "checkpoint-4", "The checkpoint of step 4 could not be written", "Make room and run"),
        (206, "checkpoint-4", "The checkpoint of step 4 could not be written", "a short path"),
        (5, "lineage.json", "v1 could not be written", "this account may not write there"),
        (32, "unfinished.json", "unfinished.json is held open by another program", "OneDrive"),
    ],
)
def test_row_26_what_windows_refuses_is_a_sentence_and_a_re_run_finishes(
    bench: Bench, number: int, place: str, says: str, do: str
) -> None:
    refused = bench.run(
        "v1",
        environment={NUMBER: str(number), PLACE: place},
        before="test_held_files:hold_what_is_replaced",
    )
    assert refused.code == 2, refused.text
    assert "Traceback" not in refused.text
    assert says in refused.text and do in refused.text
    assert not is_finished(refused.folder)
    for step in steps_of(refused.folder):
        checkpoint.verify(refused.folder / f"checkpoint-{step}")
    again = bench.run("v1")
    assert again.code == 0, again.text
    assert is_finished(again.folder)
