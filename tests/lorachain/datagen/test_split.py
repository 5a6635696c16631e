"""Splits: no row ever moves, near rows are never parted, whatever comes in whatever order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from datagen_rows_support import finished, question
from hypothesis import given, settings
from hypothesis import strategies as st

from lorachain.datagen.lock import (
    LOCK,
    Lock,
    Place,
    Rule,
    check_rule,
    earlier_locks,
    read_lock,
    write_lock,
)
from lorachain.datagen.near import near_pairs
from lorachain.datagen.rows import DatasetRow
from lorachain.datagen.split import Placed, place_rows, write_up
from lorachain.errors import UserError

RULE = Rule(42, 0.5, 0.25, 0.25)
EMPTY = Lock(Path("none"), None)


def lock_of(placed: Placed) -> Lock:
    return Lock(Path("lock"), RULE, tuple(placed.places))


def splits(placed: Placed) -> dict[str, str]:
    return {row.id: row.split for row in placed.rows}


def text(topic: int, start: int) -> str:
    """Twelve words of a topic's endless text: neighbours (one word on) are near, others are not."""
    return " ".join(f"t{topic}w{start + i}" for i in range(24))


@st.composite
def datasets(draw: st.DrawFn) -> list[DatasetRow]:
    """Rows of which some are near each other, in chains that later rows may close."""
    places = draw(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=24)
    )
    rows = [finished(i, prompt=text(topic, 2 * at)) for i, (topic, at) in enumerate(places)]
    return draw(st.permutations(rows))


def assert_near_rows_stand_together(placed: Placed) -> None:
    rows = placed.rows
    for i, j in near_pairs([row.prompt for row in rows]):
        assert rows[i].split == rows[j].split, (rows[i].prompt, rows[j].prompt)


def batches(rows: Sequence[DatasetRow], cuts: Sequence[int]) -> list[Sequence[DatasetRow]]:
    edges = sorted({0, len(rows), *(cut % (len(rows) + 1) for cut in cuts)})
    return [rows[:end] for end in edges[1:]]


@given(datasets())
def test_the_order_of_rows_does_not_matter(rows: list[DatasetRow]) -> None:
    found = place_rows(rows, RULE, EMPTY)
    assert found == place_rows(rows[::-1], RULE, EMPTY)
    assert len(found.rows) == len(rows) and not found.between
    assert_near_rows_stand_together(found)


@given(datasets())
def test_a_place_depends_on_what_is_asked_alone(rows: list[DatasetRow]) -> None:
    """Not on ids, and not on where in the plan a row stands."""
    renamed = [
        DatasetRow(**row.as_dict() | {"id": f"x{i}", "index": 99 - i}) for i, row in enumerate(rows)
    ]
    before, after = (
        {r.prompt: r.split for r in place_rows(x, RULE, EMPTY).rows} for x in (rows, renamed)
    )
    assert before == after


@settings(max_examples=200)
@given(datasets(), st.lists(st.integers(0, 99), max_size=4))
def test_no_row_ever_moves_when_rows_come_in_batches(
    rows: list[DatasetRow], cuts: list[int]
) -> None:
    lock = EMPTY
    before: dict[str, str] = {}
    for batch in batches(rows, cuts):
        found = place_rows(batch, RULE, lock)
        now = splits(found)
        assert before.items() <= now.items()
        assert now.keys() | {id_ for id_, _ in found.between} == {row.id for row in batch}
        assert_near_rows_stand_together(found)
        lock, before = lock_of(found), now


@given(datasets(), st.lists(st.integers(0, 99), max_size=3))
def test_running_again_changes_nothing(rows: list[DatasetRow], cuts: list[int]) -> None:
    lock = EMPTY
    for batch in batches(rows, cuts):
        found = place_rows(batch, RULE, lock)
        lock = lock_of(found)
    again = place_rows(rows, RULE, lock)
    assert (again.rows, again.places, again.between) == (found.rows, found.places, found.between)
    assert again.kept == len(found.rows)


@given(datasets(), st.integers(0, 99))
def test_a_row_that_is_near_one_that_is_gone_follows_it(rows: list[DatasetRow], cut: int) -> None:
    """The lock remembers prompts: a dataset without V1's rows may not train on V1's test."""
    here = cut % (len(rows) + 1)
    first = place_rows(rows[:here], RULE, EMPTY)
    second = place_rows(rows[here:], RULE, lock_of(first))
    together = Placed([*first.rows, *second.rows], [])
    assert_near_rows_stand_together(together)


@given(datasets(), st.integers(0, 99))
def test_a_folder_beside_keeps_the_places_that_it_had(rows: list[DatasetRow], cut: int) -> None:
    first = place_rows(rows[: cut % (len(rows) + 1)], RULE, EMPTY)
    other = Rule(7, 0.8, 0.1, 0.1)
    second = place_rows(rows, other, EMPTY, [lock_of(first)])
    assert splits(first).items() <= splits(second).items()
    assert_near_rows_stand_together(second)


def test_a_row_between_two_splits_is_left_out_and_the_old_ones_stay() -> None:
    left, right, middle = text(1, 0), text(1, 4), text(1, 2)
    lock = Lock(
        Path("lock"),
        RULE,
        (Place("a", "train", "g1", left), Place("b", "test", "g2", right)),
    )
    rows = [
        finished(i, id=n, prompt=p)
        for i, (n, p) in enumerate(zip("abc", (left, right, middle), strict=True))
    ]
    assert sorted(near_pairs([left, right, middle])) == [(0, 2), (1, 2)]
    found = place_rows(rows, RULE, lock)
    assert splits(found) == {"a": "train", "b": "test"}
    assert found.between == [("c", ["a", "b"])]
    assert "Left out: c is near rows of different splits (a, b)." in write_up(found, "x")


def test_a_new_prompt_under_an_old_id_follows_the_old_one() -> None:
    lock = Lock(Path("lock"), RULE, (Place("a", "test", "g1", question(1)),))
    found = place_rows([finished(1, id="a", prompt=question(2))], RULE, lock)
    assert splits(found) == {"a": "test"} and found.kept == 0
    assert [place.prompt for place in found.places] == [question(1), question(2)]


def test_folders_that_disagree_place_nothing() -> None:
    one, other = (
        Lock(Path(name), RULE, (Place("a", split, "g", question(1)),))
        for name, split in (("v1", "train"), ("v2", "test"))
    )
    found = place_rows([finished(1, id="a")], RULE, EMPTY, [one, other])
    assert found.rows == [] and found.between == [("a", ["a"])]


def test_the_hash_keeps_to_the_fractions() -> None:
    found = place_rows([finished(i) for i in range(900)], Rule(3, 0.8, 0.1, 0.1), EMPTY)
    counts = [len(found.of(split)) for split in ("train", "val", "test")]
    # Three standard deviations of a binomial draw.
    for count, share in zip(counts, (0.8, 0.1, 0.1), strict=True):
        assert abs(count - 900 * share) < 3 * (900 * share * (1 - share)) ** 0.5
    other = place_rows([finished(i) for i in range(900)], Rule(4, 0.8, 0.1, 0.1), EMPTY)
    assert splits(other) != splits(found)


@given(st.sampled_from([(1, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0.9, 0.1, 0.0)]))
def test_a_split_of_nothing_gets_nothing(shares: tuple[float, float, float]) -> None:
    rule = Rule(1, *shares)
    drawn = {
        rule.split(number)
        for number in (*(random.Random(1).random() for _ in range(99)), 1 - 2**-53)
    }
    assert drawn == {n for n, s in zip(("train", "val", "test"), shares, strict=True) if s}


@pytest.mark.parametrize("shares", [(0.8, 0.1, 0.2), (0, 0.5, 0.5), (1.1, -0.1, 0)])
def test_fractions_must_add_up(shares: tuple[float, float, float]) -> None:
    with pytest.raises(UserError, match="add up to 1"):
        Rule(1, *shares)


def test_a_lock_is_written_and_read_back(tmp_path: Path) -> None:
    found = place_rows([finished(i) for i in range(5)], RULE, EMPTY)
    write_lock(tmp_path / LOCK, RULE, found.places)
    assert read_lock(tmp_path / LOCK) == Lock(tmp_path / LOCK, RULE, tuple(found.places))
    assert read_lock(tmp_path / "none") == Lock(tmp_path / "none", None)


def test_other_fractions_or_another_seed_are_refused(tmp_path: Path) -> None:
    lock = Lock(tmp_path / LOCK, RULE)
    check_rule(lock, RULE)
    for rule in (Rule(42, 0.6, 0.2, 0.2), Rule(43, 0.5, 0.25, 0.25)):
        with pytest.raises(UserError, match=r"was split with .* and rows never move"):
            check_rule(lock, rule)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"train"', '"trian"', 2),
        lambda text: "\n".join(text.split("\n")[1:]),
        lambda text: text.replace('"group"', '"grp"'),
    ],
)
def test_a_damaged_lock_is_never_used(tmp_path: Path, damage: object) -> None:
    path = tmp_path / LOCK
    write_lock(path, RULE, [Place("a", "train", "g", "p")])
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")  # type: ignore[operator]
    with pytest.raises(UserError, match="is damaged"):
        read_lock(path)


def test_locks_of_the_folders_beside_are_found(tmp_path: Path) -> None:
    for name in ("v1", "v2", "v3"):
        write_lock(tmp_path / name / LOCK, RULE, [Place(name, "train", "g", "p")])
    (tmp_path / "empty").mkdir()
    assert [lock.places[0].id for lock in earlier_locks(tmp_path / "v2")] == ["v1", "v3"]


def test_the_write_up_says_what_a_hash_left_empty() -> None:
    rule = Rule(1, 0.98, 0.01, 0.01)
    said = write_up(place_rows([finished(1), finished(2)], rule, EMPTY), "here")
    assert "2 rows (train 2, val 0, test 0): here" in said
    assert "no row in val and test" in said
