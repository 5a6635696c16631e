"""Rules over the schedule: how many steps, over how many rows, at which learning rates.

What they stand for happened: a project took 10 optimizer steps (160 rows, 16 a step, one epoch)
without warm-up and learned nothing of its format; another saw 13.5% of one epoch in 200 steps,
under a cosine whose last steps had a rate of 1.5e-10. Every finding names a value that mends it.
"""

from __future__ import annotations

import math
from typing import Any

from lorachain.config import StageConfig
from lorachain.preflight.finding import Finding, found
from lorachain.preflight.inputs import Schedule
from lorachain.steps import learning_rates, steps_per_epoch, total_steps, warmup_steps

FEW_STEPS = 50
MOST_EPOCHS = 10  # beyond, more epochs are no advice: the rows are learned by heart
DEAD = 0.01
"""Of the highest rate: a step below it moves next to nothing."""
TAIL_NOTE, TAIL_WARNING = 0.05, 0.10
"""Shares of dead steps. A plain cosine has 6.4% of what follows its warm-up, so that is a note."""
NEARLY_ALL_ROWS = 0.9
WARMUP_SHARE = 0.1
LONG_WARMUP = 0.5
POINTS = 200


def plan(
    config: StageConfig,
    rows: int,
    *,
    fresh_adapter: bool,
    has_validation: bool,
    processes: int = 1,
) -> Schedule:
    """The schedule of a stage that trains on `rows` rows (replayed ones among them).

    Imports transformers; raises UserError for a scheduler that cannot be made.
    """
    training = config.training
    batch = training.per_device_train_batch_size * training.gradient_accumulation_steps * processes
    an_epoch = steps_per_epoch(rows, batch, processes)
    total = total_steps(config, an_epoch)
    return Schedule(
        rows=rows,
        rows_per_step=batch,
        steps=total,
        steps_per_epoch=an_epoch,
        rates=learning_rates(config, total) or (),
        warmup_steps=warmup_steps(config, total),
        fresh_adapter=fresh_adapter,
        has_validation=has_validation,
        scheduler=training.lr_scheduler_type,
        max_steps=training.max_steps,
        batch_size=training.per_device_train_batch_size,
        accumulation=training.gradient_accumulation_steps,
        epochs_asked=training.num_train_epochs,
    )


def check_schedule(schedule: Schedule) -> list[Finding]:
    """Every rule of this file."""
    return [
        *few_steps(schedule),
        *partial_epoch(schedule),
        *dead_tail(schedule),
        *no_warmup(schedule),
        *long_warmup(schedule),
        *no_validation(schedule),
    ]


def few_steps(s: Schedule) -> list[Finding]:
    """Fewer than 50 optimizer steps: the adapter hardly moves from where it started."""
    if s.steps >= FEW_STEPS:
        return []
    ways = [*_more_steps(s)] or [
        f"{s.rows:,} rows are too few for {FEW_STEPS} steps: add rows before you train longer"
    ]
    return [
        found(
            "few-steps",
            f"{s.steps} optimizer steps in all ({s.rows:,} rows, {s.rows_per_step} a step, "
            f"{s.epochs:.3g} epoch{'' if s.epochs == 1 else 's'}): few for a new task or format.",
            f"{'; or '.join(ways)}.",
            steps=s.steps,
            rows_per_step=s.rows_per_step,
        )
    ]


def _more_steps(s: Schedule) -> list[str]:
    """What gives 50 steps: `max_steps`, a smaller accumulation (or batch), or more epochs."""
    if s.max_steps is not None and MOST_EPOCHS * s.steps_per_epoch >= FEW_STEPS:
        return [f"--set training.max_steps={FEW_STEPS}"]
    ways = []
    processes = max(1, s.rows_per_step // (s.batch_size * s.accumulation))
    halved = [(s.batch_size, n) for n in _halves(s.accumulation)]
    halved += [(n, 1) for n in _halves(s.batch_size)]
    for batch, accumulation in halved:
        an_epoch = steps_per_epoch(s.rows, batch * accumulation * processes, processes)
        steps = math.ceil(s.epochs_asked * an_epoch)
        text = f"--set training.gradient_accumulation_steps={accumulation}"
        if batch != s.batch_size:
            text += f" --set training.per_device_train_batch_size={batch}"
        if s.max_steps is not None:
            if MOST_EPOCHS * an_epoch >= FEW_STEPS:
                return [f"{text} --set training.max_steps={FEW_STEPS}"]
        elif steps >= FEW_STEPS:
            ways.append(f"{text} gives {steps}")
            break
    if s.max_steps is not None:
        return []
    epochs = math.ceil(FEW_STEPS / s.steps_per_epoch)
    if epochs <= MOST_EPOCHS:
        steps = epochs * s.steps_per_epoch
        ways.append(f"--set training.num_train_epochs={epochs} gives {steps}")
    return ways


def _halves(number: int) -> list[int]:
    return [number >> n for n in range(1, number.bit_length())]


def partial_epoch(s: Schedule) -> list[Finding]:
    """Less than one epoch: some rows are never seen, whatever they would have taught."""
    if s.share_seen >= 1:
        return []
    unseen = s.rows - s.steps * s.rows_per_step
    if s.max_steps is not None:
        do = (
            f"--set training.max_steps={s.steps_per_epoch} sees each row once; or let "
            "training.num_train_epochs decide (--set training.max_steps=null)."
        )
    else:
        do = "--set training.num_train_epochs=1 sees each row once."
    return [
        found(
            "partial-epoch",
            f"{s.steps:,} steps of {s.rows_per_step} rows see {s.share_seen:.1%} of an epoch: "
            f"{unseen:,} of {s.rows:,} rows are never trained on.",
            do,
            severity="note" if s.share_seen >= NEARLY_ALL_ROWS else None,
            share=s.share_seen,
            unseen=unseen,
        )
    ]


def dead_steps(s: Schedule) -> int:
    """Steps after the highest rate at under 1% of it."""
    if not s.peak:
        return 0
    after = s.rates[[*s.rates].index(s.peak) :]
    return sum(rate < DEAD * s.peak for rate in after)


def dead_tail(s: Schedule) -> list[Finding]:
    """Steps at next to no rate: they cost as much as any other, and change nothing."""
    dead = dead_steps(s)
    share = dead / s.steps
    if share <= TAIL_NOTE or s.steps < 2:
        return []
    return [
        found(
            "dead-tail",
            f"{dead:,} of {s.steps:,} steps ({share:.1%}) have a learning rate under 1% of the "
            f"highest ({s.peak:.3g}); the last one has {s.rates[-1]:.2g}.",
            "--set training.lr_scheduler_type=cosine_with_min_lr "
            '--set "training.lr_scheduler_kwargs={min_lr_rate: 0.1}" ends at a tenth of the '
            "highest rate; --set training.lr_scheduler_type=constant_with_warmup keeps it.",
            severity=None if share > TAIL_WARNING else "note",
            dead=dead,
            share=share,
            last=s.rates[-1],
        )
    ]


def no_warmup(s: Schedule) -> list[Finding]:
    """A fresh adapter whose first step has over half of the highest rate.

    Adam's first steps have full size whatever the gradient, and B is still 0. An adapter that is
    gone on from is not asked for a warm-up.
    """
    first = s.rates[0] / s.peak if s.peak else 1.0
    if not s.fresh_adapter or first <= 0.5 or s.steps < 2:
        return []
    steps = max(1, min(math.ceil(WARMUP_SHARE * s.steps), s.steps - 1))
    do = f"--set training.warmup_steps={steps}"
    if s.scheduler == "constant":
        do += " --set training.lr_scheduler_type=constant_with_warmup"
    elif not s.known:
        do += " --set training.lr_scheduler_type=cosine"
    why = f"at {s.rates[0]:.3g}" if s.known else f"at full rate ({s.scheduler} has no warm-up)"
    return [
        found(
            "no-warmup",
            f"A fresh adapter takes its first step {why}, without a warm-up.",
            f"{do}.",
            warmup_steps=s.warmup_steps,
            suggested=steps,
        )
    ]


def long_warmup(s: Schedule) -> list[Finding]:
    """A warm-up of more than half of the steps: the rate that was asked for is reached late, or
    never."""
    if not s.known or s.rates[0] == s.peak > 0 or s.warmup_steps <= LONG_WARMUP * s.steps:
        return []
    steps = math.ceil(WARMUP_SHARE * s.steps) if s.steps > 1 else 0
    return [
        found(
            "long-warmup",
            f"The warm-up takes {s.warmup_steps:,} steps, and there are {s.steps:,} in all: the "
            f"highest rate that is reached is {s.peak:.3g}, at step "
            f"{[*s.rates].index(s.peak) + 1:,}.",
            f"--set training.warmup_steps={steps}.",
            warmup_steps=s.warmup_steps,
            steps=s.steps,
            suggested=steps,
        )
    ]


def no_validation(s: Schedule) -> list[Finding]:
    """No loss on rows that are not trained on: nobody sees when it begins to rise."""
    if s.has_validation:
        return []
    return [
        found(
            "no-validation",
            "The loss on new rows is not measured, so nothing shows when the model begins to learn "
            "its rows by heart.",
            "Keep some rows apart and pass them: --val-data FILE (with training.eval_strategy: "
            "epoch).",
        )
    ]


def facts(s: Schedule) -> dict[str, Any]:
    """For preflight.json and pictures; `curve` has [step, rate], at most some 200 of them."""
    every = max(1, math.ceil(s.steps / POINTS))
    shown = [*range(0, len(s.rates), every)]
    if s.rates and shown[-1] != len(s.rates) - 1:
        shown.append(len(s.rates) - 1)
    return {
        "rows": s.rows,
        "rows_per_step": s.rows_per_step,
        "steps": s.steps,
        "steps_per_epoch": s.steps_per_epoch,
        "epochs": s.epochs,
        "times_each_row_is_seen": s.steps * s.rows_per_step / s.rows if s.rows else 0.0,
        "share_seen": s.share_seen,
        "scheduler": s.scheduler,
        "warmup_steps": s.warmup_steps,
        "peak": s.peak if s.known else None,
        "last": s.rates[-1] if s.known else None,
        "dead_steps": dead_steps(s),
        "curve": [[i + 1, s.rates[i]] for i in shown],
    }
