"""What the launchers decide: which defaults stand, which chain is meant, what a crash means."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from launch_stub import ROOT, TARGETS, finish


@pytest.fixture(autouse=True)
def _parts() -> None:
    """launch_parts is importable: conftest.py has the scripts folder on the path."""
    assert str(ROOT / "scripts") in sys.path


def flags(*given: str) -> list[str]:
    from launch_parts.targets import TARGETS as FOUND
    from launch_parts.targets import with_defaults

    words = with_defaults(FOUND["train_v3"], given, Path("/root"))
    assert words[len(words) - len(given) :] == list(given)
    return words[: len(words) - len(given) : 2]


ALL = ["--source-model", "--output", "--train-data", "--val-data", "--replay-share"]


def without(*gone: str) -> list[str]:
    return [flag for flag in ALL if flag not in gone]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ((), ALL),
        (("--verbose", "--set", "training.learning_rate=1e-4"), ALL),
        (("--output", "models/mine"), without("--output")),
        (("--source_model=x", "--train-data", "y"), without("--source-model", "--train-data")),
        (("--set", "replay.share=0.5"), without("--replay-share")),
        (("--set=data.val_data=none",), without("--val-data")),
        (("--config", "no such file.yaml"), ALL),
    ],
)
def test_a_default_gives_way_to_what_the_user_says(given: tuple[str, ...], left: list[str]) -> None:
    assert flags(*given) == left


@pytest.mark.parametrize("form", [("--config", "{}"), ("--config={}",)])
def test_a_default_gives_way_to_the_users_config(tmp_path: Path, form: tuple[str, ...]) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(
        "data:\n  train_data: mine.jsonl\n  # val_data: x\nreplay: {share: 0.1}\n", encoding="utf-8"
    )
    assert flags(*[word.format(config) for word in form]) == without(
        "--train-data", "--replay-share"
    )


def test_every_launcher_runs_what_is_there_and_v3_is_the_readmes() -> None:
    from launch_parts.targets import TARGETS as FOUND

    assert {name: target.script for name, target in FOUND.items()} == TARGETS
    assert all((ROOT / target.script).is_file() for target in FOUND.values())
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    line = re.search(r"^python (src/training/fine_tune_v2\.py --source-model.*)$", readme, re.M)
    assert line is not None
    words = [word for d in FOUND["train_v3"].defaults for word in (d.flag, d.value)]
    assert line[1].split() == [FOUND["train_v3"].script, *words]


def test_defaults_name_real_settings_each_with_a_last_part_of_its_own() -> None:
    """So the search for the last part alone in a --config file finds no other setting."""
    from launch_parts.targets import TARGETS as FOUND

    from lorachain.config import StageConfig

    names = [
        f"{section}.{key}"
        for section, field in StageConfig.model_fields.items()
        for key in field.annotation.model_fields  # type: ignore[union-attr]
    ]
    for default in FOUND["train_v3"].defaults:
        last = default.setting.rpartition(".")[2]
        assert [n for n in names if n.rpartition(".")[2] == last] == [default.setting]


def test_the_newest_versions_are_those_from_which_none_goes_on(tmp_path: Path) -> None:
    from launch_parts.chains import newest_versions

    assert newest_versions(tmp_path / "none") == []
    finish(tmp_path / "a")
    finish(tmp_path / "a_v2", "../a")
    finish(tmp_path / "sub" / "a_v3", "../../a_v2", finished="2026-01-03")
    finish(tmp_path / "a_v3_other", "../a_v2", finished="2026-01-04")
    finish(tmp_path / "a_v3.before-restart-1", "../a_v2")
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "lineage.json").write_text("{", encoding="utf-8")
    assert newest_versions(tmp_path) == [tmp_path / "a_v3_other", tmp_path / "sub" / "a_v3"]


def test_a_crash_on_windows_is_named(tmp_path: Path) -> None:
    from launch_parts.ending import farewell

    log = tmp_path / "x.log"
    log.write_text("of an earlier run\n" + "\n".join(f"line {n}" for n in range(30)))
    lines = list(farewell("train_v1", -1073741819, log, len("of an earlier run\n")))
    assert lines[0].startswith("train_v1 ended with exit code -1073741819 (0xC0000005): it crashed")
    assert lines[2:] == [*(f"    line {n}" for n in range(18, 30)), f"The whole output: {log}"]
    assert "vc_redist" in next(farewell("train_v1", 0xC0000135 - (1 << 32), log, 0))
    assert list(farewell("train_v1", 0, log, 0)) == []
    assert list(farewell("train_v1", 3, tmp_path / "none.log", 0)) == [
        "train_v1 ended with exit code 3."
    ]


def test_a_log_grows_over_runs_but_not_without_end(tmp_path: Path) -> None:
    from launch_parts.ending import KEPT_BYTES, begin_log

    log = tmp_path / "logs" / "x.log"
    assert begin_log(log) == 0
    log.write_bytes(b"x" * 10)
    assert begin_log(log) == 10
    log.write_bytes(b"x" * (KEPT_BYTES + 1))
    assert begin_log(log) == 0
    assert [path.name for path in log.parent.iterdir()] == ["x.old.log"]


@pytest.mark.parametrize(
    ("platform", "code", "passed"),
    [
        ("win32", 0, 0),
        ("win32", 3, 3),
        ("win32", 0xC0000005, -1073741819),
        ("win32", 0xFFFFFFFF, -1),
        ("win32", 0xC000013A, 130),
        ("linux", 255, 255),
        ("linux", -2, 130),
        ("linux", -11, 139),
    ],
)
def test_exit_codes_as_they_are_passed_on(
    monkeypatch: pytest.MonkeyPatch, platform: str, code: int, passed: int
) -> None:
    from setup_parts.running import exit_code

    monkeypatch.setattr(sys, "platform", platform)
    assert exit_code(code) == passed
