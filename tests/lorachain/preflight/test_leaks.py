"""Leaks: copies are found however they are spelled, and other questions of a template are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from preflight_rows_support import FINE, LONG, NEARLY, OTHER, REPLY, WORDS, Pair, data, look, where

from lorachain.paths import PROJECT_ROOT, SUITES
from lorachain.preflight.finding import Finding
from lorachain.preflight.inputs import Asked, Rows
from lorachain.preflight.rows import row_findings
from lorachain.preflight.texts import prompt_text
from lorachain.records import ChatRow, Message, TrainingData, read_training_data
from lorachain.suites import read_suite


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


COPIES = {
    "as it is": LONG,
    "case": LONG.upper(),
    "white space": "  " + LONG.replace(" ", "\n\t "),
    "punctuation": LONG.replace(",", " --,").replace(" --", "").replace(".", "!!") + "?",
    "full-width": LONG.replace("?", "？").replace(",", "，"),
    "one word": NEARLY,
    "a word more": LONG.replace("torn", "badly torn"),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_validation_row_that_is_trained_on_is_found(copy: str) -> None:
    found = look(*FINE[:3], (copy, REPLY), validation=[("Who?", "I"), (LONG, REPLY, "Be kind")])
    (place,) = found["leak-validation"].where
    assert place.replace("~", "=") == "train.jsonl:4 = val.jsonl:2"
    assert found["leak-validation"].severity == "error"
    assert found["leak-validation"].facts["others_matched"] == 1
    assert "--allow leak-validation" in found["leak-validation"].do


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("answer", ["", REPLY])
def test_a_suites_item_that_is_trained_on_is_found(copy: str, answer: str) -> None:
    found = look((copy, REPLY, "Be kind"), ("Who?", "I"), suite=[("Why?", ""), (LONG, answer)])
    assert [w.replace("~", "=") for w in found["leak-suite"].where] == ["train.jsonl:1 = exam:1"]
    assert found["leak-suite"].facts["others_of"] == 2


def test_a_near_leak_says_so() -> None:
    found = look((NEARLY, REPLY), (LONG, REPLY), suite=[(LONG, "")])["leak-suite"]
    assert found.where == ("train.jsonl:1 ~ exam:0", "train.jsonl:2 = exam:0")
    assert found.says == (
        "2 of the 2 rows of train.jsonl are asked by the suite exam, 1 of them nearly: "
        "its only item would measure memory."
    )


NO_LEAKS = {
    "another question of a short template": ("Which country is Lisbon in?", "Portugal"),
    "short and near": ("Hi!", "Hello"),
    "another number": (LONG.replace("seven", "7"), REPLY),
    "another answer": (NEARLY, OTHER),
    "another number in the answer": (NEARLY, f"{REPLY} There were 7."),
}
MEASURED: list[Pair] = [
    ("Which country is Madrid in?", "Portugal"),
    ("Hi all", "Hello"),
    (LONG.replace("seven", "8"), REPLY),
    (LONG, f"{REPLY} There were 8."),
]


@pytest.mark.parametrize("row", NO_LEAKS.values(), ids=NO_LEAKS)
def test_what_is_another_question_is_no_leak(row: Pair) -> None:
    measured = MEASURED[:3] if row[0] != NEARLY else MEASURED
    assert "leak-validation" not in look(row, validation=measured)
    assert "leak-suite" not in look(row, suite=[(prompt, reply) for prompt, reply, *_ in measured])


def test_a_suites_prompt_with_another_answer_is_still_its_prompt() -> None:
    found = look(("What is it?", "A bird.", "Be kind"), suite=[("what is it", "A plane.")])
    assert found["leak-suite"].where == ("train.jsonl:1 = exam:0",)


def test_rows_of_a_long_instruction_do_not_leak_though_prompts_and_answers_are_near() -> None:
    texts = [f"{LONG} Text: {word}" for word in WORDS]
    train: list[Pair] = [(text, "positive") for text in texts[:60]]
    found = look(*train, validation=[(t, "positive") for t in texts[60:]], suite=[(texts[-1], "")])
    assert found == {}


def test_a_copied_row_of_a_long_instruction_is_still_found() -> None:
    texts = [f"{LONG} Text: {word}" for word in WORDS]
    train: list[Pair] = [(text, "positive") for text in texts[:60]]
    found = look(*train, validation=[(texts[60], "positive"), (texts[5].upper(), "positive")])
    assert where(found) == {"leak-validation": ["train.jsonl:6 = val.jsonl:2"]}


def test_prompts_in_scripts_without_spaces_are_compared() -> None:
    chinese = "请根据以下资料写一份详细的旅行计划并说明每天的交通方式住宿地点和注意事项" * 3
    found = look((chinese + "谢谢", REPLY), suite=[(chinese, "")])
    assert found["leak-suite"].where == ("train.jsonl:1 ~ exam:0",)
    arabic = "اكتب خطة سفر مفصلة لمدة يومين في المدينة القديمة مع ذكر المواصلات والفنادق " * 3
    assert "leak-suite" in look((arabic + "من فضلك", REPLY), suite=[(arabic, "")])
    assert look(("😀", "a"), ("😢", "b"), suite=[("😡", "")]) == {}
    assert "leak-suite" in look(("😀 ", "a"), suite=[("😀", "")])


def test_a_prompt_of_marks_alone_is_its_marks() -> None:
    assert look(("?", "a"), ("!", "b"), suite=[("...", "")]) == {}
    assert "leak-suite" in look(("?", "a"), suite=[("?", "")])


def test_hostile_texts() -> None:
    half = "a\ud83d" * 50
    huge = " ".join(f"{i * 7919 % 100_003:x}q" for i in range(150_000))
    deep = "[" * 100_000 + "1"
    digits = "[" + "9" * 10_000 + "]"
    found = look(
        *((half, half), (huge, deep), (huge, digits), (half, "x")),
        validation=[(huge + " more", deep), (half, half)],
    )
    assert {"leak-validation", "contradicting-rows"} <= found.keys()
    assert [w.replace("~", "=") for w in found["leak-validation"].where] == [
        "train.jsonl:1 = val.jsonl:2",
        "train.jsonl:2 = val.jsonl:1",
        "train.jsonl:4 = val.jsonl:2",
    ]


def test_one_short_prompt_under_many_system_prompts_is_judged_by_its_answers() -> None:
    train: list[Pair] = [("Continue.", f"{word} told", f"A tale of {word}") for word in WORDS]
    measured: list[Pair] = [("Continue.", "An end.", "Another"), ("Continue.", "x", "A tale of y")]
    assert "leak-validation" not in look(*train, validation=measured)
    same = ("continue", f"{WORDS[3]} told!", "Another")
    found = look(*train, validation=[*measured, same])
    assert found["leak-validation"].where == ("train.jsonl:4 = val.jsonl:3",)


# --- chats of several turns ---


def chats(name: str, *rows: tuple[str, ...], system: str = "") -> TrainingData:
    """Turns of user and assistant in alternation, a row each."""
    found = []
    for line, turns in enumerate(rows, start=1):
        messages = [Message("system", system)] if system else []
        messages += [Message(("user", "assistant")[i % 2], t) for i, t in enumerate(turns)]
        found.append(ChatRow(tuple(messages), Path(name), line))
    return TrainingData(Path(name), "messages", found)


def of(rows: Rows) -> dict[str, Finding]:
    return {finding.code: finding for finding in row_findings(rows, progress=False)}


TALK = (LONG, REPLY, "And why?", OTHER, "Who?", "I")


def test_an_earlier_answer_of_a_chat_is_trained_on_too() -> None:
    """Validation and suites ask what a chat begins with; each row is named once."""
    train = chats("train.jsonl", ("Hi", "Hello"), TALK)
    measured = chats("val.jsonl", ("Hey", "Hello"), (LONG.upper(), REPLY), TALK[:4])
    found = of(Rows(train, measured, [Asked("exam", [("exam:1", LONG, "")])]))
    assert where(found) == {
        "leak-validation": ["train.jsonl:2 = val.jsonl:2"],
        "leak-suite": ["train.jsonl:2 = exam:1"],
    }
    assert found["leak-validation"].facts["others_matched"] == 2
    assert "1 of the 2 rows" in found["leak-validation"].says


def test_an_ancestors_earlier_answers_count_as_well() -> None:
    rows = Rows(
        chats("train.jsonl", TALK),
        chats("val.jsonl", ("Oh", "Ah"), ("Who?", "You")),
        [Asked("exam", [("exam:1", "Where is it?", "")])],
        {"V1": [chats("old.jsonl", ("who", "You", "And?", "x"), ("Where is it?", "y", "?", "z"))]},
        {"V1": [chats("old_val.jsonl", TALK[:2])]},
    )
    assert where(of(rows)) == {
        "leak-ancestor-validation": ["train.jsonl:1 = old_val.jsonl:1"],
        "leak-ancestor-training": ["val.jsonl:2 = old.jsonl:1"],
        "leak-suite-ancestor": ["exam:1 = old.jsonl:2"],
    }


def test_chats_that_begin_alike_do_not_leak() -> None:
    """Neither do two prompts in one chat, nor a first turn under another system prompt."""
    train = chats("train.jsonl", ("Hi", "Hello", LONG, REPLY), ("Hi", "Hello", "Who?", "I"))
    measured = chats("val.jsonl", ("Hi", "Hello", "Why?", "So"), (LONG, OTHER))
    assert "leak-validation" not in of(Rows(train, measured))
    spoken = chats("train.jsonl", TALK, system="Be a pirate")
    judged = chats("val.jsonl", (LONG, OTHER), system="Be a judge")
    assert of(Rows(spoken, judged)) == {}


# --- the ancestors ---


def test_training_on_an_ancestors_validation_rows() -> None:
    found = look(
        ("Who?", "I"), (NEARLY, REPLY), before_validation=[("When?", "now"), (LONG, REPLY)]
    )
    assert where(found) == {"leak-ancestor-validation": ["train.jsonl:2 ~ old_val.jsonl:2"]}
    assert "V1" in found["leak-ancestor-validation"].says


def test_validation_rows_and_items_that_an_ancestor_was_trained_on() -> None:
    found = look(
        ("Who?", "I"),
        validation=[(LONG, REPLY), ("How?", "so")],
        suite=[("Why?", ""), ("When?", "")],
        before=[("when ?", "now"), (NEARLY, REPLY)],
    )
    assert where(found) == {
        "leak-ancestor-training": ["val.jsonl:1 ~ old.jsonl:2"],
        "leak-suite-ancestor": ["exam:1 = old.jsonl:1"],
    }
    assert found["leak-suite-ancestor"].severity == "warning"
    found = look(("Who?", "I"), suite=[(LONG, "")], before=[(NEARLY, REPLY)])
    assert where(found) == {"leak-suite-ancestor": ["exam:0 ~ old.jsonl:1"]}


def test_rows_that_repeat_or_contradict_an_ancestors() -> None:
    found = look(
        *(("Who?", "I"), ("When?", "now"), ("How?", '{"a": 1, "b": 2}'), ("Where?", "here")),
        before=[("who?", "You"), ("Who?", "i"), ("When?", "later"), ("How?", '{"b":2,"a":1}')],
    )
    assert where(found) == {
        "repeats-ancestor": ["train.jsonl:1 = old.jsonl:2", "train.jsonl:3 = old.jsonl:4"],
        "contradicts-ancestor": ["train.jsonl:2 != old.jsonl:3"],
    }


def test_ancestors_rows_alone_are_not_this_stages_matter() -> None:
    assert look(("a", "b"), before=[("c", "d"), ("c", "d")], before_validation=[("c", "d")]) == {}


def test_data_that_is_gone_is_named() -> None:
    found = look(("a", "b"), gone=["train data x.jsonl of V1 is not there any more"])
    assert "x.jsonl of V1" in found["ancestor-data-gone"].says
    assert "ancestor-data-gone" not in look(("a", "b"))


def test_braces_in_a_name_are_a_name() -> None:
    rows = Rows(data("{x}.jsonl", ("a", "b")), data("{y}.jsonl", ("a", "b")))
    (found,) = row_findings(rows, progress=False)
    assert "{x}.jsonl" in found.says
    assert "{y}.jsonl" in found.do


# --- the sample data ---

PROCESSED = PROJECT_ROOT / "data" / "processed"
GENERATIONS = ("llm", "finetune2", "finetune3")


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("known", [True, False], ids=["answers known", "prompts alone"])
def test_the_sample_data_is_clean(number: int, known: bool) -> None:
    trains = [read_training_data(PROCESSED / f"train_{name}.jsonl") for name in GENERATIONS]
    measured = [read_training_data(PROCESSED / f"val_{name}.jsonl") for name in GENERATIONS]
    suites = [read_suite(path) for path in sorted(SUITES.glob("*.jsonl"))]
    assert len(suites) == 5
    rows = Rows(
        trains[number],
        measured[number],
        [
            Asked(
                suite.name,
                [
                    (str(i.id), prompt_text(i.messages), json.dumps(i.reference) if known else "")
                    for i in suite.items
                ],
            )
            for suite in suites
        ],
        {f"V{i + 1}": [trains[i]] for i in range(number)},
        {f"V{i + 1}": [measured[i]] for i in range(number)},
    )
    assert list(row_findings(rows, progress=False)) == []
