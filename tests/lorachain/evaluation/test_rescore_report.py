"""A rescored comparison is judged anew, and its report shows what the change of scoring moved."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from rescore_support import CARD, CREATED, GOOD, make_judged, write_lines

from lorachain.errors import UserError
from lorachain.evaluation.compare import compare
from lorachain.evaluation.comparison_folder import write_comparison
from lorachain.evaluation.rescore import rescored
from lorachain.evaluation.rescore_command import Request, run
from lorachain.evaluation.run_record import read_run

N = 24
BAD = "I do not know."
SHORT = '{"name": "Ana"}'  # fits only where no age is required
LEARNED = {"base": [BAD] * N, "v1": [SHORT] * N, "v2": [SHORT] * 12 + [GOOD] * 12}


@pytest.fixture
def compared(tmp_path: Path) -> Path:
    return tmp_path / "compared"


def write_schema(folder: Path, **changes: Any) -> None:
    (folder / "card.schema.json").write_text(json.dumps(CARD | changes), encoding="utf-8")


def two_suites(one: Path, folder: Path, suites: list[Path]) -> None:
    """The comparison of `one` again, on these suites."""
    record = read_run(one)
    evaluation = rescored(record, suites=suites)
    write_comparison(
        *(folder, evaluation, compare(evaluation, created=CREATED)),
        store=record.store,
        title="Two",
    )


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def section(folder: Path) -> str:
    """What a reader sees of the section, markup left out."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    found = re.search(r'<section id="moved">(.*?)</section>', page, re.DOTALL)
    return "" if found is None else " ".join(unescape(re.sub(r"<[^>]*>", " ", found[1])).split())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_changed_schema_turns_verdicts_and_all_say_so(compared: Path, tmp_path: Path) -> None:
    make_judged(compared, LEARNED)
    write_schema(tmp_path, required=["name"])
    shown = run(Request(compared)).splitlines()
    assert shown[0] == "4 of 6 verdicts changed:"
    assert shown[1] == "v2 against v1: better -> cannot tell (on many)"
    assert shown[2].startswith("  - many: better -> cannot tell (from 24 items: not one came out")
    assert shown[4:6] == [
        "v2 against base: better, as before",
        "v1 against base: cannot tell -> better (on many)",
    ]

    again = compared / "rescored"
    found = load(again / "rescore.json")
    assert (found["verdicts_moved"], found["before"]) == (4, "2026-03-14T15:09:00+00:00")
    verdicts = {
        (v["earlier"], v["later"], v["suite"]): (v["before"], v["after"], v["points"])
        for v in found["verdicts"]
    }
    assert verdicts["v1", "v2", "many"] == ("better", "cannot tell", [0.5, 0.0])
    assert verdicts["base", "v1", None][:2] == ("cannot tell", "better")
    now = load(again / "comparison.json")
    assert [o["verdict"] for o in now["overall"]] == ["better", "cannot tell", "better"]

    seen = section(again)
    assert "4 of 6 verdicts changed" in seen and "36 answers flipped" in seen
    assert "v2 against v1 better → cannot tell" in seen
    assert "v2 against base better, as before" in seen
    assert "many better → cannot tell +50 → 0 points" in seen
    assert "schema" in seen and "The first 12 of 36" in seen and "24 more are named in" in seen
    assert "Before 1 problem $ required Now no problems" in seen
    page = (again / "report.html").read_text(encoding="utf-8")
    assert "These questions cannot tell whether v2 is better than v1." in page


def test_nothing_moved_is_one_sentence(compared: Path) -> None:
    make_judged(compared, LEARNED)
    shown = run(Request(compared))
    assert shown.startswith("All 6 verdicts are as before:\nv2 against v1: better, as before\n")
    assert "Nothing moved." in shown
    assert section(compared / "rescored") == (
        "What the change of scoring moved Nothing: 72 stored answers were scored again, and every "
        "score and every verdict is what it was on 2026-03-14."
    )


def test_suites_that_are_left_out_change_no_verdict(compared: Path, tmp_path: Path) -> None:
    """What is over all suites is another verdict without one of them: then it was one before too,
    and what moved is the scoring's doing alone."""
    make_judged(compared, LEARNED)
    two = tmp_path / "two"
    many, lines = tmp_path / "many.jsonl", (tmp_path / "many.jsonl").read_text(encoding="utf-8")
    few = tmp_path / "few.jsonl"
    few.write_text("".join(lines.splitlines(keepends=True)[:12]), encoding="utf-8")
    two_suites(compared, two, [many, few])
    over_both = {(o["earlier"], o["later"]): o for o in load(two / "comparison.json")["overall"]}
    assert over_both["v1", "v2"]["verdict"] == "better"
    shown = run(Request(two, suites=(few,)))
    assert shown.startswith("All 6 verdicts are as before:\nv2 against v1: cannot tell, as before")
    assert "Left out: many; the verdicts, those before too, are without." in shown
    assert "Nothing moved." in shown
    write_schema(tmp_path, required=["name"])
    moved = run(Request(two, suites=(few,)))
    assert "v1 against base: cannot tell -> better (on few)" in moved


def test_what_the_comparison_had_is_kept(compared: Path, tmp_path: Path) -> None:
    """Margin, pairs, the order of the versions, the title and the facts under it."""
    order = {name: LEARNED[name] for name in ("base", "v2", "v1")}
    facts = {"base": "tiny", "time": "3 minutes"}
    make_judged(compared, order, margin=0.2, pairs=[("base", "v1")], title="Mine", facts=facts)
    run_file = load(compared / "run.json")
    run_file["versions"].sort(key=lambda version: str(version["name"]))
    (compared / "run.json").write_text(json.dumps(run_file), encoding="utf-8")
    write_schema(tmp_path, required=["name"])
    again = compared / "rescored"
    for folder in (compared, again):
        run(Request(folder))
    found = load(again / "comparison.json")
    assert found["margin"] == 0.2
    assert [(o["earlier"], o["later"]) for o in found["overall"]] == [("base", "v1")]
    assert [v["name"] for v in found["versions"]] == ["base", "v2", "v1"]
    page = (again / "report.html").read_text(encoding="utf-8")
    assert "<h1>Mine, scored again</h1>" in page and "3 minutes" in page
    second = (again / "rescored" / "report.html").read_text(encoding="utf-8")
    assert "<h1>Mine, scored again</h1>" in second, "it is said once"


def test_run_twice_it_says_the_same_and_the_comparison_stays(
    compared: Path, tmp_path: Path
) -> None:
    make_judged(compared, LEARNED)
    before = files(compared)
    write_schema(tmp_path, required=["name"])
    first = run(Request(compared))
    moved = (compared / "rescored" / "rescore.json").read_bytes()
    assert run(Request(compared)) == first
    assert (compared / "rescored" / "rescore.json").read_bytes() == moved
    assert files(compared) == before


def test_a_comparison_is_never_written_over(compared: Path, tmp_path: Path) -> None:
    make_judged(compared, LEARNED)
    make_judged(tmp_path / "other", LEARNED)
    before = files(compared), files(tmp_path / "other")
    for output in (compared, tmp_path / "other"):
        with pytest.raises(UserError, match="would be written over"):
            run(Request(compared, output=output))
    assert (files(compared), files(tmp_path / "other")) == before
    run(Request(compared))
    with pytest.raises(UserError, match="would be written over"):
        run(Request(compared / "rescored", output=compared))


def test_a_scorer_that_decides_now_is_named(compared: Path, tmp_path: Path) -> None:
    make_judged(compared, LEARNED)
    scorers = tmp_path / "s.yaml"
    entry = "{kind: numeric, name: age, path: age, absolute: 0, headline: true}"
    scorers.write_text(f"default: [schema, {entry}]")
    shown = run(Request(compared, scorers=scorers))
    before = load(compared / "comparison.json")["suites"][0]["headline"]
    assert f"many was judged by {before}, and is now by age." in shown
    assert f"many is judged by {before} → age" in section(compared / "rescored")
    assert load(compared / "rescored" / "comparison.json")["suites"][0]["headline"] == "age"
    assert load(compared / "rescored" / "rescore.json")["flips"] == [], "age is new: nothing flips"


@pytest.mark.parametrize("damage", ["{", "[]", '{"created": "x"}', None])
def test_without_a_comparison_before_the_verdicts_of_now_are_shown(
    damage: str | None, compared: Path
) -> None:
    make_judged(compared, LEARNED)
    if damage is None:
        (compared / "comparison.json").unlink()
    else:
        (compared / "comparison.json").write_text(damage, encoding="utf-8")
    shown = run(Request(compared)).splitlines()
    assert shown[0] == "There was no comparison before that could be read. The verdicts now:"
    assert shown[1] == "v2 against v1: better"
    found = load(compared / "rescored" / "rescore.json")
    assert (found["before"], found["verdicts_moved"]) == (None, 0)
    assert "72 stored answers were scored again, and every score is" in section(
        compared / "rescored"
    )


def test_a_suite_that_was_left_out_is_said(compared: Path, tmp_path: Path) -> None:
    make_judged(compared, LEARNED)
    record = load(compared / "run.json")
    record["suites"].append({"name": "gone", "path": str(tmp_path / "gone.jsonl"), "sha256": "x"})
    (compared / "run.json").write_text(json.dumps(record), encoding="utf-8")
    shown = run(Request(compared, suites=(tmp_path / "many.jsonl",)))
    assert "Left out: gone; the verdicts, those before too, are without." in shown
    assert "gone; the verdicts, those before too, are without" in section(compared / "rescored")


def test_hostile_text_stays_text(compared: Path, tmp_path: Path) -> None:
    attack = "</script><script>window.hacked = 1</script><img src=x onerror=alert(1)>"
    made = json.dumps({"name": attack})
    make_judged(compared, {"base": [made] * N, attack: [SHORT] * N}, title=attack)
    rows = [json.loads(line) for line in (tmp_path / "many.jsonl").read_text().splitlines()]
    path = tmp_path / f"{'x' * 3} <b>.jsonl"
    write_lines(path, [row | {"id": attack + str(i)} for i, row in enumerate(rows)])
    write_schema(tmp_path, required=["name"])
    run(Request(compared))
    run(Request(compared, suites=(path,), output=tmp_path / "renamed"))
    for folder in (compared / "rescored", tmp_path / "renamed"):
        page = (folder / "report.html").read_text(encoding="utf-8")
        assert "<img" not in page and "<script>window" not in page
    assert attack in section(compared / "rescored"), "the whole text is there to be read"
