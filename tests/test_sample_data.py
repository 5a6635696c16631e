"""The committed sample data: valid, true to its own checks, and no test entity in training.

Needs none of the packages that hold the facts, but for the last test: that one builds everything
again and is skipped, with the reason, where they are not installed.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lorachain.checks import check_holds, value_at
from lorachain.sampledata import verify
from lorachain.sampledata.build import (
    TASKS,
    TEST_ROWS,
    TRAINING_FILES,
    UNSEEN_ROWS,
    VALIDATION_FILES,
    VALIDATION_ROWS,
    WORDINGS,
)
from lorachain.sampledata.facts import PACKAGES
from lorachain.sampledata.reviews import ARCHIVE
from lorachain.sampledata.row import SYSTEM_PROMPT

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = ROOT / "configs" / "schemas"
PATHS = [*sorted(ROOT.glob("data/processed/*.jsonl")), *sorted(ROOT.glob("eval/suites/*_v1.jsonl"))]
PAYLOADS = {
    "arrival_checklist": "checklist",
    "airport_procedure": "procedure",
    "holiday_itinerary": "itinerary",
    "clock_decision": "decision_tree",
    "review_extraction": "extraction",
    "ficha_pt": "extraction",
}


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, Any]]]:
    return {path.relative_to(ROOT).as_posix(): read(path) for path in PATHS}


def test_every_file_has_the_tasks_and_the_counts_that_the_builder_names(
    rows: dict[str, list[dict[str, Any]]],
) -> None:
    expected: dict[str, Counter[str]] = {}

    def expect(path: str, task: str, count: int) -> None:
        expected.setdefault(path, Counter())[task] += count

    for task in TASKS:
        training, validation = TRAINING_FILES[task.generation], VALIDATION_FILES[task.generation]
        expect(f"data/processed/{training}.jsonl", task.name, task.training_rows)
        expect(f"data/processed/{validation}.jsonl", task.name, VALIDATION_ROWS)
        expect(f"eval/suites/generation{task.generation}_v1.jsonl", task.name, TEST_ROWS)
        expect("eval/suites/fixed20_v1.jsonl", task.name, task.fixed_rows)
        expect("eval/suites/unseen_wordings_v1.jsonl", task.name, UNSEEN_ROWS)
    assert {path: Counter(row["task"] for row in rows[path]) for path in expected} == expected
    assert len(rows["eval/suites/fixed20_v1.jsonl"]) == 20


def test_no_schema_fault_no_failed_check_no_shared_entity_or_prompt(
    rows: dict[str, list[dict[str, Any]]],
) -> None:
    assert verify.problems(rows, SCHEMAS) == []


def test_rows_have_the_agreed_keys_and_one_system_prompt(
    rows: dict[str, list[dict[str, Any]]],
) -> None:
    suite = ["id", "task", "messages", "schema", "expected", "reference", "checks", "cluster"]
    for path, of_file in rows.items():
        for row in of_file:
            keys = suite if verify.is_suite(path) else ["id", "task", "messages", "target"]
            assert list(row) == keys
            assert [message["role"] for message in row["messages"]] == ["system", "user"]
            assert row["messages"][0]["content"] == SYSTEM_PROMPT
            answer = verify.answer(row)
            assert answer["payload_type"] == PAYLOADS[row["task"]]
            if verify.is_suite(path):
                assert row["schema"] == "envelope"
                assert row["cluster"] in verify.entities(row)
                assert row["checks"]


def test_every_checked_fact_of_a_prompt_can_be_read_in_the_prompt(
    rows: dict[str, list[dict[str, Any]]],
) -> None:
    """What a model is marked on, it is told; but for the two conventions that it is taught."""
    taught = {"nice_to_have", "Walk in a park", "Visit a museum"}
    taught |= {"positivo", "negativo", "neutro"}
    for path, of_file in rows.items():
        for row in of_file if verify.is_suite(path) else ():
            prompt = verify.prompt(row)
            for check in row["checks"]:
                if "tolerance" in check:
                    assert str(check["value"]).replace(".", ",") in prompt
                elif check["value"] not in taught:
                    assert str(check["value"]) in prompt, (row["id"], check)


def test_decimals_are_commas_in_portuguese_prompts_and_numbers_in_answers(
    rows: dict[str, list[dict[str, Any]]],
) -> None:
    for of_file in rows.values():
        for row in of_file:
            if row["task"] == "ficha_pt":
                fields = verify.answer(row)["payload"]["fields"]
                assert isinstance(fields["altitude_m"], float)
                assert len(re.findall(r"\d,\d", verify.prompt(row))) == 2
                assert not re.search(r"\d\.\d", verify.prompt(row))


def test_sentiment_is_the_sign_of_the_rating(rows: dict[str, list[dict[str, Any]]]) -> None:
    seen = Counter()
    for of_file in rows.values():
        for row in of_file:
            if row["task"] == "review_extraction":
                fields = verify.answer(row)["payload"]["fields"]
                score, sentiment = fields["sentiment_score"], fields["sentiment"]
                wanted = "neutro" if abs(score) <= 0.3 else "positivo" if score > 0 else "negativo"
                assert sentiment == wanted
                seen[sentiment] += 1
    assert min(seen.values()) > 60


def test_training_has_ten_wordings_a_task_and_the_unseen_suite_has_others() -> None:
    from lorachain.sampledata import tasks_v1, tasks_v2, tasks_v3

    for module in (tasks_v1, tasks_v2, tasks_v3):
        for wordings in (value for name, value in vars(module).items() if name.isupper()):
            if hasattr(wordings, "training"):
                assert len(set(wordings.training)) == WORDINGS
                assert not set(wordings.training) & set(wordings.unseen)
                seen = {way for ways in wordings.facts for way in ways}
                assert not seen & {way for ways in wordings.unseen_facts for way in ways}


def test_all_of_it_stays_under_three_megabytes_in_plain_lines() -> None:
    texts = [path.read_bytes() for path in PATHS]
    assert sum(map(len, texts)) < 3_000_000
    for text in texts:
        assert b"\r" not in text
        assert text.endswith(b"\n")


def test_every_source_is_named_with_its_pinned_version_and_a_licence() -> None:
    sources = (ROOT / "data" / "SOURCES.md").read_text(encoding="utf-8")
    pinned = (ROOT / "requirements-sample-data.txt").read_text(encoding="utf-8")
    table = {
        cells[0].split()[0]: cells
        for line in sources.splitlines()
        if line.startswith("| ") and len(cells := line.strip("| ").split(" | ")) == 4
    }
    for name in ("airportsdata", "phonenumbers", "Babel", "holidays", "tzdata"):
        assert f"{name}=={table[name][1]}" in pinned
        assert re.search("MIT|Apache-2.0|BSD", table[name][2])
    assert f"vaderSentiment-{table['vaderSentiment'][1]}.tar.gz" == ARCHIVE


@pytest.fixture
def reference(rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    found = rows["eval/suites/generation1_v1.jsonl"]
    return copy.deepcopy(next(r for r in found if r["task"] == "arrival_checklist")["reference"])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("summary", ""),
        ("assumptions", "none"),
        ("payload_type", "procedure"),
        ("payload_type", "poem"),
        ("payload.colour", "red"),
        ("payload.groups[0].items[0].priority", "maybe"),
        ("payload.groups[0].items[0].price", 3),
        ("colour", "red"),
        ("metadata", []),
    ],
)
def test_the_envelope_refuses(reference: dict[str, Any], path: str, value: object) -> None:
    put(reference, path, value)
    assert list(verify.validator(SCHEMAS).iter_errors(reference))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata", {"model": "x"}),
        ("assumptions", []),
        ("payload.extra", {"colour": "red"}),
        ("payload.groups[0].items[0].done", True),
        ("payload.groups[0].items[0].when", "at the gate"),
    ],
)
def test_the_envelope_accepts(reference: dict[str, Any], path: str, value: object) -> None:
    put(reference, path, value)
    assert not list(verify.validator(SCHEMAS).iter_errors(reference))


@pytest.mark.parametrize("key", ["summary", "assumptions", "verification_steps", "payload"])
def test_the_envelope_needs_each_key(reference: dict[str, Any], key: str) -> None:
    del reference[key]
    assert list(verify.validator(SCHEMAS).iter_errors(reference))


def put(answer: dict[str, Any], path: str, value: object) -> None:
    parent, _, name = path.rpartition(".")
    (value_at(answer, parent) if parent else answer)[name] = value


@pytest.mark.parametrize(
    ("check", "holds"),
    [
        ({"path": "a[1].b", "value": 2.5, "tolerance": 0.01}, True),
        ({"path": "a[1].b", "value": 2.6, "tolerance": 0.01}, False),
        ({"path": "a[1].yes", "value": 1, "tolerance": 0.5}, False),
        ({"path": "a[1].text", "value": "Lima"}, False),
        ({"path": "a[1].text", "value": "Lima", "match": "contains"}, True),
        ({"path": "a[1].text", "value": "Call Lima", "match": "exact"}, True),
        ({"path": "a[7].text", "value": "Lima", "match": "contains"}, False),
        ({"path": "a.b", "value": 1}, False),
        ({"path": "a[1].yes", "value": 1}, False),
    ],
)
def test_a_check_holds(check: dict[str, Any], holds: bool) -> None:
    answer = {"a": [0, {"b": 2.504, "text": "Call Lima", "yes": True}]}
    assert check_holds(answer, check) is holds


def test_a_leak_is_seen() -> None:
    row = {"messages": [{"content": "q"}], "target": "{}"}
    other = {"messages": [{"content": "q"}], "reference": {}}
    leaks = list(
        verify._leaks(
            {
                "data/processed/train_x.jsonl": [{**row, "id": "train_x-t-PE_PT-000"}],
                "eval/suites/x_v1.jsonl": [{**other, "id": "x_v1-t-PE-000"}],
            }
        )
    )
    assert len(leaks) == 2  # the prompt and Peru


def run_builder(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "make_sample_data.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


def test_without_its_sources_the_builder_says_in_one_sentence_what_to_run(tmp_path: Path) -> None:
    done = run_builder("--sources", str(tmp_path), "--output", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert "python -m pip" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    from lorachain.errors import UserError
    from lorachain.sampledata.facts import need

    with pytest.raises(UserError, match=r"'no_such_facts'.*requirements-sample-data\.txt"):
        need("no_such_facts.part")


def test_building_again_gives_the_committed_bytes() -> None:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed (requirements-sample-data.txt): {', '.join(missing)}")
    if not (ROOT / "data" / "interim" / "sources" / ARCHIVE).is_file():
        pytest.skip(f"data/interim/sources/{ARCHIVE} is not downloaded")
    done = run_builder("--check")
    assert (done.returncode, done.stdout.strip()) == (0, "Nothing would change."), done.stderr
