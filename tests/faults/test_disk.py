"""Row 5: a full disk, on a small file system of its own, and before the first step."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain_support import largest_difference
from fault_support import Bench, is_finished, log_of, resumed_from, steps_of

from lorachain import checkpoint

pytestmark = pytest.mark.posix

LONG = ("checkpoint.resume=exact", "training.num_train_epochs=20", "training.eval_strategy=no")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB. Skipped where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a small file system (tmpfs)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def free(folder: Path) -> int:
    import shutil

    return shutil.disk_usage(folder).free


def fill(folder: Path, leave: int) -> Path:
    """Take all but `leave` bytes of the file system."""
    ballast = folder / "ballast"
    size = free(folder) - leave
    with ballast.open("wb") as file:
        file.write(b"\1" * max(size, 0))
    return ballast


def test_row_05_too_little_room_is_found_before_the_first_step(
    bench: Bench, small_disk: Path
) -> None:
    fill(small_disk, 2_000_000)
    refused = bench.run(small_disk / "v1", sets=LONG)
    assert refused.code == 2, refused.text
    assert "disk-short: Checkpoints and version take " in refused.text
    assert "--set checkpoint.save_total_limit=1" in refused.text
    assert "step 1/" not in refused.text
    assert steps_of(refused.folder) == []


def test_row_05_what_fits_is_not_refused(bench: Bench, small_disk: Path) -> None:
    """One checkpoint in all, whatever number may be kept: the need is what will really be there."""
    one = ("checkpoint.save_steps=999", "checkpoint.resume=exact", "checkpoint.save_total_limit=99")
    whole = bench.run("whole", sets=one)
    used = sum(p.stat().st_size for p in whole.folder.rglob("*") if p.is_file())
    fill(small_disk, used + 300_000)
    fits = bench.run(small_disk / "v1", sets=one)
    assert fits.code == 0, fits.text


def look_for_the_temporary_folder_again() -> None:
    """Python remembers it from before the run's process was forked."""
    import tempfile

    tempfile.tempdir = None


def test_row_05_a_full_temporary_folder_is_no_fault_of_the_optimizer(
    bench: Bench, small_disk: Path
) -> None:
    fill(small_disk, 8_000)
    refused = bench.run(
        "v1",
        sets=LONG,
        environment={"TMPDIR": str(small_disk)},
        before="test_disk:look_for_the_temporary_folder_again",
    )
    assert refused.code == 2, refused.text
    assert "the folder for temporary files" in refused.text


@pytest.mark.parametrize("leave", [0, 30_000, 200_000])
def test_row_05_a_disk_that_fills_up_keeps_the_checkpoints(
    bench: Bench, small_disk: Path, leave: int
) -> None:
    """Wherever it hits first: a checkpoint's tensors, its JSON, the log, TensorBoard's file."""
    started = bench.start(small_disk / "v1", sets=LONG)
    folder = small_disk / "v1"
    while started.running and not (folder / "checkpoint-4").is_dir():
        time.sleep(0.002)
    ballast = fill(small_disk, leave)
    code, text = started.wait(), started.text()
    assert code == 2, text
    assert "Traceback" not in text
    assert "Make room" in text and "run the same command again" in text
    kept = steps_of(folder)
    assert len(kept) >= 2
    for step in kept:
        checkpoint.verify(folder / f"checkpoint-{step}")
    assert not [p for p in folder.rglob("*") if p.name.endswith(".tmp") or ".tmp-" in p.name]
    assert not is_finished(folder)

    ballast.unlink()
    again = bench.run(folder, sets=LONG)
    assert again.code == 0, again.text
    assert resumed_from(folder) == kept[-1]
    whole = bench.run("whole", sets=LONG)
    assert largest_difference(folder, whole.folder) == 0.0
    assert log_of(folder) == log_of(whole.folder)


@pytest.mark.parametrize(
    "point",
    [
        "write unfinished.json#1",
        "write training_log.jsonl#1",
        "append training_log.jsonl#3",
        "write checkpoint/rng.json#2",
        "fsync checkpoint/MANIFEST.json#2",
        "write adapter_model.safetensors#1",
        "write lineage.json#1",
    ],
)
def test_row_05_a_full_disk_at_any_write_is_a_sentence(bench: Bench, point: str) -> None:
    full = bench.run("v1", fault=f"full@{point}")
    assert full.code == 2, full.text
    assert "Traceback" not in full.text and "ake room" in full.text
    assert not is_finished(full.folder)
    for step in steps_of(full.folder):
        checkpoint.verify(full.folder / f"checkpoint-{step}")
    again = bench.run("v1")
    assert again.code == 0, again.text
    assert is_finished(full.folder)
