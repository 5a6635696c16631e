"""Which rows a step takes, how they are cut, and what a micro-batch looks like."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_support import example

from lorachain.errors import UserError
from lorachain.training.batching import Collator, StepBatches, micro_batches, pad

# A row of a 12-row window is 1 to 40 tokens long, by a rule that no order follows.
LENGTHS = [1 + (i * 17) % 40 for i in range(53)]


def batches(count: int, rows: int, seed: int = 3, **more: int) -> StepBatches:
    groups = [int(i % 4 == 0) for i in range(count)]
    return StepBatches(LENGTHS[:count], groups, rows, seed, **more)


def epoch_of(found: StepBatches, epoch: int = 0) -> list[list[int]]:
    found.set_epoch(epoch)
    return list(found)


@given(
    count=st.integers(1, 53),
    rows=st.integers(1, 9),
    processes=st.integers(1, 4),
    window=st.integers(1, 5),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 3),
)
def test_an_epoch_takes_every_row_once_and_leaves_no_process_without_one(
    count: int, rows: int, processes: int, window: int, seed: int, epoch: int
) -> None:
    if count < processes:
        return
    by_rank = [
        epoch_of(batches(count, rows, seed, window=window, rank=rank, processes=processes), epoch)
        for rank in range(processes)
    ]
    assert sorted(i for steps in by_rank for step in steps for i in step) == list(range(count))
    steps = len(batches(count, rows, seed, window=window, processes=processes))
    assert {len(found) for found in by_rank} == {steps}
    assert all(step for found in by_rank for step in found)
    for at_once in zip(*by_rank, strict=True):
        sizes = [len(step) for step in at_once]
        assert max(sizes) - min(sizes) <= 1
        # Only a last step that would starve a process is put to the one before it.
        assert sum(sizes) <= rows * processes + processes - 1


def test_a_step_has_the_rows_that_were_asked_for_and_the_last_one_what_is_left() -> None:
    sizes = [len(step) for step in batches(22, 5)]
    assert sizes == [5, 5, 5, 5, 2]
    assert [len(step) for step in batches(3, 5)] == [3]


def test_a_rest_that_would_leave_a_process_idle_joins_the_step_before() -> None:
    found = [epoch_of(batches(13, 2, rank=rank, processes=3)) for rank in range(3)]
    assert [[len(step) for step in steps] for steps in found] == [[2, 3], [2, 2], [2, 2]]


def test_the_processes_share_the_steps_of_one() -> None:
    one = epoch_of(batches(48, 12))
    shared = [epoch_of(batches(48, 4, rank=rank, processes=3)) for rank in range(3)]
    for whole, *parts in zip(one, *shared, strict=True):
        assert sorted(whole) == sorted(i for part in parts for i in part)


def test_fewer_rows_than_processes_is_said() -> None:
    with pytest.raises(UserError, match="2 rows cannot be shared by 3 processes"):
        batches(2, 4, processes=3)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    one, other = batches(50, 4), batches(50, 4)
    assert epoch_of(one, 2) == epoch_of(other, 2)
    assert epoch_of(one, 2) != epoch_of(one, 3)
    assert epoch_of(one, 2) == epoch_of(other, 2)  # going on to another epoch left no trace
    assert epoch_of(batches(50, 4, seed=4), 2) != epoch_of(one, 2)
    assert epoch_of(batches(50, 4, seed=2), 3) != epoch_of(batches(50, 4, seed=3), 2)


def test_the_order_is_shuffled_within_a_group() -> None:
    order = [i for step in StepBatches([9] * 60, [0] * 60, 6, 1) for i in step]
    assert sum(a < b for a, b in pairwise(order)) < 45


@pytest.mark.parametrize("replayed", [3, 10, 40])
def test_replayed_rows_stand_evenly_over_the_epoch(replayed: int) -> None:
    count = 120
    groups = [0] * (count - replayed) + [1] * replayed
    for seed in range(5):
        order = [i for step in StepBatches([9] * count, groups, 8, seed) for i in step]
        for group, members in ((0, count - replayed), (1, replayed)):
            at = [-1, *(k for k, i in enumerate(order) if groups[i] == group), count]
            gaps = [b - a for a, b in pairwise(at)]
            assert max(gaps) <= 2 * count / members + 2


def test_a_window_deals_out_rows_of_like_length() -> None:
    def spread(window: int) -> float:
        found = StepBatches(LENGTHS, [0] * len(LENGTHS), 6, 5, window=window)
        steps = [[LENGTHS[i] for i in step] for step in found]
        return sum(max(step) - min(step) for step in steps) / len(steps)

    assert spread(4) < 0.5 * spread(1)


@given(lengths=st.lists(st.integers(1, 60), max_size=40), budget=st.integers(1, 200))
def test_micro_batches_hold_every_row_once_and_keep_to_the_budget(
    lengths: list[int], budget: int
) -> None:
    cuts = micro_batches(lengths, budget)
    assert sorted(i for cut in cuts for i in cut) == list(range(len(lengths)))
    for cut in cuts:
        padded = max(lengths[i] for i in cut) * len(cut)
        assert padded <= budget or len(cut) == 1
    firsts = [lengths[cut[0]] for cut in cuts]
    assert firsts == sorted(firsts, reverse=True)  # the largest first: it fits or fails at once


def test_micro_batches_are_as_few_as_like_lengths_allow() -> None:
    assert micro_batches([4, 10, 4, 10, 4], 20) == [[1, 3], [0, 2, 4]]
    assert micro_batches([50, 3], 20) == [[0], [1]]


def test_padding_stands_on_the_right_and_carries_neither_attention_nor_loss() -> None:
    short, long = example(3, 2), example(5, [False, True, False, True, True])
    batch = pad([short, long], pad_id=99)
    assert {name: tuple(t.shape) for name, t in batch.items()} == {
        "input_ids": (2, 5),
        "attention_mask": (2, 5),
        "labels": (2, 5),
    }
    assert batch["input_ids"].tolist() == [[*short.ids, 99, 99], list(long.ids)]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1] * 5]
    assert batch["labels"].tolist() == [
        [-100, *short.ids[1:], -100, -100],
        [-100, long.ids[1], -100, *long.ids[3:]],
    ]


def test_a_pad_token_that_is_an_end_token_costs_no_end_token_its_loss() -> None:
    row = example(4, 2)
    batch = pad([row, example(6, 1)], pad_id=row.ids[-1])
    assert batch["labels"][0].tolist() == [-100, -100, *row.ids[2:], -100, -100]
    assert batch["attention_mask"][0].tolist() == [1, 1, 1, 1, 0, 0]


def test_the_first_token_is_never_trained_and_never_counted() -> None:
    row = example(3, 3)
    assert row.trained_tokens == 2
    assert pad([row], 0)["labels"].tolist() == [[-100, *row.ids[1:]]]


@given(st.lists(st.tuples(st.integers(2, 30), st.integers(1, 30)), min_size=1, max_size=12))
def test_a_step_counts_the_tokens_that_its_micro_batches_train(
    rows: list[tuple[int, int]],
) -> None:
    item = Collator(64, 0)([example(n, min(k, n)) for n, k in rows])
    labels = [batch["labels"] for batch in item["micro_batches"]]
    assert item["trained_tokens"] == sum(int((found != -100).sum()) for found in labels)
