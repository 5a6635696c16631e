"""Settings: what is given arrives, what is wrong is named, all of it at once."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lorachain.config import (
    KNOWN_KEYS,
    StageConfig,
    flat,
    from_dict,
    nearest,
    resolve,
    with_values,
)
from lorachain.errors import UserError

# Another value than the default for every key. A key that is missing here fails a test below.
CHANGED: dict[str, Any] = {
    "model.base_model": "somebody/something",
    "model.source_model": "models/fine_tuned",
    "model.dtype": "fp32",
    "model.attn_implementation": "eager",
    "lora.r": 8,
    "lora.lora_alpha": 12.5,
    "lora.lora_dropout": 0.0,
    "lora.target_modules": ["q_proj", "v_proj"],
    "lora.layers_to_transform": [0, 3],
    "lora.use_rslora": True,
    "lora.use_dora": True,
    "lora.loraplus_lr_ratio": 16.0,
    "quantization.load_in_4bit": False,
    "quantization.load_in_8bit": True,
    "quantization.bnb_4bit_quant_type": "fp4",
    "quantization.bnb_4bit_use_double_quant": False,
    "quantization.bnb_4bit_compute_dtype": "fp16",
    "data.train_data": "data/a b.jsonl",
    "data.val_data": "none",
    "data.max_seq_length": 2048,
    "data.on_overlong": "truncate",
    "data.answer_schema": "envelope",
    "training.output_dir": "models/x",
    "training.num_train_epochs": 2.5,
    "training.max_steps": 7,
    "training.per_device_train_batch_size": 4,
    "training.gradient_accumulation_steps": 8,
    "training.max_tokens_per_micro_batch": 4096,
    "training.length_window": 4,
    "training.learning_rate": 1e-4,
    "training.lr_scheduler_type": "linear",
    "training.lr_scheduler_kwargs": {"num_cycles": 3},
    "training.warmup_ratio": 0.03,
    "training.warmup_steps": 5,
    "training.optim": "adamw_torch",
    "training.optim_args": "a=1,b=2",
    "training.weight_decay": 0.01,
    "training.adam_beta1": 0.8,
    "training.adam_beta2": 0.95,
    "training.adam_epsilon": 1e-6,
    "training.max_grad_norm": 0.3,
    "training.neftune_noise_alpha": 5.0,
    "training.gradient_checkpointing": True,
    "training.seed": 7,
    "training.eval_strategy": "steps",
    "training.eval_steps": 50,
    "training.load_best_model_at_end": True,
    "training.early_stopping_patience": 2,
    "training.early_stopping_threshold": 0.1,
    "training.logging_steps": 10,
    "checkpoint.save_steps": 20,
    "checkpoint.save_total_limit": 5,
    "checkpoint.resume": "exact",
    "replay.share": 0.2,
    "replay.data": ["data/a.jsonl"],
}
# What a key needs beside it, so that the settings do not contradict each other.
WITH: dict[str, dict[str, Any]] = {
    "quantization.load_in_8bit": {"quantization.load_in_4bit": False},
    "training.eval_strategy": {"training.eval_steps": 50},
    "training.eval_steps": {"training.eval_strategy": "steps"},
    "replay.share": {"model.source_model": "models/fine_tuned"},
}


def typed(value: Any) -> str:
    """A value as one types it after --set."""
    import json

    return value if isinstance(value, str) else json.dumps(value)


def yaml_file(folder: Path, text: str) -> Path:
    path = folder / "stage.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(*sets: str, file: Path | None = None, flags: dict[str, Any] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        resolve(None, file, sets, flags)
    return str(caught.value)


# --- arriving ---


def test_every_key_has_a_changed_value_here() -> None:
    assert set(CHANGED) == set(KNOWN_KEYS)
    assert not [key for key, value in flat(StageConfig()).items() if CHANGED[key] == value]


@pytest.mark.parametrize("key", KNOWN_KEYS)
@pytest.mark.parametrize("way", ["set", "flag", "yaml"])
def test_each_key_arrives_and_no_other_changes(tmp_path: Path, key: str, way: str) -> None:
    import yaml

    given = {key: CHANGED[key], **WITH.get(key, {})}
    if way == "set":
        resolved = resolve(None, sets=[f"{k}={typed(v)}" for k, v in given.items()])
    elif way == "flag":
        resolved = resolve(None, flags=given)
    else:
        nested: dict[str, dict[str, Any]] = {}
        for dotted, value in given.items():
            section, _, name = dotted.partition(".")
            nested.setdefault(section, {})[name] = value
        resolved = resolve(None, yaml_file(tmp_path, yaml.safe_dump(nested)))
    assert flat(resolved.config) == flat(StageConfig()) | given
    assert resolved.asked(key)
    assert resolved.sources == dict.fromkeys(given, "config" if way == "yaml" else way)


def test_the_documented_defaults() -> None:
    """DESIGN 4.1; a default that moves changes what a user gets from the same command."""
    found = flat(resolve(None).config)
    expected = {
        "model.base_model": "Qwen/Qwen2.5-1.5B-Instruct",
        "lora.r": 32,
        "lora.lora_alpha": 64,
        "lora.lora_dropout": 0.05,
        "quantization.load_in_4bit": True,
        "quantization.bnb_4bit_quant_type": "nf4",
        "quantization.bnb_4bit_use_double_quant": True,
        "training.optim": "paged_adamw_8bit",
        "training.learning_rate": 5e-5,
        "training.lr_scheduler_type": "cosine",
        "training.warmup_ratio": 0.1,
        "training.per_device_train_batch_size": 1,
        "training.gradient_accumulation_steps": 16,
        "training.num_train_epochs": 2,
        "checkpoint.save_steps": 200,
        "checkpoint.save_total_limit": 3,
        "checkpoint.resume": "weights",
        "training.seed": 42,
    }
    assert {key: found[key] for key in expected} == expected
    assert resolve(None).sources == {}


@pytest.mark.parametrize(
    "text", ["1e-5", "1E-5", "1.e-5", "1.0e-5", "+1e-5", "0.00001", ".1e-4", "10e-6"]
)
def test_a_number_is_a_number_however_it_is_spelled(tmp_path: Path, text: str) -> None:
    path = yaml_file(tmp_path, f"training:\n  learning_rate: {text}\n")
    assert resolve(None, path).config.training.learning_rate == pytest.approx(1e-5)
    sets = [f"training.learning_rate={text}"]
    assert resolve(None, sets=sets).config.training.learning_rate == pytest.approx(1e-5)


def test_a_number_is_a_number_inside_a_setting_too(tmp_path: Path) -> None:
    """Where no type is known to make one of it: YAML 1.1 reads 1e-7 as a text."""
    path = yaml_file(tmp_path, "training:\n  lr_scheduler_kwargs: {min_lr: 1e-7}\n")
    for resolved in (
        resolve(None, path),
        resolve(None, sets=["training.lr_scheduler_kwargs={min_lr: 1e-7}"]),
    ):
        assert resolved.config.training.lr_scheduler_kwargs == {"min_lr": 1e-7}


# --- which one counts ---


def test_flag_beats_set_beats_yaml_beats_default(tmp_path: Path) -> None:
    default = tmp_path / "default.yaml"
    default.write_text("training: {seed: 1, logging_steps: 1}\nlora: {r: 1}\n", encoding="utf-8")
    named = yaml_file(
        tmp_path, "training: {seed: 2, save_steps: 2}\n".replace(", save_steps: 2", "")
    )
    sets, flags = ["training.seed=3"], {"training.seed": 4}

    def seed(*args: Any) -> tuple[int, str]:
        resolved = resolve(*args)
        return resolved.config.training.seed, resolved.sources["training.seed"]

    assert resolve(None).config.training.seed == 42
    assert seed(default) == (1, "default")
    assert seed(default, named) == (2, "config")
    assert seed(default, named, sets) == (3, "set")
    assert seed(default, named, sets, flags) == (4, "flag")
    assert seed(default, named, sets, {"training.seed": None}) == (3, "set")
    assert seed(default, None, ["training.seed=5", "training.seed=6"]) == (6, "set")
    resolved = resolve(default, named)
    assert resolved.config.lora.r == 32  # a config that is named is read instead of the default
    assert not resolve(default).asked("lora.r")
    assert resolved.asked("training.seed")
    assert not resolved.asked("lora.r")


def test_false_zero_and_empty_are_values() -> None:
    flags = {"quantization.load_in_4bit": False, "training.seed": 0, "replay.data": []}
    resolved = resolve(None, flags=flags)
    assert flat(resolved.config) == flat(StageConfig()) | flags
    assert all(resolved.asked(key) for key in flags)


@pytest.mark.parametrize("key", ["training.learning-rate", " training.learning_rate "])
def test_hyphens_in_a_set_are_accepted(key: str) -> None:
    assert resolve(None, sets=[f"{key}=1e-3"]).config.training.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("typed_text", "value"),
    [
        ("data/my #1.jsonl", "data/my #1.jsonl"),
        ("C:\\Users\\Zoë Å\\a b.jsonl", "C:\\Users\\Zoë Å\\a b.jsonl"),
        ("a=b.jsonl", "a=b.jsonl"),
        ("'quoted # text'", "quoted # text"),
        ('"tab\\tbed"', "tab\tbed"),
        ("null", None),
        ("", None),
    ],
)
def test_a_text_after_set_is_what_was_typed(typed_text: str, value: Any) -> None:
    resolved = resolve(None, sets=[f"data.train_data={typed_text}"])
    assert resolved.config.data.train_data == value


# --- what is wrong ---


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("training.lerning_rate", "training.learning_rate"),
        ("training.learningrate", "training.learning_rate"),
        ("learning_rate", "training.learning_rate"),
        ("train.learning_rate", "training.learning_rate"),
        ("lora.lora_r", "lora.r"),
        ("lora.alpha", "lora.lora_alpha"),
        ("lora.dropout", "lora.lora_dropout"),
        ("training.batch_size", "training.per_device_train_batch_size"),
        ("training.epochs", "training.num_train_epochs"),
        ("data.max_length", "data.max_seq_length"),
        ("model.max_seq_length", "data.max_seq_length"),
        ("quantization.load_in_4_bit", "quantization.load_in_4bit"),
        ("checkpoint.save_step", "checkpoint.save_steps"),
    ],
)
def test_an_unknown_key_names_the_nearest(tmp_path: Path, given: str, meant: str) -> None:
    says = f"unknown setting {given} (did you mean {meant}?)"
    assert f"--set: {says}" in refusal(f"{given}=1")
    section, _, name = given.rpartition(".")
    if section in StageConfig.model_fields:
        path = yaml_file(tmp_path, f"{section}:\n  {name}: 1\n")
        assert f"stage.yaml: {says}" in refusal(file=path)


def test_a_key_that_is_like_none_names_none() -> None:
    assert nearest("zzzzzz") == ""
    assert "did you mean" not in refusal("zzzzzz=1")


def test_a_section_is_no_setting() -> None:
    with pytest.raises(UserError, match=r"training \(training is a section: name a setting in it"):
        resolve(None, None, ["training=5"])


def test_an_unknown_section_names_the_nearest(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, "trainning:\n  seed: 1\n")
    assert "unknown section trainning (did you mean training?)" in refusal(file=path)
    assert "unknown setting training" in refusal("training=1")


def test_all_problems_at_once(tmp_path: Path) -> None:
    path = yaml_file(
        tmp_path,
        "traning: {}\nlora: [1]\ntraining:\n  learning_rate: fast\n  sed: 1\n  seed: -1\n"
        "data: {on_overlong: cut}\n",
    )
    found = refusal("lora.rr=1", "nonsense", "lora.r=: :", "lora.lora_dropout=1.5", file=path)
    for part in (
        "unknown section traning",
        "section lora must hold settings, got [1]",
        "training.learning_rate: ",
        "got 'fast'",
        "unknown setting training.sed (did you mean training.seed?)",
        "training.seed: ",
        "got -1",
        "data.on_overlong: ",
        "got 'cut'",
        "--set: unknown setting lora.rr",
        "--set nonsense: expected section.key=value",
        "--set lora.r=: :: the value cannot be read",
        "lora.lora_dropout: ",
    ):
        assert part in found, part
    assert len(found.splitlines()) == 1 + 10


BAD = [
    ("lora.r", 0),
    ("lora.r", 8.5),
    ("lora.r", True),
    ("lora.r", None),
    ("lora.lora_alpha", 0),
    ("lora.lora_alpha", True),
    ("lora.lora_dropout", 1),
    ("lora.target_modules", "all"),
    ("lora.layers_to_transform", [-1]),
    ("lora.use_dora", "perhaps"),
    ("lora.loraplus_lr_ratio", 0.5),
    ("model.base_model", None),
    ("model.base_model", 7),
    ("model.dtype", "float16"),
    ("quantization.bnb_4bit_quant_type", "int4"),
    ("data.max_seq_length", 7),
    ("training.learning_rate", 0),
    ("training.learning_rate", float("inf")),
    ("training.learning_rate", float("nan")),
    ("training.learning_rate", True),
    ("training.num_train_epochs", 0),
    ("training.max_steps", 0),
    ("training.max_steps", False),
    ("training.max_tokens_per_micro_batch", "many"),
    ("training.max_tokens_per_micro_batch", True),
    ("training.warmup_ratio", 1.0),
    ("training.warmup_steps", -1),
    ("training.seed", -1),
    ("training.lr_scheduler_kwargs", "a"),
    ("training.gradient_checkpointing", "perhaps"),
    ("checkpoint.save_total_limit", 0),
    ("checkpoint.resume", "best"),
    ("replay.share", 1),
    ("replay.data", "one.jsonl"),
]


@pytest.mark.parametrize(("key", "value"), BAD, ids=str)
def test_a_bad_value_is_named_with_its_key(key: str, value: Any) -> None:
    assert f"  {key}: " in refusal(flags={key: value}) if value is not None else True
    if value is None:
        assert f"  {key}: " in refusal(f"{key}=null")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"quantization.load_in_8bit": True},
            "load_in_4bit and quantization.load_in_8bit are both",
        ),
        ({"training.eval_strategy": "steps"}, "set training.eval_steps too"),
        ({"training.eval_steps": 5}, "read only with training.eval_strategy: steps"),
        (
            {"training.eval_strategy": "no", "training.early_stopping_patience": 1},
            "training.early_stopping_patience needs an evaluation",
        ),
        (
            {"training.eval_strategy": "no", "training.load_best_model_at_end": True},
            "training.load_best_model_at_end needs an evaluation",
        ),
        ({"replay.share": 0.2}, "replay.share needs a parent"),
    ],
)
def test_contradictions_are_refused(given: dict[str, Any], says: str) -> None:
    assert says in refusal(flags=given)


def test_several_contradictions_are_told_together() -> None:
    found = refusal("replay.share=0.2", "training.eval_strategy=steps")
    assert "replay.share needs" in found
    assert "set training.eval_steps too" in found


def test_replay_with_rows_of_its_own_needs_no_parent() -> None:
    resolve(None, flags={"replay.share": 0.2, "replay.data": ["a.jsonl"]})


# --- files ---


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("training: [", "is not valid YAML"),
        ("- a\n- b\n", "must hold sections"),
        ("just text", "must hold sections"),
        ("training: !!python/object/apply:os.mkdir [x]", "is not valid YAML"),
        ("training:\n  seed: 1\n  seed: 2\n", "seed stands here twice"),
        ("training:\n  seed: 1\nlora:\n  r: 8\ntraining:\n  seed: 2\n", "training stands here"),
        ("? [a, b]\n: 1\n", "is not valid YAML"),
    ],
)
def test_a_file_that_is_no_config(tmp_path: Path, text: str, says: str) -> None:
    assert says in refusal(file=yaml_file(tmp_path, text))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "Config file not found" in refusal(file=tmp_path / "none.yaml")
    assert "cannot be read" in refusal(file=tmp_path)
    (tmp_path / "latin.yaml").write_bytes("model: {base_model: Zoë}".encode("latin-1"))
    assert "cannot be read" in refusal(file=tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "training:\n", "\ufefftraining:\n  seed: 42\n"]
)
def test_a_file_that_changes_nothing(tmp_path: Path, text: str) -> None:
    assert resolve(None, yaml_file(tmp_path, text)).config == StageConfig()


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    path = yaml_file(
        tmp_path,
        "training: &t\n  seed: 7\ncheckpoint:\n  save_steps: 9\nlora: {r: 8, use_dora: no}\n",
    )
    config = resolve(None, path).config
    assert (config.training.seed, config.checkpoint.save_steps, config.lora.r) == (7, 9, 8)
    assert config.lora.use_dora is False


# --- what is kept ---


def test_settings_are_frozen() -> None:
    config = resolve(None).config
    with pytest.raises(ValidationError, match="frozen"):
        config.training.seed = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        config.training = config.training  # type: ignore[misc]


def test_no_two_configs_share_a_list_or_dict() -> None:
    one, other = resolve(None).config, resolve(None).config
    one.replay.data.append("x")
    one.training.lr_scheduler_kwargs["x"] = 1
    assert other.replay.data == []
    assert other.training.lr_scheduler_kwargs == {}
    assert StageConfig().replay.data == []


def test_saved_settings_are_read_back() -> None:
    import json

    sets = [f"{k}={typed(v)}" for k, v in CHANGED.items()]
    config = resolve(None, sets=sets).config
    saved = json.loads(json.dumps(config.model_dump(mode="json")))
    assert from_dict(saved, "v1") == config
    saved["training"]["sed"] = 1
    with pytest.raises(UserError, match=r"v1: the saved settings cannot be read: training\.sed"):
        from_dict(saved, "v1")


def test_values_changed_later_are_checked_again() -> None:
    resolved = with_values(resolve(None), {"lora.r": 4}, "inherited")
    assert resolved.config.lora.r == 4
    assert resolved.sources == {"lora.r": "inherited"}
    with pytest.raises(UserError, match=r"lora\.r"):
        with_values(resolved, {"lora.r": 0}, "inherited")
    with pytest.raises(UserError, match="both true"):
        with_values(resolved, {"quantization.load_in_8bit": True}, "inherited")


def test_every_setting_has_a_type_and_every_section_a_docstring() -> None:
    for name, section in StageConfig.model_fields.items():
        assert section.annotation.__doc__, name
        assert typing.get_type_hints(section.annotation)


@pytest.mark.parametrize("text", ["no", "'no'", "No", "off"])
def test_no_evaluation_may_be_asked_for_as_it_is_written(text: str, tmp_path: Path) -> None:
    """YAML reads a plain `no` as false, and `no` is one of this setting's values."""
    (tmp_path / "c.yaml").write_text(f"training: {{eval_strategy: {text}}}\n", encoding="utf-8")
    assert resolve(None, tmp_path / "c.yaml").config.training.eval_strategy == "no"
    found = resolve(None, None, [f"training.eval_strategy={text}"])
    assert found.config.training.eval_strategy == "no"
