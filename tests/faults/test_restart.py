"""--restart: what is there is moved aside, comes back where nothing came of it, and goes on."""

from __future__ import annotations

import pytest
from chain_support import largest_difference
from fault_support import KILLED, Bench, Ended, copy_of, hashes, is_finished, resumed_from, steps_of

EXACT = ("checkpoint.resume=exact",)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tiny_base: object) -> Bench:
    """One place for this file."""
    return Bench.make(tmp_path_factory.mktemp("restart"), tiny_base)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def done(bench: Bench) -> Ended:
    """A finished version."""
    ended = bench.run("done", sets=EXACT)
    assert ended.code == 0, ended.text
    return ended


def asides(bench: Bench, name: str) -> list[str]:
    return sorted(p.name for p in bench.folder.glob(f"{name}.before-restart-*"))


def test_row_24_a_restart_that_is_refused_before_its_first_step_puts_the_old_version_back(
    bench: Bench, done: Ended
) -> None:
    """Refused late: the optimizer is tried out after the base is loaded."""
    folder = copy_of(done.folder, "refused")
    before = hashes(folder)
    refused = bench.run(
        "refused", "--restart", sets=EXACT, before="test_restart:forget_the_optimizer"
    )
    assert refused.code == 2, refused.text
    assert "takes other steps than before" in refused.text
    assert "is there again" in refused.text
    assert hashes(folder) == before
    assert asides(bench, "refused") == []


def forget_the_optimizer() -> None:
    """Called in the run's process: what is saved of an optimizer comes back empty."""
    from lorachain.training import optimizer_state

    optimizer_state.load_optimizer = lambda optimizer, folder: None


def test_row_03_the_same_restart_run_again_after_a_kill_goes_on(bench: Bench, done: Ended) -> None:
    """The last command, once more: it does not throw away what it has trained."""
    folder = copy_of(done.folder, "again")
    killed = bench.run("again", "--restart", sets=EXACT, fault="kill@append training_log.jsonl#6")
    assert killed.code == KILLED and steps_of(folder) == [2, 4]
    assert asides(bench, "again") == ["again.before-restart-1"]
    ended = bench.run("again", "--restart", sets=EXACT)
    assert ended.code == 0, ended.text
    assert "was begun with --restart by this same command and is not finished" in ended.text
    assert resumed_from(folder) == 4
    assert asides(bench, "again") == ["again.before-restart-1"]
    assert largest_difference(folder, done.folder) == 0.0
    anew = bench.run("again", "--restart", sets=EXACT)  # finished now: this begins anew
    assert anew.code == 0 and resumed_from(folder) is None
    assert asides(bench, "again") == ["again.before-restart-1", "again.before-restart-2"]


def test_row_12_a_restart_with_other_settings_begins_anew(bench: Bench, done: Ended) -> None:
    copy_of(done.folder, "other")
    killed = bench.run("other", "--restart", sets=EXACT, fault="kill@append training_log.jsonl#6")
    assert killed.code == KILLED
    ended = bench.run("other", "--restart", sets=(*EXACT, "training.learning_rate=5e-3"))
    assert ended.code == 0, ended.text
    assert resumed_from(ended.folder) is None
    assert asides(bench, "other") == ["other.before-restart-1", "other.before-restart-2"]


def test_row_03_a_restart_killed_before_its_first_step_leaves_no_stubs(
    bench: Bench, done: Ended
) -> None:
    copy_of(done.folder, "stub")
    for _ in range(2):
        killed = bench.run(
            "stub", "--restart", sets=EXACT, fault="kill@append training_log.jsonl#1"
        )
        assert killed.code == KILLED
    assert asides(bench, "stub") == ["stub.before-restart-1"]
    assert is_finished(bench.folder / "stub.before-restart-1")


@pytest.mark.parametrize("resume", ["never", "checkpoint-6"])
def test_a_finished_version_cannot_be_resumed(bench: Bench, done: Ended, resume: str) -> None:
    asked = resume if resume == "never" else str(done.folder / resume)
    before = hashes(done.folder)
    refused = bench.run("done", "--resume", asked, sets=EXACT)
    assert refused.code == 2
    assert "is finished, so there is nothing to resume" in refused.text
    assert hashes(done.folder) == before
