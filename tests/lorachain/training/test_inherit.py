"""What a continued stage takes from its parent, what it may change, and what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from evaluation_support import version_on

from lorachain import lineage
from lorachain.config import KNOWN_KEYS, Resolved, from_dict, resolve
from lorachain.errors import UserError
from lorachain.lineage import Lineage
from lorachain.training.command import DEFAULT_CONFIG
from lorachain.training.inherit import format_table, inherit

PARENT = [
    "lora.loraplus_lr_ratio=16",
    "training.learning_rate=1e-3",
    "training.seed=7",
]


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Lineage:
    """A version with a shape of its own: r 6, alpha 9, three target modules, one of two layers."""
    folder = tmp_path_factory.mktemp("versions") / "v1"
    shape = {"lora_alpha": 9, "layers_to_transform": [1], "lora_dropout": 0.2}
    version_on(tiny_base, folder, r=6, **shape)
    data = dict(lineage.read(folder).data)
    data["config"] = resolve(None, None, PARENT).config.model_dump(mode="json")
    lineage.write(folder, data)
    return lineage.read(folder)


def asked(*sets: str) -> Resolved:
    return resolve(DEFAULT_CONFIG, None, sets)


def value(resolved: Resolved, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(resolved.config, section), name)


def test_the_shape_and_the_base_are_the_parents(parent: Lineage, tiny_base: Path) -> None:
    merged, _ = inherit(asked(), parent)
    assert value(merged, "lora.r") == 6
    assert value(merged, "lora.lora_alpha") == 9
    assert value(merged, "lora.lora_dropout") == 0.2
    assert value(merged, "lora.target_modules") == ["down_proj", "q_proj", "v_proj"]
    assert value(merged, "lora.layers_to_transform") == [1]
    assert value(merged, "lora.loraplus_lr_ratio") == 16
    assert value(merged, "model.base_model") == str(tiny_base)


def test_what_does_not_shape_the_adapter_is_not_the_parents(parent: Lineage) -> None:
    """A new stage has a schedule of its own: rate and seed come from this stage's config."""
    merged, _ = inherit(asked(), parent)
    assert value(merged, "training.learning_rate") == 5e-5
    assert value(merged, "training.seed") == 42


def test_a_default_never_contradicts_the_parent_but_what_is_asked_for_does(
    parent: Lineage,
) -> None:
    assert asked().config.lora.r == 32  # the default file's own value, passed over
    with pytest.raises(UserError) as caught:
        inherit(asked("lora.r=32", "lora.target_modules=[q_proj]", "lora.use_dora=true"), parent)
    said = str(caught.value)
    assert "lora.r is 32, but the parent's adapter has 6" in said
    assert "lora.target_modules is q_proj, but the parent's adapter has down_proj, q_proj" in said
    assert "lora.use_dora is True, but the parent's adapter has False" in said
    assert "lora.lora_alpha" not in said and "v1" in said


def test_a_config_file_that_the_user_named_counts_as_asked(parent: Lineage, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("lora: {r: 8}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"lora\.r is 8"):
        inherit(resolve(DEFAULT_CONFIG, tmp_path / "mine.yaml"), parent)


@pytest.mark.parametrize(
    "setting",
    [
        "lora.r=6",
        "lora.lora_alpha=9.0",
        "lora.target_modules=[v_proj, q_proj, down_proj]",
        "lora.target_modules=auto",
        "lora.layers_to_transform=[1]",
    ],
)
def test_asking_for_what_the_parent_has_is_no_contradiction(parent: Lineage, setting: str) -> None:
    merged, _ = inherit(asked(setting), parent)
    assert value(merged, "lora.target_modules") and value(merged, "lora.r") == 6
    assert sorted(value(merged, "lora.target_modules")) == ["down_proj", "q_proj", "v_proj"]


@pytest.mark.parametrize(("key", "new"), [("lora_dropout", 0.0), ("loraplus_lr_ratio", 4.0)])
def test_what_acts_in_training_alone_may_change(parent: Lineage, key: str, new: float) -> None:
    merged, table = inherit(asked(f"lora.{key}={new}"), parent)
    assert value(merged, f"lora.{key}") == new
    assert {s.key: s.origin for s in table}[f"lora.{key}"] == "overridden"


def test_another_base_is_left_for_the_parent_contract_to_refuse(parent: Lineage) -> None:
    merged, _ = inherit(asked("model.base_model=other"), parent)
    assert merged.config.model.base_model == "other"


def test_the_table_has_every_setting_once_with_its_value_and_origin(parent: Lineage) -> None:
    merged, table = inherit(asked("training.learning_rate=1e-4", "training.seed=7"), parent)
    assert [setting.key for setting in table] == list(KNOWN_KEYS)
    origins = {setting.key: setting.origin for setting in table}
    assert origins["lora.r"] == origins["model.base_model"] == "inherited"
    assert origins["training.learning_rate"] == "overridden"
    assert origins["training.seed"] == "as given"  # asked for, and the same as the parent's
    assert origins["training.weight_decay"] == "as given"
    by_default = {setting.key: setting for setting in inherit(asked(), parent)[1]}
    assert by_default["training.seed"] == ("training.seed", 42, "as given")  # the parent's is 7
    assert all(setting.value == value(merged, setting.key) for setting in table)


def test_the_table_is_one_readable_line_a_setting(parent: Lineage) -> None:
    _, table = inherit(asked(), parent)
    lines = format_table(table).splitlines()
    assert len(lines) == len(KNOWN_KEYS)
    said = {" ".join(line.split()) for line in lines}
    assert "lora.target_modules inherited down_proj, q_proj, v_proj" in said
    assert "training.max_steps as given not set" in said
    assert "replay.data as given none" in said
    assert (
        len({line.index(setting.origin) for line, setting in zip(lines, table, strict=True)}) == 1
    )


def test_the_merged_settings_can_be_saved_and_read_again(parent: Lineage) -> None:
    merged, _ = inherit(asked(), parent)
    assert from_dict(merged.config.model_dump(mode="json"), "here") == merged.config
