"""How many optimizer steps a stage takes, and the learning rate of each, known before a model is.

The rates come from the function that the Trainer takes its scheduler from, so they are those of the
run: `rates[i]` is the rate of step i + 1.
"""

from __future__ import annotations

import math
import warnings

from lorachain.config import StageConfig
from lorachain.errors import UserError

WITHOUT_A_CURVE = frozenset({"reduce_lr_on_plateau", "greedy"})
"""Schedulers whose rates follow from losses, which nobody knows beforehand."""


def steps_per_epoch(rows: int, rows_per_step: int, processes: int = 1) -> int:
    """Optimizer steps of one epoch; `rows_per_step` is over all processes.

    A last step with fewer rows than processes joins the one before it, because no process may be
    left without a row.
    """
    full, rest = divmod(rows, rows_per_step)
    return max(1, full + (rest >= processes))


def total_steps(config: StageConfig, steps_per_epoch: int) -> int:
    """Optimizer steps of a whole stage."""
    if config.training.max_steps is not None:
        return config.training.max_steps
    return max(1, math.ceil(config.training.num_train_epochs * steps_per_epoch))


def warmup_steps(config: StageConfig, total: int) -> int:
    """Steps over which the learning rate rises: `warmup_steps`, or `warmup_ratio` of all.

    The first step of a warm-up has a rate of 0, so a ratio of one single step is none.
    """
    if config.training.warmup_steps is not None:
        return config.training.warmup_steps
    return min(math.ceil(config.training.warmup_ratio * total), total - 1)


def learning_rates(config: StageConfig, total: int) -> list[float] | None:
    """The rate of every step; None for a scheduler that follows the loss. Imports transformers.

    With LoRA+ these are the rates of A; those of B are `loraplus_lr_ratio` times as high. Raises
    UserError for a scheduler that transformers does not know, or that needs other kwargs.
    """
    training = config.training
    if training.lr_scheduler_type in WITHOUT_A_CURVE:
        return None
    import torch
    from torch.optim.lr_scheduler import LambdaLR
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=training.learning_rate)
    try:
        with warnings.catch_warnings(action="ignore"):  # the Trainer will say them
            scheduler = get_scheduler(
                training.lr_scheduler_type,
                optimizer,
                warmup_steps(config, total),
                total,
                dict(training.lr_scheduler_kwargs),
            )
    except (ImportError, ValueError, TypeError) as error:
        raise UserError(
            "training.lr_scheduler_type with these training.lr_scheduler_kwargs cannot be used: "
            f"{error}"
        ) from None
    if not isinstance(scheduler, LambdaLR):  # none is today; such a curve would be a guess
        return None
    (factor,) = scheduler.lr_lambdas
    return [training.learning_rate * float(factor(step)) for step in range(total)]
