"""A stage's settings: one YAML per stage, typed, frozen, every problem reported at once.

Names are those of TrainingArguments, LoraConfig and BitsAndBytesConfig. A flag beats `--set`,
which beats the YAML, which beats the default.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from lorachain import yamlfile
from lorachain.errors import UserError
from lorachain.paths import shown

Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Auto = Literal["auto"]


class Section(BaseModel):
    """Frozen, and an unknown key is an error. Numbers are finite, and true is not 1."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[str(info.field_name)].annotation
        if value is False and "no" in get_args(annotation):
            return "no"  # YAML reads a plain `no` as false
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise ValueError("this setting is not a matter of true or false")
        return value


class ModelSection(Section):
    """Which model is trained, and in which precision it is held."""

    base_model: str = "Qwen/Qwen2.5-1.5B-Instruct"
    source_model: str | None = None
    dtype: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    attn_implementation: Literal["auto", "sdpa", "eager"] = "auto"


class LoraSection(Section):
    """The adapter's shape. A later version has its parent's."""

    r: Positive = 32
    lora_alpha: Annotated[float, Field(gt=0)] = 64
    lora_dropout: Share = 0.05
    target_modules: Auto | list[str] = "auto"
    layers_to_transform: Annotated[list[Natural], Field(min_length=1)] | None = None
    use_rslora: bool = False
    use_dora: bool = False
    loraplus_lr_ratio: Annotated[float, Field(ge=1)] | None = None


class QuantizationSection(Section):
    """How the frozen base is stored."""

    load_in_4bit: bool = True
    load_in_8bit: bool = False
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = "nf4"
    bnb_4bit_use_double_quant: bool = True
    bnb_4bit_compute_dtype: Literal["auto", "bf16", "fp16", "fp32"] = "auto"


class DataSection(Section):
    """What is trained on. Paths in a YAML are relative to the project."""

    train_data: str | None = None
    val_data: str | None = None
    max_seq_length: Annotated[int, Field(ge=8)] = 1024
    on_overlong: Literal["error", "drop", "truncate"] = "error"
    answer_schema: str | None = None  # of rows that name none: configs/schemas, or a .json file


class TrainingSection(Section):
    """How it is trained. One optimizer step trains on batch size x accumulation rows."""

    output_dir: str | None = None
    num_train_epochs: Annotated[float, Field(gt=0)] = 2
    max_steps: Annotated[int, Field(ge=1)] | None = None
    per_device_train_batch_size: Positive = 1
    gradient_accumulation_steps: Positive = 16
    max_tokens_per_micro_batch: Auto | Positive = "auto"
    length_window: Positive = 1  # steps whose rows are sorted by length and dealt out again
    learning_rate: Annotated[float, Field(gt=0)] = 5e-5
    lr_scheduler_type: str = "cosine"
    lr_scheduler_kwargs: dict[str, Any] = Field(default_factory=dict)
    warmup_ratio: Share = 0.1
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    optim: str = "paged_adamw_8bit"
    optim_args: str | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    adam_beta1: Share = 0.9
    adam_beta2: Share = 0.999
    adam_epsilon: Annotated[float, Field(gt=0)] = 1e-8
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    neftune_noise_alpha: Annotated[float, Field(gt=0)] | None = None
    gradient_checkpointing: Auto | bool = "auto"
    seed: Annotated[int, Field(ge=0)] = 42
    eval_strategy: Literal["no", "steps", "epoch"] = "epoch"
    eval_steps: Positive | None = None
    load_best_model_at_end: bool = False
    early_stopping_patience: Positive | None = None
    early_stopping_threshold: Annotated[float, Field(ge=0)] = 0.0
    logging_steps: Positive = 1


class CheckpointSection(Section):
    """What a run that stops can go on from."""

    save_steps: Positive = 200
    save_total_limit: Positive = 3
    resume: Literal["weights", "exact"] = "weights"


class ReplaySection(Section):
    """Earlier data mixed into a later version's, against forgetting."""

    share: Share = 0.0
    data: list[str] = Field(default_factory=list)


class StageConfig(Section):
    """Everything that shapes one stage."""

    model: ModelSection = ModelSection()
    lora: LoraSection = LoraSection()
    quantization: QuantizationSection = QuantizationSection()
    data: DataSection = DataSection()
    training: TrainingSection = TrainingSection()
    checkpoint: CheckpointSection = CheckpointSection()
    replay: ReplaySection = ReplaySection()

    @model_validator(mode="after")
    def _no_contradictions(self) -> StageConfig:
        problems = list(_contradictions(self))
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _contradictions(config: StageConfig) -> Iterator[str]:
    training, quantization = config.training, config.quantization
    if quantization.load_in_4bit and quantization.load_in_8bit:
        yield (
            "quantization.load_in_4bit and quantization.load_in_8bit are both true; choose one "
            "(for 8-bit: load_in_4bit: false)"
        )
    if training.eval_strategy == "steps" and training.eval_steps is None:
        yield "training.eval_strategy is steps; set training.eval_steps too"
    if training.eval_strategy != "steps" and training.eval_steps is not None:
        yield "training.eval_steps is read only with training.eval_strategy: steps"
    if training.eval_strategy == "no" and training.early_stopping_patience is not None:
        yield "training.early_stopping_patience needs an evaluation; eval_strategy is no"
    if training.eval_strategy == "no" and training.load_best_model_at_end:
        yield "training.load_best_model_at_end needs an evaluation; eval_strategy is no"
    if config.replay.share > 0 and config.model.source_model is None and not config.replay.data:
        yield "replay.share needs a parent (--source-model) or rows of its own (replay.data)"


@dataclass(frozen=True)
class Resolved:
    """A stage's settings and where each came from: default, config, set or flag."""

    config: StageConfig
    sources: Mapping[str, str]

    def asked(self, key: str) -> bool:
        """Whether the user asked for this key, rather than leaving it to a default."""
        return self.sources.get(key, "default") != "default"


def flat(config: StageConfig) -> dict[str, Any]:
    """{'training.learning_rate': 5e-05, ...} for every key."""
    return {
        f"{section}.{key}": value
        for section, keys in config.model_dump(mode="json").items()
        for key, value in keys.items()
    }


KNOWN_KEYS = tuple(flat(StageConfig()))

# What may differ between a checkpoint and the run that goes on from it. Data, base and parent are
# compared by their hashes instead of their paths.
NOT_SHAPING = frozenset(
    {
        "model.base_model",
        "model.source_model",
        "data.train_data",
        "data.val_data",
        "data.answer_schema",
        "replay.data",
        "training.output_dir",
        "training.logging_steps",
        # They cut the same steps into other pieces: what to change when memory runs out.
        "training.gradient_checkpointing",
        "training.max_tokens_per_micro_batch",
        "checkpoint.save_steps",
        "checkpoint.save_total_limit",
    }
)


def shaping(config: StageConfig) -> dict[str, Any]:
    """The settings that shape a run: a checkpoint of another value is another run's."""
    return {key: value for key, value in flat(config).items() if key not in NOT_SHAPING}


def resolve(
    default_file: Path | None,
    config_file: Path | None = None,
    sets: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Resolved:
    """Put a stage's settings together.

    `default_file` counts as a default; `config_file` (the file that the user named, read instead
    of it) as asked for. `sets` are `section.key=value` texts; `flags` maps dotted keys to values,
    None meaning that the flag was not given. `defaults` are the script's own, by dotted keys:
    everything beats them.

    Raises UserError with every unknown key (and the nearest valid one) and every bad value.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    problems: list[str] = []

    def take(found: Mapping[str, Any], source: str, where: str) -> None:
        for key, value in found.items():
            if key in KNOWN_KEYS:
                values[key] = value
                sources[key] = source
            else:
                problems.append(f"{where}: unknown setting {key}{nearest(key)}")

    take(defaults or {}, "default", "default")
    if config_file is not None:
        take(read_yaml(config_file, problems), "config", shown(config_file))
    elif default_file is not None:
        take(read_yaml(default_file, problems), "default", shown(default_file))
    for text in sets:
        key, equals, raw = text.partition("=")
        if not equals:
            problems.append(f"--set {text}: expected section.key=value")
            continue
        try:
            take({key.strip().replace("-", "_"): yamlfile.typed(raw)}, "set", "--set")
        except yamlfile.YAMLError:
            problems.append(f"--set {text}: the value cannot be read")
    take({k: v for k, v in (flags or {}).items() if v is not None}, "flag", "flag")
    return Resolved(_build(values, problems), sources)


def with_values(resolved: Resolved, changed: Mapping[str, Any], source: str) -> Resolved:
    """The same settings with some keys changed, validated again."""
    values = flat(resolved.config) | dict(changed)
    sources = dict(resolved.sources) | dict.fromkeys(changed, source)
    return Resolved(_build(values, []), sources)


def from_dict(config: Mapping[str, Any], where: str) -> StageConfig:
    """Read a config that was saved with a version. Raises UserError naming `where`."""
    try:
        return StageConfig.model_validate(config)
    except ValidationError as error:
        raise UserError(
            f"{where}: the saved settings cannot be read: {_sentences(error)[0]}"
        ) from None


def _build(values: Mapping[str, Any], problems: list[str]) -> StageConfig:
    nested: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        nested.setdefault(section, {})[name] = value
    try:
        config = StageConfig.model_validate(nested)
    except ValidationError as error:
        problems = [*problems, *_sentences(error)]
        config = None
    if problems or config is None:
        raise UserError("The settings cannot be used:\n" + "\n".join(f"  {p}" for p in problems))
    return config


def _sentences(error: ValidationError) -> list[str]:
    sentences = []
    for item in error.errors(include_url=False, include_context=False):
        place = ".".join(str(part) for part in item["loc"][:2])
        message = item["msg"].removeprefix("Value error, ")
        given = f", got {item['input']!r}" if place else ""
        sentences.append(f"{place}: {message}{given}" if place else message)
    return list(dict.fromkeys(sentences))


def read_yaml(path: Path, problems: list[str]) -> dict[str, Any]:
    """A YAML file of sections as dotted keys. Raises UserError when it cannot be read."""
    loaded = yamlfile.read(path, "Config file")
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise UserError(f"Config file {shown(path)} must hold sections (model:, lora:, ...).")
    found: dict[str, Any] = {}
    for section, keys in loaded.items():
        if section not in StageConfig.model_fields:
            problems.append(f"{shown(path)}: unknown section {section}{nearest(str(section))}")
        elif keys is not None and not isinstance(keys, dict):
            problems.append(f"{shown(path)}: section {section} must hold settings, got {keys!r}")
        else:
            found |= {f"{section}.{key}": value for key, value in (keys or {}).items()}
    return found


def nearest(key: str) -> str:
    """' (did you mean ...?)' for a mistyped key, or nothing when none is near."""
    section, _, bare = key.rpartition(".")
    if key in StageConfig.model_fields:
        return f" ({key} is a section: name a setting in it)"

    def likeness(known: str) -> float:
        home, _, name = known.rpartition(".")
        like = difflib.SequenceMatcher(None, bare, name).ratio()
        if f"_{bare}_" in f"_{name}_" or f"_{name}_" in f"_{bare}_":  # batch_size, lora_r
            like = max(like, 0.8)
        return like + (0.1 if like > 0.5 and home == section else 0)

    best = max((k for k in (*KNOWN_KEYS, *StageConfig.model_fields) if k != key), key=likeness)
    return f" (did you mean {best}?)" if likeness(best) > 0.65 else ""
