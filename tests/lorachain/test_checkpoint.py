"""A checkpoint is whole or not there: every damaged form is seen, and nothing is deleted."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lorachain import checkpoint
from lorachain.checkpoint import (
    MANIFEST,
    DamagedCheckpoint,
    find_latest,
    folders,
    rotate,
    set_aside,
    verify,
)
from lorachain.errors import UserError
from lorachain.files import canonical_json, sha256_text

IDENTITY = {"base": "b1", "training.learning_rate": 1e-4, "parent": None}


def fill(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 4)
    (folder / "rng.json").write_text('{"a": 1}', encoding="utf-8")
    (folder / "note.txt").write_text("note", encoding="utf-8")


def write(root: Path, *steps: int) -> list[Path]:
    return [checkpoint.write(root, step, IDENTITY, fill) for step in steps]


def content(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): b"" if path.is_dir() else path.read_bytes()
        for path in root.rglob("*")
    }


def manifest(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return found


def rewrite(folder: Path, **changed: object) -> None:
    """Change the manifest and hash it anew, as a forger would."""
    forge(folder, manifest(folder) | changed)


def forge(folder: Path, content: dict[str, object]) -> None:
    content.pop("sha256", None)
    content["sha256"] = sha256_text(canonical_json(content))
    (folder / MANIFEST).write_text(json.dumps(content), encoding="utf-8")


def names_file(folder: Path, name: str, target: Path | None = None) -> None:
    """Let the manifest vouch for a file of this name, as a forger would."""
    import hashlib

    data = (target or folder / name).read_bytes()
    files = dict(manifest(folder)["files"])  # type: ignore[call-overload]
    files[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    rewrite(folder, files=files)


def test_what_was_written_is_verified_and_read_back(tmp_path: Path) -> None:
    (folder,) = write(tmp_path / "new" / "out", 12)
    found = verify(folder)
    assert (found.folder, found.step, found.identity) == (folder, 12, IDENTITY)
    assert {p.name for p in folder.iterdir()} == {
        MANIFEST,
        "adapter_model.safetensors",
        "note.txt",
        "rng.json",
    }
    assert [p.name for p in folder.parent.iterdir()] == ["checkpoint-12"]
    files = manifest(folder)["files"]
    assert files["note.txt"]["size"] == 4  # type: ignore[index]


def test_the_manifest_is_written_after_everything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash at that moment leaves no folder of the final name."""
    seen: list[set[str]] = []

    def stop(path: Path, value: object) -> None:
        seen.append({p.name for p in path.parent.iterdir()})
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write_json", stop)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, 3)
    assert seen == [{"adapter_model.safetensors", "note.txt", "rng.json"}]
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_older_one_and_nothing_half_made(tmp_path: Path) -> None:
    write(tmp_path, 3)
    before = content(tmp_path)

    def full(folder: Path) -> None:
        fill(folder)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        checkpoint.write(tmp_path, 4, IDENTITY, full)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "x.pkl", "x"]
)
def test_a_file_that_may_be_a_pickle_is_not_written(tmp_path: Path, name: str) -> None:
    def pickled(folder: Path) -> None:
        fill(folder)
        (folder / name).write_bytes(b"x")

    with pytest.raises(ValueError, match=f"{name}: files of this kind"):
        checkpoint.write(tmp_path, 4, IDENTITY, pickled)
    assert list(tmp_path.iterdir()) == []


def test_writing_a_step_again_keeps_the_old_one_aside(tmp_path: Path) -> None:
    write(tmp_path, 3, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint-3",
        "set-aside-1-checkpoint-3",
    ]
    assert find_latest(tmp_path).step == 3  # type: ignore[union-attr]


# ---- every damaged form


def missing(folder: Path) -> None:
    (folder / "rng.json").unlink()


def extra(folder: Path) -> None:
    (folder / "extra.json").write_text("{}", encoding="utf-8")


def extra_folder(folder: Path) -> None:
    (folder / "more").mkdir()


def truncated(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def emptied(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"")


def flipped(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[500] ^= 1
    path.write_bytes(bytes(data))


def no_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def cut_manifest(folder: Path) -> None:
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    (folder / MANIFEST).write_text(text[: len(text) // 2], encoding="utf-8")


def written(text: str | bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = text.encode("utf-8") if isinstance(text, str) else text
        (folder / MANIFEST).write_bytes(data)

    return damage


def with_manifest(**changed: object) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder, **changed)


def without(key: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        forge(folder, {k: v for k, v in manifest(folder).items() if k != key})

    return damage


def climbs(folder: Path) -> None:
    outside = folder.parent / "outside.json"
    outside.write_text("{}", encoding="utf-8")
    names_file(folder, "../outside.json", outside)


def absolute(folder: Path) -> None:
    outside = folder.parent / "outside.json"
    outside.write_text("{}", encoding="utf-8")
    names_file(folder, str(outside), outside)


def inner(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "x.json").write_text("{}", encoding="utf-8")
    names_file(folder, "sub/x.json")


def link(folder: Path) -> None:
    outside = folder.parent / "outside.json"
    outside.write_text('{"a": 1}', encoding="utf-8")
    (folder / "rng.json").unlink()
    (folder / "rng.json").symlink_to(outside)


def pickle(folder: Path) -> None:
    (folder / "optimizer.pt").write_bytes(b"x")
    names_file(folder, "optimizer.pt")


def planted(folder: Path) -> None:
    (folder / "training_args.bin").write_bytes(b"x")


def pickle_alone(folder: Path) -> None:
    (folder / "optimizer.pt").write_bytes(b"x")
    (folder / MANIFEST).unlink()


def a_folder_for_a_file(folder: Path) -> None:
    (folder / "rng.json").unlink()
    (folder / "rng.json").mkdir()


def flipped_manifest(folder: Path) -> None:
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    (folder / MANIFEST).write_text(text.replace('"b1"', '"b0"'), encoding="utf-8")


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing file": (missing, "rng.json is missing"),
    "extra file": (extra, "extra.json is not in its manifest"),
    "extra folder": (extra_folder, "more is not in its manifest"),
    "truncated": (truncated, "has 1023 bytes instead of 1024"),
    "emptied": (emptied, "has 0 bytes instead of 1024"),
    "flipped bit": (flipped, "hash mismatch"),
    "no manifest": (no_manifest, "never finished"),
    "a manifest with another value": (flipped_manifest, "MANIFEST.json is not as it was written"),
    "cut manifest": (cut_manifest, "cannot be read"),
    "empty manifest": (written(""), "cannot be read"),
    "manifest not UTF-8": (written(b"\xff\xfe{}"), "cannot be read"),
    "manifest an array": (written("[]"), "cannot be read"),
    "manifest nested beyond reason": (written("[" * 200_000), "cannot be read"),
    "files an array": (with_manifest(files=["rng.json"]), "cannot be read"),
    "a file without a hash": (with_manifest(files={"rng.json": {"size": 8}}), "cannot be read"),
    "no step": (without("step"), "cannot be read"),
    "no identity": (without("identity"), "cannot be read"),
    "no files": (without("files"), "cannot be read"),
    "identity a text": (with_manifest(identity="x"), "another checkpoint or format"),
    "another step": (with_manifest(step=4), "another checkpoint or format"),
    "another format": (with_manifest(format=2), "another checkpoint or format"),
    "a path that climbs": (climbs, r"names '\.\./outside\.json', which is not allowed"),
    "an absolute path": (absolute, r"names '.*outside\.json', which is not allowed"),
    "a path into a folder": (inner, "sub is not in its manifest"),
    "a link": (link, "names 'rng.json', which is not allowed"),
    "a pickle": (pickle, "optimizer.pt is a pickle, which can run code; it was not opened"),
    "a planted pickle": (planted, "training_args.bin is a pickle"),
    "a pickle for a manifest": (pickle_alone, "optimizer.pt is a pickle"),
    "a folder for a file": (a_folder_for_a_file, "rng.json is missing"),
}


@pytest.mark.parametrize("form", DAMAGE)
def test_every_damaged_form_is_seen_and_named(tmp_path: Path, form: str) -> None:
    damage, reason = DAMAGE[form]
    (folder,) = write(tmp_path, 12)
    verify(folder)
    damage(folder)
    with pytest.raises(DamagedCheckpoint, match=reason):
        verify(folder)


@pytest.mark.parametrize("form", DAMAGE)
def test_the_one_before_a_damaged_one_is_used(
    tmp_path: Path, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage, _ = DAMAGE[form]
    _, newest = write(tmp_path, 8, 12)
    damage(newest)
    before = content(newest)
    with caplog.at_level(logging.WARNING, logger="lorachain"):
        found = find_latest(tmp_path)
    assert found is not None and found.step == 8
    aside = tmp_path / "set-aside-1-checkpoint-12"
    assert content(aside) == before and not newest.exists()
    assert "checkpoint-12 set aside as set-aside-1-checkpoint-12: " in caplog.text


@pytest.mark.parametrize("form", DAMAGE)
def test_where_all_are_damaged_nothing_is_touched(tmp_path: Path, form: str) -> None:
    damage, _ = DAMAGE[form]
    for folder in write(tmp_path, 8, 12):
        damage(folder)
    before = content(tmp_path)
    with pytest.raises(UserError, match=r"(?s)checkpoint-12: .*checkpoint-8: .*--restart"):
        find_latest(tmp_path)
    assert content(tmp_path) == before


def test_a_checkpoint_under_another_number_is_not_believed(tmp_path: Path) -> None:
    (folder,) = write(tmp_path, 12)
    renamed = folder.rename(tmp_path / "checkpoint-99")
    with pytest.raises(DamagedCheckpoint, match="another checkpoint"):
        verify(renamed)


@pytest.mark.posix
def test_a_linked_folder_is_not_a_checkpoint(tmp_path: Path) -> None:
    (folder,) = write(tmp_path / "elsewhere", 12)
    (tmp_path / "checkpoint-12").symlink_to(folder, target_is_directory=True)
    with pytest.raises(DamagedCheckpoint, match="no checkpoint folder"):
        verify(tmp_path / "checkpoint-12")
    with pytest.raises(UserError, match="no checkpoint folder"):
        find_latest(tmp_path)
    assert verify(folder).step == 12


@pytest.mark.parametrize("name", ["checkpoint-12x", "checkpoint-", "Checkpoint-12", "x"])
def test_other_folders_are_no_checkpoints(tmp_path: Path, name: str) -> None:
    (folder,) = write(tmp_path, 12)
    folder.rename(tmp_path / name)
    assert folders(tmp_path) == [] and find_latest(tmp_path) is None
    with pytest.raises(DamagedCheckpoint, match="no checkpoint folder"):
        verify(tmp_path / name)


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini", "._rng.json"])
def test_what_a_file_browser_leaves_damages_nothing(tmp_path: Path, name: str) -> None:
    (folder,) = write(tmp_path, 12)
    (folder / name).write_bytes(b"x")
    assert verify(folder).step == 12
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(DamagedCheckpoint, match="is not in its manifest"):
        verify(folder)


def test_a_damaged_one_that_is_open_elsewhere_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flipped(write(tmp_path, 8, 12)[1])

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", refuse)
    with caplog.at_level(logging.WARNING, logger="lorachain"):
        assert find_latest(tmp_path).step == 8  # type: ignore[union-attr]
    assert "checkpoint-12 is passed over: " in caplog.text


# ---- which one is the latest


def test_nothing_there_is_a_fresh_start(tmp_path: Path) -> None:
    assert find_latest(tmp_path) is None
    assert find_latest(tmp_path / "missing") is None


def test_the_highest_step_wins_whatever_the_times_and_the_alphabet_say(tmp_path: Path) -> None:
    made = write(tmp_path, 10, 9, 100, 11)
    for age, folder in enumerate(made):
        os.utime(folder, (10**9 + age * 1000, 10**9 + age * 1000))
    assert [p.name for p in folders(tmp_path)] == [f"checkpoint-{n}" for n in (100, 11, 10, 9)]
    assert find_latest(tmp_path).step == 100  # type: ignore[union-attr]
    shutil.rmtree(tmp_path / "checkpoint-100")
    assert find_latest(tmp_path).step == 11  # type: ignore[union-attr]


def test_an_empty_folder_of_a_high_number_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, 9)
    (tmp_path / "checkpoint-999").mkdir()
    assert find_latest(tmp_path).step == 9  # type: ignore[union-attr]
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-9"]


def test_an_empty_folder_alone_is_a_fresh_start(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-999").mkdir()
    assert find_latest(tmp_path) is None


def test_a_file_of_a_checkpoints_name_is_set_aside(tmp_path: Path) -> None:
    write(tmp_path, 9)
    (tmp_path / "checkpoint-999").write_text("mine", encoding="utf-8")
    assert find_latest(tmp_path).step == 9  # type: ignore[union-attr]
    kept = tmp_path / "set-aside-1-checkpoint-999"
    assert kept.read_text(encoding="utf-8") == "mine"


def test_what_an_interrupted_write_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, 9)
    for name in (".checkpoint-12.tmp-4711", ".checkpoint-9.tmp-1"):
        (tmp_path / name).mkdir()
        fill(tmp_path / name)
    for name in (".checkpoint-12.tmp-", "checkpoint-12.tmp-4711", ".mine"):
        (tmp_path / name).mkdir()
    assert find_latest(tmp_path).step == 9  # type: ignore[union-attr]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".checkpoint-12.tmp-",
        ".mine",
        "checkpoint-12.tmp-4711",
        "checkpoint-9",
    ]


def test_several_damaged_ones_are_all_set_aside(tmp_path: Path) -> None:
    for folder in write(tmp_path, 3, 6, 9)[1:]:
        truncated(folder)
    assert find_latest(tmp_path).step == 3  # type: ignore[union-attr]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint-3",
        "set-aside-1-checkpoint-6",
        "set-aside-1-checkpoint-9",
    ]


def test_setting_aside_never_overwrites(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (folder,) = write(tmp_path, 5)
        assert set_aside(folder, "a test").name == f"set-aside-{number}-checkpoint-5"
    assert len(list(tmp_path.iterdir())) == 3


# ---- rotation


def test_rotation_goes_by_step_and_keeps_the_newest(tmp_path: Path) -> None:
    made = write(tmp_path, 9, 100, 11, 10)
    for age, folder in enumerate(made):
        os.utime(folder, (10**9 - age * 1000, 10**9 - age * 1000))
    rotate(tmp_path, 2)
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint-100", "checkpoint-11"}
    rotate(tmp_path, 1)
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint-100"}


def test_rotation_counts_valid_ones_only(tmp_path: Path) -> None:
    """With two kept and the newest damaged, the two good ones before it stay."""
    made = write(tmp_path, 1, 2, 3, 4)
    flipped(made[3])
    rotate(tmp_path, 2)
    assert {p.name for p in tmp_path.iterdir()} == {
        "set-aside-1-checkpoint-4",
        "checkpoint-3",
        "checkpoint-2",
    }


def test_a_removal_that_is_cut_off_leaves_no_half_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 1, 2)

    def cut_off(path: Path) -> None:
        (path / "rng.json").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", cut_off)
    with pytest.raises(KeyboardInterrupt):
        rotate(tmp_path, 1)
    monkeypatch.undo()
    assert [p.name for p in folders(tmp_path)] == ["checkpoint-2"]
    find_latest(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-2"]


def test_rotation_never_takes_the_best(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3, 4)
    rotate(tmp_path, 1, protected=2)
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint-4", "checkpoint-2"}


def test_rotation_leaves_what_is_no_checkpoint_and_what_was_set_aside(tmp_path: Path) -> None:
    set_aside(*write(tmp_path, 1), "a test")
    write(tmp_path, 2, 3)
    (tmp_path / "checkpoint-old").mkdir()
    rotate(tmp_path, 1)
    assert {p.name for p in tmp_path.iterdir()} == {
        "checkpoint-3",
        "checkpoint-old",
        "set-aside-1-checkpoint-1",
    }


@pytest.mark.posix
def test_what_cannot_be_removed_is_a_warning_and_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, 3, 4)
    elsewhere = write(tmp_path / "elsewhere", 2)[0]
    (tmp_path / "checkpoint-2").symlink_to(elsewhere, target_is_directory=True)
    (tmp_path / "checkpoint-1").write_text("mine", encoding="utf-8")
    with caplog.at_level(logging.WARNING, logger="lorachain"):
        rotate(tmp_path, 1)
    assert not (tmp_path / "checkpoint-3").exists()
    assert verify(elsewhere).step == 2
    assert (tmp_path / "checkpoint-1").read_text(encoding="utf-8") == "mine"
    assert "checkpoint-2 could not be removed now" in caplog.text
    assert "checkpoint-1 could not be removed now" in caplog.text


# ---- identity


def test_an_identity_is_the_same_after_it_was_on_disk(tmp_path: Path) -> None:
    from lorachain.config import resolve, shaping

    sets = ["training.lr_scheduler_kwargs={min_lr_rate: 0.1}", "lora.layers_to_transform=[1, 2]"]
    identity = shaping(resolve(None, None, sets).config)
    folder = checkpoint.write(tmp_path, 1, identity, fill, {"made_with": {"torch": "2"}})
    assert verify(folder).identity == identity
    assert verify(folder).about == {"made_with": {"torch": "2"}}
