"""Rows 6 to 11, and what 15, 21 and 24 say of checkpoints: a damaged one is seen, named, passed
over, and the run still ends where an uninterrupted one does."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chain_support import largest_difference
from fault_support import (
    KILLED,
    Bench,
    Ended,
    copy_of,
    hashes,
    is_finished,
    log_of,
    resumed_from,
    steps_of,
)
from safetensors.torch import load_file, save_file

from lorachain import checkpoint
from lorachain.files import canonical_json, sha256_text

pytestmark = pytest.mark.posix

EXACT = ("checkpoint.resume=exact", "checkpoint.save_total_limit=9")
TWELVE = (
    *("checkpoint.resume=exact", "checkpoint.save_total_limit=20"),
    *("checkpoint.save_steps=1", "training.num_train_epochs=3"),
)
ADAPTER, MANIFEST = "adapter_model.safetensors", checkpoint.MANIFEST
PICKLES = (
    *("adapter_model.bin", "weights.pth", "notes.pkl", "model.ckpt", "UPPER.PT"),
    *("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt"),
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Bench:
    """One place for the module: every test breaks a copy of its own."""
    return Bench.make(tmp_path_factory.mktemp("damaged"), tiny_base)


@pytest.fixture(scope="module")
def whole(bench: Bench) -> Path:
    """The version that nothing stopped."""
    ended = bench.run("whole", sets=EXACT)
    assert ended.code == 0, ended.text
    return ended.folder


@pytest.fixture(scope="module")
def killed(bench: Bench) -> Path:
    """Killed as checkpoint 8 was about to get its name: 2, 4 and 6 are there."""
    ended = bench.run("killed", sets=EXACT, fault="kill@rename checkpoint#4")
    assert ended.code == KILLED
    assert steps_of(ended.folder) == [2, 4, 6] and len(temporary(ended.folder)) == 1
    return ended.folder


@pytest.fixture(scope="module")
def ten(bench: Bench) -> Path:
    """Killed with checkpoints 1 to 10 of 12."""
    ended = bench.run("ten", sets=TWELVE, fault="kill@rename checkpoint#11")
    assert ended.code == KILLED
    assert steps_of(ended.folder) == list(range(1, 11))
    return ended.folder


@pytest.fixture
def half(killed: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the killed run that a test may break."""
    return copy_of(killed, f"half-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}")


def temporary(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(".checkpoint-*"))


def about(ended: Ended, name: str) -> list[str]:
    """The lines that speak of a checkpoint."""
    return [line for line in ended.lines if name in line]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def flip_in(path: Path, text: str) -> None:
    """Flip the lowest bit of the last character of `text`, which stands in the file once."""
    data = path.read_bytes()
    assert data.count(text.encode()) == 1
    flip(path, data.index(text.encode()) + len(text) - 1)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def vouch_for(folder: Path, **added: Path) -> None:
    """Let the manifest vouch for what is in the folder now, and for `added`, as a forger would."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    files = {path.name: path for path in folder.iterdir() if path.name != MANIFEST} | added
    manifest["files"] = {
        name: {
            "size": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for name, path in files.items()
    }
    forge(folder, manifest)


def forge(folder: Path, manifest: dict[str, Any]) -> None:
    if manifest.pop("sha256", None):  # the manifest's own hash is no secret
        manifest["sha256"] = sha256_text(canonical_json(manifest))
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def bomb(canary: Path) -> bytes:
    """A pickle that makes the folder `canary` when it is opened."""

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(canary),)

    return pickle.dumps(Bomb())


def ends_like(ended: Ended, whole: Path, resumed: int | None) -> None:
    """It went on from a step and ended as if nothing had happened, to the last bit."""
    assert ended.code == 0, ended.text
    assert resumed_from(ended.folder) == resumed
    assert largest_difference(ended.folder, whole) == 0.0
    assert log_of(ended.folder) == log_of(whole)
    assert temporary(ended.folder) == []


def passed_over(bench: Bench, half: Path, whole: Path, reason: str) -> None:
    """The damaged checkpoint 6 is named with the reason in one line, kept aside as it is, and 4 is
    gone on from."""
    before = hashes(half / "checkpoint-6")
    ended = bench.run(half.name, sets=EXACT)
    aside = "set-aside-1-checkpoint-6"
    assert about(ended, "checkpoint-6") == [f"checkpoint-6 set aside as {aside}: {reason}."]
    assert [line.split(":")[0] for line in about(ended, "Going on")] == [
        "Going on from checkpoint-4"
    ]
    ends_like(ended, whole, 4)
    assert hashes(half / aside) == before
    assert steps_of(half) == [2, 4, 6, 8]


# ---- rows 6 to 8: the newest is damaged


@pytest.mark.parametrize("name", [ADAPTER, "optimizer.safetensors"])
@pytest.mark.parametrize("damage", [cut, empty])
def test_row_06_a_cut_or_empty_safetensors_is_set_aside_and_the_one_before_used(
    bench: Bench, half: Path, whole: Path, name: str, damage: Callable[[Path], None]
) -> None:
    path = half / "checkpoint-6" / name
    size = path.stat().st_size
    damage(path)
    passed_over(bench, half, whole, f"{name} has {path.stat().st_size} bytes instead of {size}")


@pytest.mark.parametrize("name", [ADAPTER, "rng.safetensors", "optimizer.json"])
def test_row_07_a_flipped_bit_is_a_hash_mismatch(
    bench: Bench, half: Path, whole: Path, name: str
) -> None:
    path = half / "checkpoint-6" / name
    flip(path, path.stat().st_size // 2)
    passed_over(bench, half, whole, f"{name} is not as it was written (hash mismatch)")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('"step": 6', id="step"),
        pytest.param('"lora.r": 4', id="identity"),
        pytest.param('"training.seed', id="name of a field"),
        pytest.param('"optimizer.json', id="name of a file"),
        pytest.param('"files": {', id="syntax"),
    ],
)
def test_row_07_a_flipped_bit_in_the_manifest_itself_is_damage_too(
    bench: Bench, half: Path, whole: Path, text: str
) -> None:
    """Whatever it hits: a value that no longer holds must not pass for another run's."""
    flip_in(half / "checkpoint-6" / MANIFEST, text)
    before = hashes(half / "checkpoint-6")
    ended = bench.run(half.name, sets=EXACT)
    (line,) = about(ended, "checkpoint-6")
    assert line.startswith("checkpoint-6 set aside as set-aside-1-checkpoint-6: ")
    ends_like(ended, whole, 4)
    assert hashes(half / "set-aside-1-checkpoint-6") == before


def test_row_07_no_bit_of_a_manifest_can_flip_unseen(half: Path) -> None:
    """One bit in each of its characters, one at a time."""
    path = half / "checkpoint-6" / MANIFEST
    good = path.read_bytes()
    unseen = []
    for at in range(len(good)):
        flip(path, at)
        if checkpoint.damage(path.parent) is None:
            unseen.append(good[max(0, at - 20) : at + 1].decode())
        path.write_bytes(good)
    assert unseen == []


@pytest.mark.parametrize("name", ["trainer_state.json", "scheduler.json"])
@pytest.mark.parametrize("damage", [Path.unlink, cut])
def test_row_08_a_missing_or_cut_state_is_set_aside_and_the_one_before_used(
    bench: Bench, half: Path, whole: Path, name: str, damage: Callable[[Path], None]
) -> None:
    path = half / "checkpoint-6" / name
    size = path.stat().st_size
    damage(path)
    reason = (
        f"{name} has {path.stat().st_size} bytes instead of {size}"
        if path.exists()
        else f"{name} is missing"
    )
    passed_over(bench, half, whole, reason)


def test_rows_06_to_08_two_damaged_ones_are_two_lines(
    bench: Bench, half: Path, whole: Path
) -> None:
    """Both above the one that is used are named, each with its own reason."""
    empty(half / "checkpoint-6" / ADAPTER)
    (half / "checkpoint-4" / MANIFEST).unlink()
    ended = bench.run(half.name, sets=EXACT)
    ends_like(ended, whole, 2)
    (six,) = about(ended, "checkpoint-6")
    (four,) = about(ended, "checkpoint-4")
    assert "has 0 bytes instead of" in six
    assert four.endswith(f"it has no {MANIFEST}: it was never finished.")


# ---- row 9


def test_row_09_an_empty_checkpoint_and_stale_temporary_folders_are_cleaned(
    bench: Bench, half: Path, whole: Path
) -> None:
    (half / "checkpoint-999").mkdir()
    (half / ".checkpoint-3.tmp-99999").mkdir()
    (half / ".checkpoint-3.tmp-99999" / ADAPTER).write_bytes(b"half")
    assert len(temporary(half)) == 2  # one is the killed run's own
    ended = bench.run(half.name, sets=EXACT)
    ends_like(ended, whole, 6)
    assert steps_of(half) == [2, 4, 6, 8]
    assert about(ended, "999") == []


def test_row_09_an_empty_checkpoint_alone_is_a_fresh_start(bench: Bench, whole: Path) -> None:
    folder = bench.folder / "only-empty"
    (folder / "checkpoint-999").mkdir(parents=True)
    ended = bench.run("only-empty", sets=EXACT)
    ends_like(ended, whole, None)
    assert steps_of(folder) == [2, 4, 6, 8]


# ---- row 10


def test_row_10_every_checkpoint_bad_asks_for_restart_deletes_nothing_and_restart_works(
    bench: Bench, half: Path, whole: Path
) -> None:
    flip(half / "checkpoint-6" / ADAPTER, 999)
    (half / "checkpoint-4" / "scheduler.json").unlink()
    (half / "checkpoint-2" / MANIFEST).unlink()
    before, names = hashes(half), sorted(path.name for path in half.iterdir())
    for _ in range(2):  # asked again, it says the same
        ended = bench.run(half.name, sets=EXACT)
        assert ended.code == 2
        assert [line for line in ended.lines if line.startswith("  checkpoint-")] == [
            f"  checkpoint-6: {ADAPTER} is not as it was written (hash mismatch)",
            "  checkpoint-4: scheduler.json is missing",
            f"  checkpoint-2: it has no {MANIFEST}: it was never finished",
        ]
        assert "Nothing was deleted." in ended.text
        assert "run the same command with --restart" in ended.text
        assert hashes(half) == before
        assert sorted(path.name for path in half.iterdir()) == names
    ended = bench.run(half.name, "--restart", sets=EXACT)
    ends_like(ended, whole, None)
    assert hashes(half.with_name(f"{half.name}.before-restart-1")) == before


# ---- row 11


def test_row_11_the_higher_number_is_taken_whatever_the_times_say(bench: Bench, ten: Path) -> None:
    whole = bench.run("whole-12", sets=TWELVE)
    assert whole.code == 0, whole.text
    half = copy_of(ten, "scrambled")
    newest_first = [9, 2, 1, 5, 3, 4, 6, 7, 8, 10]
    for age, step in enumerate(newest_first):
        folder = half / f"checkpoint-{step}"
        for path in (*folder.iterdir(), folder):
            os.utime(path, (2_000_000_000 - age * 1000,) * 2)
    ended = bench.run("scrambled", sets=(*TWELVE, "checkpoint.save_total_limit=2"))
    assert about(ended, "Going on")[0].startswith("Going on from checkpoint-10:")
    ends_like(ended, whole.folder, 10)
    assert steps_of(half) == [11, 12]  # and removed by number, too


# ---- rows 14 and 15: another adapter's checkpoint, or a broken one, with a good manifest


def first(content: dict[str, Any]) -> str:
    return min(content)


def without_one(content: dict[str, Any]) -> list[str]:
    name = first(content)
    del content[name]
    return ["1 tensors are missing from the file: " + name]


def with_one_more(content: dict[str, Any]) -> list[str]:
    name = first(content).replace("layers.0", "layers.7")
    content[name] = content[first(content)].clone()
    return ["1 tensors in the file fit no layer of this base: " + name]


def renamed(content: dict[str, Any]) -> list[str]:
    name = first(content)
    other = name.replace("layers.0", "layers.7")
    content[other] = content.pop(name)
    return [
        "1 tensors are missing from the file: " + name,
        "1 tensors in the file fit no layer of this base: " + other,
    ]


def of_another_shape(content: dict[str, Any]) -> list[str]:
    names = sorted(content)[:2]
    for name in names:
        content[name] = content[name][:, :3].contiguous()
    return [f"2 tensors have another shape: {', '.join(names)}"]


def spoil(path: Path, change: Callable[[dict[str, Any]], list[str]]) -> list[str]:
    """Change a checkpoint's adapter and vouch for it. Returns what the message must say."""
    content = load_file(str(path / ADAPTER))
    said = change(content)
    save_file(content, str(path / ADAPTER), metadata={"format": "pt"})
    vouch_for(path)
    assert checkpoint.damage(path) is None
    return said


def refused(bench: Bench, half: Path, said: list[str]) -> None:
    """Exit code 2 with the keys, and all checkpoints are there as they were."""
    before = {step: hashes(half / f"checkpoint-{step}") for step in (2, 4, 6)}
    ended = bench.run(half.name, sets=EXACT)
    assert ended.code == 2, ended.text
    assert "Error: The adapter checkpoint-6 cannot be used:" in ended.lines
    for line in said:
        assert f"  {line}" in ended.lines
    assert {step: hashes(half / f"checkpoint-{step}") for step in (2, 4, 6)} == before
    assert steps_of(half) == [2, 4, 6] and not is_finished(half)


@pytest.mark.parametrize("change", [without_one, with_one_more, renamed, of_another_shape])
def test_row_14_keys_that_a_checkpoint_lacks_or_has_too_many_or_of_another_shape_are_listed(
    bench: Bench, half: Path, change: Callable[[dict[str, Any]], list[str]]
) -> None:
    refused(bench, half, spoil(half / "checkpoint-6", change))


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_row_15_nan_or_infinity_in_a_checkpoint_is_refused_though_its_manifest_vouches_for_it(
    bench: Bench, half: Path, value: float
) -> None:
    def put(content: dict[str, Any]) -> list[str]:
        name = sorted(content)[3]
        content[name][1, 1] = value
        return [f"1 tensors hold NaN or infinity: {name}"]

    refused(bench, half, spoil(half / "checkpoint-6", put))


# ---- row 21


def test_row_21_the_canary_pickle_sings_when_it_is_opened(tmp_path: Path) -> None:
    """The proof that the tests of this row can fail."""
    canary = tmp_path / "canary"
    (tmp_path / "x.pkl").write_bytes(bomb(canary))
    code = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.pkl")], check=True)
    assert canary.is_dir()


@pytest.mark.parametrize("vouched", [False, True])
def test_row_21_planted_pickles_are_named_and_never_opened(
    bench: Bench, ten: Path, vouched: bool
) -> None:
    """The names that the stock Trainer opens are among them."""
    half = copy_of(ten, f"pickles-{vouched}")
    shutil.rmtree(half / temporary(half)[0])
    canary = bench.folder / f"canary-{vouched}"
    for step, name in enumerate(PICKLES, start=1):
        (half / f"checkpoint-{step}" / name).write_bytes(bomb(canary))
        if vouched:
            vouch_for(half / f"checkpoint-{step}")
    before = hashes(half)
    ended = bench.run(half.name, sets=TWELVE)
    assert ended.code == 2
    assert [line for line in ended.lines if line.startswith("  checkpoint-")] == [
        f"  checkpoint-{step}: {name} is a pickle, which can run code; it was not opened"
        for step, name in reversed(list(enumerate(PICKLES, start=1)))
    ]
    assert not canary.exists()
    assert hashes(half) == before


@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state.pth", "UPPER.PKL"])
def test_row_21_one_planted_pickle_costs_one_checkpoint(
    bench: Bench, half: Path, whole: Path, name: str
) -> None:
    canary = bench.folder / f"canary-{name}"
    (half / "checkpoint-6" / name).write_bytes(bomb(canary))
    vouch_for(half / "checkpoint-6")
    passed_over(bench, half, whole, f"{name} is a pickle, which can run code; it was not opened")
    assert not canary.exists()


# ---- row 24


def climbing(folder: Path, outside: Path) -> str:
    vouch_for(folder, **{f"../../{outside.name}": outside})
    return f"its manifest names '../../{outside.name}', which is not allowed"


def absolute(folder: Path, outside: Path) -> str:
    vouch_for(folder, **{str(outside): outside})
    return f"its manifest names '{outside}', which is not allowed"


def linked_file(folder: Path, outside: Path) -> str:
    shutil.copyfile(folder / ADAPTER, outside)
    (folder / ADAPTER).unlink()
    (folder / ADAPTER).symlink_to(outside)
    return f"its manifest names '{ADAPTER}', which is not allowed"


@pytest.mark.parametrize("forger", [climbing, absolute, linked_file])
def test_row_24_a_manifest_that_points_outside_is_refused(
    bench: Bench, half: Path, whole: Path, forger: Callable[[Path, Path], str]
) -> None:
    outside = bench.folder / f"outside-{forger.__name__}.json"
    outside.write_text("{}", encoding="utf-8")
    reason = forger(half / "checkpoint-6", outside)
    before = outside.read_bytes()
    passed_over(bench, half, whole, reason)
    assert outside.read_bytes() == before


def test_row_24_a_linked_checkpoint_folder_is_passed_over_and_its_target_left_alone(
    bench: Bench, half: Path, whole: Path
) -> None:
    target = bench.folder / "elsewhere" / "checkpoint-6"
    shutil.copytree(half / "checkpoint-6", target)
    shutil.rmtree(half / "checkpoint-6")
    (half / "checkpoint-6").symlink_to(target, target_is_directory=True)
    passed_over(bench, half, whole, "it is no checkpoint folder")
    assert checkpoint.damage(target) is None


def test_row_24_a_hard_linked_copy_goes_on_and_the_original_stays_as_it_is(
    bench: Bench, killed: Path, whole: Path
) -> None:
    """`cp -al` shares every file: nothing may be written in place."""
    original = copy_of(killed, "original")
    before = hashes(original)
    shutil.copytree(original, bench.folder / "hard-linked", copy_function=os.link)
    assert (bench.folder / "hard-linked" / "checkpoint-6" / ADAPTER).stat().st_nlink == 2
    ended = bench.run("hard-linked", sets=(*EXACT, "checkpoint.save_total_limit=1"))
    ends_like(ended, whole, 6)
    assert steps_of(ended.folder) == [8]
    assert hashes(original) == before
