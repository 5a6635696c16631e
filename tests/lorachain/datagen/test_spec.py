"""Specs: ten lines are enough, and every problem is said at once, with what was probably meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datagen_rows_support import GARDEN, spec_file

from lorachain.datagen.asked import AskedItems
from lorachain.datagen.fill import Filler
from lorachain.datagen.plan import make_plan
from lorachain.datagen.spec import Slot, Spec, Task
from lorachain.datagen.spec_file import load_spec
from lorachain.datagen.wordings import comma, render
from lorachain.errors import UserError
from lorachain.paths import PROJECT_ROOT

README = (PROJECT_ROOT / "data" / "specs" / "README.md").read_text(encoding="utf-8")
TEN_LINES = README.split("```yaml\n")[1].split("```")[0]


def refused(folder: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_spec(spec_file(folder, GARDEN, **changes))
    return str(caught.value)


def slotted(folder: Path, slot: Any, prompt: str = "Tell me about {{ thing }}.") -> Filler:
    settings = {"id": "s", "tasks": {"ask": prompt}, "slots": {"thing": slot}}
    return Filler(load_spec(spec_file(folder, settings)), "ask", "s")


def test_ten_lines_are_a_whole_spec(tmp_path: Path) -> None:
    assert len(TEN_LINES.splitlines()) <= 10
    path = tmp_path / "bikes.yaml"
    path.write_text(TEN_LINES, encoding="utf-8")
    loaded = load_spec(path)
    assert [loaded.count(task) for task in ("repair", "buy")] == [10, 10]
    rows = make_plan(loaded, AskedItems([])).rows
    assert len({row.prompt for row in rows}) == 20 and "{{" not in rows[0].prompt


def test_the_readme_names_every_setting() -> None:
    for model in (Spec, Task, Slot):
        for name, field in model.model_fields.items():
            assert f"`{field.alias or name}" in README or f"{name}:" in README


def test_every_problem_is_said_at_once(tmp_path: Path) -> None:
    tasks = {
        "care": {"prompts": ["About {{ plnt }}?", "{{ broken"], "schema": "envelop"},
        "pot": {"templates": ["nowhere.j2"]},
    }
    message = refused(tmp_path, tasks=tasks)
    for part in (
        "care#1 asks for plnt, which no slot fills (did you mean plant?)",
        "care#2, line 1: no template",
        "schema 'envelop' is not known; known are",
        "template nowhere.j2 cannot be read",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"cuont": 3}, "cuont: no such setting (did you mean count?)"),
        ({"id": "a b"}, "it begins every row's id"),
        ({"tasks": {}}, "tasks: Dictionary should have at least 1 item"),
        ({"tasks": {"care": {"count": 3}}}, "a task needs `prompts` or `templates`"),
        ({"count": 0}, "count: Input should be greater than or equal to 1"),
        ({"schema": "my/own.schema.json"}, "tasks.care.schema: name a schema of configs/schemas"),
        ({"tasks": {"a": {"prompts": ["x"], "expected": {"a..b": 1}}}}, "tasks.a.expected: `path`"),
        ({"count": True}, "not a matter of true or false"),
        ({"categories": {"a": 0}}, "every weight is 0"),
        ({"slots": {"plant": []}}, "slots.plant.values"),
        ({"slots": {"plant": {"range": [5, 1]}}}, "`range` is [from, to]"),
        ({"slots": {"plant": {"pick": 4, "values": ["a"]}}}, "`pick` takes as many"),
        ({"slots": {"plant": {"by": "region"}}}, "has `by` and `of`"),
    ],
)
def test_a_bad_setting_is_named(tmp_path: Path, changes: dict[str, Any], part: str) -> None:
    assert part in refused(tmp_path, **changes)


def test_a_slot_looks_only_at_axes_and_at_slots_above_it(tmp_path: Path) -> None:
    slots = GARDEN["slots"] | {"plant": ["a {{ place }} plant"]}
    assert "slots.plant: place is no axis and no slot above it" in refused(tmp_path, slots=slots)
    by = {"by": "region", "of": {"north": ["moss"]}}
    message = refused(tmp_path, slots=GARDEN["slots"] | {"plant": by}, regions=["north", "south"])
    assert "slots.plant.of has nothing for the region 'south'" in message


def test_slots_that_no_template_uses_are_not_looked_at(tmp_path: Path) -> None:
    slots = GARDEN["slots"] | {"other": ["{{ unknown }}"]}
    assert load_spec(spec_file(tmp_path, GARDEN, slots=slots)).spec.id == "garden_v1"


def test_a_file_that_is_no_spec_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- a\n- b\n", encoding="utf-8")
    with pytest.raises(UserError, match="must hold settings"):
        load_spec(path)
    with pytest.raises(UserError, match="Spec not found"):
        load_spec(tmp_path / "none.yaml")


def test_a_template_file_holds_several_wordings(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    text = "First {{ plant }}?\n---\nSecond\n{{ plant }}?\n---\n\n"
    (tmp_path / "templates" / "t.j2").write_text(text, encoding="utf-8")
    loaded = load_spec(spec_file(tmp_path, GARDEN, tasks={"care": {"templates": ["t.j2"]}}))
    assert [w.name for w in loaded.wordings["care"]] == ["t.j2#1", "t.j2#2"]
    assert loaded.wordings["care"][1].source == "Second\n{{ plant }}?"
    assert [path.name for path in loaded.files] == ["spec.yaml", "t.j2"]


def test_ranges_give_numbers_on_their_steps(tmp_path: Path) -> None:
    filler = slotted(tmp_path, {"range": [1, 5, 0.5]})
    found = {filler.fill(i).slots["thing"] for i in range(200)}
    assert found == {1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5}
    assert {type(n) for n in found if n == int(n)} == {int}


def test_picks_are_different_values_and_as_many_as_asked(tmp_path: Path) -> None:
    filler = slotted(tmp_path, {"pick": [2, 3], "values": list("abcde")}, "{{ thing | join }}")
    found = [filler.fill(i).slots["thing"] for i in range(100)]
    assert {len(picked) for picked in found} == {2, 3}
    assert all(len(set(picked)) == len(picked) for picked in found)


def test_a_value_may_be_a_template_of_the_slots_above(tmp_path: Path) -> None:
    settings = {
        "id": "s",
        "tasks": {"ask": "{{ line.text }}"},
        "slots": {"who": ["Ana"], "line": [{"text": "Dear {{ who }}"}]},
    }
    filled = Filler(load_spec(spec_file(tmp_path, settings)), "ask", "s").fill(0)
    assert filled.prompt == "Dear Ana"


def test_templates_stay_in_their_sandbox() -> None:
    with pytest.raises(UserError, match="cannot be filled"):
        render("{{ ''.__class__.__mro__[1].__subclasses__() }}", {}, "The template")


@pytest.mark.parametrize(
    ("number", "digits", "text"),
    [(1249.9, 2, "1.249,90"), (4.5, None, "4,5"), (4, None, "4"), (1000, None, "1.000")],
)
def test_numbers_as_portuguese_writes_them(number: float, digits: int | None, text: str) -> None:
    assert comma(number, digits) == text
