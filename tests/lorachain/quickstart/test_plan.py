"""The quickstart's plan: the same path in small, and commands that a user could type."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lorachain.config import resolve
from lorachain.paths import PROJECT_ROOT
from lorachain.quickstart.plan import (
    CONFIG,
    DATA,
    SUITE_NAMES,
    Plan,
    cut_rows,
    make_plan,
    stage_command,
    stage_data,
    suites,
)
from lorachain.suites import read_suite
from lorachain.training.command import V1, V2, parser


def tasks(path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        task = json.loads(line)["task"]
        found[task] = found.get(task, 0) + 1
    return found


def test_three_versions_each_on_the_one_before() -> None:
    plan = make_plan()
    assert [(s.name, s.parent) for s in plan.stages] == [("v1", None), ("v2", "v1"), ("v3", "v2")]
    assert [s.replay_share > 0 for s in plan.stages] == [False, True, True]
    assert plan.folder == PROJECT_ROOT / "models" / "quickstart"
    assert plan.version("v2") == plan.folder / "v2"


def test_without_replay_is_a_version_beside_the_third() -> None:
    *same, extra = make_plan(no_replay=True).stages
    assert tuple(same) == make_plan().stages
    assert (extra.name, extra.parent, extra.data) == ("v3_no_replay", "v2", same[-1].data)
    assert extra.replay_share == 0


def test_the_small_form_differs_in_size_alone(tmp_path: Path) -> None:
    small, whole = make_plan(small=True), make_plan()
    assert small.stages == whole.stages and small.base_model == whole.base_model
    assert small.folder != whole.folder
    assert make_plan(tmp_path, small=True).folder == tmp_path
    assert small.max_new_tokens < whole.max_new_tokens


def test_the_whole_form_trains_on_the_committed_files() -> None:
    plan = make_plan()
    for stage in plan.stages:
        assert stage_data(plan, stage) == (
            DATA / f"train_{stage.data}.jsonl",
            DATA / f"val_{stage.data}.jsonl",
        )


def test_the_small_form_has_every_task_and_few_rows_of_each(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, small=True)
    for stage in plan.stages:
        for part, path in zip(("train", "val"), stage_data(plan, stage), strict=True):
            cut, whole = tasks(path), tasks(DATA / f"{part}_{stage.data}.jsonl")
            assert path.parent == tmp_path / "data"
            assert cut == {task: min(count, 6) for task, count in whole.items()}


@pytest.mark.parametrize("small", [True, False])
def test_every_suite_is_asked_and_can_be_read(tmp_path: Path, small: bool) -> None:
    found = [read_suite(path) for path in suites(make_plan(tmp_path, small=small))]
    assert [suite.name for suite in found] == list(SUITE_NAMES)
    sizes = {suite.name: len(suite.items) for suite in found}
    if small:
        assert all(size <= 12 for size in sizes.values())
    else:
        assert sizes["fixed20_v1"] == 20
        assert all(sizes[f"generation{i}_v1"] >= 24 for i in (1, 2, 3))


def write(path: Path, *names: str) -> Path:
    lines = [json.dumps({"task": name, "n": i, "é": "ü"}) for i, name in enumerate(names)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_cut_keeps_the_first_rows_of_each_task_as_they_stand(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", "a", "b", "a", "a", "c", "b")
    cut = cut_rows(source, tmp_path / "cut", 2)
    lines = source.read_text(encoding="utf-8").splitlines()
    assert cut.read_text(encoding="utf-8").splitlines() == [lines[i] for i in (0, 1, 2, 4, 5)]


def test_a_cut_is_written_only_where_it_changes(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", "a", "a", "a")
    cut = cut_rows(source, tmp_path / "cut", 2)
    os.utime(cut, (10**9, 10**9))
    assert cut_rows(source, tmp_path / "cut", 2).stat().st_mtime == 10**9
    write(tmp_path / "rows.jsonl", "b", "a", "a")
    assert cut_rows(source, tmp_path / "cut", 2).stat().st_mtime != 10**9
    assert '"b"' in cut.read_text(encoding="utf-8")


@pytest.mark.parametrize("base", ["smollm2-135m-instruct", "org/other"])
def test_every_stage_is_a_command_of_the_training_scripts(tmp_path: Path, base: str) -> None:
    """On the base that was asked for: the config names one, and what it names counts as asked."""
    whole = make_plan(tmp_path / "a b", base, no_replay=True)
    plan = Plan(whole.folder, base, whole.stages, sets=("training.seed=7",))
    for stage in plan.stages:
        script, *argv = stage_command(plan, stage)
        defaults = V2 if stage.parent else V1
        assert Path(script) == PROJECT_ROOT / defaults.script
        args = parser(defaults, "").parse_args(argv)
        assert Path(args.output) == tmp_path / "a b" / stage.name
        assert Path(args.train_data).is_file() and Path(args.val_data).is_file()
        resolved = resolve(None, Path(args.config), args.set, {"model.base_model": args.base_model})
        assert resolved.config.model.base_model == base
        assert resolved.config.training.seed == 7
        if stage.parent:
            assert Path(args.source_model) == plan.version(stage.parent)
            assert (args.replay_share or 0) == stage.replay_share


def test_its_config_is_one_that_a_cpu_can_train_with() -> None:
    config = resolve(None, CONFIG).config
    assert not config.quantization.load_in_4bit
    assert config.training.optim == "adamw_torch"
    assert config.data.on_overlong == "error"
