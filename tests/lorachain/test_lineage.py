"""A version's lineage: what is damaged, what is stale, and paths that survive a move."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorachain import lineage
from lorachain.errors import UserError
from lorachain.files import sha256_file, sha256_text
from lorachain.lineage import Lineage, ancestors, check_parent, data_notes, portable, problems
from lorachain.models import Fingerprint
from lorachain.paths import PROJECT_ROOT

BASE = {"config": "c1", "weights": "w1", "tokenizer": "t1", "template": "m1"}


def fingerprint(**changed: str) -> Fingerprint:
    return Fingerprint(**{**BASE, **changed})


def make(folder: Path, parent: Path | None = None, *, weights: str = "", **more: Any) -> Lineage:
    """A version as `finish` leaves it; its weights are a text, since nothing here loads them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_text(
        weights or f"weights of {folder.name}", encoding="utf-8"
    )
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}', encoding="utf-8")
    names = ("adapter_model.safetensors", "adapter_config.json")
    data: dict[str, Any] = {
        "format": lineage.FORMAT,
        "name": folder.name,
        "kind": "sft",
        "parent": None,
        "base": {"name": "org/base", "fingerprint": fingerprint().as_dict()},
        "data": [],
        "config": {},
        "identity": {"precision": "fp32, none"},
        "metrics": {"steps": 1, "validation_loss": {}},
        "finished": "2025-01-01T00:00:00+00:00",
        "files": {name: sha256_file(folder / name) for name in names},
    }
    if parent is not None:
        data["parent"] = {
            "name": parent.name,
            "path": portable(parent, folder),
            "adapter_sha256": lineage.read(parent).adapter_sha256,
        }
    lineage.write(folder, data | more)
    return lineage.read(folder)


@pytest.fixture
def chain(tmp_path: Path) -> list[Lineage]:
    """V1, V2 on it, V3 on that."""
    v1 = make(tmp_path / "v1")
    v2 = make(tmp_path / "v2", v1.folder)
    return [v1, v2, make(tmp_path / "v3", v2.folder)]


def edit(version: Lineage, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads((version.folder / lineage.FILE).read_text(encoding="utf-8"))
    change(data)
    (version.folder / lineage.FILE).write_text(json.dumps(data), encoding="utf-8")


def test_a_whole_chain_has_no_problems(chain: list[Lineage]) -> None:
    assert [v.name for v in ancestors(chain[2])] == ["v2", "v1"]
    assert list(ancestors(chain[0])) == []
    assert [problems(v) for v in chain] == [[], [], []]
    assert chain[1].parent == chain[0].folder and chain[0].parent is None


def test_a_changed_and_a_missing_file_are_named(chain: list[Lineage]) -> None:
    (chain[1].folder / "adapter_model.safetensors").write_text("other", encoding="utf-8")
    (chain[1].folder / "adapter_config.json").unlink()
    assert problems(chain[1]) == [
        "adapter_model.safetensors has changed since the version was finished",
        "adapter_config.json is missing",
    ]
    assert problems(chain[0]) == []


def test_a_parent_that_was_trained_again_makes_its_children_stale(chain: list[Lineage]) -> None:
    make(chain[0].folder, weights="trained again")
    assert problems(lineage.read(chain[0].folder)) == []
    assert problems(chain[1]) == ["its parent was trained again since: this version is stale"]
    assert problems(chain[2]) == []  # its own parent is as it was


def test_a_parent_that_is_gone_is_a_problem_and_ends_the_line(chain: list[Lineage]) -> None:
    shutil.rmtree(chain[0].folder)
    (problem,) = problems(chain[1])
    assert problem.startswith("its parent is not at ") and problem.endswith("v1")
    with pytest.raises(UserError, match=r"v2's parent is not at .*v1"):
        list(ancestors(chain[2]))
    assert [v.name for v in ancestors(chain[2], to_the_end=False)] == ["v2"]


def test_a_parent_that_cannot_be_read_is_a_problem(chain: list[Lineage]) -> None:
    (chain[0].folder / lineage.FILE).write_text("{", encoding="utf-8")
    (problem,) = problems(chain[1])
    assert problem.startswith("its parent cannot be read: ")


@pytest.mark.parametrize("to_the_end", [True, False])
def test_a_circle_is_an_error_and_not_an_endless_loop(
    chain: list[Lineage], to_the_end: bool
) -> None:
    parent = {"name": "v3", "path": "../v3", "adapter_sha256": "x"}
    edit(chain[0], lambda data: data.update(parent=parent))
    for version in chain:
        with pytest.raises(UserError, match="runs in a circle"):
            list(ancestors(lineage.read(version.folder), to_the_end=to_the_end))
    edit(chain[0], lambda data: data["parent"].update(path="."))
    with pytest.raises(UserError, match="runs in a circle"):
        list(ancestors(lineage.read(chain[0].folder)))


def test_a_chain_that_is_moved_as_a_whole_stays_one(chain: list[Lineage], tmp_path: Path) -> None:
    moved = tmp_path / "an other place" / "ü"
    moved.mkdir(parents=True)
    for version in chain:
        version.folder.rename(moved / version.folder.name)
    v3 = lineage.read(moved / "v3")
    assert [v.folder for v in ancestors(v3)] == [moved / "v2", moved / "v1"]
    assert problems(v3) == []


def test_a_path_is_kept_relative_and_with_forward_slashes(tmp_path: Path) -> None:
    assert portable(tmp_path / "a" / "b", tmp_path / "c") == "../a/b"
    assert portable(tmp_path / "a", tmp_path) == "a"
    assert portable(tmp_path, tmp_path) == "."
    assert portable(PROJECT_ROOT / "data" / "x.jsonl", PROJECT_ROOT) == "data/x.jsonl"


def test_data_that_is_gone_or_changed_is_noted_and_is_no_damage(tmp_path: Path) -> None:
    entries = []
    for name in ("good", "changed", "gone"):
        path = tmp_path / f"{name}.jsonl"
        path.write_text(name, encoding="utf-8")
        relative = portable(path, PROJECT_ROOT)
        entries.append({"role": "train", "path": relative, "sha256": sha256_text(name), "rows": 1})
    (tmp_path / "changed.jsonl").write_text("other", encoding="utf-8")
    (tmp_path / "gone.jsonl").unlink()
    version = make(tmp_path / "v1", data=entries)
    notes = data_notes(version)
    assert len(notes) == 2
    assert "changed.jsonl has changed since" in notes[0]
    assert "gone.jsonl is not there any more" in notes[1]
    assert problems(version) == []
    assert [e["path"] for e in version.data_files("train")] == [e["path"] for e in entries]
    assert version.data_files("replay") == []


# ---- reading


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("name"),
        lambda data: data.pop("parent"),
        lambda data: data.pop("data"),
        lambda data: data["files"].pop("adapter_model.safetensors"),
        lambda data: data["base"].pop("fingerprint"),
        lambda data: data.update(base=None),
        lambda data: data.update(parent={"name": "x"}),
        lambda data: data.update(data=[{}]),
        lambda data: data.update(files=None),
    ],
)
def test_a_lineage_that_lacks_something_is_said_to_be_damaged(
    tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    version = make(tmp_path / "v1")
    edit(version, change)
    with pytest.raises(UserError, match=r"lineage\.json is damaged"):
        lineage.read(version.folder)


@pytest.mark.parametrize("text", ["[]", "3", '"x"', "null"])
def test_a_lineage_that_is_no_object_is_said_to_be_damaged(tmp_path: Path, text: str) -> None:
    version = make(tmp_path / "v1")
    (version.folder / lineage.FILE).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"lineage\.json is damaged"):
        lineage.read(version.folder)


def test_a_lineage_of_another_format_names_both(tmp_path: Path) -> None:
    version = make(tmp_path / "v1")
    edit(version, lambda data: data.update(format=9))
    with pytest.raises(UserError, match="has format 9; this lorachain reads 1"):
        lineage.read(version.folder)


def test_what_is_no_finished_version_says_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not found"):
        lineage.read(tmp_path / "nothing")
    (tmp_path / "half" / "checkpoint-3").mkdir(parents=True)
    with pytest.raises(UserError, match=r"half is not finished.*goes on from its last checkpoint"):
        lineage.read(tmp_path / "half")
    (tmp_path / "plain").mkdir()
    with pytest.raises(UserError, match="is no adapter"):
        lineage.read(tmp_path / "plain")
    assert not lineage.is_finished(tmp_path / "half")


def test_an_adapter_of_another_tool_has_no_lineage(tmp_path: Path) -> None:
    version = make(tmp_path / "v1")
    (version.folder / lineage.FILE).unlink()
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "lora_dropout": 0}
    text = json.dumps(config | {"target_modules": ["q_proj"]})
    (version.folder / "adapter_config.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"an adapter without lineage\.json"):
        lineage.read(version.folder)


# ---- the parent contract, as far as it goes without weights


def test_a_good_parent_passes(chain: list[Lineage], tmp_path: Path) -> None:
    check_parent(chain[2], fingerprint(), "org/base", tmp_path / "v4")


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("config", "model config"),
        ("weights", "weights"),
        ("tokenizer", "tokenizer"),
        ("template", "chat template"),
    ],
)
def test_another_base_names_what_differs_and_both_bases(
    chain: list[Lineage], tmp_path: Path, part: str, said: str
) -> None:
    other = fingerprint(**{part: "x"})
    with pytest.raises(UserError) as caught:
        check_parent(chain[2], other, "org/other", tmp_path / "v4")
    text = str(caught.value)
    assert f"differs in its {said}. " in text
    assert f"org/base ({fingerprint().id})" in text and f"org/other ({other.id})" in text
    assert "--base-model org/base," in text


def test_a_base_with_a_folders_name_can_be_copied_from_the_message(
    tmp_path: Path, chain: list[Lineage]
) -> None:
    edit(chain[0], lambda data: data["base"].update(name=str(tmp_path / "my base")))
    parent = lineage.read(chain[0].folder)
    with pytest.raises(UserError, match=r'--base-model ".*my base"'):
        check_parent(parent, fingerprint(weights="x"), "org/other", tmp_path / "v4")


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_parent_that_changed_is_refused(chain: list[Lineage], tmp_path: Path, name: str) -> None:
    (chain[2].folder / name).write_text("changed", encoding="utf-8")
    with pytest.raises(UserError, match=f"is damaged: {name} has changed since"):
        check_parent(chain[2], fingerprint(), "org/base", tmp_path / "v4")


@pytest.mark.posix
def test_the_output_is_never_the_parent(chain: list[Lineage], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(chain[2].folder, target_is_directory=True)
    for output in (chain[2].folder, tmp_path / "link"):
        with pytest.raises(UserError, match="is the parent itself"):
            check_parent(chain[2], fingerprint(), "org/base", output)


@pytest.mark.parametrize(
    "key", ["name", "kind", "parent", "base", "data", "config", "identity", "metrics", "files"]
)
def test_a_lineage_without_a_key_is_damaged_and_says_so(tmp_path: Path, key: str) -> None:
    version = make(tmp_path / "v1")
    lineage.write(version.folder, {k: v for k, v in version.data.items() if k != key})
    with pytest.raises(UserError, match="is damaged: it lacks what a lineage has"):
        lineage.read(version.folder)
