"""Plans: the same every time, exactly as many as asked, more without moving what was there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from datagen_rows_support import GARDEN, spec_file, suite_file
from hypothesis import given, settings
from hypothesis import strategies as st

from lorachain.datagen.asked import AskedItem, AskedItems, read_asked
from lorachain.datagen.near import near_pairs
from lorachain.datagen.plan import Plan, is_own, make_plan
from lorachain.datagen.rows import PlanRow
from lorachain.datagen.spec_file import Loaded, load_spec
from lorachain.errors import UserError
from lorachain.paths import PROJECT_ROOT, SUITES

SPECS = PROJECT_ROOT / "data" / "specs"
NOTHING = AskedItems([])
TWO: dict[str, Any] = GARDEN | {
    "tasks": {
        "care": {"count": 7, "prompts": [GARDEN["tasks"]["care"], "{{ plant }}: {{ problem }}?"]},
        "move": {"count": 4, "prompts": ["May a {{ plant }} stand {{ place }}?"]},
    },
    "difficulties": {"easy": 2, "hard": 1},
    "regions": ["north", "south"],
}


def loaded(folder: Path, settings: dict[str, Any] = GARDEN, **changes: Any) -> Loaded:
    return load_spec(spec_file(folder, settings, **changes))


def asked(*prompts: str) -> AskedItems:
    return AskedItems([AskedItem(Path("s.jsonl"), f"i{i}", p) for i, p in enumerate(prompts)])


def kept(row: PlanRow) -> dict[str, Any]:
    """A row without its place in the plan."""
    return row.as_dict() | {"index": 0}


def test_the_same_spec_gives_the_same_plan(tmp_path: Path) -> None:
    spec = loaded(tmp_path, TWO)
    assert make_plan(spec, NOTHING) == make_plan(loaded(tmp_path, TWO), NOTHING)
    assert make_plan(loaded(tmp_path, TWO, seed=43), NOTHING).rows != make_plan(spec, NOTHING).rows


def test_counts_are_as_asked_and_no_prompt_comes_twice(tmp_path: Path) -> None:
    rows = make_plan(loaded(tmp_path, TWO), NOTHING).rows
    assert Counter(row.task for row in rows) == {"care": 7, "move": 4}
    assert len({row.prompt for row in rows}) == len({row.id for row in rows}) == 11
    assert [row.index for row in rows] == list(range(11))


def test_tasks_take_turns(tmp_path: Path) -> None:
    tasks = [row.task for row in make_plan(loaded(tmp_path, TWO), NOTHING).rows]
    assert tasks == ["care", "move"] * 4 + ["care"] * 3


def test_axes_are_dealt_out_by_their_weights(tmp_path: Path) -> None:
    tasks = {"care": {"count": 12, "prompts": [GARDEN["tasks"]["care"]]}}
    rows = make_plan(loaded(tmp_path, TWO, tasks=tasks), NOTHING).rows
    assert Counter(row.difficulty for row in rows) == {"easy": 8, "hard": 4}
    assert Counter(row.region_tags[0] for row in rows) == {"north": 6, "south": 6}


@settings(max_examples=25)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 6), st.integers(1, 4))
def test_more_keeps_the_rows_that_there_were(
    tmp_path_factory: pytest.TempPathFactory, care: int, more: int, move: int, also: int
) -> None:
    folder = tmp_path_factory.mktemp("spec")

    def rows(*counts: int) -> dict[str, dict[str, Any]]:
        tasks = {
            name: task | {"count": n}
            for (name, task), n in zip(TWO["tasks"].items(), counts, strict=True)
        }
        plan = make_plan(loaded(folder, TWO, tasks=tasks), NOTHING)
        return {row.id: kept(row) for row in plan.rows}

    before, after = rows(care, move), rows(care + more, move + also)
    assert before.items() <= after.items() and len(after) == len(before) + more + also


def test_a_spec_that_is_just_wide_enough_is_used_up(tmp_path: Path) -> None:
    rows = make_plan(loaded(tmp_path, count=36), NOTHING).rows
    assert len({row.prompt for row in rows}) == 36  # 4 plants, 3 places, 3 problems


def test_a_spec_that_is_too_narrow_says_where(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too narrow: for prompt 37 of the task care, 2,000 draws"):
        make_plan(loaded(tmp_path, count=37), NOTHING)


def test_two_tasks_that_ask_the_same_are_refused(tmp_path: Path) -> None:
    tasks = {"a": "Name a plant.", "b": "name a  plant."}
    with pytest.raises(UserError, match="Two tasks ask the same"):
        make_plan(loaded(tmp_path, tasks=tasks, count=1), NOTHING)


def test_what_a_suite_asks_is_drawn_again(tmp_path: Path) -> None:
    spec = loaded(tmp_path, count=12)
    first = make_plan(spec, NOTHING)
    taken = [first.rows[0].prompt, first.rows[3].prompt.upper() + " Thanks"]
    plan = make_plan(spec, asked(*taken))
    assert plan.asked >= 2
    assert len(plan.rows) == 12
    for row in plan.rows:
        assert not list(near_pairs([row.prompt, taken[0]]))
        assert not list(near_pairs([row.prompt, taken[1]]))
    same = {row.id: row.prompt for row in first.rows}
    unmoved = [row for row in plan.rows if same[row.id] == row.prompt]
    assert len(unmoved) >= 8


def test_a_suite_that_leaves_nothing_is_named(tmp_path: Path) -> None:
    spec = loaded(tmp_path, tasks={"care": "How do I water a fern?"}, count=1)
    with pytest.raises(UserError, match=r"not in a suite \(s:i0 in .*s\.jsonl\)"):
        make_plan(spec, asked("how do I water a FERN"))


def test_a_suite_of_the_specs_own_rows_changes_nothing(tmp_path: Path) -> None:
    spec = loaded(tmp_path, count=12)
    first = make_plan(spec, NOTHING)
    rows = first.rows[:5]
    suites = tmp_path / "suites"
    suite_file(suites / "own.jsonl", *(r.prompt for r in rows), ids=[r.id for r in rows])
    again = make_plan(spec, read_asked(suites))
    assert again.rows == first.rows and again.asked == 0


def test_only_real_ids_count_as_own(tmp_path: Path) -> None:
    spec = loaded(tmp_path)
    own = make_plan(spec, NOTHING).rows[0].id
    assert is_own(spec, own)
    for other in (own[:-1] + "0", own.replace("care-0000", "care-0001"), "garden_v1-care-1", "x"):
        assert other == own or not is_own(spec, other)


SHIPPED: dict[str, Plan] = {}


def plan_of(name: str) -> Plan:
    """A shipped spec's plan, beside the shipped suites."""
    if name not in SHIPPED:
        SHIPPED[name] = make_plan(load_spec(SPECS / f"{name}_spec.yaml"), read_asked(SUITES))
    return SHIPPED[name]


@pytest.fixture(params=["dataset_v1", "ecommerce_ptbr"])
def shipped(request: pytest.FixtureRequest) -> Plan:
    return plan_of(str(request.param))


def test_shipped_specs_plan_what_they_say(shipped: Plan) -> None:
    travel = dict.fromkeys(("itinerary", "checklist", "decision_tree", "procedure"), 30)
    shop = {"extraction": 60, "sql_qa": 40, "insights": 40, "push": 40}
    name = shipped.rows[0].spec
    wanted = travel if name == "dataset_v1" else shop
    assert Counter(row.task for row in shipped.rows) == wanted
    for row in shipped.rows:
        assert row.system and row.schema and "{{" not in row.prompt and "None" not in row.prompt
        assert row.expected == ({"payload_type": row.task} if wanted is travel else {})


def test_shipped_prompts_are_hardly_near_each_other(shipped: Plan) -> None:
    """Else whole templates would fall into one split."""
    pairs = list(near_pairs([row.prompt for row in shipped.rows]))
    assert len(pairs) <= len(shipped.rows) // 50


def test_portuguese_reviews_hold_decimal_commas() -> None:
    reviews = [row for row in plan_of("ecommerce_ptbr").rows if row.task == "extraction"]
    stars = [row.slots["stars"] for row in reviews]
    assert sum(n != int(n) for n in stars) >= len(stars) // 4
    for row, n in zip(reviews, stars, strict=True):
        assert str(n).replace(".", ",") in row.prompt
