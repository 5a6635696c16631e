"""Batches: which rows an optimizer step trains on, and how they are cut to fit the memory.

An optimizer step trains on `batch size x accumulation` rows, chosen by the seed and the epoch
alone. How those rows are cut into micro-batches follows from their lengths and a token budget, so
1 x 16, 8 x 2 and 16 x 1 take the same steps. The loss is divided by the trained tokens of the
whole step, never of a micro-batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from lorachain.errors import UserError
from lorachain.steps import steps_per_epoch
from lorachain.training.dataset import Example


class StepBatches:
    """Yields the row indices of one optimizer step after another, for one process of several.

    Rows are shuffled anew each epoch from (seed, epoch). Groups (a stage's own rows, its replayed
    rows) are spread evenly over the epoch, so no stretch of it lacks one. With
    `window` > 1, that many steps' rows are sorted by length and dealt out again, which makes
    micro-batches of like length at the price of steps of like length.

    Raises UserError when there are fewer rows than processes.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        groups: Sequence[int],
        rows: int,
        seed: int,
        *,
        window: int = 1,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        if len(lengths) < processes:
            raise UserError(
                f"{len(lengths)} rows cannot be shared by {processes} processes: each needs one at "
                "least. Start fewer processes, or give more rows."
            )
        self.lengths = np.asarray(lengths)
        self.groups = np.asarray(groups)
        self.rows = rows * processes
        self.seed = seed
        self.window = window
        self.rank = rank
        self.processes = processes
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is yielded next."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Optimizer steps of one epoch."""
        return steps_per_epoch(len(self.lengths), self.rows, self.processes)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = self._spread(rng)
        cuts = [i * self.rows for i in range(1, len(self))]
        steps = np.split(order, cuts)
        if self.window > 1:
            steps = self._bucket(steps, rng)
        for step in steps:
            yield [int(i) for i in step[self.rank :: self.processes]]

    def _spread(self, rng: np.random.Generator) -> np.ndarray:
        """All rows in random order, each group at even distances."""
        positions = np.empty(len(self.groups))
        for group in np.unique(self.groups):
            members = np.flatnonzero(self.groups == group)
            slots = (np.arange(len(members)) + rng.random(len(members))) / len(members)
            positions[rng.permutation(members)] = slots
        return np.argsort(positions, kind="stable")

    def _bucket(self, steps: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
        bucketed: list[np.ndarray] = []
        for start in range(0, len(steps), self.window):
            rows = np.concatenate(steps[start : start + self.window])
            rows = rows[np.argsort(self.lengths[rows], kind="stable")]
            dealt = np.split(
                rows, [i * self.rows for i in range(1, len(steps[start:][: self.window]))]
            )
            bucketed += [dealt[i] for i in rng.permutation(len(dealt))]
        return bucketed


def micro_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Cut rows into micro-batches whose padded size is at most `budget` tokens.

    Rows are taken from the longest to the shortest, so each micro-batch holds rows of like length
    and the largest one comes first (it either fits or fails at once). A row longer than the budget
    stands alone.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    for i in order:
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def pad(examples: Sequence[Example], pad_id: int) -> dict[str, torch.Tensor]:
    """One micro-batch: input_ids, attention_mask and labels, each [rows, longest row].

    Labels are the inputs where a token is trained and -100 elsewhere; padding stands on the right
    and is told apart by the mask alone, so a pad token that is also an end token does no harm.
    """
    longest = max(len(example.ids) for example in examples)
    shape = (len(examples), longest)
    input_ids = torch.full(shape, pad_id, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, -100, dtype=torch.long)
    for row, example in enumerate(examples):
        n = len(example.ids)
        ids = torch.tensor(example.ids)
        input_ids[row, :n] = ids
        attention_mask[row, :n] = 1
        labels[row, :n] = torch.where(torch.tensor(example.trained), ids, -100)
    labels[:, 0] = -100  # the first token has no context to be predicted from
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


class Collator:
    """Rows of one optimizer step to its micro-batches, and the step's number of trained tokens."""

    def __init__(self, budget: int, pad_id: int) -> None:
        self.budget = budget
        self.pad_id = pad_id

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        cuts = micro_batches([len(example.ids) for example in examples], self.budget)
        return {
            "micro_batches": [pad([examples[i] for i in cut], self.pad_id) for cut in cuts],
            "trained_tokens": sum(example.trained_tokens for example in examples),
        }
