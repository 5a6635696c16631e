"""Memory, disk, GPU and battery: what is short is said in numbers, with what to change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lorachain.config import StageConfig, resolve
from lorachain.preflight.computer import check_machine, gigabytes, on_battery
from lorachain.preflight.finding import Finding
from lorachain.preflight.inputs import Needs

GB = 10**9
FITS = Needs(
    weights=3 * GB,
    adapter=1 * GB,
    optimizer=1 * GB,
    activations=4 * GB,
    logits=GB // 2,
    there=12 * GB,
    total=16 * GB,
    checkpoints=2 * GB,
    disk_free=50 * GB,
    device="cuda",
    other=GB // 2,
)


def config_of(*sets: str) -> StageConfig:
    return resolve(None, sets=sets).config


def check(
    needs: Needs = FITS, *sets: str, gpu: str | None = None, battery: bool | None = None
) -> list[Finding]:
    return check_machine(needs, config_of(*sets), gpu, battery)


def test_a_run_that_fits_says_nothing() -> None:
    assert check() == [] and check(replace(FITS, there=FITS.memory)) == []


def test_short_memory_names_every_part_and_what_to_change() -> None:
    (found,) = check(replace(FITS, there=9 * GB, total=10 * GB))
    assert (found.code, found.severity) == ("memory-short", "warning")
    assert "needs about 10.0 GB, and 9.0 GB are free on the GPU" in found.says
    for part in ("weights 3.0 GB", "optimizer 1.0 GB", "activations 4.0 GB", "logits 500 MB"):
        assert part in found.says
    assert "training.gradient_checkpointing=true" in found.do
    assert "quantization.load_in_4bit=true" in found.do
    assert "data.max_seq_length=512" in found.do
    assert "close what else" not in found.do
    assert sum(found.facts["parts"].values()) == found.facts["needed"]


@pytest.mark.parametrize(
    ("changed", "sets", "absent"),
    [
        ({"checkpointing": True}, (), "gradient_checkpointing"),
        ({"quantization": "4bit"}, (), "load_in_4bit"),
        ({"device": "cpu"}, (), "load_in_4bit"),  # which is slower there
        ({}, (), "per_device_train_batch_size"),
        ({}, (), "smaller base"),
    ],
)
def test_what_is_done_already_or_does_not_help_is_not_advised(
    changed: dict[str, Any], sets: tuple[str, ...], absent: str
) -> None:
    (found,) = check(replace(FITS, there=9 * GB, **changed), *sets)
    assert absent not in found.do


def test_a_large_batch_is_cut_into_the_same_steps() -> None:
    sets = ("training.per_device_train_batch_size=8", "training.gradient_accumulation_steps=2")
    (found,) = check(replace(FITS, there=9 * GB), *sets)
    assert "per_device_train_batch_size=1" in found.do
    assert "gradient_accumulation_steps=16" in found.do


def test_memory_that_others_hold_comes_first() -> None:
    (found,) = check(replace(FITS, there=9 * GB))
    assert found.do.startswith("close what else uses the GPU (7.0 GB are taken)")


def test_a_base_that_alone_is_too_large_is_said_to_be() -> None:
    (found,) = check(replace(FITS, there=3 * GB))
    assert "choose a smaller base" in found.do


def test_a_full_disk_is_an_error_with_what_helps() -> None:
    full = replace(FITS, disk_free=1 * GB)
    (found,) = check(full)
    assert (found.code, found.severity) == ("disk-short", "error")
    assert "take 2.0 GB, and 1.0 GB are free" in found.says
    assert "save_total_limit=1" in found.do and "resume=weights" not in found.do
    (found,) = check(full, "checkpoint.resume=exact", "checkpoint.save_total_limit=1")
    assert "save_total_limit" not in found.do and "resume=weights" in found.do


def test_a_gpu_that_is_not_used_is_said_with_what_to_do() -> None:
    (found,) = check(gpu="torch 2.1+cpu has no CUDA, so not on X. To use it: python setup.py.")
    assert (found.code, found.severity) == ("gpu-unused", "warning")
    assert found.says == "torch 2.1+cpu has no CUDA, so not on X."
    assert found.do == "To use it: python setup.py."


def test_a_base_of_an_unknown_shape_hides_neither_a_gpu_nor_a_battery() -> None:
    config = resolve(None, sets=[]).config
    found = check_machine(None, config, "torch has no CUDA. To use it: x.", True)
    assert [f.code for f in found] == ["gpu-unused", "may-sleep"]


def test_a_battery_is_a_note_and_mains_are_none() -> None:
    (found,) = check(battery=True)
    assert (found.code, found.severity) == ("may-sleep", "note")
    assert check(battery=False) == check(battery=None) == []


class Battery:
    def __init__(self, plugged: bool | None) -> None:
        self.power_plugged = plugged


@pytest.mark.parametrize(
    ("battery", "says"),
    [(None, None), (Battery(True), False), (Battery(False), True), (Battery(None), None)],
)
def test_the_battery_is_asked(
    monkeypatch: pytest.MonkeyPatch, battery: Battery | None, says: bool | None
) -> None:
    import psutil

    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)
    assert on_battery() is says


def test_a_battery_that_cannot_be_read_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    def fails() -> None:
        raise OSError("no such file")

    monkeypatch.setattr(psutil, "sensors_battery", fails, raising=False)
    assert on_battery() is None
    monkeypatch.delattr(psutil, "sensors_battery")
    assert on_battery() is None


def test_sizes_for_people() -> None:
    assert gigabytes(1_500_000_000) == "1.5 GB" and gigabytes(120_400_000) == "120 MB"
