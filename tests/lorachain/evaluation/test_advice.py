"""Advice: each shipped rule holds, does not hold, and says what to measure; the seeds' own cases
end where their projects went; every change is a config that a stage takes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from advice_support import (
    cell,
    comparison,
    config,
    difference,
    facts,
    suite,
    version,
)

from lorachain import yamlfile
from lorachain.config import flat, resolve
from lorachain.errors import UserError
from lorachain.evaluation.advice import (
    FACTS,
    AdviceItem,
    advise,
    advise_on,
    as_dicts,
    facts_of,
    format_advice,
    next_config,
    read_rules,
)
from lorachain.evaluation.advice.facts import fact
from lorachain.evaluation.advice.stage_yaml import stage_yaml, union
from lorachain.evaluation.comparison import Comparison
from lorachain.evaluation.version_facts import version_facts
from lorachain.lineage import Lineage

RULES = {rule.id: rule for rule in read_rules()}
SCORED = {"score": 0.0, "score_n": 120, "suite": "fixed20", "version": "v2", "earlier": "v1"}
STAGE = {
    "training.num_train_epochs": 1,
    "training.gradient_accumulation_steps": 16,
    "training.learning_rate": 2e-6,
    "data.max_seq_length": 1024,
    "model.base_model": "Qwen/Qwen2.5-0.5B-Instruct",
}
LAGS = {
    **SCORED,
    "score": 0.52,
    "score_change": 0.05,
    "score_verdict": "better",
    "suites_worse": 0,
    "task_n": 30,
}
FORGOT = {
    **SCORED,
    "backward_transfer": -0.2,
    "old_verdict": "worse",
    "old_suite": "generation1",
    "old_version": "v1",
    "parent_folder": "models/v1",
}

# rule: facts for which it holds, and what then makes it not hold
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "answers_cut": ({**SCORED, "cut_share": 0.2}, {"cut_share": 0.05}),
    "strict_gap": (
        {**SCORED, "strict_gap": 0.3, "schema_valid_rate": 0.5, "strict_valid_rate": 0.2},
        {"strict_gap": 0.09},
    ),
    "suite_too_small": (
        {
            **SCORED,
            "tested_suite": "fixed20",
            "tested_earlier": "v1",
            "tested_n": 120,
            "tested_verdict": "cannot tell",
            "tested_items_needed": 400,
        },
        {"tested_verdict": "worse"},
    ),
    "overfit": (
        {
            **SCORED,
            "validation_rise": 0.2,
            "epochs_seen": 3,
            "best_step_share": 0.4,
            "best_step": 60,
        },
        {"validation_rise": 0.05},
    ),
    "few_steps": (
        {**SCORED, **STAGE, "steps": 10, "epochs_seen": 1.0},
        {"steps": 50},
    ),
    "answers_truncated": (
        {**SCORED, **STAGE, "truncated_answer_share": 0.9},
        {"truncated_answer_share": 0.0},
    ),
    "no_warmup": ({**SCORED, "warmup_steps": 0, "steps": 10}, {"warmup_steps": 1}),
    "missing_fields": (
        {**SCORED, "missing_fields_share": 0.7, "failures": 20},
        {"failures": 4},
    ),
    "root_arrays": (
        {
            **SCORED,
            **STAGE,
            "root_array_share": 0.9,
            "failures": 20,
            "json_rate": 1.0,
            "schema_valid_rate": 0.0,
            "steps": 100,
        },
        {"root_array_share": 0.4},
    ),
    "schedule_spent": (
        {
            **SCORED,
            "lr_tail_share": 0.18,
            "best_step_share": 0.65,
            "best_step": 130,
            "steps": 200,
            "epochs_seen": 0.135,
        },
        {"best_step_share": 0.95},
    ),
    "few_rows_seen": ({**SCORED, "epochs_seen": 0.135, "steps": 200}, {"epochs_seen": 0.5}),
    "low_gradients": (
        {**SCORED, **STAGE, "grad_norm_mean": 0.065, "epochs_seen": 0.135},
        {"grad_norm_mean": 0.3},
    ),
    "scale_up": (
        {
            **SCORED,
            **STAGE,
            "score": 0.6,
            "line_steps": 600,
            "score_verdict": "better",
            "suites_worse": 0,
        },
        {"score": 0.54},
    ),
    "other_base": (
        {**LAGS, **STAGE, "task": "extraction", "task_score": 0.17, "score_change": 0.0},
        {"score_change": 0.05},
    ),
    "extraction_lags": (
        {**LAGS, "task": "extraction", "task_score": 0.24},
        {"task_score": 0.25},
    ),
    "analysis_lags": ({**LAGS, "task": "sql_qa", "task_score": 0.15}, {"task": "push"}),
    "rows_lack": (
        {**LAGS, "task": "push", "task_score": 0.15, "task_rows": 148},
        {"task_rows": 500},
    ),
    "forgot_without_replay": ({**FORGOT, "replay.share": 0.0}, {"old_verdict": "equivalent"}),
    "forgot_with_replay": ({**FORGOT, "replay.share": 0.2}, {"backward_transfer": -0.05}),
    "completions_cut": (
        {**SCORED, "kind": "grpo", "completion_at_limit_share": 0.3},
        {"kind": "sft"},
    ),
    "rewards_flat": (
        {**SCORED, "kind": "grpo", "reward_zero_std_share": 0.6},
        {"reward_zero_std_share": 0.1},
    ),
    "gradient_spikes": (
        {**SCORED, **STAGE, "kind": "grpo", "grad_norm_max": 3.0},
        {"grad_norm_max": 1.0},
    ),
}


def judged(rule: str, values: dict[str, Any], settings: dict[str, Any] | None = None) -> AdviceItem:
    (item,) = advise_on(facts(values, settings), [RULES[rule]])
    return item


def by_rule(items: list[AdviceItem]) -> dict[str, AdviceItem]:
    return {item.rule: item for item in items}


def held(items: list[AdviceItem]) -> set[str]:
    return {item.rule for item in items if item.holds == "yes"}


def next_settings(items: list[AdviceItem]) -> dict[str, Any]:
    """The union's YAML as dotted keys."""
    text, conflicts = next_config(items)
    assert not conflicts
    return dotted(text)


def dotted(text: str) -> dict[str, Any]:
    import yaml

    loaded = yaml.safe_load(text) or {}
    return {f"{section}.{key}": v for section, keys in loaded.items() for key, v in keys.items()}


# --- the shipped rules -------------------------------------------------------------------------


def test_every_shipped_rule_has_its_case_here() -> None:
    assert CASES.keys() == RULES.keys()


@pytest.mark.parametrize("rule", CASES)
def test_a_shipped_rule_holds_on_its_evidence(rule: str) -> None:
    values, _ = CASES[rule]
    item = judged(rule, values)
    assert item.holds == "yes"
    assert item.do and "{" not in item.do
    for name in RULES[rule].asks:
        assert any(sentence.startswith(f"{name} ") for sentence in item.evidence), name
    assert all("(a test)" in sentence for sentence in item.evidence)


@pytest.mark.parametrize("rule", CASES)
def test_a_shipped_rule_does_not_hold_without_its_cause(rule: str) -> None:
    values, against = CASES[rule]
    item = judged(rule, values | against)
    assert (item.holds, item.do, item.config, item.config_yaml) == ("no", "", {}, "")
    decided = [s for s in item.evidence if s.startswith(f"{next(iter(against))} ")]
    assert len(decided) == 1 and len(item.evidence) <= 2  # what decided it, and nothing else


@pytest.mark.parametrize(
    ("rule", "name"),
    [(rule, name) for rule in CASES for name in (*RULES[rule].asks, *RULES[rule].needs)],
)
def test_a_shipped_rule_never_holds_without_a_fact_and_says_how_to_measure_it(
    rule: str, name: str
) -> None:
    values = {key: value for key, value in CASES[rule][0].items() if key != name}
    item = judged(rule, values)
    assert item.holds == "unknown"
    found = fact(name)
    assert found is not None
    assert name in item.do and found.how in item.do
    assert item.config == {} and item.config_yaml == ""


@pytest.mark.parametrize("rule", CASES)
def test_a_shipped_rule_knows_nothing_of_a_version_without_facts(rule: str) -> None:
    item = judged(rule, {})
    assert item.holds == "unknown"
    assert "To know" in item.do


@pytest.mark.parametrize("rule", [r for r in CASES if RULES[r].change])
def test_a_shipped_rules_yaml_is_a_config_with_only_the_changed_keys(
    rule: str, tmp_path: Path
) -> None:
    item = judged(rule, CASES[rule][0])
    path = tmp_path / "next.yaml"
    path.write_text(item.config_yaml, encoding="utf-8")
    resolved = resolve(None, path)
    assert set(resolved.sources) == set(item.config) <= set(RULES[rule].change)
    found = flat(resolved.config)
    assert {key: found[key] for key in item.config} == item.config
    assert item.config


def test_a_setting_that_stays_as_it_was_is_left_out() -> None:
    values = CASES["schedule_spent"][0]
    already = {"training.warmup_ratio": 0.05}
    assert judged("schedule_spent", values, already).config == {
        "training.lr_scheduler_type": "constant_with_warmup"
    }
    limited = judged("few_steps", CASES["few_steps"][0], {"training.max_steps": 10})
    assert limited.config["training.max_steps"] is None  # it would overrule the epochs
    assert "training.max_steps" not in judged("few_steps", CASES["few_steps"][0]).config


def test_every_threshold_of_the_shipped_file_is_used() -> None:
    from lorachain.evaluation.advice import RULES as PATH

    text = PATH.read_text(encoding="utf-8")
    thresholds = yamlfile.read(PATH, "Rules")["thresholds"]
    rules = text[text.index("\nrules:") :]
    assert thresholds
    assert [name for name in thresholds if name not in rules] == []


def test_every_shipped_rule_says_which_case_it_is_from() -> None:
    seeds = ("travel guide", "e-commerce model", "none of the seeds")
    assert [rule.id for rule in RULES.values() if not rule.source.startswith(seeds)] == []


def test_too_few_items_are_no_evidence() -> None:
    values = CASES["scale_up"][0] | {"score_n": 20}
    item = judged("scale_up", values)
    assert item.holds == "unknown"
    assert "score_n = 20 items (a test); asks for >= 30" in item.do
    assert judged("other_base", CASES["other_base"][0] | {"task_n": 5}).holds == "unknown"


def test_a_plateau_that_may_be_noise_is_no_plateau() -> None:
    values = CASES["other_base"][0] | {"score_verdict": "cannot tell"}
    item = judged("other_base", values)
    assert item.holds == "unknown" and "score_verdict = cannot tell" in item.do


# --- the seeds' own cases ----------------------------------------------------------------------


def travel_guide(name: str, failures: dict[str, int], **trained: Any) -> Comparison:
    """A version of the travel guide on its 20 fixed prompts: nothing fits the schema."""
    bad = sum(failures.values())
    return comparison(
        [version("base"), version(name, **trained)],
        [suite("fixed20", 20)],
        [
            cell(name, "fixed20", 0.0, n=20),
            cell(name, "fixed20", 1 - failures.get("root array", 0) / bad, metric="parse", n=20),
        ],
        [difference("base", name, "fixed20", 0.0, "cannot tell", n=20)],
        {name: {"fixed20": failures}},
    )


def test_the_travel_guides_v2_gets_the_settings_of_its_v3() -> None:
    v2 = travel_guide(
        "v2",
        {"required": 12, "root array": 8},
        steps=10,
        epochs_seen=1.0,
        rows=160,
        warmup_steps=0,
        truncated_answer_share=0.97,
        config=config(
            training__num_train_epochs=1,
            training__warmup_ratio=0.0,
            data__max_seq_length=1024,
            data__on_overlong="truncate",
        ),
    )
    items = advise(v2, "v2", RULES.values())
    assert {"few_steps", "answers_truncated", "no_warmup", "missing_fields"} <= held(items)
    assert next_settings(items) == {
        "training.num_train_epochs": 3,
        "training.gradient_accumulation_steps": 8,
        "data.max_seq_length": 2048,
        "training.warmup_steps": 10,
    }
    few = by_rule(items)["few_steps"]
    assert "steps = 10 steps (training record of v2); asks for < 50" in few.evidence
    assert "schema_valid over 20 items of fixed20, 95% from 0.00 to 0.10" in few.evidence[-1]


def test_the_travel_guides_v3_gets_the_seven_epochs_of_its_v4() -> None:
    v3 = travel_guide(
        "v3",
        {"root array": 18, "required": 2},
        steps=100,
        epochs_seen=5.0,
        rows=160,
        warmup_steps=10,
        truncated_answer_share=0.0,
        config=config(
            training__num_train_epochs=5,
            training__gradient_accumulation_steps=8,
            training__warmup_steps=10,
            data__max_seq_length=2048,
        ),
    )
    items = advise(v3, "v3", RULES.values())
    assert next_settings(items) == {"training.num_train_epochs": 7}
    lists = by_rule(items)["root_arrays"]
    assert lists.holds == "yes"
    assert "json_rate = 1 (20 failures in 20 items of fixed20); asks for >= 0.9" in lists.evidence
    assert "90%" in lists.do


def trained_by_cosine(folder: Path, steps: int = 200, peak: float = 2e-6) -> dict[str, Any]:
    """The e-commerce model's V4 as this project would have recorded it: its real facts."""
    warmup, lines = steps // 10, []
    for step in range(1, steps + 1):
        at = step - 1
        rate = at / warmup if at < warmup else (1 + math.cos(math.pi * (at - warmup) / 180)) / 2
        entry = {"step": step, "epoch": round(0.135 * step / steps, 4), "grad_norm": 0.065}
        lines.append(entry | {"loss": 1.0, "learning_rate": peak * rate})
        if step % 10 == 0:
            loss = 2 - step / 130 if step <= 130 else 1.02
            lines.append({"step": step, "eval_loss": loss})
    (folder / "training_log.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"
    )
    data = {
        "name": "v4",
        "kind": "sft",
        "parent": None,
        "data": [{"role": "train", "path": "gone.jsonl", "sha256": "0", "rows": 1480}],
        "config": config(
            training__learning_rate=peak,
            training__max_steps=steps,
            training__warmup_ratio=0.1,
            training__gradient_accumulation_steps=1,
            model__base_model="Qwen/Qwen2.5-0.5B-Instruct",
        ),
        "identity": {"processes": 1, "precision": "bf16, none"},
        "finished": "2025-01-01T00:00:00+00:00",
        "metrics": {"steps": steps, "validation_loss": {}},
    }
    return version_facts(Lineage(folder, data))


def test_the_ecommerce_models_v4_gets_the_settings_of_its_v4_1(tmp_path: Path) -> None:
    """From a real lineage and a real log on, so that the facts' names and units agree."""
    v4 = comparison(
        [version("base"), version("v4", **trained_by_cosine(tmp_path))],
        [suite("eval")],
        [cell("v4", "eval", 0.476)],
        [difference("base", "v4", "eval", 0.118, "better")],
        {"v4": {"eval": {"type": 60}}},
    )
    items = advise(v4, "v4", RULES.values())
    assert held(items) == {"schedule_spent", "few_rows_seen", "low_gradients"}
    assert next_settings(items) == {
        "training.lr_scheduler_type": "constant_with_warmup",
        "training.warmup_ratio": 0.05,
        "training.max_steps": 600,
        "training.learning_rate": 5e-6,
    }
    spent = by_rule(items)["schedule_spent"]
    assert "best step was 130 of 200" in spent.do and "13.5% of an epoch" in spent.do


def ecommerce(
    score: float, change: float, verdict: Any, n: int = 40, **by_task: float
) -> Comparison:
    """The e-commerce model's V4.1 against its V4, with a score for each task."""
    scores = {"extraction": 0.6, "insights": 0.6, "push": 0.6, "sql_qa": 0.6} | by_task
    trained = {
        "steps": 600,
        "epochs_seen": 0.81,
        "rows_by_task": {"extraction": 590, "insights": 148, "push": 148, "sql_qa": 590},
        "warmup_steps": 30,
        "lr_tail_share": 0.0,
        "config": config(
            model__base_model="Qwen/Qwen2.5-0.5B-Instruct",
            training__learning_rate=5e-6,
            training__max_steps=600,
            training__num_train_epochs=2,
        ),
    }
    return comparison(
        [version("base"), version("v4"), version("v4.1", **trained)],
        [suite("eval", 4 * n, tasks=list(scores))],
        [
            cell("v4.1", "eval", score, n=4 * n),
            *(cell("v4.1", "eval", value, task=task, n=n) for task, value in scores.items()),
        ],
        [
            difference("base", "v4.1", "eval", 0.3, "better"),
            difference("v4", "v4.1", "eval", change, verdict),
        ],
    )


def test_scenario_a_a_good_score_is_scaled_to_the_larger_base() -> None:
    items = advise(ecommerce(0.58, 0.104, "better"), "v4.1", RULES.values())
    assert held(items) == {"scale_up"}
    assert next_settings(items) == {
        "model.base_model": "Qwen/Qwen2.5-1.5B-Instruct",
        "training.learning_rate": 2e-6,
        "training.max_steps": 400,
    }
    assert "score = 0.58" in by_rule(items)["scale_up"].evidence[0]


def test_scenario_b_a_plateau_with_failing_extraction_changes_the_base() -> None:
    items = advise(ecommerce(0.478, 0.002, "equivalent", extraction=0.17), "v4.1", RULES.values())
    assert held(items) == {"other_base"}
    other = by_rule(items)["other_base"]
    assert other.title.endswith("(extraction)")
    assert "one epoch of SFT on the rows of extraction alone" in other.do
    assert next_settings(items) == {
        "model.base_model": "Qwen/Qwen2.5-0.5B",
        "training.num_train_epochs": 1,
        "training.max_steps": None,
    }
    assert any("v4.1 against v4 on" in sentence for sentence in other.evidence)


@pytest.mark.parametrize(
    ("task", "rule", "words"),
    [
        ("extraction", "extraction_lags", "score the values of fields"),
        ("sql_qa", "analysis_lags", "plan a larger base for sql_qa"),
        ("insights", "rows_lack", "Make 200 more rows of insights"),
        ("push", "rows_lack", "Make 200 more rows of push"),
    ],
)
def test_scenario_c_each_lagging_task_gets_its_own_remedy(task: str, rule: str, words: str) -> None:
    items = advise(ecommerce(0.53, 0.054, "better", **{task: 0.15}), "v4.1", RULES.values())
    assert held(items) == {rule}
    assert words in by_rule(items)[rule].do
    assert any(s.startswith(f"task_score of {task} = 0.15") for s in by_rule(items)[rule].evidence)
    assert next_config(items) == ("", [])


def test_two_lagging_tasks_are_two_items() -> None:
    compared = ecommerce(0.53, 0.054, "better", insights=0.1, push=0.1)
    found = [i for i in advise(compared, "v4.1", RULES.values()) if i.holds == "yes"]
    assert [i.title.rpartition(" ")[2] for i in found] == ["(insights)", "(push)"]


# --- forgetting --------------------------------------------------------------------------------


def chain(*differences: Any, share: float = 0.0, transfer: float = -0.2) -> Comparison:
    """base, v1, v2, v3, each with the suite of its generation; v3 is asked about."""
    versions = [version("base"), version("v1", "base", "g1", steps=60)]
    versions += [
        version(f"v{i}", f"v{i - 1}", f"g{i}", steps=60, config=config(replay__share=share))
        for i in (2, 3)
    ]
    return comparison(
        versions,
        [suite(f"g{i}") for i in (1, 2, 3)],
        differences=differences,
        backward_transfer={"v3": {"g1": transfer, "g2": 0.0, "g3": None}},
    )


def test_forgetting_asks_for_replay_from_the_parent() -> None:
    worse = difference("v1", "v3", "g1", -0.2, "worse")
    items = advise(chain(worse), "v3", RULES.values())
    item = by_rule(items)["forgot_without_replay"]
    assert item.holds == "yes" and item.title.endswith("(g1)")
    assert item.config == {"model.source_model": "models/v2", "replay.share": 0.2}


def test_more_replay_where_some_was_not_enough() -> None:
    worse = difference("v1", "v3", "g1", -0.2, "worse")
    items = by_rule(advise(chain(worse, share=0.3), "v3", RULES.values()))
    assert items["forgot_without_replay"].holds == "no"
    assert items["forgot_with_replay"].config["replay.share"] == pytest.approx(0.4)


def test_what_was_lost_on_the_way_counts_where_the_ends_were_not_compared() -> None:
    steps = [
        difference("v2", "v3", "g1", 0.0, "equivalent"),
        difference("v1", "v2", "g1", -0.2, "worse"),
    ]
    item = by_rule(advise(chain(*steps), "v3", RULES.values()))["forgot_without_replay"]
    assert item.holds == "yes"
    assert any("v2 against v1 on 120 items of g1: worse" in s for s in item.evidence)


def test_a_loss_that_no_test_confirms_is_not_held() -> None:
    unclear = difference("v1", "v3", "g1", -0.2, "cannot tell")
    item = by_rule(advise(chain(unclear), "v3", RULES.values()))["forgot_without_replay"]
    assert item.holds == "unknown" and item.config == {}
    untested = by_rule(advise(chain(), "v3", RULES.values()))["forgot_without_replay"]
    assert untested.holds == "unknown" and "old_verdict" in untested.do


def test_a_loss_on_too_few_items_says_how_many_more_would_tell() -> None:
    """Two suites lost 8 points each and neither test can tell: that is no clean bill."""
    rules = [RULES["forgot_without_replay"], RULES["forgot_with_replay"]]
    lost = [
        difference("v1", "v3", "g1", -0.08, "cannot tell", items_needed=400),
        difference("v2", "v3", "g2", -0.08, "cannot tell", items_needed=300, n=60),
    ]
    compared = replace(
        chain(*lost), backward_transfer={"v3": {"g1": -0.08, "g2": -0.08, "g3": None}}
    )
    items = advise(compared, "v3", rules)
    item = by_rule(items)["forgot_without_replay"]
    assert item.holds == "unknown" and item.lacks_items
    assert "About 280 more items of g1 are needed to tell: add them to the suite" in item.do
    assert "About 240 more items of g2 are needed to tell" in item.do
    assert "compare_versions.py" in item.do
    text = format_advice(items)
    assert text.startswith("No rule holds, but 1 rule needs more items to tell.\n")
    assert "nothing that was measured" not in text


def test_too_few_items_of_unknown_want_are_told_without_a_number() -> None:
    values = CASES["forgot_without_replay"][0] | {"old_verdict": "cannot tell", "old_n": 120}
    assert (
        "More items of generation1 are needed to tell" in judged("forgot_without_replay", values).do
    )
    enough = judged("forgot_without_replay", values | {"old_items_needed": 90})
    assert "More items of generation1 are needed to tell" in enough.do
    one = judged("scale_up", CASES["scale_up"][0] | {"score_n": 29})
    assert "About 1 more item of fixed20 is needed to tell" in one.do


def test_a_suite_too_small_is_told_for_each_suite() -> None:
    steps = [
        difference("v2", "v3", "g1", -0.08, "cannot tell", items_needed=400),
        difference("v2", "v3", "g2", 0.1, "better"),
        difference("v2", "v3", "g3", 0.02, "cannot tell"),
    ]
    items = advise(chain(*steps), "v3", [RULES["suite_too_small"]])
    assert [(item.holds, item.title.rpartition(" ")[2]) for item in items] == [
        ("yes", "(g1)"),
        ("yes", "(g3)"),
    ]
    assert "120 items of g1 cannot tell v3 from v2." in items[0].do
    assert "would take about 400: 280 more." in items[0].do
    assert "would take" not in items[1].do


def test_a_suite_that_was_scored_but_not_compared_is_unknown() -> None:
    compared = replace(chain(), cells=[cell("v3", "g2", 0.5)])
    (item,) = advise(compared, "v3", [RULES["suite_too_small"]])
    assert item.holds == "unknown" and "To know tested_verdict" in item.do


@pytest.mark.parametrize("rule", ["scale_up", "other_base"])
@pytest.mark.parametrize("against", [{"score_verdict": "worse"}, {"suites_worse": 1}])
def test_no_new_base_for_a_version_that_is_worse_somewhere(
    rule: str, against: dict[str, Any]
) -> None:
    assert judged(rule, CASES[rule][0] | against).holds == "no"


def test_worse_suites_are_counted_once_each() -> None:
    worse = [
        difference("v2", "v3", "g1", -0.2, "worse"),
        difference("v1", "v3", "g1", -0.2, "worse"),
        difference("v2", "v3", "g2", -0.2, "worse"),
        difference("v2", "v3", "g3", 0.2, "better"),
    ]
    found = facts_of(chain(*worse), "v3").general["suites_worse"]
    assert found.value == 2 and "v3 against v1 on 120 items of g1: worse" in found.source
    assert "g3" not in found.source
    fine = facts_of(chain(worse[-1]), "v3").general["suites_worse"]
    assert (fine.value, fine.source) == (0, "v3 against v2 on 120 items of g3: better")
    assert "suites_worse" not in facts_of(chain(), "v3").general


@pytest.mark.parametrize("rule", ["scale_up", "other_base"])
def test_a_fresh_version_1_leaves_parent_and_replay_behind(rule: str, tmp_path: Path) -> None:
    chained = {"model.source_model": "models/v1", "replay.share": 0.2}
    item = judged(rule, CASES[rule][0], chained)
    assert item.config["model.source_model"] is None and item.config["replay.share"] == 0
    assert "fine_tune.py" in item.do
    path = tmp_path / "next.yaml"
    path.write_text(item.config_yaml, encoding="utf-8")
    assert resolve(None, path).config.model.source_model is None
    alone = judged(rule, CASES[rule][0], {"model.source_model": None, "replay.share": 0.0})
    assert not {"model.source_model", "replay.share"} & alone.config.keys()


def test_a_fresh_version_1_takes_its_steps_from_the_whole_line() -> None:
    compared = chain(difference("v2", "v3", "g3", 0.2, "better"))
    found = facts_of(compared, "v3").general["line_steps"]
    assert (found.value, found.source) == (180, "training records of v1, v2, v3")
    values = CASES["scale_up"][0] | {"steps": 60}
    item = judged("scale_up", values | {"line_steps": 180})
    assert item.config["training.max_steps"] == 120
    assert "two thirds of the 180 steps" in item.do
    unknown = judged("scale_up", {k: v for k, v in values.items() if k != "line_steps"})
    assert unknown.holds == "yes" and "training.max_steps" not in unknown.config
    assert "two thirds" not in unknown.do


def test_the_steps_of_a_line_with_a_gap_are_unknown() -> None:
    whole = chain()
    gone = replace(whole, versions=[v for v in whole.versions if v.name != "v1"])
    assert "line_steps" not in facts_of(gone, "v3").general
    versions = [replace(v, facts={}) if v.name == "v2" else v for v in whole.versions]
    assert "line_steps" not in facts_of(replace(whole, versions=versions), "v3").general


def test_the_shipped_file_names_files_that_exist() -> None:
    from lorachain.evaluation.advice import RULES as PATH

    named = [w.strip(".,;") for w in PATH.read_text("utf-8").split() if w.startswith("src/")]
    assert named and all((PATH.parents[1] / name).is_file() for name in named)


def test_a_first_version_has_nothing_to_forget() -> None:
    items = by_rule(advise(chain(), "v1", RULES.values()))
    assert items["forgot_without_replay"].holds == "no"
    assert "v1 stands on the base alone" in items["forgot_without_replay"].evidence[0]


def test_a_version_whose_ancestors_are_not_compared_is_unknown() -> None:
    compared = comparison([version("v3", "v2", "g3", steps=60)], [suite("g3")])
    item = by_rule(advise(compared, "v3", RULES.values()))["forgot_without_replay"]
    assert item.holds == "unknown" and "compare_versions.py --chain" in item.do


def test_replay_without_the_parent_at_hand_is_taken_by_the_script_that_names_it(
    tmp_path: Path,
) -> None:
    values = {k: v for k, v in CASES["forgot_without_replay"][0].items() if k != "parent_folder"}
    item = judged("forgot_without_replay", values)
    assert item.config == {"replay.share": 0.2}
    path = tmp_path / "next.yaml"
    path.write_text(item.config_yaml, encoding="utf-8")
    resolved = resolve(None, path, flags={"model.source_model": "models/v1"})
    assert resolved.config.replay.share == 0.2


# --- facts -------------------------------------------------------------------------------------


def test_a_fact_that_nobody_measured_is_not_there() -> None:
    found = facts_of(comparison([version("v1", steps=None)], [suite("s")]), "v1")
    assert set(found.general) == {"version", "suite"}


def test_the_scores_are_from_the_versions_own_suite() -> None:
    compared = comparison(
        [version("v1", own_suite="mine")],
        [suite("general"), suite("mine")],
        [cell("v1", "general", 0.9), cell("v1", "mine", 0.4, n=50, cut=5)],
    )
    found = facts_of(compared, "v1").general
    assert (found["suite"].value, found["score"].value) == ("mine", 0.4)
    assert (found["score_n"].value, found["cut_share"].value) == (50, 0.1)
    other = facts_of(replace(compared, versions=[version("v1")]), "v1").general
    assert other["score"].value == 0.9


def test_a_version_is_held_against_its_parent_and_a_first_one_against_the_one_before() -> None:
    versions = [version("base"), version("a"), version("b"), version("c", parent="a")]
    pairs = [("base", "b"), ("a", "b"), ("base", "c"), ("b", "c"), ("a", "c")]
    compared = comparison(
        versions, [suite("s")], differences=[difference(*p, "s", 0.1, "better") for p in pairs]
    )
    assert facts_of(compared, "b").general["earlier"].value == "a"
    assert facts_of(compared, "c").general["earlier"].value == "a"
    assert "earlier" not in facts_of(compared, "a").general


def test_a_short_validation_curve_tells_no_best_step() -> None:
    curve = [[10, 2.0], [20, 1.0], [30, 1.1], [40, 1.2]]
    compared = comparison([version("v1", steps=40, validation_curve=curve)], [])
    found = facts_of(compared, "v1").general
    assert (found["best_step"].value, found["best_step_share"].value) == (20, 0.5)
    assert found["validation_rise"].value == pytest.approx(0.2)
    short = comparison([version("v1", steps=40, validation_curve=curve[:3])], [])
    assert not {"best_step", "validation_rise"} & facts_of(short, "v1").general.keys()


def test_failures_are_shared_out_by_kind() -> None:
    kinds = {"root array": 6, "no JSON": 3, "cut": 1, "required": 2}
    compared = comparison(
        [version("v1")], [suite("s", 40)], [cell("v1", "s", 0.7, n=40)], [], {"v1": {"s": kinds}}
    )
    found = {name: known.value for name, known in facts_of(compared, "v1").general.items()}
    assert found["failures"] == 12
    assert found["json_rate"] == pytest.approx(0.9)
    assert found["root_array_share"] == 0.5
    assert found["missing_fields_share"] == pytest.approx(1 / 6)


def test_no_failure_at_all_is_a_share_of_none() -> None:
    compared = comparison(
        [version("v1")], [suite("s")], [cell("v1", "s", 1.0)], [], {"v1": {"s": {}}}
    )
    assert facts_of(compared, "v1").general["root_array_share"].value == 0
    assert by_rule(advise(compared, "v1", RULES.values()))["root_arrays"].holds == "no"


def test_an_unknown_version_is_named_with_the_nearest() -> None:
    compared = comparison([version("fine_tuned_v2")], [])
    with pytest.raises(UserError, match=r"fine_tuned_v3 .*did you mean fine_tuned_v2"):
        facts_of(compared, "fine_tuned_v3")


def test_every_fact_says_what_it_is_and_what_measures_it() -> None:
    assert [n for n, f in FACTS.items() if not f.what or not f.how or f.how.endswith(".")] == []


# --- what comes out ----------------------------------------------------------------------------


def test_rules_that_set_one_key_differently_are_a_conflict_and_the_first_wins() -> None:
    taken, conflicts = union(
        [
            ("first", {"training.learning_rate": 1e-4, "training.seed": 1}),
            ("second", {"training.learning_rate": 2e-4, "training.seed": 1}),
        ]
    )
    assert taken == {"training.learning_rate": 1e-4, "training.seed": 1}
    (sentence,) = conflicts
    assert "second sets training.learning_rate to 0.0002, but first sets" in sentence


@pytest.mark.parametrize(
    ("ruler", "ruled"),
    [
        ("training.max_steps", "training.num_train_epochs"),
        ("training.warmup_steps", "training.warmup_ratio"),
    ],
)
def test_a_key_that_overrules_another_is_a_conflict_either_way_round(
    ruler: str, ruled: str
) -> None:
    forward, told = union([("a", {ruler: 60}), ("b", {ruled: 0.5})])
    assert forward == {ruler: 60} and len(told) == 1
    backward, told = union([("a", {ruled: 0.5}), ("b", {ruler: 60})])
    assert backward == {ruled: 0.5} and len(told) == 1
    alone, told = union([("a", {ruler: 60, ruled: 0.5})])  # one rule knows what it does
    assert alone == {ruler: 60, ruled: 0.5} and not told
    unset, told = union([("a", {ruled: 0.5, ruler: None})])
    assert unset == {ruled: 0.5, ruler: None} and not told


def test_settings_that_contradict_each_other_only_together_are_told() -> None:
    rules = [
        ("a", {"training.eval_strategy": "no"}),
        ("b", {"training.load_best_model_at_end": True}),
    ]
    _, conflicts = union(rules)
    assert len(conflicts) == 1 and "eval_strategy is no" in conflicts[0]


def test_the_report_gets_plain_values() -> None:
    items = [judged("few_steps", CASES["few_steps"][0]), judged("overfit", {})]
    found = json.loads(json.dumps(as_dicts(items)))
    assert [set(entry) for entry in found] == [
        {"title", "holds", "evidence", "do", "config_yaml"},
        {"title", "holds", "evidence", "do", "config_yaml"},
    ]
    assert found[0]["holds"] == "yes" and "num_train_epochs: 3" in found[0]["config_yaml"]
    assert found[1]["holds"] == "unknown" and found[1]["config_yaml"] == ""


def test_a_terminal_shows_what_holds_first_then_what_to_measure() -> None:
    items = advise_on(facts(CASES["few_steps"][0]), RULES.values())
    text = format_advice(items)
    assert text.startswith("1. It took too few steps to learn the format\n   10 optimizer steps")
    assert "   training.num_train_epochs: 3\n" in text
    assert text.index("Not known yet:") > text.index("1. It took")
    assert max(map(len, text.splitlines())) <= 100
    yes = sum(item.holds == "yes" for item in items)
    assert text.splitlines()[-1].startswith(f"{yes} rule holds, ") and yes == 1


def test_a_terminal_says_so_where_nothing_is_to_be_done() -> None:
    text = format_advice(advise_on(facts({"kind": "sft"}), [RULES["rewards_flat"]]))
    assert text == ("No rule holds.\n\n0 rules hold, 0 cannot be judged, 1 does not hold.")


def test_rules_that_hold_are_counted_in_good_english() -> None:
    item = judged("few_steps", CASES["few_steps"][0])
    two = format_advice([item, item]).splitlines()[-1]
    assert two == "2 rules hold, 0 cannot be judged, 0 do not hold."
    text = format_advice([item])
    assert text.splitlines()[-1] == "1 rule holds, 0 cannot be judged, 0 do not hold."


def test_a_hostile_name_stays_on_its_line() -> None:
    name = "v2\n\x1b[2Jtraining: {seed: 7} # \U0001f600"
    text = stage_yaml({"training.seed": 1, "data.train_data": "a: #b\n'c'"}, name, ["r"])
    assert dotted(text) == {"training.seed": 1, "data.train_data": "a: #b\n'c'"}
    hostile = replace(judged("few_steps", CASES["few_steps"][0]), title=name, do=name)
    assert "\x1b" not in format_advice([hostile])


def test_the_comment_gives_flags_that_set_the_same(tmp_path: Path) -> None:
    import shlex

    item = judged("schedule_spent", CASES["schedule_spent"][0])
    (line,) = [line for line in item.config_yaml.splitlines() if "--set" in line]
    sets = [word for word in shlex.split(line.removeprefix("#")) if word != "--set"]
    resolved = resolve(None, None, sets)
    found = flat(resolved.config)
    assert {key: found[key] for key in resolved.sources} == item.config
