"""What is drawn for replay: how much, from where, and never twice."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_support import example

from lorachain.training.dataset import Example
from lorachain.training.replay import Source, draw


def rows(name: str, count: int, *, trained: int = 5, task: str = "") -> list[Example]:
    return [example(20, trained, name=f"{name} {i}", task=task) for i in range(count)]


def names(examples: tuple[Example, ...]) -> list[str]:
    return [found.row.messages[0].content for found in examples]


@given(
    share=st.floats(0.01, 0.9),
    own=st.integers(1, 40),
    sizes=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 19)), min_size=1, max_size=4),
    seed=st.integers(0, 10),
)
def test_the_share_of_trained_tokens_is_met_to_within_one_row(
    share: float, own: int, sizes: list[tuple[int, int]], seed: int
) -> None:
    mine = rows("own", own, trained=7)
    sources = [
        Source(f"s{i}", rows(f"s{i}", count, trained=trained))
        for i, (count, trained) in enumerate(sizes)
    ]
    replay = draw(mine, sources, share, seed)
    total = sum(e.trained_tokens for e in replay.examples)
    assert total == replay.trained_tokens
    largest = max(trained for _, trained in sizes)
    if replay.exhausted:
        assert total == sum(count * trained for count, trained in sizes) < replay.wanted_tokens
    else:
        wanted = share / (1 - share) * own * 7
        assert wanted - 0.5 <= total < wanted + 0.5 + largest
    assert len(set(names(replay.examples))) == len(replay.examples)
    assert sum(replay.rows.values()) == len(replay.examples)


def test_a_quarter_is_a_quarter_of_all_and_not_of_the_own() -> None:
    replay = draw(rows("own", 30), [Source("v1", rows("v1", 100))], 0.25, 0)
    assert replay.trained_tokens / (replay.trained_tokens + 150) == 0.25


def test_every_source_and_every_task_gives_the_same_number_of_tokens() -> None:
    """The small task is one row in twenty: drawn at large it would all but vanish."""
    v1 = rows("big", 190, task="big") + rows("small", 10, task="small")
    v2 = rows("other", 50, trained=10, task="big")
    replay = draw(rows("own", 60), [Source("v1", v1), Source("v2", v2)], 0.3, 1)
    tokens: Counter[str] = Counter()
    for found in replay.examples:
        tokens[found.row.messages[0].content.split()[0]] += found.trained_tokens
    assert max(tokens.values()) - min(tokens.values()) <= 10
    assert set(tokens) == {"big", "small", "other"}


def test_a_source_that_is_used_up_leaves_the_rest_to_the_others() -> None:
    replay = draw(rows("own", 40), [Source("a", rows("a", 2)), Source("b", rows("b", 90))], 0.5, 0)
    assert replay.rows == {"a": 2, "b": 38}
    assert not replay.exhausted


def test_rows_that_are_there_already_are_not_drawn() -> None:
    own = rows("x", 10)
    sources = [Source("v1", rows("x", 14)), Source("v2", rows("x", 16))]
    replay = draw(own, sources, 0.0, 0)
    assert sorted(names(replay.examples)) == sorted(f"x {i}" for i in range(10, 16))
    assert replay.rows == {"v1": 4, "v2": 2}


def test_a_row_that_a_source_holds_twice_is_drawn_once() -> None:
    replay = draw(rows("own", 50), [Source("v1", rows("x", 3) * 4)], 0.5, 0)
    assert len(replay.examples) == 3
    assert replay.exhausted


def test_no_share_takes_all_rows() -> None:
    replay = draw(rows("own", 2), [Source("extra", rows("extra", 9))], 0.0, 0)
    assert sorted(names(replay.examples)) == sorted(f"extra {i}" for i in range(9))
    assert not replay.exhausted


def test_the_seed_decides_and_nothing_else() -> None:
    def drawn(seed: int) -> list[str]:
        sources = [Source("v1", rows("v1", 60)), Source("v2", rows("v2", 60))]
        return names(draw(rows("own", 20), sources, 0.4, seed).examples)

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert set(drawn(1)) != set(drawn(2))  # other rows, not the same ones in another order


def test_a_new_source_does_not_change_which_rows_an_old_one_gives_first() -> None:
    alone = draw(rows("own", 20), [Source("v1", rows("v1", 60))], 0.2, 1)
    both = draw(
        rows("own", 20), [Source("v1", rows("v1", 60)), Source("v2", rows("v2", 60))], 0.2, 1
    )
    of_v1 = [name for name in names(both.examples) if name.startswith("v1")]
    assert of_v1 == names(alone.examples)[: len(of_v1)]


def test_nothing_to_draw_from_is_not_an_endless_loop() -> None:
    replay = draw(rows("own", 5), [], 0.5, 0)
    assert replay.examples == () and replay.exhausted and replay.wanted_tokens == 25


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_result_does_not_depend_on_the_order_of_rows_of_other_tasks(share: float) -> None:
    one = rows("a", 10, task="a") + rows("b", 10, task="b")
    two = rows("b", 10, task="b") + rows("a", 10, task="a")
    found = [draw(rows("own", 6), [Source("v1", r)], share, 3).examples for r in (one, two)]
    assert names(found[0]) == names(found[1])
