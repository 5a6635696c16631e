"""The chain as a tree of text, with what is damaged in it."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_lineage import edit, make

from lorachain.chaintree import draw
from lorachain.errors import UserError
from lorachain.files import sha256_text
from lorachain.lineage import Lineage
from lorachain.paths import PROJECT_ROOT

HASHES = ("config", "tokenizer", "template", "weights", "id")

DAY = "2025-01-0{}T00:00:00+00:00"


def version(folder: Path, day: int, parent: Path | None = None, **more: Any) -> Lineage:
    facts: dict[str, Any] = {
        "finished": DAY.format(day),
        "metrics": {"steps": 10 * day, "validation_loss": {folder.name: day / 2}},
    }
    return make(folder, parent, **facts | more)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """V1 with two children, and V3 on the first of them."""
    monkeypatch.chdir(tmp_path)
    v1 = version(tmp_path / "v1", 1)
    v2 = version(tmp_path / "v2", 2, v1.folder)
    version(tmp_path / "v2b", 3, v1.folder)
    version(tmp_path / "v3", 4, v2.folder)
    return tmp_path


def everything(models: Path) -> list[Path]:
    return sorted(path.parent for path in models.glob("*/lineage.json"))


def tree(models: Path) -> list[str]:
    text, _ = draw(everything(models))
    return text.splitlines()


def names(lines: list[str]) -> list[str]:
    """The tree without what stands behind a version's name."""
    return [line.split("  sft")[0] for line in lines]


def test_the_tree_shows_who_stands_on_whom(models: Path) -> None:
    base, *rest = tree(models)
    assert base.startswith("org/base (")
    assert names(rest) == [
        "└─ v1",
        "   ├─ v2",
        "   │  └─ v3",
        "   └─ v2b",
        "4 versions; every hash is as recorded.",
    ]


def test_one_version_brings_its_line_and_no_cousins(models: Path) -> None:
    text, damaged = draw([models / "v3"])
    assert damaged == 0
    assert names(text.splitlines()[1:-1]) == ["└─ v1", "   └─ v2", "      └─ v3"]
    assert draw([models / "v3", models / "v2", models / "v3"])[0] == text


def test_a_line_says_what_a_version_is(models: Path) -> None:
    rows = [
        {"role": "train", "path": "x", "sha256": "0", "rows": 120},
        {"role": "replay", "path": "y", "sha256": "0", "rows": 300, "rows_drawn": 41},
    ]
    version(models / "v4", 5, models / "v3", data=rows)
    line = next(line for line in tree(models) if "─ v4" in line)
    assert line.endswith(
        "v4  sft · 50 steps · 120 rows + 41 replayed · validation loss: v4 2.500 · v4"
    )


def test_damage_stands_under_the_version_and_is_counted(models: Path) -> None:
    (models / "v2" / "adapter_model.safetensors").write_text("x", encoding="utf-8")
    version(models / "v1", 1, weights="trained again")
    text, damaged = draw(everything(models))
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if "─ v2  " in line)
    assert lines[at + 1].startswith("   │  │  DAMAGED: adapter_model.safetensors has changed")
    assert lines[at + 2].startswith("   │  │  DAMAGED: its parent was trained again")
    assert damaged == 2  # v2 and v2b
    assert lines[-1] == "4 versions; 2 damaged or stale."


def test_changed_data_is_a_note_and_no_damage(models: Path) -> None:
    path = models / "rows.jsonl"
    path.write_text("new", encoding="utf-8")
    entry = {"role": "train", "path": str(path), "sha256": sha256_text("old"), "rows": 3}
    version(models / "v2b", 3, models / "v1", data=[entry])
    text, damaged = draw(everything(models))
    assert damaged == 0
    assert f"         note: train data {path} has changed since" in text.splitlines()


def test_a_version_whose_parent_is_gone_is_shown_and_hides_no_other(models: Path) -> None:
    shutil.rmtree(models / "v2")
    text, damaged = draw(everything(models))
    lines = text.splitlines()
    assert damaged == 1
    assert names([line for line in lines if "sft" in line]) == ["├─ v1", "│  └─ v2b", "└─ v3"]
    assert any("DAMAGED: its parent is not at v2" in line for line in lines)
    assert draw([models / "v3"])[1] == 1


def test_a_circle_is_an_error(models: Path) -> None:
    import lorachain.lineage

    parent = {"name": "v3", "path": "../v3", "adapter_sha256": "x"}
    edit(lorachain.lineage.read(models / "v1"), lambda data: data.update(parent=parent))
    with pytest.raises(UserError, match="circle"):
        draw(everything(models))


def test_bases_have_trees_of_their_own(models: Path) -> None:
    base = {"name": "org/other", "fingerprint": dict.fromkeys(HASHES, "ffff")}
    version(models / "w1", 1, base=base)
    roots = [line for line in tree(models) if line.startswith("org/")]
    assert len(roots) == 2 and "org/other (ffff)" in roots


def test_a_folder_that_is_no_version_is_named(models: Path) -> None:
    (models / "x").mkdir()
    with pytest.raises(UserError, match="x is no adapter"):
        draw([models / "v1", models / "x"])


def test_the_script_exits_with_2_when_something_is_damaged(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = PROJECT_ROOT / "scripts" / "lineage.py"
    spec = importlib.util.spec_from_file_location("script_lineage", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.main(["v3"]) == 0
    assert "every hash is as recorded" in capsys.readouterr().out
    (models / "v1" / "adapter_config.json").unlink()
    assert script.main(["v3"]) == 2
    assert "DAMAGED: adapter_config.json is missing" in capsys.readouterr().out
