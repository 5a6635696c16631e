"""The screen that a person reads before a training, and what a refused run ends with."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from gate_support import example_look, examples, leak

from lorachain.preflight.answers_json import AnswerLook, Fit
from lorachain.preflight.finding import RULES, found
from lorachain.preflight.inputs import Length
from lorachain.preflight.lengths import measure
from lorachain.training.gate.page import render_preflight
from lorachain.training.gate.screen import WIDTH, screen
from lorachain.training.gate.words import refusal, same_file, spelled


def lines(*args: object, **options: object) -> list[str]:
    return screen(*args, **options).splitlines()  # type: ignore[arg-type]


def test_the_numbers_stand_above_the_findings() -> None:
    text = screen(example_look(leak(), leak(code="few-steps")))
    labels = re.findall(r"^ {2,4}(\w+)", text.partition("\n\n")[0], re.MULTILINE)
    assert labels == [
        *("rows", "validation", "replayed", "tokens", "prompt", "answer", "row", "limit"),
        *("trained", "steps", "rate", "memory", "disk"),
    ]
    for said in (
        "60 in train.jsonl (messages)",
        "20 of v1 (25% of the trained tokens)",
        "row 100 300 300",
        "256 tokens: 20 of 60 rows are longer (cut, 800 answer tokens lost); the base reads 2,048",
        "3,200 of the 11,000 tokens of an epoch (29%)",
        "20 of 4 rows; an epoch has 20, so each row is seen once",
        "cosine: up to 0.0001 at step 4, 1.5e-09 at the last",
        "about 5.6 GB of 8.0 GB free on CPU: weights 2.0 GB, adapter 100 MB",
        "1.0 GB of 50.0 GB free at the output",
    ):
        assert said in " ".join(text.split()), said
    assert text.index("1 error\n") < text.index("leak-validation") < text.index("1 warning\n")
    assert "    rows: train.jsonl:1 = val.jsonl:1, " in text and "(7 in all)" in text


def test_nothing_that_is_not_there_is_said() -> None:
    look = example_look(schedule=None, needs=None, mix=(), tokens=0, trained_tokens=0)
    look = replace(look, files=look.files[:1], length=Length(512, "error"))
    text = screen(look)
    for label in ("validation", "replayed", "trained", "steps", "rate", "memory", "disk", "error"):
        assert f"\n  {label}" not in text
    assert text.endswith("Nothing was found that speaks against it.")


def test_every_kind_of_limit_is_one_line() -> None:
    short = measure(examples([100] * 4), 256)
    look = example_look()
    fits = replace(look, files=(replace(look.files[0], lengths=short),))
    assert "256 tokens, which every row fits; the base reads 2,048" in screen(fits)
    for policy, said in (
        ("error", "20 of 60 rows are longer (an error)"),
        ("drop", "20 of 60 rows are longer (left out, 800 answer tokens lost)"),
    ):
        assert said in screen(replace(look, length=Length(256, policy)))


def test_no_line_is_wider_than_the_screen_and_no_flag_is_cut_from_its_value() -> None:
    long = found(
        "dead-tail",
        "word " * 60,
        "--set training.lr_scheduler_type=cosine_with_min_lr " * 4,
        [f"a file with spaces.jsonl:{i}" for i in range(20)],
    )
    text = screen(example_look(long, leak()), Path("logs/x.html"))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.count("--set training.lr_scheduler_type=cosine_with_min_lr") == 4
    assert not [line for line in text.splitlines() if line.endswith("--set")]


def test_errors_are_always_whole_and_the_rest_gets_shorter_where_there_is_much() -> None:
    """First the rows go, then the notes' sentences, then the warnings' advice."""
    warnings = [code for code, rule in RULES.items() if rule.severity == "warning"]
    errors = [leak(code="leak-suite"), leak(code="leak-validation")]
    notes = [leak(code="may-sleep"), leak(code="default-system")]
    steps = {}
    for number in (1, 3, 5, len(warnings)):
        some = [leak(code=code) for code in warnings[:number]]
        text = screen(example_look(*errors, *some, *notes))
        assert all(f"  {one.code}  7 of" in text for one in (*errors, *some))
        assert text.count("-> Take the rows out") >= 2 and text.count("    rows: ") >= 2
        steps[number] = (
            text.count("    rows: ") > 2,
            "  may-sleep  7 of" in text,
            text.count("-> ") > 2,
        )
    assert steps[1] == (True, True, True)
    assert steps[len(warnings)] == (False, False, False)
    assert sorted(steps.values(), reverse=True) == [*steps.values()]
    assert "2 notes: default-system, may-sleep" in text


def test_what_stops_the_run_can_be_left_to_its_last_words() -> None:
    look = example_look(leak(), leak(code="leak-suite"), allowed=["leak-suite"])
    text = screen(look, errors=False)
    assert "leak-validation" not in text
    assert "  leak-suite  7 of the 60 rows of train.jsonl are in val.jsonl too. (allowed)" in text


def test_rows_of_one_file_are_named_by_their_lines() -> None:
    assert same_file(["a.jsonl:3", "a.jsonl:9", "b.jsonl:1", "b.jsonl:2"]) == [
        *("a.jsonl:3", ":9", "b.jsonl:1", ":2")
    ]
    pairs = ["a.jsonl:3 = b.jsonl:7", "a.jsonl:4 ~ b.jsonl:7"]
    assert same_file(pairs) == pairs
    assert same_file(["C:\\a.jsonl:3", "C:\\a.jsonl:4", "no line"]) == [
        *("C:\\a.jsonl:3", ":4", "no line")
    ]


def test_a_refusal_says_every_error_with_its_advice_and_how_to_pass() -> None:
    text = refusal("models/v2", [leak(), leak(code="leak-suite")], Path("logs/preflight/v2.html"))
    assert text.startswith("models/v2 is not trained, because of 2 errors.\n")
    assert text.count("\n  -> Take the rows out") == 2
    assert "pass --allow leak-validation --allow leak-suite;" in text
    assert text.endswith(f"All that was looked at: {Path('logs/preflight/v2.html')}")


def test_what_cannot_be_allowed_is_not_offered() -> None:
    cannot = leak(code="overlong-rows")
    assert "--allow" not in refusal("v", [replace(cannot, do="Shorten.")], None)
    text = refusal("v", [cannot, leak()], None)
    assert "--allow leak-validation lets some of it pass; the rest cannot be trained on." in text


def test_bad_rows_stand_one_a_line_on_the_screen_too() -> None:
    problems = [f"a.jsonl:{i}: not JSON" for i in range(7)]
    facts = {"rows": 40, "bad": 7, "path": "a.jsonl", "problems": problems}
    text = screen(example_look(found("bad-rows", "Much.", "Mend.", problems, **facts)))
    said = [
        "  bad-rows  7 of the 40 rows of a.jsonl cannot be trained on:",
        *(f"    {problem}" for problem in problems[:5]),
        "    ... and 2 more",
        "    -> Mend.",
    ]
    assert "\n".join(said) in text and "Much." not in text


def test_the_share_of_answers_that_fit_their_schema_is_a_line() -> None:
    fit = Fit("score.json", rows=60, valid=54)
    look = AnswerLook(60, 60, (fit,), 0, 0, (), {})
    none = AnswerLook(60, 60, (), 60, 0, (), {})
    text = screen(example_look(answers={"train": look, "validation": look}))
    assert "  answers    54 of 60 answers fit score.json (90.0%)\n" in text
    assert "  answers    validation: 54 of 60 answers" in text
    assert "answers  " not in screen(example_look(answers={"train": none}))
    assert example_look(answers={"train": look}).as_dict()["answers"]["train"]["looked"] == 60
    page = render_preflight(example_look(answers={"train": look}))
    assert "54 of 60 answers fit score.json (90.0%)" in page


def test_the_parts_of_the_memory_are_all_of_it() -> None:
    look = example_look()
    assert look.needs is not None
    whole = replace(look, needs=replace(look.needs, other=3 * 10**8))
    assert "logits 333 MB, other 300 MB" in " ".join(screen(whole).split())
    assert "other" not in screen(look)
    assert "other <b>300 MB</b>" in render_preflight(whole)


@pytest.mark.parametrize("number", [2, 30])
def test_bad_rows_stand_one_a_line(number: int) -> None:
    problems = [f"a.jsonl:{i}: not JSON" for i in range(number)]
    facts = {"rows": 40, "bad": number, "path": "a.jsonl", "problems": problems}
    text = spelled([found("bad-rows", "Much.", "Mend them.", problems, **facts)])
    head, *rows, do = text.splitlines()
    assert head == f"bad-rows: {number} of the 40 rows of a.jsonl cannot be trained on:"
    assert do == "  -> Mend them."
    assert rows[:2] == ["  a.jsonl:0: not JSON", "  a.jsonl:1: not JSON"]
    assert len(rows) == min(number, 21)
    assert (rows[-1] == "  ... and 10 more") == (number == 30)
