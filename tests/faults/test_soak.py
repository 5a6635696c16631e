"""The randomised kill test in its short form, and that it can fail."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from lorachain.paths import PROJECT_ROOT
from lorachain.soak import checks
from lorachain.soak.places import PLACES, TRAINING, WRITING, look, moments
from lorachain.soak.run import Plan, soak

pytestmark = pytest.mark.posix


def script() -> Any:
    """scripts/soak.py as a module."""
    spec = importlib.util.spec_from_file_location("soak", PROJECT_ROOT / "scripts" / "soak.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def forget_random_state() -> None:
    """A resume that restores everything but the random state."""
    from lorachain.training import checkpointing

    checkpointing.load_rng = lambda folder, rank=0: None


def write_no_manifest() -> None:
    """A checkpoint that takes its name before it is whole."""
    from lorachain import checkpoint

    checkpoint.write_json = lambda path, value: None


def go_on_from_the_oldest() -> None:
    """A resume that loses good work."""
    from lorachain import checkpoint

    def find(root: Path) -> checkpoint.Checkpoint | None:
        found = checkpoint.folders(root)
        return checkpoint.verify(found[-1]) if found else None

    checkpoint.find_latest = find


def killed_in_its_third_checkpoint() -> int:
    """A seed whose first kill falls there: the run that follows goes on from the second."""
    return next(seed for seed in range(1000) if next(moments(seed)).count == 3)


def test_row_02_twenty_kills_at_random_moments_change_nothing(
    tmp_path: Path, tiny_base: Path
) -> None:
    figures = soak(Plan(tmp_path / "work", str(tiny_base), kills=20, threads=1))
    assert figures.problems == []
    assert figures.kills == figures.where.total() == 20
    assert figures.largest_difference == 0.0
    assert figures.set_aside == 0
    for part, least in ((PLACES[:3], 1), ((TRAINING, WRITING), 5), (PLACES[6:], 1)):
        assert sum(figures.where[name] for name in part) >= least, figures.where
    assert figures.died_without_a_new_checkpoint >= 1
    assert figures.lives == figures.kills + figures.rounds
    assert figures.steps_taken >= figures.steps_needed == 12 * figures.rounds


@pytest.fixture(scope="module")
def soaked(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> tuple[int, str, Path]:
    """(exit code, what it printed, its work folder) of the script with three kills."""
    work = tmp_path_factory.mktemp("soaked") / "work"
    flags = ["--kills", "3", "--base-model", str(tiny_base), "--resume", "weights"]
    flags += ["--output", str(work), "--report", str(work.parent / "new" / "soak.json")]
    with redirect_stdout(StringIO()) as out:
        code = script().main(flags)
    return code, out.getvalue(), work


def test_the_script_prints_and_writes_its_figures(soaked: tuple[int, str, Path]) -> None:
    code, out, work = soaked
    assert code == 0
    figures = json.loads((work.parent / "new" / "soak.json").read_text(encoding="utf-8"))
    assert (figures["kills_asked"], figures["kills"], figures["resume"]) == (3, 3, "weights")
    assert sum(figures["where"].values()) == 3
    assert figures["about"]["packages"]["torch"]
    assert out.splitlines()[-1] == "Everything held."
    assert "0 checkpoints were set aside" in out.splitlines()


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Change a JSON or JSONL file."""
    if path.suffix == ".jsonl":
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        path.write_text("\n".join(map(json.dumps, change(entries))), encoding="utf-8")
    else:
        path.write_text(json.dumps(change(json.loads(path.read_text("utf-8")))), encoding="utf-8")


def other_rate(entries: list[Any]) -> list[Any]:
    entries[5]["learning_rate"] *= 1 + 1e-6
    return entries


def other_loss(lineage: dict[str, Any]) -> dict[str, Any]:
    lineage["metrics"]["validation_loss"]["v1"] += 1e-6
    return lineage


def one_step_more(lineage: dict[str, Any]) -> dict[str, Any]:
    lineage["metrics"]["steps"] += 1
    return lineage


@pytest.mark.parametrize(
    ("exact", "name", "change", "sentence"),
    [
        (True, "training_log.jsonl", other_rate, "its training log says {'step': 5, "),
        (False, "training_log.jsonl", other_rate, "its training log says {'step': 5, "),
        (True, "training_log.jsonl", lambda entries: entries[:-1], "its training log has "),
        (True, "lineage.json", other_loss, "its validation losses are {'v1': "),
        (True, "lineage.json", one_step_more, "it took 13 steps instead of 12"),
        (False, "lineage.json", one_step_more, "it took 13 steps instead of 12"),
    ],
)
def test_whatever_differs_at_the_end_is_named(
    soaked: tuple[int, str, Path],
    tmp_path: Path,
    exact: bool,
    name: str,
    change: Callable[[Any], Any],
    sentence: str,
) -> None:
    whole = soaked[2] / "whole" / "v1"
    found = Path(shutil.copytree(whole, tmp_path / "v1"))
    assert checks.at_the_end(whole, found, checks.largest_difference(whole, found), exact) == []
    edit(found / name, change)
    [problem] = checks.at_the_end(whole, found, 0.0, exact)
    assert problem.startswith(sentence)


def test_whatever_is_wrong_after_a_kill_is_named(
    soaked: tuple[int, str, Path], tmp_path: Path
) -> None:
    found = Path(shutil.copytree(soaked[2] / "whole" / "v1", tmp_path / "v1"))
    now = look(found)
    assert now.newest == 12 and now.finished
    assert checks.after_a_life(found, now, now, "") == []
    (found / "checkpoint-10" / "rng.json").write_text("[]", encoding="utf-8")
    (found / "optimizer.pt").touch()
    (found / "set-aside-1-checkpoint-8").mkdir()
    (found / "adapter_config.json").write_text("{}", encoding="utf-8")
    (found / ".lineage.json.1.tmp").touch()
    text = "Going on from checkpoint-8: adapter\nTraceback (most recent call last):\n"
    problems = checks.after_a_life(found, now, now, text)
    assert [problem.split(":")[0] for problem in problems] == [
        "it raised an exception",
        "checkpoint-10 is there and is not good",
        "checkpoints were set aside",
        "optimizer.pt has a pickle's name",
        "it is taken for finished, and adapter_config.json has changed since the version was "
        "finished",
        "it went on from checkpoint-8, and checkpoint-12 was the newest",
    ]
    assert checks.left_behind(found) == [".lineage.json.1.tmp"]


def test_a_soak_that_finds_a_difference_says_so_and_exits_1(
    tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lost random state shows: dropout and noise draw from it in every step."""
    flags = ["--kills", "3", "--seed", str(killed_in_its_third_checkpoint())]
    flags += ["--base-model", str(tiny_base), "--output", str(tmp_path / "work")]
    assert script().main(flags, before="test_soak:forget_random_state") == 1
    out = capsys.readouterr().out
    assert "It did NOT hold: round" in out
    assert "its adapter differs by up to" in out
    assert list((tmp_path / "work").glob("chain-*/v*/adapter_model.safetensors"))


@pytest.mark.parametrize(
    ("sabotage", "sentence"),
    [
        ("write_no_manifest", "checkpoint-2 is there and is not good: it has no MANIFEST"),
        ("go_on_from_the_oldest", "it went on from checkpoint-2, and checkpoint-"),
    ],
)
def test_a_soak_notices_a_checkpoint_that_is_torn_or_lost(
    tmp_path: Path, tiny_base: Path, sabotage: str, sentence: str
) -> None:
    seed, before = killed_in_its_third_checkpoint(), f"test_soak:{sabotage}"
    plan = Plan(tmp_path, str(tiny_base), 3, seed, versions=1, threads=1, before=before)
    [problem] = soak(plan).problems
    assert sentence in problem
