"""The language of rules: what its conditions mean, what its formulas give, and that every mistake
in a file is told at once, by its rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from advice_support import facts
from hypothesis import given
from hypothesis import strategies as st

from lorachain.config import KNOWN_KEYS
from lorachain.errors import UserError
from lorachain.evaluation.advice import advise_on, read_rules
from lorachain.evaluation.advice.changes import Formula, setting_problem
from lorachain.evaluation.advice.conditions import Compare, Condition, Joined, judge, undecided
from lorachain.evaluation.advice.facts import fact
from lorachain.evaluation.advice.reader import Reader
from lorachain.evaluation.advice.stage_yaml import stage_yaml, union

GOOD: dict[str, Any] = {
    "id": "mine",
    "title": "Mine",
    "source": "a test",
    "when": "steps < 50",
    "say": "{{ steps }} steps.",
}


def read(condition: Any, thresholds: dict[str, Any] | None = None) -> Condition:
    reader = Reader(None, thresholds or {})
    found = reader.read(condition)
    assert not reader.problems and found is not None
    return found


def problem(condition: Any, for_each: str | None = None, **thresholds: Any) -> str:
    reader = Reader(for_each, thresholds)
    assert reader.read(condition) is None
    (found,) = reader.problems
    return found


def rules_file(folder: Path, *rules: Any, **more: Any) -> Path:
    path = folder / "rules.yaml"
    path.write_text(yaml.safe_dump({"rules": list(rules), **more}), encoding="utf-8")
    return path


def refused(folder: Path, *rules: Any, **more: Any) -> list[str]:
    with pytest.raises(UserError) as caught:
        read_rules(rules_file(folder, *rules, **more))
    title, *lines = str(caught.value).splitlines()
    assert "rules.yaml" in title
    return [line.strip() for line in lines]


# --- conditions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "values", "holds"),
    [
        ("steps < 50", {"steps": 49}, True),
        ("steps < 50", {"steps": 50}, False),
        ("steps <= 50", {"steps": 50}, True),
        ("steps > 50", {"steps": 50}, False),
        ("steps >= 5e1", {"steps": 50}, True),
        ("steps == 50", {"steps": 50.0}, True),
        ("score_change between -0.02 and 0.02", {"score_change": 0.02}, True),
        ("score_change between -0.02 and 0.02", {"score_change": 0.021}, False),
        ("best_step > warmup_steps", {"best_step": 5, "warmup_steps": 10}, False),
        ("best_step > warmup_steps", {"best_step": 5}, None),
        ("kind == grpo", {"kind": "grpo"}, True),
        ("score_verdict == cannot tell", {"score_verdict": "cannot tell"}, True),
        ("score_verdict in better, equivalent", {"score_verdict": "equivalent"}, True),
        ("training.lr_scheduler_type == cosine", {"training.lr_scheduler_type": "linear"}, False),
        ("quantization.load_in_4bit == true", {"quantization.load_in_4bit": True}, True),
        ("steps<50", {"steps": 1}, True),
        ("steps < few", {"steps": 49}, True),
        ("suite in mine", {"suite": "b"}, True),
        ("suite in mine", {"suite": "c"}, False),
        ({"not": "steps < 50"}, {"steps": 50}, True),
        ({"not": "steps < 50"}, {}, None),
        (["steps < 50", "rows > 1"], {"steps": 60}, False),
        (["steps < 50", "rows > 1"], {"steps": 1}, None),
        ({"any": ["steps < 50", "rows > 1"]}, {"steps": 1}, True),
        ({"any": ["steps < 50", "rows > 1"]}, {"steps": 60}, None),
        ({"not": ["steps < 50", "rows > 1"]}, {"steps": 60}, True),
    ],
)
def test_a_condition_means_what_it_says(
    condition: Any, values: dict[str, Any], holds: bool | None
) -> None:
    assert judge(read(condition, {"few": 50, "mine": ["a", "b"]}), values) is holds


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("stpes < 50", "unknown fact stpes (did you mean steps?)"),
        ("training.lerning_rate < 1", "did you mean training.learning_rate?"),
        ("steps =< 50", "unknown operator =<; known are <, <=, >, >=, ==, between, in"),
        ("steps != 50", "unknown operator !="),
        ("steps under 50", "unknown operator under"),
        ("steps", "no operator"),
        ("steps <", "nothing stands on the right"),
        ("steps < fifty", "steps is a number, got 'fifty'"),
        ("steps < scroe", "(did you mean score?)"),
        ("steps < true", "steps is a number, got True"),
        ("steps between 1", "between needs two values"),
        ("steps between 3 and 1", "the lower end stands above the higher one"),
        ("kind < grpo", "kind is no number; use == or in"),
        ("kind == gpro", "kind is never 'gpro' (did you mean grpo?)"),
        ("replay.data == x", "is not comparable"),
        ("task_score < 0.2", "needs `for_each: task`"),
        ({"all": ["steps < 50"], "any": []}, "is no condition"),
        ({"all": []}, "`all` is empty"),
        (7, "7 is no condition"),
        ("__import__('os').system('true')", "unknown fact __import__"),
    ],
)
def test_a_condition_that_cannot_be_used_says_why(condition: Any, words: str) -> None:
    assert words in "\n".join(_problems(condition))


def _problems(condition: Any) -> list[str]:
    reader = Reader(None, {})
    assert reader.read(condition) is None
    return reader.problems


def test_a_threshold_of_the_wrong_kind_is_refused() -> None:
    assert "steps is a number, got 'many'" in problem("steps < few", few="many")


LEAF = st.builds(
    Compare,
    st.sampled_from(["steps", "rows", "score"]),
    st.sampled_from(["<", "<=", ">", ">=", "=="]),
    st.tuples(st.integers(0, 3)),
)
CONDITION = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.builds(Joined, st.sampled_from(["all", "any"]), st.lists(inner, min_size=1).map(tuple)),
        st.builds(Joined, st.just("not"), st.tuples(inner)),
    ),
    max_leaves=8,
)
VALUES = st.fixed_dictionaries(dict.fromkeys(("steps", "rows", "score"), st.integers(0, 3)))


@given(CONDITION, VALUES, st.sets(st.sampled_from(["steps", "rows", "score"])))
def test_more_facts_never_change_what_fewer_facts_decided(
    condition: Condition, values: dict[str, int], hidden: set[str]
) -> None:
    """So that a rule which holds without a fact would hold with it, whatever it is."""
    known = {name: value for name, value in values.items() if name not in hidden}
    early = judge(condition, known)
    assert judge(condition, values) is not None
    if early is not None:
        assert judge(condition, values) is early
        assert undecided(condition, known) == []
    else:
        assert set(undecided(condition, known)) <= hidden
        assert undecided(condition, known)


# --- formulas ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "old", "new"),
    [
        (Formula("steps", times=3), 200, 600),
        (Formula("score", times=2.5), 2e-6, 5e-6),
        (Formula("steps", times=0.05, at_least=10, whole="up"), 10, 10),
        (Formula("steps", times=0.05, at_least=10, whole="up"), 1001, 51),
        (Formula("steps", times=0.5, whole="down"), 7, 3),
        (Formula("score", plus=0.1, at_most=0.5), 0.45, 0.5),
        (Formula("score", plus=0.1), 0.2, 0.3),
        (Formula("suite", map={"a": "b"}), "a", "b"),
        (Formula("suite", map={"a": "b"}), "c", None),
        (Formula("suite"), "a", "a"),
        (Formula("steps", optional=True), None, None),
    ],
)
def test_a_formula_gives_the_new_value(formula: Formula, old: Any, new: Any) -> None:
    found = formula.value({formula.fact: old})
    assert found == new
    assert type(found) is type(new)


@given(st.floats(1e-9, 1e9), st.floats(0.1, 10), st.floats(0, 10), st.floats(10, 1e6))
def test_a_formula_stays_within_its_limits(
    old: float, times: float, low: float, high: float
) -> None:
    new = Formula("score", times=times, at_least=low, at_most=high).value({"score": old})
    assert low * (1 - 1e-8) <= new <= high * (1 + 1e-8)


# --- files -------------------------------------------------------------------------------------


def test_a_good_file_is_read_in_its_order(tmp_path: Path) -> None:
    second = GOOD | {"id": "second", "when": "steps < few", "change": {"training.seed": 7}}
    rules = read_rules(rules_file(tmp_path, GOOD, second, thresholds={"few": 20}))
    assert [rule.id for rule in rules] == ["mine", "second"]
    found = advise_on(facts({"steps": 30}), rules)
    assert [(item.holds, item.do) for item in found] == [("yes", "30 steps."), ("no", "")]


def test_all_problems_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    lines = refused(
        tmp_path,
        GOOD | {"id": "a", "when": "stpes < 50", "change": {"training.lerning_rate": 1}},
        GOOD | {"id": "b", "when": ["steps =< 5"], "say": "{{ scroe }}"},
        GOOD | {"id": "c", "wehn": 1},
        GOOD | {"id": "c"},
        {"id": "d"},
        "text",
        thresholds={"steps": 1},
        rule=[],
    )
    assert lines == [
        "unknown key rule (did you mean rules?)",
        "threshold steps: another name is needed, one that no fact has",
        "rule a: unknown fact stpes (did you mean steps?)",
        "rule a: change: unknown setting training.lerning_rate "
        "(did you mean training.learning_rate?)",
        "rule b: `steps =< 5`: unknown operator =<; known are <, <=, >, >=, ==, between, in",
        "rule b: say: unknown fact scroe (did you mean score?)",
        "rule c: unknown key wehn (did you mean when?)",
        "rule c: another rule has this id",
        "rule d: title is missing",
        "rule d: source is missing",
        "rule d: say is missing",
        "rule d: when is missing",
        "rule number 6: must hold id, title, source, for_each, when, enough, say, change; "
        "got 'text'",
    ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"say": "{{ steps"}, "say: unexpected end of template"),
        ({"say": "{{ steps|percnt }}"}, "No filter named 'percnt'"),
        ({"say": "{{ steps.upper() }}"}, "say: cannot be written"),
        ({"say": "{{ version.__class__.__mro__ }}"}, "unsafe"),
        ({"say": "{{ range(9) }}"}, "unknown fact range"),
        ({"say": "{{ training.learnin_rate }}"}, "did you mean training.learning_rate?"),
        ({"say": "{{ task }}"}, "unknown fact task"),
        ({"say": 7}, "say must be a text"),
        ({"for_each": "row"}, "for_each is task, suite or tested_suite, got 'row'"),
        ({"enough": "scroe > 1"}, "unknown fact scroe"),
        ({"change": ["training.seed"]}, "change must hold settings"),
        ({"change": {"training.seed": -1}}, "training.seed: Input should be greater than"),
        ({"change": {"training.seed": True}}, "not a matter of true or false"),
        ({"change": {"training.seed": {"fact": "stpes"}}}, "unknown fact stpes"),
        ({"change": {"training.seed": {"fact": "steps", "time": 2}}}, "did you mean times?"),
        ({"change": {"training.seed": {"fact": "steps", "times": "2"}}}, "must be a number"),
        ({"change": {"training.seed": {"fact": "steps", "whole": "near"}}}, "whole is up or down"),
        ({"change": {"training.seed": {"fact": "steps", "map": {"a": "b"}}}}, "is no text"),
        ({"change": {"training.optim": {"fact": "suite", "times": 2}}}, "is no number"),
        ({"change": {"training.seed": {"fact": "task_rows"}}}, "needs `for_each: task`"),
    ],
)
def test_a_mistake_in_a_rule_is_told_by_its_rule(
    tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    lines = refused(tmp_path, GOOD | changed)
    assert [line for line in lines if line.startswith("rule mine: ") and words in line], lines


@pytest.mark.parametrize("text", ["", "[]", "rules: 7", "thresholds: {a: 1}"])
def test_a_file_without_rules_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"rules\.yaml must hold `rules:`"):
        read_rules(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Rules of advice not found: .*none\.yaml"):
        read_rules(tmp_path / "none.yaml")


def test_a_sentence_may_ask_whether_a_fact_is_known(tmp_path: Path) -> None:
    say = "{{ steps }}{% if rows is defined %} of {{ rows }}{% endif %}"
    rules = read_rules(rules_file(tmp_path, GOOD | {"say": say}))
    assert advise_on(facts({"steps": 3}), rules)[0].do == "3"
    assert advise_on(facts({"steps": 3, "rows": 9}), rules)[0].do == "3 of 9"


def test_a_sentence_that_needs_an_unknown_fact_makes_the_rule_unknown(tmp_path: Path) -> None:
    say = "{{ rows }} rows at {{ training.learning_rate }}."
    (item,) = advise_on(facts({"steps": 3}), read_rules(rules_file(tmp_path, GOOD | {"say": say})))
    assert item.holds == "unknown"
    assert "rows" in item.do and "training.learning_rate" in item.do


def test_a_sentence_that_fails_on_real_facts_names_the_rule(tmp_path: Path) -> None:
    rules = read_rules(rules_file(tmp_path, GOOD | {"say": "{{ 1 / (steps - 3) }}"}))
    with pytest.raises(UserError, match="rule mine: say cannot be written: division by zero"):
        advise_on(facts({"steps": 3}), rules)


def test_a_formula_that_makes_a_setting_impossible_names_the_rule(tmp_path: Path) -> None:
    change = {"training.seed": {"fact": "steps", "plus": -9}}
    rules = read_rules(rules_file(tmp_path, GOOD | {"change": change}))
    assert advise_on(facts({"steps": 10}), rules)[0].config == {"training.seed": 1}
    with pytest.raises(UserError, match=r"(?s)rule mine: change: .*training\.seed"):
        advise_on(facts({"steps": 3}), rules)


# --- settings ----------------------------------------------------------------------------------


def test_every_setting_is_a_fact_of_some_kind() -> None:
    kinds = {key: found.kind for key in KNOWN_KEYS if (found := fact(key))}
    assert set(kinds) == set(KNOWN_KEYS)
    assert kinds["training.learning_rate"] == kinds["training.max_steps"] == "number"
    assert kinds["lora.loraplus_lr_ratio"] == kinds["data.max_seq_length"] == "number"
    assert kinds["lora.use_dora"] == "flag"
    assert kinds["model.source_model"] == kinds["data.on_overlong"] == "text"
    assert kinds["lora.target_modules"] == kinds["training.gradient_checkpointing"] == "other"


def test_a_settings_value_is_judged_alone() -> None:
    assert setting_problem("replay.share", 0.2) is None  # although it needs a parent as well
    assert setting_problem("training.eval_steps", 10) is None  # although it needs eval_strategy
    assert "training.num_train_epochs" in str(setting_problem("training.num_train_epochs", 0))


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"))
SETTINGS = st.dictionaries(
    st.sampled_from(KNOWN_KEYS), st.one_of(TEXTS, st.integers(), st.none(), st.booleans())
)


@given(SETTINGS, st.text())
def test_whatever_is_set_reads_back_from_the_yaml(config: dict[str, Any], name: str) -> None:
    loaded = yaml.safe_load(stage_yaml(config, name, ["a rule"])) or {}
    assert {f"{s}.{k}": v for s, keys in loaded.items() for k, v in keys.items()} == config


@given(st.lists(st.tuples(st.text(), SETTINGS)))
def test_the_first_rule_that_sets_a_key_is_the_one_that_stays(
    changes: list[tuple[str, dict[str, Any]]],
) -> None:
    changes = [(f"{number} {rule}", config) for number, (rule, config) in enumerate(changes)]
    taken, conflicts = union(changes)
    offered: dict[str, list[Any]] = {}
    for _, config in changes:
        for key, value in config.items():
            offered.setdefault(key, []).append(value)
    assert set(taken) <= set(offered)
    dropped = set(offered) - set(taken)
    assert dropped <= {
        *("training.max_steps", "training.num_train_epochs"),
        *("training.warmup_steps", "training.warmup_ratio"),
    }
    paired = dropped | {
        "training.max_steps",
        "training.num_train_epochs",
        "training.warmup_steps",
        "training.warmup_ratio",
    }
    for key, value in taken.items():
        if key not in paired:
            assert value == offered[key][0]
            if any(other != value for other in offered[key]):
                assert any(key in sentence for sentence in conflicts)
