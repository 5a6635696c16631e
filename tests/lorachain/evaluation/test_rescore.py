"""Scoring stored answers again: what moved, what did not, and what cannot be scored again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rescore_support import ANSWERS, CARD, GOOD, make_comparison, write_lines, write_suite

from lorachain.errors import UserError
from lorachain.evaluation.comparison import Comparison
from lorachain.evaluation.rescore import rescored
from lorachain.evaluation.rescore_command import Request, run
from lorachain.evaluation.rescore_moves import Moves, moves
from lorachain.evaluation.rescore_text import text
from lorachain.evaluation.results import open_store, read_store
from lorachain.evaluation.run_record import RUN, SCORES, read_run, write_run
from lorachain.evaluation.scorer_file import read_scorers


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    return write_suite(tmp_path)


@pytest.fixture
def compared(tmp_path: Path) -> Path:
    return tmp_path / "compared"


def write_schema(suite: Path, **changes: Any) -> None:
    text = json.dumps(CARD | changes)
    (suite.parent / "card.schema.json").write_text(text, encoding="utf-8")


def again(folder: Path, **changes: Any) -> Moves:
    record = read_run(folder)
    return moves(record, rescored(record, **changes))


def flipped(found: Moves, metric: str) -> dict[tuple[str, str], list[float | None]]:
    return {
        (f.version, f.item): list(f.metrics[metric]) for f in found.flips if metric in f.metrics
    }


def test_scored_again_it_is_the_evaluation_that_it_was(suite: Path, compared: Path) -> None:
    evaluation = make_comparison(compared, suite)
    found = rescored(compared)
    assert found.base == evaluation.base and found.scoring == evaluation.scoring
    for then, now in zip(evaluation.versions, found.versions, strict=True):
        assert (then.version.name, then.version.sha256) == (now.version.name, now.version.sha256)
        assert (then.settings, then.answers) == (now.settings, now.answers)


def test_nothing_changed_moves_nothing(suite: Path, compared: Path) -> None:
    make_comparison(compared, suite)
    found = again(compared)
    assert (found.answers, found.moved, found.flips, found.scoring) == (8, [], [], {})
    assert (found.new, found.gone) == (0, 0)
    assert text(found).endswith("\nNothing moved.")
    row = next(m for m in found.metrics if (m.version, m.metric, m.task) == ("v1", "strict", None))
    assert (row.n, row.before, row.after, row.changed) == (4, 0.75, 0.75, 0)


def test_a_changed_schema_moves_exactly_the_items_that_it_judges_otherwise(
    suite: Path, compared: Path
) -> None:
    make_comparison(compared, suite)
    write_schema(suite, required=["name"])
    found = again(compared)
    assert flipped(found, "schema_valid") == {("base", "2"): [0.0, 1.0], ("v1", "2"): [0.0, 1.0]}
    assert len(found.flips) == 2 and flipped(found, "strict") == {}
    flip = found.flips[1]
    assert (flip.task, list(flip.tier)) == ("short", ["strict", "strict"])
    assert [list(p) for p in flip.problems] == [["$ required"], []]
    assert list(found.scoring) == [f"schema {suite.parent / 'card.schema.json'}"]
    moved = {(m.version, m.task, m.metric): (m.before, m.after, m.changed) for m in found.moved}
    assert moved["base", None, "schema_valid"] == (0.5, 0.75, 1)
    assert moved["v1", "short", "task_valid"] == (0.5, 1.0, 1)
    assert not any(task == "card" for _, task, _ in moved)


def test_a_schema_may_move_nothing_and_is_named_all_the_same(suite: Path, compared: Path) -> None:
    make_comparison(compared, suite)
    write_schema(suite, description="the same, in other words")
    found = again(compared)
    assert found.moved == [] and len(found.scoring) == 1
    assert "Scored by another schema" in text(found) and "Nothing moved." in text(found)


def test_wins_and_losses_that_cancel_out_still_show(suite: Path, compared: Path) -> None:
    make_comparison(compared, suite)
    write_schema(suite, required=["name"], properties={"age": {"maximum": 30}})
    found = again(compared)
    changes = flipped(found, "schema_valid")
    assert changes["base", "2"] == [0.0, 1.0] and changes["base", "0"] == [1.0, 0.0]
    short = next(
        m for m in found.moved if (m.version, m.task, m.metric) == ("base", "short", "schema_valid")
    )
    assert (short.before, short.after, short.changed) == (0.5, 0.5, 2)


def write_scorers(folder: Path, tolerance: float) -> Path:
    path = folder / "scorers.yaml"
    entry = f"{{kind: numeric, name: age, path: age, absolute: {tolerance}}}"
    path.write_text(f"default: [schema, {entry}]", encoding="utf-8")
    return path


def test_a_changed_scorer_moves_its_own_column_alone(
    suite: Path, compared: Path, tmp_path: Path
) -> None:
    near = '{"name": "Ana", "age": 32}'
    answers = {"base": [GOOD, near, "no", GOOD]}
    make_comparison(compared, suite, answers, write_scorers(tmp_path, 0))
    assert again(compared).moved == []
    write_scorers(tmp_path, 1)
    found = again(compared)
    assert {m.metric for m in found.moved} == {"age"}
    assert flipped(found, "age") == {("base", "1"): [0.0, 1.0]}
    assert [list(p) for p in found.flips[0].problems] == [["age age"], []]
    assert list(found.scoring) == ["default: age"]


def test_a_new_scorer_is_a_new_column_and_flips_nothing(
    suite: Path, compared: Path, tmp_path: Path
) -> None:
    make_comparison(compared, suite)
    found = again(compared, scorers=read_scorers(write_scorers(tmp_path, 0)))
    assert found.flips == []
    assert {m.metric for m in found.moved} == {"age"}
    row = next(m for m in found.moved if (m.version, m.task) == ("base", None))
    assert (row.before, row.scored_before, row.after, row.scored_after) == (None, 0, 0.5, 4)
    assert found.scoring["default: age"][0] is None
    assert all(m.new for m in found.moved)
    assert "Scored now by default: age too (" in text(found)


def test_a_task_that_is_named_with_the_defaults_own_scorers_is_no_change(
    suite: Path, compared: Path, tmp_path: Path
) -> None:
    make_comparison(compared, suite)
    path = tmp_path / "scorers.yaml"
    entry = "{kind: numeric, name: age, path: age, absolute: 0}"
    path.write_text(f"tasks: {{card: [schema, {entry}], short: [schema]}}", encoding="utf-8")
    assert list(again(compared, scorers=read_scorers(path)).scoring) == ["card: age"]


def test_a_table_of_many_means_is_cut_and_the_newest_version_stands_first(
    suite: Path, compared: Path, tmp_path: Path
) -> None:
    make_comparison(compared, suite)
    path = tmp_path / "scorers.yaml"
    entries = [f"{{kind: numeric, name: a{i}, path: age, absolute: 0}}" for i in range(20)]
    path.write_text(f"default: [schema, {', '.join(entries)}]", encoding="utf-8")
    lines = text(again(compared, scorers=read_scorers(path))).splitlines()
    rows = [line for line in lines if "(all)" in line]
    assert [row.split()[0] for row in rows] == ["v1"] * 20 + ["base"] * 10
    assert "... and 90 more means, in rescore.json" in lines


def test_what_can_no_longer_be_scored_is_not_wrong(
    suite: Path, compared: Path, tmp_path: Path
) -> None:
    function = tmp_path / "mine.py"
    function.write_text("def f(answer, item): return True\n", encoding="utf-8")
    scorers = tmp_path / "scorers.yaml"
    scorers.write_text("default: [{kind: function, function: 'mine.py:f'}]", encoding="utf-8")
    make_comparison(compared, suite, scorers_file=scorers)
    function.write_text("def f(answer, item): return answer[99] == 'x'\n", encoding="utf-8")
    found = again(compared)
    row = next(m for m in found.moved if (m.version, m.task) == ("v1", None))
    assert (row.before, row.after, row.scored_after) == (1.0, None, 0)
    assert flipped(found, "f")["v1", "0"] == [1.0, None]
    assert list(found.flips[0].problems[1]) == [
        "f not scored: IndexError: string index out of range"
    ]
    assert "pass -> not scored" in text(found)


def test_a_scorer_that_fails_is_said_although_nothing_moved(
    suite: Path, compared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_comparison(compared, suite)
    (tmp_path / "mine.py").write_text(
        "def never(answer, item): return item['x']\n"
        "def partly(answer, item): return {'I': 1.0}[answer[0]] if item['id'] else 0.0\n"
    )
    scorers = tmp_path / "s.yaml"
    scorers.write_text(
        "default: [schema]\n"
        "tasks: {short: [schema, {kind: function, function: 'mine.py:never'}],\n"
        "        card: [schema, {kind: function, function: 'mine.py:partly'}]}\n"
    )
    shown = run(Request(compared, scorers=scorers)).splitlines()
    never = "never could not score 2 of 2 items of cards (KeyError: 'x')."
    partly = (
        "partly could not score all items of cards: 0 of 2 for base, 1 of 2 for v1 (KeyError: '{')."
    )
    assert never in shown and partly in shown
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [
        f"{never} It says nothing about these answers."
    ]
    written = json.loads((compared / "rescored" / "rescore.json").read_text(encoding="utf-8"))
    assert sorted(written["unscored"]) == [never, partly]
    judged = json.loads((compared / "rescored" / "comparison.json").read_text(encoding="utf-8"))
    assert [judged["notes"].count(note) for note in (never, partly)] == [1, 1]


def test_a_suite_that_changed_is_named_and_scored_only_when_asked_for(
    suite: Path, compared: Path
) -> None:
    make_comparison(compared, suite)
    write_suite(suite.parent, expected={"name": "Eva"})
    with pytest.raises(UserError, match=r"cards\.jsonl changed since .*--suites FILE"):
        rescored(compared)
    found = again(compared, suites=[suite])
    assert found.suites_changed == ["cards"]
    assert flipped(found, "task_valid") == {
        ("base", "0"): [1.0, 0.0],
        ("base", "3"): [1.0, 0.0],
        **{("v1", item): [1.0, 0.0] for item in "013"},
    }


def test_items_that_came_and_went_are_counted(suite: Path, compared: Path) -> None:
    make_comparison(compared, suite)
    rows = [json.loads(line) for line in suite.read_text(encoding="utf-8").splitlines()]
    write_lines(suite, [*rows[:3], rows[3] | {"id": "three"}])
    found = again(compared, suites=[suite])
    assert (found.answers, found.new, found.gone, found.moved) == (8, 2, 2, [])
    assert "2 answers were not scored before" in text(found)


def test_answers_that_are_missing_are_counted_and_named(suite: Path, compared: Path) -> None:
    make_comparison(compared, suite)
    rows = [json.loads(line) for line in suite.read_text(encoding="utf-8").splitlines()]
    rows[1]["prompt"] = "Another card?"
    write_lines(suite, [*rows, rows[0] | {"id": "new", "prompt": "A new one?"}])
    with pytest.raises(UserError) as caught:
        rescored(compared, suites=[suite])
    message = str(caught.value)
    assert message.startswith("4 answers are not in ")
    assert "  base: 2 (cards 1, cards new)\n  v1: 2 (cards 1, cards new)\n" in message


def test_a_store_that_is_gone_is_said(suite: Path, compared: Path) -> None:
    make_comparison(compared, suite)
    shutil.rmtree(compared / "answers")
    with pytest.raises(UserError, match=r"no stored answers in .*answers"):
        rescored(compared)
    assert not (compared / "answers").exists(), "reading makes nothing"


def test_a_scorers_file_or_suite_that_is_gone_is_said(
    suite: Path, compared: Path, tmp_path: Path
) -> None:
    scorers = write_scorers(tmp_path, 0)
    make_comparison(compared, suite, scorers_file=scorers)
    scorers.unlink()
    with pytest.raises(UserError, match="Scorers file not found"):
        rescored(compared)
    suite.unlink()
    with pytest.raises(UserError, match=r"File not found: .*cards\.jsonl"):
        rescored(compared, scorers=read_scorers(write_scorers(tmp_path, 0)))


def test_a_folder_may_be_moved(suite: Path, compared: Path, tmp_path: Path) -> None:
    make_comparison(compared, suite)
    moved = tmp_path / "moved"
    compared.rename(moved)
    assert again(moved).moved == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / RUN).unlink(), "holds no comparison"),
        (lambda folder: (folder / RUN).write_text("{"), "cannot be read"),
        (lambda folder: (folder / RUN).write_text("[]"), "is no record"),
        (lambda folder: (folder / RUN).write_text('{"format": 2}'), "is no record"),
        (lambda folder: (folder / RUN).write_text('{"format": 1}'), "is damaged"),
        (lambda folder: (folder / SCORES).write_text("{}\n"), "is damaged"),
        (lambda folder: (folder / SCORES).write_text('{"a"\n'), "cannot be read"),
        (lambda folder: (folder / SCORES).unlink(), "File not found"),
    ],
)
def test_a_record_that_cannot_be_read_is_a_sentence(
    spoil: Any, words: str, suite: Path, compared: Path
) -> None:
    make_comparison(compared, suite)
    spoil(compared)
    with pytest.raises(UserError, match=words):
        read_run(compared)


def test_the_comparison_lies_beside_the_record(suite: Path, compared: Path) -> None:
    evaluation = make_comparison(compared, suite)
    comparison = Comparison(
        *("2025-01-01", "tiny", (), (), (), (), (), (), {}, {}, 0.05, evaluation.scoring)
    )
    write_run(compared, evaluation, store=compared / "answers", comparison=comparison)
    found = json.loads((compared / "comparison.json").read_text(encoding="utf-8"))
    assert (found["format"], found["base"]) == (1, "tiny")
    assert found["scoring"] == dict(evaluation.scoring)


def test_a_rescored_comparison_can_be_rescored_from_there(
    suite: Path, compared: Path, tmp_path: Path
) -> None:
    make_comparison(compared, suite)
    write_schema(suite, required=["name"])
    shown = run(Request(compared, output=tmp_path / "second"))
    assert "2 answers flipped" in shown
    places = [line.split()[:2] for line in shown.splitlines()[-4:]]
    second = tmp_path / "second"
    assert places == [
        ["Report:", str(second / "report.html")],
        ["Vote:", str(second / "vote.html")],
        ["Moved:", str(second / "rescore.json")],
        ["Before:", str(compared)],
    ]
    before = json.loads((compared / RUN).read_text(encoding="utf-8"))
    assert again(tmp_path / "second").moved == []
    assert len(again(compared).flips) == 2, "the first comparison is as it was"
    assert json.loads((compared / RUN).read_text(encoding="utf-8")) == before
    assert not (compared / "rescore.json").exists() and not (compared / "rescored").exists()


def test_the_store_is_read_while_a_run_writes_it(
    suite: Path, compared: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_comparison(compared, suite)
    store = compared / "answers"
    before = (store / "answers.jsonl").read_bytes()
    with open_store(store), (store / "answers.jsonl").open("ab") as file:
        file.write(b'{"fingerprint": "half of a li')
        file.flush()
        assert len(read_store(store)._answers) == 8
    assert "damaged" not in caplog.text, "a line on its way is no fault"
    assert (store / "answers.jsonl").read_bytes().startswith(before)


def test_a_table_shows_what_moved_and_the_first_flips(suite: Path, compared: Path) -> None:
    make_comparison(compared, suite)
    write_schema(suite, required=["name"])
    lines = text(again(compared)).splitlines()
    assert lines[0] == "8 answers of 2 versions were scored again; no model was loaded."
    row = next(line for line in lines if line.startswith("base") and " schema_valid " in line)
    assert row.split() == ["base", "cards", "(all)", "schema_valid", "4", "0.500", "0.750", "1"]
    at = lines.index("2 answers flipped between pass and fail:")
    assert lines[at + 1] == (
        "  base, cards, 2: strict_valid fail -> pass, schema_valid fail -> pass, "
        "strict_task_valid fail -> pass, task_valid fail -> pass"
    )
    assert lines[at + 2] == "      tier strict; problems before: $ required; after: none"


def test_hostile_answers_are_written_down_and_read_again(suite: Path, compared: Path) -> None:
    hostile = ["\ud800 \u2028", '{"\ud800": 1}', "{" * 9000, "<script>\x00\n"]
    make_comparison(compared, suite, {"base": hostile, **ANSWERS})
    assert again(compared).moved == []
