"""Stopped and run again: a real process, a real SIGKILL or SIGINT, and the same end."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from chain_support import BASIC, Place, largest_difference, lineage

from lorachain.errors import UserError
from lorachain.paths import PROJECT_ROOT

SETS = [
    *BASIC,
    "lora.lora_dropout=0.1",
    "training.num_train_epochs=60",
    "training.neftune_noise_alpha=1",
    "training.learning_rate=1e-3",
    "checkpoint.save_steps=7",
]
STEPS = 240


def command(place: Place, output: str, *sets: str) -> list[str]:
    argv = [sys.executable, str(PROJECT_ROOT / "src/training/fine_tune.py")]
    argv += ["--base-model", str(place.base), *place.data(1)]
    argv += ["--output", str(place.folder / output)]
    return argv + [part for text in (*SETS, *sets) for part in ("--set", text)]


def log_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "training_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def stop_at_checkpoint(argv: list[str], folder: Path, step: int, sign: int) -> Any:
    """Start a run and send it a signal once a checkpoint of at least `step` is there."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        steps = [int(p.name.split("-")[1]) for p in folder.glob("checkpoint-*")]
        if steps and max(steps) >= step:
            break
        time.sleep(0.005)
    assert process.poll() is None, f"it ended before the signal: {process.communicate()[1][-800:]}"
    process.send_signal(sign)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.parametrize("level", ["exact", "weights"])
@pytest.mark.posix
def test_killed_and_run_again_goes_on_where_it_was(place: Place, level: str) -> None:
    sets = [f"checkpoint.resume={level}"]
    whole = place.v1("whole", sets=[*SETS, *sets])
    folder = place.folder / "killed"
    argv = command(place, "killed", *sets)
    code, _, _ = stop_at_checkpoint(argv, folder, 28, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (folder / "lineage.json").exists()
    again = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 0, again.stderr
    assert "Going on from checkpoint-" in again.stderr
    resumed = lineage(folder)["resumed_from_step"]
    assert resumed >= 28 and resumed % 7 == 0
    rates = {e["step"]: e["learning_rate"] for e in log_of(folder) if "loss" in e}
    expected = {e["step"]: e["learning_rate"] for e in log_of(whole) if "loss" in e}
    assert rates == expected and len(rates) == STEPS
    if level == "exact":
        assert largest_difference(whole, folder) == 0.0
    else:
        assert "eased in" in again.stderr
        assert largest_difference(whole, folder) > 0.0  # the optimizer's moments were not kept
        first = {e["step"]: e["loss"] for e in log_of(whole) if "loss" in e}[resumed + 1]
        found = {e["step"]: e["loss"] for e in log_of(folder) if "loss" in e}[resumed + 1]
        assert found == pytest.approx(first, rel=1e-4)  # same rows, same dropout, same weights


@pytest.mark.posix
def test_ctrl_c_saves_the_step_says_how_to_go_on_and_exits_130(place: Place) -> None:
    folder = place.folder / "stopped"
    argv = command(place, "stopped")
    code, _, err = stop_at_checkpoint(argv, folder, 7, signal.SIGINT)
    assert code == 130
    assert "Traceback" not in err
    steps = sorted(int(p.name.split("-")[1]) for p in folder.glob("checkpoint-*"))
    assert f"Stopped at step {steps[-1]} of {STEPS}" in err
    assert "fine_tune.py" in err.rsplit("run it again", 1)[1]
    again = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)
    assert again.returncode == 0, again.stderr
    assert f"Going on from checkpoint-{steps[-1]}" in again.stderr
    assert lineage(folder)["metrics"]["steps"] == STEPS


@pytest.fixture
def half(place: Place) -> Path:
    """An unfinished version: its checkpoints are there, its lineage is not."""
    folder = place.v1("half", sets=["checkpoint.save_steps=1", "checkpoint.save_total_limit=9"])
    (folder / "lineage.json").unlink()
    return folder


def again(place: Place, *flags: str, sets: tuple[str, ...] = ()) -> Path:
    keep = ("checkpoint.save_steps=1", "checkpoint.save_total_limit=9")
    return place.v1("half", *flags, sets=[*keep, *sets])


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ("training.learning_rate=0.5", r"training\.learning_rate: was 0\.01, now 0\.5"),
        ("lora.r=8", r"lora\.r: was 4, now 8"),
        ("training.num_train_epochs=9", r"training\.num_train_epochs: was 1\.0, now 9\.0"),
    ],
)
def test_a_changed_setting_stops_the_resume_with_both_values(
    place: Place, half: Path, setting: str, field: str
) -> None:
    with pytest.raises(UserError, match=field):
        again(place, sets=(setting,))
    assert (half / "checkpoint-4").is_dir()


def test_changed_data_stops_the_resume(place: Place, half: Path) -> None:
    path = place.folder / "train1.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("river", "ocean"), encoding="utf-8")
    with pytest.raises(UserError, match=r"training rows: was .*, now"):
        again(place)


def test_a_setting_that_shapes_nothing_does_not_stop_the_resume(place: Place, half: Path) -> None:
    again(place, sets=("training.logging_steps=2",))
    assert lineage(half)["resumed_from_step"] == 4


def test_what_helps_against_full_memory_does_not_stop_the_resume(place: Place, half: Path) -> None:
    """The message for a GPU that is out of memory names these settings, for the same command."""
    from types import SimpleNamespace
    from typing import cast

    from lorachain.training.stage import Stage
    from lorachain.training.train import _out_of_memory

    advice = _out_of_memory(cast(Stage, SimpleNamespace(request=SimpleNamespace(output=half))))
    sets = tuple(re.findall(r"--set (\S+=[^\s,]+)", advice))
    assert len(sets) == 2
    again(place, sets=sets)
    assert lineage(half)["resumed_from_step"] == 4


def test_a_flipped_bit_sets_a_checkpoint_aside_and_the_one_before_is_used(
    place: Place, half: Path
) -> None:
    path = half / "checkpoint-4" / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))
    again(place)
    assert lineage(half)["resumed_from_step"] == 3
    assert (half / "set-aside-1-checkpoint-4").is_dir()


def test_every_checkpoint_bad_asks_for_a_fresh_start_and_deletes_nothing(
    place: Place, half: Path
) -> None:
    for folder in half.glob("checkpoint-*"):
        (folder / "MANIFEST.json").unlink()
    before = sorted(p.relative_to(half) for p in half.rglob("*"))
    with pytest.raises(UserError, match="--restart"):
        again(place)
    assert sorted(p.relative_to(half) for p in half.rglob("*")) == before


def test_resume_never_starts_over(place: Place, half: Path) -> None:
    again(place, "--resume", "never")
    assert lineage(half)["resumed_from_step"] is None


def test_resume_from_a_named_checkpoint(place: Place, half: Path) -> None:
    again(place, "--resume", str(half / "checkpoint-2"))
    assert lineage(half)["resumed_from_step"] == 2


def test_a_second_run_on_the_same_output_says_so(place: Place) -> None:
    from lorachain.files import folder_lock

    with (
        folder_lock(place.folder / "v1", "The output"),
        pytest.raises(UserError, match="in use by another run"),
    ):
        place.v1("v1")


def test_checkpoints_hold_the_allowed_files_only(half: Path) -> None:
    names = {path.name for path in (half / "checkpoint-4").iterdir()}
    assert names == {
        "MANIFEST.json",
        "adapter_config.json",
        "adapter_model.safetensors",
        "rng.json",
        "rng.safetensors",
        "scheduler.json",
        "trainer_state.json",
    }


def test_rotation_keeps_the_newest(place: Place) -> None:
    folder = place.v1("v1", sets=["checkpoint.save_steps=1", "checkpoint.save_total_limit=2"])
    assert sorted(p.name for p in folder.glob("checkpoint-*")) == ["checkpoint-3", "checkpoint-4"]
