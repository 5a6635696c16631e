"""Every YAML that ships: it loads, says what it is documented to say, and hides no misspelling."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from lorachain import yamlfile
from lorachain.config import KNOWN_KEYS, flat, resolve
from lorachain.errors import UserError
from lorachain.paths import CONFIGS, PROJECT_ROOT

ALL = sorted([*CONFIGS.rglob("*.yaml"), *CONFIGS.rglob("*.yml")])
STAGES = sorted(
    path
    for pattern in ("training_config.yaml", "train_lora_*.yaml", "quickstart*.yaml")
    for path in CONFIGS.glob(pattern)
)


def names(paths: list[Path]) -> set[str]:
    return {path.name for path in paths}


@pytest.fixture(params=STAGES, ids=lambda path: path.name)
def stage(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def changed(stage: Path, folder: Path, change: Any) -> Path:
    import yaml

    settings = yamlfile.read(stage, "Config file")
    change(settings)
    path = folder / stage.name
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def test_the_configs_are_found() -> None:
    assert {"training_config.yaml", "train_lora_v3.yaml", "train_lora_v4.yaml"} <= names(STAGES)
    assert set(STAGES) <= set(ALL)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_every_yaml_can_be_read(path: Path) -> None:
    assert isinstance(yamlfile.read(path, "Config file"), dict)


def test_a_stage_loads_and_every_value_arrives(stage: Path) -> None:
    resolved = resolve(None, stage)
    found = flat(resolved.config)
    given = {
        f"{section}.{key}": value
        for section, keys in yamlfile.read(stage, "Config file").items()
        for key, value in keys.items()
    }
    assert given
    assert {key: found[key] for key in given} == given
    assert set(resolved.sources) == set(given)


def test_an_unknown_key_in_a_stage_names_the_nearest(stage: Path, tmp_path: Path) -> None:
    path = changed(
        stage, tmp_path, lambda s: s.setdefault("training", {}).update(lerning_rate=1e-4)
    )
    with pytest.raises(UserError, match=r"lerning_rate \(did you mean training\.learning_rate\?\)"):
        resolve(None, path)


def test_an_unknown_section_in_a_stage_names_the_nearest(stage: Path, tmp_path: Path) -> None:
    path = changed(stage, tmp_path, lambda s: s.update(trainning={"seed": 1}))
    with pytest.raises(UserError, match=r"section trainning \(did you mean training\?\)"):
        resolve(None, path)


def test_every_misspelled_key_in_a_stage_is_refused(stage: Path, tmp_path: Path) -> None:
    sections = yamlfile.read(stage, "Config file")
    for section, keys in sections.items():
        for key in keys:

            def misspell(settings: Any, section: str = section, key: str = key) -> None:
                settings[section][f"{key}x"] = settings[section].pop(key)

            with pytest.raises(UserError, match=f"unknown setting {section}.{key}x"):
                resolve(None, changed(stage, tmp_path, misspell))


def test_the_default_config_says_what_is_documented() -> None:
    config = resolve(CONFIGS / "training_config.yaml").config
    assert config.model.base_model == "Qwen/Qwen2.5-1.5B-Instruct"
    assert (config.lora.r, config.lora.lora_alpha, config.lora.lora_dropout) == (32, 64, 0.05)
    assert config.lora.target_modules == [
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    ]
    assert config.quantization.load_in_4bit
    assert config.quantization.bnb_4bit_quant_type == "nf4"
    assert config.quantization.bnb_4bit_use_double_quant
    training = config.training
    assert (training.learning_rate, training.lr_scheduler_type) == (5e-5, "cosine")
    assert (training.warmup_ratio, training.num_train_epochs, training.seed) == (0.1, 2, 42)
    assert training.per_device_train_batch_size * training.gradient_accumulation_steps == 16
    assert training.optim == "paged_adamw_8bit"
    assert (config.checkpoint.save_steps, config.checkpoint.save_total_limit) == (200, 3)
    assert config.checkpoint.resume == "weights"


@pytest.mark.parametrize(("name", "epochs"), [("train_lora_v3.yaml", 5), ("train_lora_v4.yaml", 7)])
def test_the_recipes_say_what_is_documented(name: str, epochs: int) -> None:
    config = resolve(None, CONFIGS / name).config
    assert config.data.max_seq_length == 2048
    assert config.training.num_train_epochs == epochs
    assert config.training.gradient_accumulation_steps == 8
    assert (config.training.warmup_steps or config.training.warmup_ratio) > 0


def test_every_setting_is_read_by_something() -> None:
    """Outside of the settings' own module each is taken by its name somewhere in the library."""
    trees = [
        ast.parse(path.read_text(encoding="utf-8"))
        for path in (PROJECT_ROOT / "src" / "lorachain").rglob("*.py")
        if path.name != "config.py"
    ]
    taken = {n.attr for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    unread = [key for key in KNOWN_KEYS if key.partition(".")[2] not in taken]
    assert unread == [], "settings that nothing reads"
