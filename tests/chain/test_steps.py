"""An optimizer step is the same however its rows are cut; what is optional really arrives."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from chain_support import Place, largest_difference, lineage, tensors

from lorachain.errors import UserError


def with_batch(rows: int, accumulation: int) -> list[str]:
    return [
        f"training.per_device_train_batch_size={rows}",
        f"training.gradient_accumulation_steps={accumulation}",
    ]


def test_1x16_8x2_and_16x1_take_the_same_steps(place: Place) -> None:
    """The same rows, the same weights to float rounding, from one row at a time to all at once."""
    epochs = ["training.num_train_epochs=3"]
    one = place.v1("a", sets=[*epochs, *with_batch(1, 16), "data.max_seq_length=128"])
    # One row at a time, by a budget that no two rows fit in.
    eight = place.v1(
        "b", sets=[*epochs, *with_batch(8, 2), "training.max_tokens_per_micro_batch=64"]
    )
    all_at_once = place.v1(
        "c", sets=[*epochs, *with_batch(16, 1), "training.max_tokens_per_micro_batch=100000"]
    )
    moved = max(float(t.abs().max()) for name, t in tensors(one).items() if "lora_B" in name)
    assert moved > 1e-2
    assert largest_difference(one, eight) < 1e-4 * moved
    assert largest_difference(one, all_at_once) < 1e-4 * moved
    assert lineage(one)["metrics"]["steps"] == 3


def test_one_single_step_trains(place: Place) -> None:
    """With a warm-up ratio above 0: its first step has a rate of 0, and would change nothing."""
    folder = place.v1("v1", sets=["training.max_steps=1", "training.warmup_ratio=0.1"])
    assert lineage(folder)["metrics"]["steps"] == 1


def test_rows_beyond_what_the_base_can_read_are_refused(place: Place) -> None:
    with pytest.raises(UserError, match=r"16 of 16 training rows .* can read \(24 tokens\)"):
        with_short_context(place).v1("v1")
    assert not (place.folder / "v1").exists()


def with_short_context(place: Place) -> Place:
    base = place.folder / "short"
    shutil.copytree(place.base, base)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    config["max_position_embeddings"] = 24
    (base / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return Place(place.folder, base)


def test_gradient_checkpointing_changes_no_result(place: Place) -> None:
    off = place.v1("off", sets=["training.gradient_checkpointing=false"])
    on = place.v1("on", sets=["training.gradient_checkpointing=true"])
    assert largest_difference(off, on) < 1e-6


def test_gradient_checkpointing_is_really_on(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="lorachain"):
        place.v1("on", sets=["training.gradient_checkpointing=true"])
    assert "Gradient checkpointing is on" in caplog.text and "(as asked for)" in caplog.text


@pytest.mark.parametrize(
    "setting",
    [
        "lora.use_dora=true",
        "lora.use_rslora=true",
        "lora.loraplus_lr_ratio=16",
        "lora.lora_dropout=0.3",
        "lora.layers_to_transform=[1]",
        "lora.target_modules=[q_proj]",
        "training.neftune_noise_alpha=5",
        "training.weight_decay=0.5",
        "training.lr_scheduler_type=constant_with_warmup",
        "training.max_grad_norm=0.01",
        "training.warmup_steps=3",
        "training.adam_beta1=0.5",
        "training.seed=7",
        "training.length_window=4",
        "quantization.load_in_4bit=true",
    ],
)
def test_every_option_arrives(chain: tuple[Place, list[Path]], place: Place, setting: str) -> None:
    """Each changes the adapter: one that reached nothing would give V1's weights again."""
    v1 = chain[1][0]
    changed = place.v1("changed", sets=[setting])
    one, two = tensors(v1), tensors(changed)
    same = one.keys() == two.keys() and all(
        one[k].shape == two[k].shape and bool((one[k] == two[k]).all()) for k in one
    )
    assert not same


@pytest.mark.parametrize("optim", ["adamw_torch_fused", "adafactor", "sgd", "rmsprop", "adagrad"])
def test_the_trainers_optimizers_train(place: Place, optim: str) -> None:
    folder = place.v1("v1", sets=[f"training.optim={optim}", "training.max_steps=3"])
    assert lineage(folder)["metrics"]["steps"] == 3


@pytest.mark.parametrize(
    ("scheduler", "options"),
    [
        ("linear", ""),
        ("constant_with_warmup", ""),
        ("cosine_with_min_lr", "{min_lr_rate: 0.1}"),
        ("polynomial", ""),
        ("inverse_sqrt", ""),
        ("warmup_stable_decay", "{num_decay_steps: 2}"),
    ],
)
def test_the_trainers_schedulers_train(place: Place, scheduler: str, options: str) -> None:
    sets = [f"training.lr_scheduler_type={scheduler}", "training.warmup_steps=1"]
    if options:
        sets.append(f"training.lr_scheduler_kwargs={options}")
    assert lineage(place.v1("v1", sets=sets))["metrics"]["steps"] == 4


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("training.optim=lomo", r"training\.optim .*lomo"),
        ("training.optim_args=nonsense", r"training\.optim_args cannot be used"),
        ("training.lr_scheduler_type=cosine_with_min_lr", r"lr_scheduler_kwargs.*min_lr"),
        ("training.lr_scheduler_kwargs={bogus: 1}", r"lr_scheduler_kwargs.*bogus"),
    ],
)
def test_what_transformers_knows_but_cannot_use_is_a_sentence(
    place: Place, setting: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        place.v1("v1", sets=[setting])


def test_best_on_validation_is_the_version_that_is_kept(place: Place) -> None:
    """A rate that wrecks the model late: the weights of the lowest validation loss come back."""
    sets = [
        "training.eval_strategy=steps",
        "training.eval_steps=1",
        "training.lr_scheduler_type=constant",
        "training.warmup_ratio=0",
        "training.num_train_epochs=4",
        "training.learning_rate=0.08",
    ]
    last = place.v1("last", sets=sets)
    best = place.v1("best", sets=[*sets, "training.load_best_model_at_end=true"])
    losses = [e["eval_loss"] for e in log_of(best) if "eval_loss" in e]
    kept = lineage(best)["metrics"]
    assert losses.index(min(losses)) + 1 == kept["best_step"] < len(losses)
    assert kept["validation_loss"]["best"] == pytest.approx(min(losses), rel=1e-4)
    assert kept["validation_loss"]["best"] < lineage(last)["metrics"]["validation_loss"]["last"]


def test_early_stopping_stops_and_the_version_is_written(place: Place) -> None:
    folder = place.v1(
        "v1",
        sets=[
            "training.eval_strategy=steps",
            "training.eval_steps=1",
            "training.num_train_epochs=20",
            "training.learning_rate=0.2",
            "training.lr_scheduler_type=constant",
            "training.max_grad_norm=0",
            "training.early_stopping_patience=2",
        ],
    )
    losses = [e["eval_loss"] for e in log_of(folder) if "eval_loss" in e]
    steps = lineage(folder)["metrics"]["steps"]
    assert steps == len(losses) < 80
    assert min(losses) < min(losses[-2:])


def test_a_diverged_run_stops_and_is_not_saved(place: Place) -> None:
    with pytest.raises(UserError, match="NaN or infinite"):
        place.v1(
            "v1",
            sets=[
                "training.learning_rate=1e30",
                "training.max_grad_norm=0",
                "training.num_train_epochs=5",
                "training.optim=sgd",
            ],
        )
    assert not (place.folder / "v1" / "lineage.json").exists()


def test_a_version_that_did_not_train_is_not_written(place: Place) -> None:
    with pytest.raises(UserError, match="changed nothing"):
        place.v1("v1", sets=["training.learning_rate=1e-60", "training.optim=sgd"])
    assert not (place.folder / "v1" / "lineage.json").exists()


def log_of(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "training_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
