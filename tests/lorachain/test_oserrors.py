"""What the operating system refuses becomes a sentence with what to do, in every script."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lorachain import files, oserrors
from lorachain.oserrors import VC_REDISTRIBUTABLE, explain, held_elsewhere, remedy

LONG = "C:\\" + "a" * 300 + "\\x.json"


def refused(number: int, code: int, *names: str, text: str = "as Windows says it") -> OSError:
    """An OSError as Windows raises it."""
    error = OSError(code, text, names[0] if names else None, None, *names[1:])
    error.winerror = number  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "says", "do"),
    [
        (refused(32, 13, "a.json"), "a.json is held open by another program", "an antivirus"),
        (refused(1224, 22, "a.json"), "a.json is held open by another program", "Explorer window"),
        (refused(145, 41, "models/v1"), "is held open by another program", "Close what may hold"),
        (refused(5, 13, "a.json"), "Windows refused access to a.json", "may not write there"),
        (refused(32, 13, "a.tmp", "a.json"), "a.tmp or a.json is held open", "OneDrive"),
        (refused(112, 28, "a.json"), "The disk is full: a.json could not", "Make room and run"),
        (refused(39, 28), "The disk is full: a file could not", "Make room and run"),
        (refused(206, 2, "a.json"), "A path is too long (6 characters)", "short path"),
        (refused(3, 2, LONG), f"A path is too long ({len(LONG)} characters)", "docs/windows.md"),
        (refused(126, 22, text="Error loading c10.dll"), "A system library", VC_REDISTRIBUTABLE),
        (ImportError("DLL load failed while importing _C"), "A system library", "Visual C++"),
        (refused(1455, 22), "The memory ran out", "paging file"),
        (RuntimeError("too small (os error 1455)"), "The memory ran out", "paging file"),
        (PermissionError(13, "Permission denied", "a.json"), "cannot be read or written", "Choose"),
        (OSError(errno.EROFS, "Read-only", "a.json"), "cannot be read or written", "Choose"),
        (OSError(errno.ENAMETOOLONG, "too long", "a.json"), "A path is too long", "short path"),
    ],
)
def test_what_was_refused_and_what_to_do(error: Exception, says: str, do: str) -> None:
    sentence = explain(error)
    assert sentence is not None
    assert says in sentence and do in sentence
    assert sentence.endswith("run the same command again.")


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file", "a.json"),  # most likely a bug
        refused(3, 2, "a.json"),
        PermissionError(13, "Permission denied"),  # of nothing that could be named
        ImportError("No module named 'x'"),
        ConnectionResetError(104, "reset"),
        ValueError("x"),
    ],
)
def test_no_cause_is_invented(error: Exception) -> None:
    assert explain(error) is None


def test_an_unknown_failure_of_a_write_still_gets_something_to_do() -> None:
    assert remedy(RuntimeError("I/O error")).startswith("Make room (or mend what stands in the way")


def test_the_set_up_names_the_same_download() -> None:
    sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
    from setup_parts import failures

    assert failures.VC_REDISTRIBUTABLE == VC_REDISTRIBUTABLE


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (refused(32, 13, "x"), True),
        (refused(1224, 22, "x"), True),
        (refused(145, 41, "x"), True),
        (PermissionError(13, "in use"), True),
        (refused(112, 28, "x"), False),
        (FileNotFoundError(2, "gone"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(
    error: OSError, waits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the real `replace`, whose first rename is refused."""
    assert held_elsewhere(error) is waits
    (tmp_path / "a").write_text("new", encoding="utf-8")
    rename, slept, first = os.replace, [], [error]

    def refuse(source: Path, target: Path) -> None:
        if first:
            raise first.pop()
        rename(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(files.time, "sleep", slept.append)
    if waits:
        files.replace(tmp_path / "a", tmp_path / "b")
        assert (tmp_path / "b").read_text(encoding="utf-8") == "new"
    else:
        with pytest.raises(type(error)):
            files.replace(tmp_path / "a", tmp_path / "b")
    assert len(slept) == waits


def ran(body: str) -> subprocess.CompletedProcess[str]:
    """A script whose `main` has this body, as a process."""
    code = f"from lorachain import cli\ndef main(argv):\n    {body}\ncli.run(main)\n"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_script_ends_with_the_sentence_and_2(tmp_path: Path) -> None:
    """The first is refused by this system itself: a name of 300 letters is too long everywhere."""
    long = tmp_path / ("a" * 300)
    found = ran(f"open({str(long)!r}, 'w')")
    assert found.returncode == 2, found.stderr
    assert found.stderr.startswith("Error: A path is too long")
    assert "Traceback" not in found.stderr

    missing = ran("raise ImportError('DLL load failed while importing _C: not found')")
    assert missing.returncode == 2
    assert "Visual C++ Redistributable" in missing.stderr and "Traceback" not in missing.stderr


def test_what_no_user_can_mend_keeps_its_traceback() -> None:
    for body in ("open('no/such/file')", "import no_such_module"):
        found = ran(body)
        assert found.returncode == 1
        assert "Traceback" in found.stderr


def test_the_numbers_are_those_of_windows() -> None:
    """Where Python itself maps some of them to an errno (PC/errmap.h), on Windows alone."""
    if os.name != "nt":
        assert oserrors.code(OSError(errno.EPIPE, "x")) is None
        return
    assert isinstance(OSError(0, "x", "y", 32), PermissionError)
    assert files.is_disk_full(OSError(0, "x", "y", 112))
