"""The curve that is shown before the training is the one that the training takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lorachain.config import StageConfig, resolve
from lorachain.errors import UserError
from lorachain.steps import learning_rates, steps_per_epoch, total_steps, warmup_steps
from lorachain.training.sft import training_arguments

SCHEDULERS = [
    ("cosine", ""),
    ("linear", ""),
    ("constant", ""),
    ("constant_with_warmup", ""),
    ("cosine_with_restarts", "{num_cycles: 3}"),
    ("polynomial", "{power: 3, lr_end: 1e-7}"),
    ("inverse_sqrt", "{timescale: 5}"),
    ("cosine_with_min_lr", "{min_lr_rate: 0.1}"),
    ("cosine_warmup_with_min_lr", "{min_lr_rate: 0.1}"),
    ("warmup_stable_decay", "{num_decay_steps: 6, min_lr_ratio: 0.05}"),
]
WARMUPS = ["training.warmup_ratio=0.1", "training.warmup_steps=0", "training.warmup_steps=7"]


def config_of(*sets: str) -> StageConfig:
    return resolve(None, sets=sets).config


def trainers(config: StageConfig, total: int, folder: Path) -> list[float]:
    """The rates that transformers' Trainer gives a real optimizer, step by step."""
    import torch
    from transformers import Trainer

    args = training_arguments(config, str(folder), total, "sgd", fp16=False, cpu=True)
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=config.training.learning_rate)
    trainer = Trainer(model=model, args=args, optimizers=(optimizer, None))  # type: ignore[arg-type,unused-ignore]
    scheduler = trainer.create_scheduler(total, optimizer)
    rates = []
    for _ in range(total):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("warmup", WARMUPS)
@pytest.mark.parametrize(("name", "options"), SCHEDULERS)
def test_the_curve_is_the_trainers(name: str, options: str, warmup: str, tmp_path: Path) -> None:
    sets = [f"training.lr_scheduler_type={name}", warmup, "training.learning_rate=2e-4"]
    sets.append("training.eval_strategy=no")
    if options:
        sets.append(f"training.lr_scheduler_kwargs={options}")
    config = config_of(*sets)
    found = learning_rates(config, 40)
    assert found == pytest.approx(trainers(config, 40, tmp_path), rel=1e-12, abs=1e-18)
    assert found is not None and max(found) == pytest.approx(2e-4, rel=1e-2)


def test_the_first_step_of_a_warmup_has_no_rate_and_the_last_one_is_not_zero() -> None:
    rates = learning_rates(config_of("training.learning_rate=1"), 20)
    assert rates is not None and len(rates) == 20
    assert rates[0] == 0 and rates[2] == 1 and 0 < rates[-1] < 0.01


@pytest.mark.parametrize("name", ["reduce_lr_on_plateau", "greedy"])
def test_a_scheduler_that_follows_the_loss_has_no_curve(name: str) -> None:
    assert learning_rates(config_of(f"training.lr_scheduler_type={name}"), 20) is None


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        (["training.lr_scheduler_type=kosine"], "kosine"),
        (["training.lr_scheduler_kwargs={bogus: 1}"], "bogus"),
        (["training.lr_scheduler_type=cosine_with_min_lr"], "min_lr"),
    ],
)
def test_a_scheduler_that_cannot_be_made_is_a_sentence(sets: list[str], says: str) -> None:
    with pytest.raises(UserError, match=rf"lr_scheduler_kwargs cannot be used: .*{says}"):
        learning_rates(config_of(*sets), 20)


@pytest.mark.parametrize(
    ("rows", "per_step", "processes", "steps"),
    [(160, 16, 1, 10), (161, 16, 1, 11), (5, 16, 1, 1), (33, 16, 2, 2), (34, 16, 2, 3)],
)
def test_steps_of_an_epoch(rows: int, per_step: int, processes: int, steps: int) -> None:
    assert steps_per_epoch(rows, per_step, processes) == steps


def test_steps_and_warmup_of_a_stage() -> None:
    config: Any = config_of("training.num_train_epochs=2.5")
    assert total_steps(config, 11) == 28
    assert warmup_steps(config, 28) == 3 and warmup_steps(config, 1) == 0
    assert total_steps(config_of("training.max_steps=7"), 11) == 7
    assert warmup_steps(config_of("training.warmup_steps=5"), 28) == 5
