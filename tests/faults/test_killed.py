"""Rows 1 to 3: killed at every write, fsync, rename and removal, and run again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from chain_support import largest_difference, lineage
from fault_support import (
    KILLED,
    STEPS,
    Bench,
    hashes,
    is_finished,
    log_of,
    points,
    resumed_from,
    steps_of,
)

from lorachain import checkpoint
from lorachain.lineage import changed_files, read

pytestmark = pytest.mark.posix

EXACT = ("checkpoint.resume=exact", "checkpoint.save_total_limit=2")
FILES = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "optimizer.json",
    "optimizer.safetensors",
    "rng.json",
    "rng.safetensors",
    "scheduler.json",
    "trainer_state.json",
)
BEGINNING = [
    f"{what} {name}#1"
    for name in ("unfinished.json", "preflight.json", "preflight.html", "training_log.jsonl")
    for what in ("write", "fsync", "rename")
]
# Counted from a life that begins at the checkpoint of step 4 and first writes that of step 6, at
# which rotation removes that of step 2.
IN_A_CHECKPOINT = [
    *(f"{what} checkpoint/{name}#1" for what in ("write", "fsync") for name in FILES),
    *(f"{what} checkpoint/MANIFEST.json#1" for what in ("write", "fsync", "rename")),
    "rename checkpoint/adapter_config.json#1",
    "rename checkpoint/adapter_model.safetensors#1",
    "fsync checkpoint/adapter_model.safetensors/adapter_config.json#1",
    "fsync checkpoint/adapter_model.safetensors/adapter_model.safetensors#1",
    "fsync checkpoint#1",
    "fsync checkpoint#2",
    "rename checkpoint#1",  # the whole folder takes its name
    "rename checkpoint#2",  # the oldest one loses its own
    "remove checkpoint#1",
    "append training_log.jsonl#1",
    "append training_log.jsonl#3",
]
IN_THE_VERSION = [
    *("write adapter_model.safetensors#1", "write adapter_config.json#1"),
    *("fsync adapter_model.safetensors#1", "rename adapter_model.safetensors#1"),
    *("fsync adapter_config.json#1", "rename adapter_config.json#1"),
    *("fsync tokenizer.json#1", "fsync tokenizer_config.json#1", "fsync chat_template.jinja#1"),
    *(f"{what} README.md#1" for what in ("write", "fsync", "rename")),
    *(f"{what} lineage.json#1" for what in ("write", "fsync", "rename")),
]
EVERYWHERE = [*BEGINNING, *IN_A_CHECKPOINT, *IN_THE_VERSION]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> tuple[Bench, list[str]]:
    """A run that nothing stops, and the points that it passed."""
    bench = Bench.make(tmp_path_factory.mktemp("killed"), tiny_base)
    trace = bench.folder / "trace.txt"
    ended = bench.run("whole", sets=EXACT, trace=trace)
    assert ended.code == 0, ended.text
    return bench, points(trace)


@pytest.fixture(scope="module")
def half(whole: tuple[Bench, list[str]]) -> Path:
    """The same run, stopped after its second checkpoint: what the later kills begin from."""
    bench, _ = whole
    ended = bench.run("half", sets=EXACT, fault="kill@append training_log.jsonl#6")
    assert ended.code == KILLED and steps_of(ended.folder) == [2, 4]
    return ended.folder


def test_every_point_is_killed_at(whole: tuple[Bench, list[str]]) -> None:
    """A write that is added to a checkpoint or a version must be added here."""
    folders = {"fsync whole"}  # the output's own entries: nothing of a file happens there
    passed = {point.partition("#")[0] for point in whole[1]} - folders
    tried = {point.partition("#")[0] for point in EVERYWHERE}
    # Before the first step `exact` is tried out, in a temporary folder.
    trial = {"write optimizer.safetensors", "write optimizer.json"}
    assert passed - trial == tried


def survives(bench: Bench, folder: Path, whole: Path) -> None:
    """What is there after a kill is good, and the same command ends as if nothing had happened."""
    for step in steps_of(folder):
        checkpoint.verify(folder / f"checkpoint-{step}")
    newest = max(steps_of(folder), default=None)
    finished = is_finished(folder)
    again = bench.run(folder.name, sets=EXACT)
    assert again.code == 0, again.text
    if not finished:
        assert resumed_from(folder) == newest
    assert "set aside" not in again.text
    assert largest_difference(folder, whole) == 0.0
    assert log_of(folder) == log_of(whole)
    assert lineage(folder)["metrics"]["validation_loss"] == {
        folder.name: lineage(whole)["metrics"]["validation_loss"]["whole"]
    }
    assert steps_of(folder) == [6, STEPS]
    assert changed_files(read(folder)) == []
    left = {p.name for p in folder.iterdir() if p.name.startswith(".") or p.name.endswith(".tmp")}
    assert left <= {".lock"}
    assert not (folder / "unfinished.json").exists()


@pytest.mark.parametrize("point", [*BEGINNING, "append training_log.jsonl#1"])
def test_row_03_killed_before_the_first_checkpoint(
    whole: tuple[Bench, list[str]], point: str
) -> None:
    bench, _ = whole
    name = "".join(c if c.isalnum() else "-" for c in f"early {point}")
    killed = bench.run(name, sets=EXACT, fault=f"kill@{point}")
    assert killed.code == KILLED and not is_finished(killed.folder)
    survives(bench, killed.folder, bench.folder / "whole")


@pytest.mark.parametrize("point", [*IN_A_CHECKPOINT, *IN_THE_VERSION])
def test_row_01_killed_at_a_write_fsync_rename_or_removal(
    whole: tuple[Bench, list[str]], half: Path, point: str
) -> None:
    bench, _ = whole
    folder = half.with_name("".join(c if c.isalnum() else "-" for c in point))
    shutil.copytree(half, folder)
    killed = bench.run(folder.name, sets=EXACT, fault=f"kill@{point}")
    assert killed.code == KILLED, killed.text
    survives(bench, folder, bench.folder / "whole")


@pytest.mark.parametrize("name", ["MANIFEST.json", "optimizer.safetensors"])
def test_row_01_power_loss_tears_a_file(
    whole: tuple[Bench, list[str]], half: Path, name: str
) -> None:
    """Half of the bytes reached the disk: the folder has not its name yet, so nothing is lost."""
    bench, _ = whole
    folder = half.with_name(f"torn-{name.split('.')[0]}")
    shutil.copytree(half, folder)
    killed = bench.run(folder.name, sets=EXACT, fault=f"tear@fsync checkpoint/{name}#1")
    assert killed.code == KILLED
    survives(bench, folder, bench.folder / "whole")


def test_row_03_killed_twice_before_the_first_checkpoint_and_between_two(
    whole: tuple[Bench, list[str]],
) -> None:
    bench, _ = whole
    for fault, steps in (
        ("append training_log.jsonl#1", []),
        ("append training_log.jsonl#6", [2, 4]),
        ("append training_log.jsonl#1", [2, 4]),
        ("write checkpoint/MANIFEST.json#1", [2, 4]),
    ):
        killed = bench.run("twice", sets=EXACT, fault=f"kill@{fault}")
        assert (killed.code, steps_of(killed.folder)) == (KILLED, steps)
    survives(bench, bench.folder / "twice", bench.folder / "whole")


def test_row_01_killed_while_a_later_version_is_written(
    whole: tuple[Bench, list[str]],
) -> None:
    """V2 on V1 with replay, killed three times; the parent is as it was."""
    bench, _ = whole
    parent = bench.folder / "whole"
    before = hashes(parent)
    replay = ("--replay-share", "0.3")
    reference = bench.run("v2", *replay, parent=parent, sets=EXACT)
    assert reference.code == 0, reference.text
    for fault in (
        "rename checkpoint#1",
        "write checkpoint/rng.json#2",
        "write lineage.json#1",
    ):
        killed = bench.run("v2k", *replay, parent=parent, sets=EXACT, fault=f"kill@{fault}")
        assert killed.code == KILLED
    again = bench.run("v2k", *replay, parent=parent, sets=EXACT)
    assert again.code == 0, again.text
    assert largest_difference(again.folder, reference.folder) == 0.0
    assert log_of(again.folder) == log_of(reference.folder)
    assert hashes(parent) == before
