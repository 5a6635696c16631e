"""What is said when a version is finished already: how to go on from it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lorachain.paths import PROJECT_ROOT
from lorachain.training import command
from lorachain.training.next_step import LAUNCHERS, next_launcher, what_is_next

SUFFIX = ".bat" if os.name == "nt" else ".sh"


@pytest.mark.parametrize(
    ("defaults", "launcher"), [(command.V1, "train_v2"), (command.V2, "train_v3")]
)
def test_a_default_output_names_the_launcher_of_the_next_version(
    defaults: command.Defaults, launcher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROJECT_ROOT)
    lines = what_is_next(PROJECT_ROOT / defaults.output).splitlines()
    assert lines[:3] == [
        "To go on from it:",
        f"  .{os.sep}{launcher}{SUFFIX}",
        "or, on rows of your own:",
    ]
    assert f"--source-model {Path(defaults.output)} --output" in lines[3]
    assert (PROJECT_ROOT / f"{launcher}{SUFFIX}").is_file()


def test_that_launcher_takes_this_very_version_for_the_parent() -> None:
    assert f"models/{next(iter(LAUNCHERS))}" == command.V2.source_model == command.V1.output
    assert next_launcher(PROJECT_ROOT / command.V2.output) is not None


def test_elsewhere_no_launcher_is_named(tmp_path: Path) -> None:
    for output in (tmp_path / "fine_tuned_v2", PROJECT_ROOT / "models" / "fine_tuned_v3"):
        assert next_launcher(output) is None
        assert what_is_next(output).splitlines()[0] == "To go on from it:"
        assert "--train-data NEW.jsonl" in what_is_next(output).splitlines()[1]
