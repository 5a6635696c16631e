"""Row 25: one output belongs to one run at a time, and a run that died holds nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from chain_support import largest_difference
from fault_support import (
    KILLED,
    Bench,
    copy_of,
    hashes,
    is_finished,
    log_of,
    resumed_from,
    steps_of,
)

from lorachain.soak.launch import Run

pytestmark = pytest.mark.posix

EXACT = ("checkpoint.resume=exact", "checkpoint.save_total_limit=9")
GO = Path("go")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Bench:
    """One place for the module."""
    return Bench.make(tmp_path_factory.mktemp("two"), tiny_base)


@pytest.fixture(scope="module")
def whole(bench: Bench) -> Path:
    """The version that nothing disturbed."""
    ended = bench.run("whole", sets=EXACT)
    assert ended.code == 0, ended.text
    return ended.folder


def wait_for_go() -> None:
    """In a new process: say that it is ready, and wait for the starting signal, a file in the
    current folder."""
    Path(f"ready-{os.getpid()}").touch()
    until(GO.exists)


def pause_after_moving() -> None:
    """In a new process: wait for the starting signal once --restart has moved the old one aside."""
    from lorachain.training import stage

    real = stage.put_away

    def slow(output: Path) -> bool:
        moved = real(output)
        wait_for_go()
        return moved

    stage.put_away = slow


def until(there: Callable[[], object]) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + 240
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def paused(bench: Bench, whole: Path, meddle: Callable[[Run, Path], None]) -> None:
    """Stop a run with checkpoint 2 there, `meddle`, and let it go on: it ends as if alone."""
    output = bench.folder / f"held-{meddle.__name__}"

    def act(first: Run) -> None:
        os.kill(first.process.pid, signal.SIGSTOP)
        try:
            meddle(first, output)
        finally:
            os.kill(first.process.pid, signal.SIGCONT)

    ended = bench.stopped_at(2, act, output.name, sets=EXACT)
    assert ended.code == 0, ended.text
    assert log_of(output) == log_of(whole)
    assert largest_difference(output, whole) == 0.0
    assert resumed_from(output) is None


def test_row_25_the_second_run_says_so_and_the_first_goes_on_to_its_end(
    bench: Bench, whole: Path
) -> None:
    """Whatever the second one was told to do: nothing of the first is touched."""

    def second(first: Run, output: Path) -> None:
        assert first.running and not is_finished(output)
        before = hashes(output)
        link = bench.folder / "link"
        link.symlink_to(output, target_is_directory=True)
        for flags, path in (
            ([], output),
            (["--restart"], output),
            (["--resume", "never"], output),
            ([], link),
            ([], output / ".." / output.name),
        ):
            ended = bench.run(path, *flags, sets=EXACT)
            assert ended.code == 2, (flags, ended.text)
            shown = link if path == link else output
            assert ended.lines[-1] == (
                f"Error: The output is in use by another run: {shown}. Wait until it ends, or "
                "choose another --output."
            )
            assert hashes(output) == before
        assert not list(bench.folder.glob("*before-restart*"))

    paused(bench, whole, second)


def test_row_25_another_output_is_not_held(bench: Bench, whole: Path) -> None:
    def elsewhere(first: Run, output: Path) -> None:
        ended = bench.run("beside", sets=EXACT)
        assert first.running
        assert ended.code == 0, ended.text
        assert largest_difference(ended.folder, whole) == 0.0

    paused(bench, whole, elsewhere)


def test_row_25_the_lock_of_a_killed_run_is_recovered(bench: Bench, whole: Path) -> None:
    """kill -9 leaves the file `.lock` behind; it locks nobody out."""
    ended = bench.stopped_at(4, Run.kill, "killed", sets=EXACT)
    assert ended.code == KILLED
    assert (ended.folder / ".lock").is_file() and not is_finished(ended.folder)
    newest = steps_of(ended.folder)[-1]
    again = bench.run("killed", sets=EXACT)
    assert again.code == 0, again.text
    assert "in use" not in again.text
    assert resumed_from(again.folder) == newest >= 4
    assert largest_difference(again.folder, whole) == 0.0


def test_row_25_a_run_waits_for_no_lock_file_that_somebody_wrote(bench: Bench, whole: Path) -> None:
    """A number of a process in it, or a copy from another machine, holds nothing either."""
    ended = bench.run("wrote", sets=EXACT, fault="kill@rename checkpoint#2")
    assert ended.code == KILLED
    (ended.folder / ".lock").write_text(f"{os.getpid()}\n", encoding="utf-8")
    again = bench.run("wrote", sets=EXACT)
    assert again.code == 0, again.text
    assert resumed_from(again.folder) == 2
    assert largest_difference(again.folder, whole) == 0.0


def at_once(bench: Bench, output: str, *flags: str) -> list[tuple[int, str]]:
    """Two runs that leave the starting line together: (exit code, what it said) of each."""
    GO.unlink(missing_ok=True)
    runs = [
        bench.start(output, *flags, sets=EXACT, before="test_two_runs:wait_for_go")
        for _ in range(2)
    ]
    until(lambda: all(Path(f"ready-{run.process.pid}").exists() for run in runs))
    GO.touch()
    return sorted((run.wait(), run.text()) for run in runs)


def test_row_25_of_two_restarts_at_once_exactly_one_trains_and_nothing_is_lost(
    bench: Bench, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bench.folder)
    output = copy_of(whole, "fought-over")
    older = []
    for number in (1, 2, 3):
        older.append(hashes(output))
        (first, trained), (second, refused) = at_once(bench, "fought-over", "--restart")
        assert (first, second) == (0, 2), (trained, refused)
        assert "is finished after 8 steps" in trained and "step 1/8" in trained
        assert "The output is in use by another run" in refused and "step 1/8" not in refused
        asides = {p.name: hashes(p) for p in bench.folder.glob("fought-over.before-restart-*")}
        assert asides == {
            f"fought-over.before-restart-{n}": content for n, content in enumerate(older, start=1)
        }
        assert len(asides) == number
        assert is_finished(output) and resumed_from(output) is None
        assert largest_difference(output, whole) == 0.0


@pytest.mark.parametrize("flags", [(), ("--restart",)])
def test_row_25_a_version_made_while_a_restart_moved_the_old_one_is_not_lost(
    bench: Bench, whole: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    """Between moving the old version and locking the new folder, a --restart holds nothing."""
    monkeypatch.chdir(bench.folder)
    GO.unlink(missing_ok=True)
    output = copy_of(whole, f"gap{len(flags)}")
    old = hashes(output)
    slow = bench.start(output, "--restart", sets=EXACT, before="test_two_runs:pause_after_moving")
    until(lambda: Path(f"ready-{slow.process.pid}").exists() or not slow.running)
    assert slow.running, slow.text()
    quick = bench.run(output, *flags, sets=EXACT)
    assert quick.code == 0, quick.text
    new = hashes(output)
    GO.touch()
    code, text = slow.wait(), slow.text()
    kept = [hashes(p) for p in (output, *bench.folder.glob(f"{output.name}.before-restart-*"))]
    assert old in kept and new in kept, (code, text)
    assert is_finished(output)


def test_row_25_of_two_runs_that_go_on_at_once_exactly_one_does(
    bench: Bench, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bench.folder)
    killed = bench.run("half", sets=EXACT, fault="kill@rename checkpoint#3")
    assert killed.code == KILLED
    (first, trained), (second, refused) = at_once(bench, "half")
    assert (first, second) == (0, 2), (trained, refused)
    assert "Going on from checkpoint-4" in trained
    assert "Going on" not in refused
    assert resumed_from(killed.folder) == 4
    assert largest_difference(killed.folder, whole) == 0.0
