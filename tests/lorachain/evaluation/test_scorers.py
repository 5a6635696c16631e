"""Scorers: each kind on right, wrong and unscorable answers, and what a bad file is told."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorachain.answers import compile_schema
from lorachain.errors import UserError
from lorachain.evaluation.generated import Generated
from lorachain.evaluation.score import RATES, Score, Scored, by_task, score, summary
from lorachain.evaluation.scorer_file import read_scorers
from lorachain.evaluation.scorers import Scorers, scoring_identity
from lorachain.evaluation.tables import summary_table
from lorachain.evaluation.texts import normalised, rouge_l
from lorachain.paths import CONFIGS, SUITES
from lorachain.records import Message
from lorachain.suites import Item, Suite, read_suite

REFERENCE = {"name": "Ana", "tags": ["a", "b"], "size": {"m": 2.0}, "note": "The gun was found."}
CARD = compile_schema({"type": "object", "required": ["name"]})


def item(reference: Any = REFERENCE, **known: Any) -> Item:
    return Item(id=1, messages=(Message("user", "?"),), reference=reference, **known)


def scorers_of(folder: Path, text: str) -> Scorers:
    path = folder / "scorers.yaml"
    path.write_text(text, encoding="utf-8")
    return read_scorers(path)


def scored(folder: Path, entry: str, answer: Any, asked: Item | None = None) -> Score:
    """One scorer, given as its keys in YAML, on one answer."""
    scorers = scorers_of(folder, f"default: [{{{entry}, name: it}}]")
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return score(text, asked or item(), {"card": CARD}, scorers)


def value(folder: Path, entry: str, answer: Any, asked: Item | None = None) -> float | None:
    return scored(folder, entry, answer, asked).values["it"]


# --- fields


@pytest.mark.parametrize(
    ("entry", "answer", "expected", "wrong"),
    [
        ("paths: all", REFERENCE, 1.0, []),
        ("paths: all", REFERENCE | {"name": "Eva"}, 0.8, ["name"]),
        ("paths: all", REFERENCE | {"more": 1}, 5 / 6, ["more"]),
        ("paths: all", REFERENCE | {"tags": ["a"]}, 0.8, ["tags[1]"]),
        ("paths: all", REFERENCE | {"size": {"m": 2}}, 0.8, ["size.m"]),
        ("paths: all, whole: true", REFERENCE, 1.0, []),
        ("paths: all, whole: true", REFERENCE | {"name": "Eva"}, 0.0, ["name"]),
        ("paths: [name, 'tags[0]']", {"name": "Ana", "tags": ["x"]}, 0.5, ["tags[0]"]),
        ("paths: [tags]", {"tags": ["a", "b"]}, 1.0, []),
        ("paths: [tags]", {"tags": ["b", "a"]}, 0.0, ["tags"]),
        ("paths: [name]", "no JSON", 0.0, ["name"]),
        ("paths: [name]", '{"name": "Ana", "cut": "of', 0.0, ["name"]),
        ("paths: [name]", [REFERENCE], 0.0, ["name"]),
    ],
)
def test_fields_are_the_share_that_is_exactly_right(
    entry: str, answer: Any, expected: float, wrong: list[str], tmp_path: Path
) -> None:
    found = scored(tmp_path, f"kind: fields, {entry}", answer)
    assert found.values["it"] == pytest.approx(expected)
    assert [(p["path"], p["kind"]) for p in found.problems] == [(path, "it") for path in wrong]


def test_nothing_read_is_wrong_in_every_field(tmp_path: Path) -> None:
    assert value(tmp_path, "kind: fields", "no JSON") == 0.0
    assert value(tmp_path, "kind: fields", "null", item({})) == 0.0
    assert value(tmp_path, "kind: fields", "{}", item({})) == 1.0


def test_null_that_is_asked_for_is_not_the_same_as_nothing(tmp_path: Path) -> None:
    asked = item({"a": None})
    entry = "kind: fields, paths: [a]"
    assert value(tmp_path, entry, {"a": None}, asked) == 1.0
    assert value(tmp_path, entry, {}, asked) == 0.0


# --- numeric


@pytest.mark.parametrize(
    ("tolerance", "answer", "expected"),
    [
        ("absolute: 0.1", 2.1, 1.0),
        ("absolute: 0.1", 2.11, 0.0),
        ("absolute: 0", 2, 1.0),
        ("relative: 0.05", 2.1, 1.0),
        ("relative: 0.05", 2.2, 0.0),
        ("absolute: 0.01, relative: 0.05", 2.1, 1.0),
        ("absolute: 9", True, 0.0),
        ("absolute: 9", "2.0", 0.0),
        ("absolute: 9", None, 0.0),
        ("absolute: 9", 10**400, 0.0),
    ],
)
def test_a_number_is_right_within_either_tolerance(
    tolerance: str, answer: Any, expected: float, tmp_path: Path
) -> None:
    entry = f"kind: numeric, path: size.m, {tolerance}"
    assert value(tmp_path, entry, {"size": {"m": answer}}) == expected


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_not_finite_is_near_nothing(word: str, tmp_path: Path) -> None:
    entry = "kind: numeric, path: size.m, absolute: 1e300, relative: 1e300"
    assert value(tmp_path, entry, f'{{"size": {{"m": {word}}}}}') == 0.0
    asked = item({"size": {"m": float(word)}})
    found = scored(tmp_path, entry, {"size": {"m": 1}}, asked)
    assert found.values["it"] is None
    assert found.unscored["it"] == "the reference has no finite number at size.m"


def test_the_whole_answer_may_be_the_number(tmp_path: Path) -> None:
    asked = item(None, answer="42")
    for text, expected in (("42", 1.0), (" 42.0\n", 1.0), ("43", 0.0), ("forty-two", 0.0)):
        assert value(tmp_path, "kind: numeric, absolute: 0", text, asked) == expected


# --- text


@pytest.mark.parametrize(
    ("options", "answer", "wanted", "expected"),
    [
        ("", "  CAFÉ\u00a0au  lait ", "Cafe\u0301 au lait", 1.0),
        ("", "ﬁne, STRASSE", "fine, straße", 1.0),
        ("", "fine", "fine.", 0.0),
        (", ignore_punctuation: true", "«Fine»!", "fine", 1.0),
        (", ignore_punctuation: true", "3.5", "35", 0.0),
        (", ignore_case: false", "Fine", "fine", 0.0),
        ("", "yes", ["no", "Yes"], 1.0),
        ("", "perhaps", ["no", "Yes"], 0.0),
        ("", "", "", 1.0),
    ],
)
def test_texts_match_in_whatever_way_they_are_written(
    options: str, answer: str, wanted: Any, expected: float, tmp_path: Path
) -> None:
    assert value(tmp_path, f"kind: text{options}", answer, item(wanted)) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [  # the examples of Lin (2004), section 3.1
        ("police kill the gunman", 0.75),
        ("the gunman kill police", 0.5),
        ("Police killed the gunman!", 1.0),
        ("", 0.0),
    ],
)
def test_rouge_l_is_that_of_the_paper(answer: str, expected: float, tmp_path: Path) -> None:
    asked = item({"s": "police killed the gunman"})
    entry = "kind: text, path: s, measure: rouge_l"
    assert value(tmp_path, entry, {"s": answer}, asked) == pytest.approx(expected)


def test_rouge_l_reads_every_alphabet() -> None:
    assert rouge_l("Москва большая", "Москва большой город") == pytest.approx(0.4)
    assert rouge_l("東京は大きい", "東京は広い") == pytest.approx(8 / 11)
    assert rouge_l("words", "…") is None


def test_a_text_that_is_none_is_wrong_and_a_reference_that_is_none_unscorable(
    tmp_path: Path,
) -> None:
    assert value(tmp_path, "kind: text, path: name", {"name": 7}) == 0.0
    assert value(tmp_path, "kind: text, path: name, measure: rouge_l", {}) == 0.0
    found = scored(tmp_path, "kind: text, path: size", {"size": "x"})
    assert (found.values["it"], found.unscored["it"]) == (
        *(None,),
        "the reference has no text at size",
    )
    found = scored(tmp_path, "kind: text, measure: rouge_l", "x", item("!"))
    assert found.unscored == {"it": "the reference has no words"}


@given(st.text(), st.text())
def test_likeness_is_symmetric_and_full_for_itself(a: str, b: str) -> None:
    assert normalised(normalised(a)) == normalised(a)
    one, two = rouge_l(a, b), rouge_l(b, a)
    if one is not None and two is not None:
        assert one == two and 0 <= one <= 1
    assert rouge_l(a, a) in (1.0, None)


@pytest.mark.parametrize(
    "entry", ["kind: fields", "kind: numeric, path: a, absolute: 0", "kind: text, path: a"]
)
def test_without_a_reference_nothing_is_scored(entry: str, tmp_path: Path) -> None:
    found = scored(tmp_path, entry, {"a": 1}, item(None))
    assert found.values == {"it": None} and found.unscored == {"it": "the item has no reference"}


# --- function

FUNCTIONS = """
import sys
import helper
import numpy

def half(answer, item): return 0.5
def yes(answer, item): return item["reference"]["name"] in answer
def nothing(answer, item): return None
def too_much(answer, item): return 1.5
def nan(answer, item): return float("nan")
def word(answer, item): return "good"
def array(answer, item): return numpy.zeros(3)
def numpy_bool(answer, item): return numpy.bool_(True)
def fails(answer, item): raise KeyError("what")
def leaves(answer, item): sys.exit(3)
def deep(answer, item): return deep(answer, item)
def spoils(answer, item):
    item["reference"]["name"] = "spoilt"
    return True
def late(answer, item):
    import late_helper
    return late_helper.VALUE
def one(answer): return 1.0
polite = helper.polite
number = 3
"""


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(FUNCTIONS, encoding="utf-8")
    (tmp_path / "helper.py").write_text("def polite(answer, item): return 'please' in answer\n")
    (tmp_path / "late_helper.py").write_text("VALUE = 0.25\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "expected", "reason"),
    [
        ("half", 0.5, None),
        ("yes", 1.0, None),
        ("polite", 0.0, None),
        ("late", 0.25, None),
        ("numpy_bool", 1.0, None),
        ("nothing", None, "the function returned None"),
        ("too_much", None, "the function returned a number that is not from 0 to 1"),
        ("nan", None, "the function returned a number that is not from 0 to 1"),
        ("word", None, "the function returned str, which is no number"),
        ("array", None, "ValueError: can only convert an array of size 1 to a Python scalar"),
        ("fails", None, "KeyError: 'what'"),
        ("leaves", None, "SystemExit: 3"),
        ("deep", None, "RecursionError: maximum recursion depth exceeded"),
    ],
)
def test_a_function_scores_or_says_why_not(
    name: str, expected: float | None, reason: str | None, functions: Path
) -> None:
    found = scored(functions, f"kind: function, function: 'mine.py:{name}'", "Ana")
    assert found.values == {"it": expected}
    assert found.unscored.get("it", "").startswith(reason or "")
    assert bool(found.unscored) == (expected is None)


def test_a_function_may_lie_in_a_module_of_the_current_folder(
    functions: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path_factory.mktemp("here")
    (here / "module_of_here.py").write_text("def always(answer, item): return True\n")
    monkeypatch.chdir(here)
    before = list(sys.path)
    assert value(functions, "kind: function, function: 'module_of_here:always'", "x") == 1.0
    assert value(functions, "kind: function, function: 'mine.py:late'", "x") == 0.25
    assert sys.path == before


def test_a_function_cannot_spoil_the_item(functions: Path) -> None:
    asked = item(json.loads(json.dumps(REFERENCE)))
    assert value(functions, "kind: function, function: 'mine.py:spoils'", "x", asked) == 1.0
    assert asked.reference == REFERENCE


def test_a_function_that_changed_is_read_anew(functions: Path) -> None:
    entry = "kind: function, function: 'mine.py:half'"
    assert value(functions, entry, "x") == 0.5
    text = (functions / "mine.py").read_text(encoding="utf-8")
    (functions / "mine.py").write_text(text.replace("0.5", "0.4"), encoding="utf-8")
    assert value(functions, entry, "x") == 0.4
    assert not (functions / "__pycache__" / "mine.cpython-311.pyc").exists()


# --- who scores what


def test_tasks_have_their_own_scorers_and_the_others_the_default(tmp_path: Path) -> None:
    scorers = scorers_of(
        tmp_path,
        "default: [schema]\ntasks:\n  a:\n  - {kind: fields, headline: true, name: f}\n",
    )
    named = score('{"name": "Ana"}', item(task="a", schema="card"), {"card": CARD}, scorers)
    assert named.values["f"] == 0.2 and named.schema_valid is None, "schema is not in its list"
    assert (named.tier, named.root_type) == ("strict", "object"), "it was parsed all the same"
    other = score('{"name": "Ana"}', item(task="b", schema="card"), {"card": CARD}, scorers)
    assert (other.values, other.schema_valid) == ({}, True)
    topic = score("{}", item(topic="a"), {}, scorers)
    assert "f" in topic.values
    assert (scorers.headline("a"), scorers.headline("b")) == ("f", None)


def test_without_a_file_the_schema_alone_scores() -> None:
    answer = '{"name": "Ana"}'
    asked = item(schema="card")
    assert score(answer, asked, {"card": CARD}) == score(answer, asked, {"card": CARD}, Scorers())


def test_another_schema_may_take_the_place_of_the_items_own(tmp_path: Path) -> None:
    (tmp_path / "strict.json").write_text('{"required": ["age"]}', encoding="utf-8")
    scorers = scorers_of(tmp_path, "default: [{kind: schema, schema: strict.json}]")
    found = score('{"name": "Ana"}', item(schema="card"), {"card": CARD}, scorers)
    assert found.schema_valid is False and found.problems[0]["kind"] == "required"


def test_a_suite_is_decided_by_the_column_that_its_tasks_agree_on(tmp_path: Path) -> None:
    scorers = scorers_of(
        tmp_path,
        "default: [{kind: schema, headline: true}]\n"
        "tasks: {a: [{kind: fields, name: f, headline: true}]}\n",
    )
    for tasks, expected in (
        ("aa", {"suite": "f"}),
        ("b", {"suite": "strict_task_valid"}),
        ("ab", {}),
    ):
        asked = [item(task=task, schema="card") for task in tasks]
        assert scorers.headlines([suite_of(*asked)]) == expected


SCHEMA_DECIDES = "default: [{kind: schema, headline: true}, {kind: text, name: t}]"
CHECK = {"path": "name", "value": "Ana"}


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"schema": "card"}, {"suite": "strict_task_valid"}),
        ({"expected": {"name": "Ana"}}, {"suite": "strict_task_valid"}),
        ({"checks": (CHECK,)}, {"suite": "exact_fields"}),
        ({}, {}),
    ],
)
def test_kind_schema_decides_by_the_best_column_that_a_suite_has(
    known: dict[str, Any], expected: dict[str, str], tmp_path: Path
) -> None:
    scorers = scorers_of(tmp_path, SCHEMA_DECIDES)
    suite = suite_of(item(None, **known))
    scorers.check([suite])
    assert scorers.headlines([suite]) == expected


def test_headlines_that_can_score_nothing_of_a_suite_are_found_before(tmp_path: Path) -> None:
    by_schema = scorers_of(tmp_path, SCHEMA_DECIDES)
    with pytest.raises(UserError, match="suite: schema is marked `headline` and can score none of"):
        by_schema.check([suite_of(item("a text"))])
    fields = scorers_of(tmp_path, "default: [schema, {kind: fields, name: f, headline: true}]")
    with pytest.raises(UserError, match=r"suite: f is marked .* it has strict, parse, fields, "):
        fields.check([suite_of(item(None, checks=(CHECK,)))])
    fields.check([suite_of(item(None))])  # nothing scores it: `compare` says so


def test_tasks_that_disagree_on_a_headline_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scorers = scorers_of(
        tmp_path,
        "default: [{kind: schema, headline: true}]\n"
        "tasks: {a: [schema, {kind: fields, name: f, headline: true}], c: [schema]}\n",
    )
    disagree = suite_of(*(item(task=task, schema="card") for task in "ab"))
    agree = suite_of(*(item(task=task, schema="card") for task in "bc"))
    scorers.warn_of_split([disagree, agree])
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "the tasks of suite are marked with different headlines (a: f; b: schema), so it is "
        "judged by the usual one, strict_task_valid."
    ]


def suite_of(*items: Item) -> Suite:
    return Suite("suite", Path("suite.jsonl"), "0" * 64, items, {"card": CARD})


def answered(text: str, asked: Item, scorers: Scorers) -> Scored:
    made = Generated(text, 10, 5, "eos", 0.1, 8)
    return Scored(asked, made, score(text, asked, {"card": CARD}, scorers))


def test_a_summary_keeps_what_could_not_be_scored_apart(functions: Path) -> None:
    scorers = scorers_of(
        functions,
        "default: [schema, {kind: fields, name: f},"
        " {kind: function, name: g, function: 'mine.py:yes'}]",
    )
    answers = [
        answered(json.dumps(REFERENCE), item(task="a"), scorers),
        answered("no", item(task="a"), scorers),
        answered("no", item(None, task="b"), scorers),
    ]
    found = summary(answers)
    assert found["values"] == {"f": 0.5, "g": 0.5}
    assert found["unscored"] == {
        "f": {"the item has no reference": 1},
        "g": {"TypeError: 'NoneType' object is not subscriptable": 1},
    }
    assert (found["n"], found["scored"]) == (3, 2)
    tasks = by_task(answers)
    assert tasks["a"]["values"] == {"f": 0.5, "g": 0.5} and tasks["a"]["unscored"] == {}
    assert tasks["b"]["values"] == {"f": None, "g": None}
    shown = {"v1": {"suite": found}}
    assert summary_table(shown).splitlines()[0].split()[3:5] == ["f", "g"]


def test_many_reasons_are_shown_by_the_commonest(functions: Path) -> None:
    (functions / "odd.py").write_text("def f(answer, item): raise ValueError(answer)\n")
    scorers = scorers_of(functions, "default: [{kind: function, function: 'odd.py:f'}]")
    texts = ["same"] * 4 + [str(i) for i in range(6)]
    found = summary([answered(text, item(), scorers) for text in texts])["unscored"]["f"]
    assert len(found) == 6 and found["ValueError: same"] == 4 and found["other reasons"] == 2


def test_a_score_survives_being_written_down(functions: Path) -> None:
    scorers = scorers_of(functions, "default: [schema, {kind: fields, name: f}, text]")
    found = score('{"\ud800": 1}', item(schema="card"), {"card": CARD}, scorers)
    assert found.unscored and found.problems
    again = Score.from_dict(json.loads(json.dumps(found.as_dict()).encode("utf-8")))
    assert again == found
    assert Score.from_dict({"parse": True, "of_the_future": 1}) == Score(parse=True)


# --- files that cannot be used


def refused(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        scorers_of(folder, text)
    return str(caught.value)


def test_every_problem_is_reported_at_once_with_the_nearest_name(functions: Path) -> None:
    message = refused(
        functions,
        """
defualt: [schema]
default:
- kind: field
- kind: fields
  path: a
- kind: numeric
  path: a
- {kind: numeric, path: a..b, absolute: 1}
- {kind: numeric, path: b, absolute: -1}
- {kind: text, measure: rouge}
- {kind: function, function: 'mine.py:hlaf'}
- {kind: function, function: 'none.py:f'}
- {kind: function, function: 'no_such_module_of_mine:f'}
- {kind: function, function: 'mine.py:one'}
- {kind: function, function: 'mine.py:number'}
- {kind: function}
- {kind: schema, schema: envelop}
- {kind: fields, name: task_valid}
- {kind: fields, name: twice, headline: true}
- {kind: text, name: twice, headline: true}
- 7
tasks:
  empty: []
""",
    )
    for words in (
        "defualt: unknown key; known are default and tasks (did you mean default?)",
        "default[0]: unknown kind 'field'; known are schema, fields, numeric, text, function "
        "(did you mean fields?)",
        "default[1]: unknown key path; known are kind, name, headline, paths, whole "
        "(did you mean paths?)",
        "default[2]: needs `absolute` or `relative`",
        "default[3]: 'a..b' is no path",
        "default[4]: `absolute` Input should be greater than or equal to 0, got -1",
        "default[5]: `measure` Input should be 'match' or 'rouge_l', got 'rouge'",
        "default[6]: mine.py has no function hlaf (did you mean half?)",
        "default[7]: there is no file none.py in",
        "default[8]: there is no module no_such_module_of_mine in",
        "default[9]: mine.py:one must take two arguments",
        "default[10]: mine.py:number is no function but int",
        "default[11]: needs `function`",
        "default[12]: schema 'envelop' is not known; known are ",
        "default[13]: the name task_valid is kind schema's own",
        "default[15]: twice stands here twice",
        "default: more than one scorer is marked `headline`",
        "default[16]: must be a scorer",
        "tasks.empty: must be a list of scorers",
    ):
        assert words in message
    assert "(20)" in message.splitlines()[0]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def f(answer item): pass", "SyntaxError"),
        ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
        ("raise SystemExit(1)", "SystemExit: 1"),
    ],
)
def test_a_function_that_cannot_be_imported_is_named(
    source: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.py").write_text(source, encoding="utf-8")
    message = refused(tmp_path, "default: [{kind: function, function: 'bad.py:f'}]")
    assert "default[0]: bad.py cannot be imported: " in message and words in message


@pytest.mark.parametrize("text", ["", "7", "[schema]", "default: schema", "tasks: [a]"])
def test_a_file_of_another_shape_is_refused(text: str, tmp_path: Path) -> None:
    assert "must" in refused(tmp_path, text)


def test_paths_that_no_reference_has_are_found_before_anything_is_asked(tmp_path: Path) -> None:
    scorers = scorers_of(
        tmp_path,
        "default: [{kind: fields, paths: [nmae]}]\n"
        "tasks:\n  a: [{kind: text, path: size.n}, {kind: numeric, path: size.m, absolute: 1}]\n"
        "  c: [fields]\n",
    )
    with pytest.raises(UserError) as caught:
        scorers.check([suite_of(item(), item(task="a"), item(None, task="c"), item(None))])
    message = str(caught.value)
    assert "(3)" in message.splitlines()[0]
    assert "default: reference_fields: no reference has anything at nmae (did you mean name?)" in (
        message
    )
    assert "a: size.n: no reference has anything at size.n (did you mean size.m?)" in message
    assert "c: reference_fields: no item has a reference, and kind fields needs one" in message


def test_a_task_that_no_item_has_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scorers = scorers_of(tmp_path, "tasks: {crads: [schema]}")
    with caplog.at_level(logging.WARNING, "lorachain"):
        scorers.check([suite_of(item(task="cards"))])
    assert "no item is of task crads (did you mean cards?)" in caplog.text


# --- identity


def test_the_identity_changes_with_what_can_change_a_score(functions: Path) -> None:
    suites = [suite_of(item(task="a"), item())]
    text = (
        "default: [schema]\n"
        "tasks: {a: [{kind: numeric, name: n, path: size.m, absolute: 0.1},"
        " {kind: function, name: g, function: 'mine.py:half'}]}\n"
    )
    before = scoring_identity(suites, scorers_of(functions, text))
    assert list(before) == ["extractor", "default: schema", "a: n", "a: g", "schema card"]
    assert before == scoring_identity(suites, scorers_of(functions, text))

    def changed(now: dict[str, str]) -> set[str]:
        return {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)}

    wider = scorers_of(functions, text.replace("0.1", "0.2"))
    assert changed(scoring_identity(suites, wider)) == {"a: n"}
    headline = scorers_of(functions, text.replace("name: n,", "name: n, headline: true,"))
    assert changed(scoring_identity(suites, headline)) == set()
    (functions / "mine.py").write_text(FUNCTIONS + "# more\n", encoding="utf-8")
    assert changed(scoring_identity(suites, scorers_of(functions, text))) == {"a: g"}
    schema = compile_schema({"type": "object", "required": ["age"]})
    other = [Suite("suite", Path("s"), "0" * 64, suites[0].items, {"card": schema})]
    assert changed(scoring_identity(other, scorers_of(functions, text))) == (
        {"schema card", "a: g"}
    )


def test_a_schema_is_told_apart_by_the_files_that_it_refers_to(tmp_path: Path) -> None:
    (tmp_path / "outer.json").write_text('{"$ref": "inner.json"}', encoding="utf-8")
    found = []
    for inner in ('{"type": "object"}', '{"type": "array"}', '{ "type": "object" }'):
        (tmp_path / "inner.json").write_text(inner, encoding="utf-8")
        row = {"id": 1, "prompt": "?", "schema": str(tmp_path / "outer.json")}
        suite = tmp_path / "s.jsonl"
        suite.write_text(json.dumps(row), encoding="utf-8")
        found.append(next(iter(read_suite(suite).schemas.values())).fingerprint)
    assert found[0] == found[2] != found[1]


# --- all of it


ALL = """
default:
- schema
- kind: fields
- {kind: fields, name: some, paths: [name, 'tags[1]'], whole: true}
- {kind: numeric, path: size.m, absolute: 0.1, relative: 0.1}
- {kind: numeric, absolute: 1, name: whole_number}
- {kind: text, path: note, measure: rouge_l, ignore_punctuation: true}
- {kind: text, name: whole_text}
- {kind: function, function: 'mine.py:yes'}
"""

JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "tags", "size", "m", "note", "x.y"]), inner)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def all_kinds(tmp_path_factory: pytest.TempPathFactory) -> Scorers:
    folder = tmp_path_factory.mktemp("all")
    (folder / "mine.py").write_text("def yes(answer, item): return answer[0] == '{'\n")
    return scorers_of(folder, ALL)


@given(text=st.text(st.characters()) | JSONS.map(json.dumps), reference=JSONS)
def test_no_text_and_no_reference_raises(text: str, reference: Any, all_kinds: Scorers) -> None:
    found = score(text, item(reference, schema="card"), {"card": CARD}, all_kinds)
    assert len(found.values) == 7
    for name, number in found.values.items():
        assert (number is None) == (name in found.unscored)
        assert number is None or 0 <= number <= 1
    json.dumps(found.as_dict(), ensure_ascii=False).encode("utf-8")


@given(reference=st.dictionaries(st.text("abc", min_size=1, max_size=3), JSONS, min_size=1))
def test_the_reference_itself_is_right(reference: Any, all_kinds: Scorers) -> None:
    reference = json.loads(json.dumps(reference).replace("NaN", "0").replace("Infinity", "1"))
    found = score(json.dumps(reference), item(reference, schema="card"), {"card": CARD}, all_kinds)
    assert found.values["reference_fields"] == 1.0


def test_the_shipped_file_fits_the_shipped_suites() -> None:
    scorers = read_scorers(CONFIGS / "scorers.yaml")
    suites = [read_suite(path) for path in sorted(SUITES.glob("*.jsonl"))]
    scorers.check(suites)
    assert scorers.headlines(suites) == {suite.name: "strict_task_valid" for suite in suites}
    for suite in suites:
        for asked in suite.items:
            text = json.dumps(asked.reference, ensure_ascii=False)
            found = score(text, asked, suite.schemas, scorers)
            assert found.task_valid is True and set(found.values.values()) <= {1.0}
    assert set(RATES).isdisjoint(s.metric for task in scorers.tasks.values() for s in task[1:])
