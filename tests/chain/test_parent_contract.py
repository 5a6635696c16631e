"""The parent contract, clause by clause: each test breaks one, on a copy of a real parent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from chain_support import Place, lineage, tensors
from safetensors.torch import save_file

from lorachain.errors import UserError

ADAPTER = "adapter_model.safetensors"


@pytest.fixture
def parent(chain: tuple[Place, list[Path]], tmp_path: Path) -> Path:
    """A copy of V1 that a test may break."""
    copy = tmp_path / "parent"
    shutil.copytree(chain[1][0], copy)
    return copy


def rewrite_adapter(folder: Path, change: object) -> None:
    """Change the adapter's tensors and vouch for them in the lineage, as a forger would."""
    import hashlib

    content = tensors(folder)
    change(content)  # type: ignore[operator]
    save_file(content, str(folder / ADAPTER), metadata={"format": "pt"})
    edit_lineage(folder, "files", ADAPTER, hashlib.sha256((folder / ADAPTER).read_bytes()))


def edit_lineage(folder: Path, section: str, key: str, value: object) -> None:
    data = lineage(folder)
    data[section][key] = value.hexdigest() if hasattr(value, "hexdigest") else value
    (folder / "lineage.json").write_text(json.dumps(data), encoding="utf-8")


def copy_of_base(place: Place, name: str) -> Path:
    base = place.folder / name
    shutil.copytree(place.base, base)
    return base


def refuse(
    place: Place, parent: Path, sentence: str, *flags: str, sets: tuple[str, ...] = ()
) -> None:
    with pytest.raises(UserError, match=sentence):
        place.v2(parent, "v2", *flags, sets=sets)
    assert not (place.folder / "v2" / "lineage.json").exists()


def test_another_base_is_refused_before_weights_load(
    place: Place, parent: Path, tiny_qwen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lorachain.models

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(lorachain.models, "load_base", never)
    refuse(place, parent, "differs in its model config, weights", "--base-model", str(tiny_qwen))


def test_other_weights_of_the_same_shape_are_refused(place: Place, parent: Path) -> None:
    from safetensors.torch import load_file

    base = copy_of_base(place, "base2")
    file = base / "model.safetensors"
    content = load_file(str(file))
    name = next(n for n in content if n.endswith("q_proj.weight"))
    content[name] = content[name] + 0.01
    save_file(content, str(file), metadata={"format": "pt"})
    refuse(place, parent, "differs in its weights", "--base-model", str(base))


def test_another_chat_template_is_refused(place: Place, parent: Path) -> None:
    base = copy_of_base(place, "base2")
    template = base / "chat_template.jinja"
    template.write_text(template.read_text(encoding="utf-8") + " ", encoding="utf-8")
    text = template.read_text(encoding="utf-8").replace("helpful", "useful")
    template.write_text(text, encoding="utf-8")
    refuse(place, parent, "differs in its chat template", "--base-model", str(base))


def test_another_tokenizer_is_refused(place: Place, parent: Path) -> None:
    base = copy_of_base(place, "base2")
    path = base / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["model"]["merges"].pop()
    path.write_text(json.dumps(content), encoding="utf-8")
    refuse(place, parent, "differs in its tokenizer", "--base-model", str(base))


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ("lora.r=8", r"lora\.r is 8, but the parent's adapter has 4"),
        ("lora.lora_alpha=99", r"lora\.lora_alpha is 99"),
        ("lora.target_modules=[q_proj]", r"lora\.target_modules"),
        ("lora.use_dora=true", r"lora\.use_dora"),
        ("lora.use_rslora=true", r"lora\.use_rslora"),
        ("lora.layers_to_transform=[0]", r"lora\.layers_to_transform"),
    ],
)
def test_asking_for_another_adapter_shape_names_the_field(
    place: Place, parent: Path, setting: str, field: str
) -> None:
    refuse(place, parent, field, sets=(setting,))


def test_dropout_may_change_and_does(place: Place, parent: Path) -> None:
    v2 = place.v2(parent, "v2", sets=["lora.lora_dropout=0.25"])
    config = json.loads((v2 / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["lora_dropout"] == 0.25


def test_a_changed_parent_is_refused(place: Place, parent: Path) -> None:
    data = bytearray((parent / ADAPTER).read_bytes())
    data[-1] ^= 1
    (parent / ADAPTER).write_bytes(bytes(data))
    refuse(place, parent, "adapter_model.safetensors has changed since the version was finished")


@pytest.mark.parametrize("name", ["tokenizer.json", "chat_template.jinja"])
def test_a_parents_changed_or_missing_tokenizer_is_refused_before_the_training(
    place: Place, parent: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lorachain.models

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(lorachain.models, "load_base", never)
    (parent / name).write_text("changed", encoding="utf-8")
    refuse(place, parent, f"is damaged: {name} has changed since")
    (parent / name).unlink()
    refuse(place, parent, f"is damaged: {name} is missing")


def test_an_unfinished_parent_is_refused(place: Place, parent: Path) -> None:
    (parent / "lineage.json").unlink()
    refuse(place, parent, "not finished|without lineage.json")


def test_a_missing_tensor_is_refused(place: Place, parent: Path) -> None:
    rewrite_adapter(parent, lambda t: t.pop(next(iter(t))))
    refuse(place, parent, "1 tensors are missing from the file")


def test_an_extra_tensor_is_refused(place: Place, parent: Path) -> None:
    def add(content: dict[str, object]) -> None:
        name = next(iter(content))
        content[name.replace("layers.0", "layers.7")] = content[name].clone()  # type: ignore[attr-defined]

    rewrite_adapter(parent, add)
    refuse(place, parent, "fit no layer of this base")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused(place: Place, parent: Path, value: float) -> None:
    def spoil(content: dict[str, object]) -> None:
        next(iter(content.values()))[0, 0] = value  # type: ignore[index]

    rewrite_adapter(parent, spoil)
    refuse(place, parent, "NaN or infinity")


def test_a_parent_that_answers_differently_is_refused(place: Place, parent: Path) -> None:
    """Every hash vouched for, yet the logits of the fixed prompt are not the recorded ones."""

    def scale(content: dict[str, object]) -> None:
        for name in content:
            if "lora_B" in name:
                content[name] = content[name] * 3  # type: ignore[operator]

    rewrite_adapter(parent, scale)
    refuse(place, parent, "does not answer as it did")


def test_the_output_may_not_be_the_parent(place: Place, parent: Path) -> None:
    with pytest.raises(UserError, match="the parent itself"):
        place.v2(parent, "ignored", "--output", str(parent))
    assert lineage(parent)["name"] == "v1"


@pytest.mark.posix
def test_the_output_may_not_be_a_link_to_the_parent(place: Place, parent: Path) -> None:
    (place.folder / "link").symlink_to(parent, target_is_directory=True)
    with pytest.raises(UserError, match="the parent itself"):
        place.v2(parent, "link")


def test_pickles_in_a_parent_are_refused_unopened(place: Place, parent: Path) -> None:
    import os
    import pickle

    canary = place.folder / "opened"

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(canary),)

    (parent / "adapter_model.bin").write_bytes(pickle.dumps(Bomb()))
    refuse(place, parent, "pickle files.*adapter_model.bin")
    assert not canary.exists()


def test_a_parent_that_changes_while_its_child_trains_is_noticed(
    place: Place, parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorachain.training import version

    real = version.check_parent_untouched

    def meddle(stage: object) -> None:
        (parent / "chat_template.jinja").write_text("changed", encoding="utf-8")
        real(stage)  # type: ignore[arg-type]

    monkeypatch.setattr(version, "check_parent_untouched", meddle)
    refuse(place, parent, "changed while its child was trained")
