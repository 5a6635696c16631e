"""Prompts planned from failures: read from real folders, in proportion, never the same again."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from datagen_rows_support import GARDEN, spec_file
from hypothesis import given
from hypothesis import strategies as st
from rescore_support import CREATED, GOOD, make_comparison, write_suite

from lorachain.datagen.asked import AskedItem, AskedItems
from lorachain.datagen.failures import Failures, apportioned, plan_name, read_failures
from lorachain.datagen.near import near_pairs
from lorachain.datagen.plan import make_plan
from lorachain.datagen.plan_failures import plan_from_failures
from lorachain.datagen.spec_file import Loaded, load_spec
from lorachain.errors import UserError
from lorachain.evaluation.compare import compare
from lorachain.evaluation.metrics import failure_kind, headline, known_metrics
from lorachain.evaluation.run_record import write_run

NOTHING = AskedItems([])
BROKEN = ['[{"name": "Ana"}]', '{"name": "Ana", "age": ', f"Sure: {GOOD}", "no idea", '{"name": 1}']
TWO = GARDEN | {
    "tasks": {
        "card": "How do I look after a {{ plant }} {{ place }}?",
        "short": "May a {{ plant }} with {{ problem }} stand {{ place }}?",
    },
    "slots": GARDEN["slots"]
    | {"plant": ["fern", "cactus", "orchid", "basil", "ivy", "aloe", "fig"]},
}


def spec(folder: Path, **changes: Any) -> Loaded:
    return load_spec(spec_file(folder, TWO, **changes))


def failed(**counts: int) -> Failures:
    """Failures of v2: `card__required=3` is three of the kind `required` of the task `card`."""
    found = {tuple(key.split("__")): n for key, n in counts.items()}
    return Failures("v2", found, 40)  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [*BROKEN, '{"age": 3}'])
def test_kinds_are_those_of_a_comparison(tmp_path: Path, answer: str) -> None:
    answers = {"base": [GOOD] * 4, "v1": [GOOD, answer, GOOD, answer]}
    made = make_comparison(tmp_path, write_suite(tmp_path), answers)
    scored = made.versions[-1].answers["cards"]
    kinds = Counter(failure_kind(a, headline(known_metrics(scored))) for a in scored)
    found = read_failures(tmp_path)
    assert (found.version, found.scored) == ("v1", 4)
    assert Counter(found.counts) == {
        (task, kind): 1 for task in ("card", "short") for kind in kinds if kind
    }
    assert found.total == 2


def test_the_newest_version_counts_alone(tmp_path: Path) -> None:
    answers = {"base": ["none"] * 4, "v1": ["none"] * 4, "v2": [GOOD, GOOD, GOOD, "none"]}
    make_comparison(tmp_path, write_suite(tmp_path), answers)
    assert read_failures(tmp_path).counts == {("short", "no JSON"): 1}


def test_a_comparison_says_which_version_and_which_metric(tmp_path: Path) -> None:
    answers = {"base": ["none"] * 4, "v1": [GOOD, GOOD, GOOD, f"Sure: {GOOD}"]}
    made = make_comparison(tmp_path, write_suite(tmp_path), answers)
    write_run(tmp_path, made, store=tmp_path / "answers", comparison=compare(made, created=CREATED))
    assert read_failures(tmp_path).counts == {("short", "not plain JSON"): 1}
    data = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    data["suites"][0]["headline"] = "parse"  # which forgives it
    (tmp_path / "comparison.json").write_text(json.dumps(data), encoding="utf-8")
    assert read_failures(tmp_path).counts == {}


def test_a_folder_that_is_no_comparison_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no scores .* Name a folder"):
        read_failures(tmp_path)
    make_comparison(tmp_path, write_suite(tmp_path))
    scores = tmp_path / "scores.jsonl"
    row = json.loads(scores.read_text(encoding="utf-8").splitlines()[-1])
    row.pop("score")
    scores.write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="is damaged"):
        read_failures(tmp_path)


def test_tasks_and_kinds_are_planned_in_proportion(tmp_path: Path) -> None:
    failures = failed(card__required=6, card__type=3, short__enum=1)
    plan = plan_from_failures(spec(tmp_path), failures, NOTHING, 10)
    found = Counter((row.task, row.because["kind"]) for row in plan.rows)
    assert found == {("card", "required"): 6, ("card", "type"): 3, ("short", "enum"): 1}
    assert {row.because["share"] for row in plan.rows} == {0.6, 0.3, 0.1}
    assert {(row.because["version"], row.because["task"] == row.task) for row in plan.rows} == {
        ("v2", True)
    }


def test_as_many_as_the_spec_asks_where_no_number_is_given(tmp_path: Path) -> None:
    plan = plan_from_failures(spec(tmp_path, count=5), failed(card__type=1), NOTHING)
    assert len(plan.rows) == 10


def test_planned_prompts_are_new_and_clear_of_every_suite(tmp_path: Path) -> None:
    loaded = spec(tmp_path, count=4)
    own = make_plan(loaded, NOTHING).rows
    # The failed items are the spec's own rows, frozen as a suite.
    suite = AskedItems([AskedItem(Path("own.jsonl"), row.id, row.prompt) for row in own])
    plan = plan_from_failures(loaded, failed(card__type=1, short__enum=1), suite, 8)
    before = {row.prompt for row in own}
    for row in plan.rows:
        assert row.prompt not in before
        assert not any(list(near_pairs([row.prompt, old])) for old in before)
    assert {row.id for row in plan.rows}.isdisjoint(row.id for row in own)
    assert {row.spec for row in plan.rows} == {"garden_v1-after-v2"}
    assert plan == plan_from_failures(loaded, failed(card__type=1, short__enum=1), suite, 8)


def test_the_specs_own_prompts_do_not_come_again(tmp_path: Path) -> None:
    loaded = spec(tmp_path, count=12)
    plan = plan_from_failures(loaded, failed(card__type=1), NOTHING, 9)  # 21 prompts there are
    own = {row.prompt for row in make_plan(loaded, NOTHING).rows}
    assert len({row.prompt for row in plan.rows} - own) == 9


def test_tasks_that_the_spec_has_not_are_named(tmp_path: Path) -> None:
    plan = plan_from_failures(spec(tmp_path), failed(card__type=1, poem__enum=9), NOTHING, 3)
    assert [row.task for row in plan.rows] == ["card"] * 3
    assert plan.left_out == ["poem"] and plan.rows[0].because["share"] == 0.1
    with pytest.raises(UserError, match="failed at poem, and the spec garden_v1 has none"):
        plan_from_failures(spec(tmp_path), failed(poem__enum=9), NOTHING, 3)


def test_nothing_failed_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="v2 passed all 40 answers"):
        plan_from_failures(spec(tmp_path), failed(), NOTHING)


@given(
    st.dictionaries(st.tuples(st.text(), st.text()), st.integers(1, 99), min_size=1, max_size=9),
    st.integers(1, 500),
)
def test_shares_are_whole_add_up_and_stay_within_one(
    shares: dict[tuple[str, str], int], total: int
) -> None:
    found = apportioned(shares, total)
    assert sum(found.values()) == total
    for key, count in found.items():
        assert abs(count - total * shares[key] / sum(shares.values())) < 1


def test_a_versions_name_becomes_part_of_an_id() -> None:
    assert plan_name("d1", "fine_tuned_v2") == "d1-after-fine_tuned_v2"
    assert plan_name("d1", "my run (2)") == "d1-after-my_run_2"
    assert plan_name("d1", "新") == "d1-after-version"
