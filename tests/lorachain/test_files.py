"""Files that are whole or not there, hashes, and a lock that ends with its process."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorachain import files
from lorachain.errors import UserError
from lorachain.paths import PROJECT_ROOT, absolute, from_project, from_user, quoted, shown

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


# --- hashes ---


def test_hashes_are_those_of_the_bytes(tmp_path: Path) -> None:
    data = "zażółć \x00".encode() * 5000
    (tmp_path / "a").write_bytes(data)
    assert files.sha256_file(tmp_path / "a") == hashlib.sha256(data).hexdigest()
    assert files.sha256_text("é") == hashlib.sha256("é".encode()).hexdigest()
    assert files.sha256_text("\ud800") != files.sha256_text("\ud801")  # even what is no character


@settings(max_examples=40)
@given(value=st.dictionaries(st.text(), JSON))
def test_one_value_has_one_spelling(value: dict[str, Any]) -> None:
    text = files.canonical_json(value)
    assert json.loads(text) == value
    assert files.canonical_json(dict(reversed(list(value.items())))) == text


# --- JSON and text ---


def test_json_is_read_back_as_written(tmp_path: Path) -> None:
    value = {"ключ": [1, 2.5, None, "日本\n"], "a": {"b": True}}
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json", "It") == value
    assert "ключ" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert files.read_json(tmp_path / "a.json", "It") == [1]


@pytest.mark.parametrize("data", [b"{", b"", b"\xff\xfe{\0}\0", b"[" * 200_000])
def test_json_that_cannot_be_read_names_the_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(UserError, match=r"The suite cannot be read: .*a\.json"):
        files.read_json(tmp_path / "a.json", "The suite")


def test_json_that_is_not_there_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"The suite not found: .*b\.json"):
        files.read_json(tmp_path / "b.json", "The suite")
    with pytest.raises(UserError, match="The suite cannot be read"):
        files.read_json(tmp_path, "The suite")


def test_text_is_written_as_it_is(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.txt", "a\r\nb\nc\r日本")
    assert (tmp_path / "a.txt").read_bytes() == "a\r\nb\nc\r日本".encode()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        files.write_text(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        files.write_text(path, "new")
    assert files.is_disk_full(caught.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """Killed at any moment, a process that writes one file again and again leaves it whole."""
    path = tmp_path / "a.json"
    code = f"""
        from pathlib import Path
        from lorachain.files import write_json
        for n in range(10**9):
            write_json(Path({str(path)!r}), {{"n": n, "text": "x" * 20_000}})
            print(n, flush=True)
    """
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            for _ in range(20):
                writer.stdout.readline()
            writer.kill()
        assert len(files.read_json(path, "It")["text"]) == 20_000


@pytest.mark.parametrize(
    ("number", "full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EACCES, False)]
)
def test_disk_full_is_told_from_other_errors(number: int, full: bool) -> None:
    assert files.is_disk_full(OSError(number, "")) is full


def test_disk_full_on_windows() -> None:
    error = OSError("disk full")
    error.winerror = 112  # type: ignore[attr-defined]
    assert files.is_disk_full(error)


# --- renames and removals that retry ---


def test_replace_waits_while_the_target_is_open_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where another program's look at a file forbids its replacement."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("new")
    target.write_text("old")
    rename, waits, refusals = os.replace, [], 3

    def refuse(a: Path, b: Path) -> None:
        if len(waits) < refusals:
            raise PermissionError(13, "in use")
        rename(a, b)

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(files.time, "sleep", waits.append)
    files.replace(source, target)
    assert target.read_text() == "new"
    assert waits == sorted(waits)
    assert len(waits) == 3
    refusals = 100
    source.write_text("newer")
    with pytest.raises(PermissionError):
        files.replace(source, target)
    assert (source.read_text(), target.read_text()) == ("newer", "new")


@pytest.mark.posix
def test_remove_folder_removes_it_whole_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("")
    link = tmp_path / "a" / "link"
    link.symlink_to(tmp_path / "kept", target_is_directory=True)
    with pytest.raises(UserError, match="is a link"):
        files.remove_folder(link)
    files.remove_folder(tmp_path / "a")
    files.remove_folder(tmp_path / "a")  # gone already
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "kept" / "file").exists()


# --- the lock ---

HOLD = """
    import sys, time
    from pathlib import Path
    from lorachain.files import folder_lock
    with folder_lock(Path({folder!r}), "The output"):
        print("held", flush=True)
        time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[bytes]:
    code = textwrap.dedent(HOLD.format(folder=str(folder)))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"held"
    return process


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
def test_a_second_run_is_refused_and_a_killed_one_locks_nobody_out(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with holder(folder) as first:
        with (
            pytest.raises(UserError, match=r"The output is in use by another run: .*out"),
            files.folder_lock(folder, "The output"),
        ):
            pass
        first.send_signal(signal.SIGKILL)
    with files.folder_lock(folder, "The output"):
        pass
    with files.folder_lock(folder, "The output"):  # and it was given back
        pass


def test_the_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), files.folder_lock(tmp_path, "It"):
        raise RuntimeError
    with files.folder_lock(tmp_path, "It"):
        pass


def test_where_no_folder_can_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(UserError, match="cannot be made"), files.folder_lock(folder, "It"):
            pass
    (tmp_path / "out" / ".lock").mkdir(parents=True)
    with (
        pytest.raises(UserError, match="cannot be written to"),
        files.folder_lock(tmp_path / "out", "It"),
    ):
        pass


def test_two_folders_are_two_locks(tmp_path: Path) -> None:
    with files.folder_lock(tmp_path / "a", "It"), files.folder_lock(tmp_path / "b", "It"):
        pass


# --- flushing ---


def test_flushing_takes_files_and_folders(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("text")
    files.fsync_file(path)
    files.fsync_folder(tmp_path)
    assert path.read_text() == "text"
    assert stat.S_ISREG(path.stat().st_mode)


# --- paths ---


@pytest.mark.posix
def test_where_a_path_is_relative_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert from_user("a/../b") == tmp_path / "b"
    assert from_project("models/x") == PROJECT_ROOT / "models" / "x"
    assert from_user(str(tmp_path / "c")) == from_project(tmp_path / "c") == tmp_path / "c"
    assert from_user("~") == Path.home()
    assert from_user("~nobody-of-this-name/x") == tmp_path / "~nobody-of-this-name" / "x"
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert absolute(tmp_path, "link") == tmp_path / "link"  # as the user called it


def test_how_a_path_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    assert shown(folder) == "a b"
    assert shown("/elsewhere/x") == str(Path("/elsewhere/x"))
    assert quoted(folder) == '"a b"'
    assert quoted(tmp_path / "plain") == "plain"
    assert all(quoted(tmp_path / f"x{c}y").startswith('"') for c in " &()^!'")
