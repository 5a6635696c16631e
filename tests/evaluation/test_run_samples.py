"""run_samples.py: base against a version on one suite, into samples/ of the version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from comparison_support import BAD, GOOD, fill_store, load, rows, script, stored, write_suite

from lorachain import lineage
from lorachain.models import find_base
from lorachain.paths import SUITES
from lorachain.suites import Item, read_suite

RUN = "src/evaluation/run_samples.py"
FILES = {
    "base_outputs.jsonl",
    "finetuned_outputs.jsonl",
    "comparison_metrics.json",
    "schema_failures_debug.jsonl",
}
FIXED20 = SUITES / "fixed20_v1.jsonl"


def envelope(item: Item, **changes: Any) -> str:
    """The reference of an item of fixed20, changed."""
    return json.dumps({**item.reference, **changes})


def tuned(item: Item, place: int) -> str:
    """Right, but for one broken payload, one lost key, a list, and one that no schema reads."""
    broken = {
        0: envelope(item, payload={"title": "t"}),
        1: json.dumps({k: v for k, v in item.reference.items() if k != "next_steps"}),
        2: json.dumps([item.reference]),
        3: "Sure! " + envelope(item),
        4: BAD,
    }
    return broken.get(place, envelope(item))


@pytest.fixture
def filled(chain: Path, tmp_path: Path) -> Path:
    """v1 with all answers to fixed20 in the store."""
    answers = {"base": lambda item, i: BAD, "v1": tuned}
    fill_store(tmp_path / "answers", chain / "v1", [FIXED20], answers)
    return chain / "v1"


def test_every_rate_is_that_of_the_answers(filled: Path, tmp_path: Path) -> None:
    flags = ("--run_dir", filled, "--prompts", FIXED20, "--batch_size", 8, "--answers", "answers")
    done = script(RUN, tmp_path, *flags)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (filled / "samples").iterdir()} - {".lock"} == FILES
    found = load(filled / "samples" / "comparison_metrics.json")
    base, version = found["base"], found["finetuned"]
    assert base["parse_rate"] == {"strict": 0.0, "lenient": 0.0}
    assert base["root_types"] == {"none": 20} and base["finish_reasons"] == {"eos": 20}
    assert version["parse_rate"] == {"strict": 0.9, "lenient": 0.9}  # a list is JSON too
    assert version["root_types"] == {"object": 18, "array": 1, "none": 1}
    assert version["required_fields_present_rate"] == 0.85
    assert version["required_fields"]["next_steps"] == 0.85
    assert version["required_fields"]["payload"] == 0.9
    # The broken payload keeps the envelope, the lost key keeps the payload.
    expected = {"envelope": 0.85, "payload": 0.85, "whole": 0.8, "whole_strict": 0.75}
    assert version["schema_valid_rate"] == expected
    assert version["tokens"] == {"prompt": 180, "output": 100, "output_mean": 5.0}
    assert (found["suite"]["name"], found["suite"]["n"]) == ("fixed20_v1", 20)
    difference = found["difference"]["schema_valid"]
    assert (difference["wins"], difference["losses"], difference["value"]) == (16, 0, 0.8)
    assert difference["verdict"] == "better" and "16 won, 0 lost" in difference["reason"]
    assert found["headline"] == "strict_task_valid"
    tasks = version["by_task"]
    assert sum(task["n"] for task in tasks.values()) == 20 and len(tasks) == 6
    lost = sum(task["n"] * (1 - task["schema_valid_rate"]["whole"]) for task in tasks.values())
    assert round(lost, 2) == 4
    assert base["by_task"]["ficha_pt"]["parse_rate"] == {"strict": 0.0, "lenient": 0.0}
    row = next(line for line in done.stdout.splitlines() if line.startswith("ficha_pt "))
    assert row.split()[1:3] == ["3", "0%"]
    assert done.stdout.startswith("v1 against its base on fixed20_v1, by strict_task_valid: better")


def test_each_failure_is_listed_with_path_kind_and_part(filled: Path, tmp_path: Path) -> None:
    flags = ("--run-dir", filled, "--prompts", FIXED20, "--answers", "answers")
    assert script(RUN, tmp_path, *flags).returncode == 0
    failed = rows(filled / "samples" / "schema_failures_debug.jsonl")
    ids = [item.id for item in read_suite(FIXED20).items]
    assert [row["id"] for row in failed if row["model"] == "base"] == ids
    mine = {row["id"]: row for row in failed if row["model"] == "finetuned"}
    assert list(mine) == [ids[0], ids[1], ids[2], ids[4]]
    where = {
        i: [(f["part"], f["path"], f["kind"]) for f in row["failures"]] for i, row in mine.items()
    }
    assert ("payload", "payload", "required") in where[ids[0]]
    assert {part for part, *_ in where[ids[0]]} == {"payload"}
    assert where[ids[1]] == [("envelope", "$", "required")]
    assert where[ids[2]] == [("envelope", "$", "type")] and mine[ids[2]]["root_type"] == "array"
    assert where[ids[4]] == [("envelope", "$", "parse")]
    assert mine[ids[4]]["head"] == BAD


def test_outputs_hold_prompt_answer_and_scores_in_the_suites_order(
    filled: Path, tmp_path: Path
) -> None:
    flags = ("--run-dir", filled, "--prompts", FIXED20, "--answers", "answers")
    assert script(RUN, tmp_path, *flags).returncode == 0
    items = read_suite(FIXED20).items
    for side in ("base", "finetuned"):
        found = rows(filled / "samples" / f"{side}_outputs.jsonl")
        assert [row["id"] for row in found] == [item.id for item in items]
        assert [row["messages"][-1]["content"] for row in found] == [i.question for i in items]
    assert found[5]["output"] == envelope(items[5]) and found[5]["scores"]["schema_valid"] == 1
    assert found[1]["missing_fields"] == ["next_steps"]


def test_a_version_with_samples_is_unchanged_and_a_parent_still(
    filled: Path, tmp_path: Path
) -> None:
    flags = ("--run-dir", filled, "--prompts", FIXED20, "--answers", "answers")
    assert script(RUN, tmp_path, *flags).returncode == 0
    found = lineage.read(filled)
    assert lineage.problems(found) == [] and lineage.changed_files(found) == []
    base = find_base(found.base_name)
    lineage.check_parent(found, base.fingerprint, base.name, tmp_path / "next")


def test_real_answers_are_made_once_and_reused(chain: Path, tmp_path: Path) -> None:
    """Two sides of three items; the second run, of the next version, asks the base nothing."""
    suite = write_suite(tmp_path / "s", "alpha", 3)
    flags = ("--prompts", suite, "--answers", "answers", "--max-new-tokens", 6, "--cpu")
    first = script(RUN, tmp_path, "--run-dir", chain / "v1", *flags)
    assert first.returncode == 0, first.stderr
    assert len(stored(tmp_path / "answers")) == 6
    again = script(RUN, tmp_path, "--run-dir", chain / "v1", *flags)
    assert again.returncode == 0 and len(stored(tmp_path / "answers")) == 6
    assert "base: 3 answers were there already." in again.stderr
    assert "v1: 3 answers were there already." in again.stderr
    second = script(RUN, tmp_path, "--run-dir", chain / "v2", *flags)
    assert second.returncode == 0 and len(stored(tmp_path / "answers")) == 9
    texts = {row["text"] for row in stored(tmp_path / "answers")}
    outputs = rows(chain / "v1" / "samples" / "finetuned_outputs.jsonl")
    assert {row["output"] for row in outputs} <= texts
    assert all(row["finish"] == "length" or row["output_tokens"] <= 6 for row in outputs)


def test_an_answer_that_the_limit_cut_says_so(chain: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "s", "alpha", 4)
    answers = {"base": lambda item, i: GOOD, "v1": lambda item, i: GOOD[:-1]}
    fill_store(tmp_path / "answers", chain / "v1", [suite], answers, finish="length")
    flags = ("--run-dir", chain / "v1", "--prompts", suite, "--answers", "answers")
    done = script(RUN, tmp_path, *flags)
    assert done.returncode == 0, done.stderr
    failed = rows(chain / "v1" / "samples" / "schema_failures_debug.jsonl")
    assert [(row["model"], row["failures"][-1]["kind"]) for row in failed] == [
        ("finetuned", "cut")
    ] * 4
    version = load(chain / "v1" / "samples" / "comparison_metrics.json")["finetuned"]
    assert version["finish_reasons"] == {"length": 4}
    assert version["schema_valid_rate"] == {
        "envelope": None,
        "payload": None,
        "whole": 0.0,
        "whole_strict": 0.0,
    }


def test_what_a_reader_must_bear_in_mind_is_said_once(chain: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "s", "alpha", 12)
    answers = {"base": lambda item, i: GOOD, "v1": lambda item, i: BAD}
    fill_store(tmp_path / "answers", chain / "v1", [suite], answers, finish="length")
    flags = ("--run-dir", chain / "v1", "--prompts", suite, "--answers", "answers")
    done = script(RUN, tmp_path, *flags)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    few, cut = (
        "Small suites show large differences only: alpha_v1 (12 items:",
        "Answers ended at the token limit (base on alpha_v1: 12 of 12, v1 on alpha_v1: 12 of 12).",
    )
    assert said.count(f"Bear in mind: {few}") == said.count(f"Bear in mind: {cut}") == 1
    notes = load(chain / "v1" / "samples" / "comparison_metrics.json")["notes"]
    assert [len(notes), said.count("Bear in mind")] == [2, 2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--run-dir"),
        (("--run-dir", "none", "--prompts", "good.jsonl"), "Adapter folder not found: none"),
        (("--run-dir", "unfinished", "--prompts", "good.jsonl"), "is not finished"),
        (("--run-dir", "v1", "--prompts", "none.jsonl"), "File not found: none.jsonl"),
        (("--run-dir", "v1", "--prompts", "empty.jsonl"), "empty.jsonl is empty"),
        (("--run-dir", "v1", "--prompts", "plain.jsonl"), "names a schema"),
        (("--run-dir", "v1", "--prompts", "plain.jsonl", "--schema", "no"), "'no' is not known"),
        (("--run-dir", "v2", "--prompts", "good.jsonl"), "a file stands there"),
        (("--run-dir", "v1", "--prompts", "good.jsonl", "--batch-size", "0"), "whole number"),
    ],
    ids=str,
)
def test_a_mistake_is_a_sentence_before_anything_is_asked(
    arguments: tuple[str, ...], words: str, chain: Path
) -> None:
    write_suite(chain, "alpha", 2).rename(chain / "good.jsonl")
    (chain / "empty.jsonl").write_text("", encoding="utf-8")
    (chain / "plain.jsonl").write_text('{"prompt": "Why?"}\n', encoding="utf-8")
    (chain / "unfinished" / "checkpoint-2").mkdir(parents=True)
    (chain / "v2" / "samples").write_text("in the way", encoding="utf-8")
    done = script(RUN, chain, *arguments, "--answers", "answers")
    assert done.returncode == 2
    assert words in done.stderr and "Traceback" not in done.stderr
    assert not (chain / "answers").exists() and not (chain / "v1" / "samples").exists()
