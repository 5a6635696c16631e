"""Which answers are kept, which are mended, and why the others are out."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from datagen_support import plan_row
from teacher_server import critique, envelope

from lorachain.datagen.answer_checks import judge, unreadable
from lorachain.datagen.ask import Ask
from lorachain.datagen.critique import unreadable_critique
from lorachain.datagen.gate import Gate, GatingMode, Outcome
from lorachain.datagen.rows import Call, CritiqueRow, DraftRow
from lorachain.datagen.teacher_templates import CRITIQUE, REFINE, read_template
from lorachain.errors import UserError

PLAN = plan_row(1)
GOOD = json.dumps(envelope("good"))
MENDED = json.dumps(envelope("mended"))
NO_STEPS = json.dumps({k: v for k, v in envelope("good").items() if k != "next_steps"})


class Scripted:
    """A teacher that answers each kind of question with a text of its own."""

    def __init__(self, **texts: str) -> None:
        self.texts = texts
        self.asked: list[Ask] = []

    async def ask(self, ask: Ask) -> Call:
        self.asked.append(ask)
        text = self.texts[ask.stage]
        return Call(
            key=f"{ask.stage} key",
            model="m",
            provider="",
            prompt_sha256="",
            template_sha256="",
            finish="stop",
            prompt_tokens=1,
            output_tokens=1,
            cost_usd=0.1,
            fault=ask.check(text),
            text=text,
        )


def outcome(
    mode: GatingMode,
    answer: str,
    found: dict[str, Any] | None,
    *,
    fault: str = "",
    **texts: str,
) -> tuple[Outcome, list[str]]:
    """What the gate makes of a draft with this critique, and what it asked for."""
    call = {"key": "draft key", "fault": fault}
    draft = DraftRow("row-0001", 1, PLAN.as_dict(), answer, "strict", call)
    row = CritiqueRow("row-0001", 1, "draft key", found, {})
    teacher = Scripted(**texts)
    gate = Gate(mode, read_template(REFINE), read_template(CRITIQUE))
    return asyncio.run(gate.judge(PLAN, draft, row, teacher)), [a.stage for a in teacher.asked]


PASS, REVISE = critique("pass"), critique("revise", "low")
SEVERE, REJECT = critique("revise", "high"), critique("reject", "low")


@pytest.mark.parametrize("mode", ["strict", "lenient"])
def test_a_good_draft_that_passes_is_kept_and_costs_nothing(mode: GatingMode) -> None:
    found, asked = outcome(mode, GOOD, PASS)
    assert not found.reasons and not found.refined and asked == []
    assert found.judged.value["summary"] == "good"


@pytest.mark.parametrize("mode", ["strict", "lenient"])
def test_what_the_critique_rejects_is_out_without_a_call(mode: GatingMode) -> None:
    found, asked = outcome(mode, GOOD, REJECT)
    assert found.reasons == ("critique: reject",) and asked == []


@pytest.mark.parametrize("mode", ["strict", "lenient"])
def test_a_draft_that_is_none_is_out_without_a_call(mode: GatingMode) -> None:
    found, asked = outcome(mode, "", None, fault="refused")
    assert found.reasons == ("draft: refused",) and asked == []


def test_lenient_takes_a_refinement_on_trust_where_no_issue_was_severe() -> None:
    found, asked = outcome("lenient", GOOD, REVISE, refine=MENDED)
    assert not found.reasons and found.refined and asked == ["refine"]
    assert found.judged.value["summary"] == "mended"


def test_strict_has_the_refinement_criticised_again() -> None:
    texts = {"refine": MENDED, "critique": json.dumps(PASS)}
    found, asked = outcome("strict", GOOD, REVISE, **texts)
    assert not found.reasons and found.refined and asked == ["refine", "critique"]
    texts["critique"] = json.dumps(REVISE)
    found, _ = outcome("strict", GOOD, REVISE, **texts)
    assert found.reasons == ("refined: critique: revise",)


@pytest.mark.parametrize(("second", "kept"), [(PASS, True), (REVISE, True), (SEVERE, False)])
def test_lenient_has_it_criticised_again_after_a_severe_issue(
    second: dict[str, Any], kept: bool
) -> None:
    texts = {"refine": MENDED, "critique": json.dumps(second)}
    found, asked = outcome("lenient", GOOD, SEVERE, **texts)
    assert asked == ["refine", "critique"] and (not found.reasons) == kept


def test_a_second_critique_that_cannot_be_read_keeps_nothing() -> None:
    found, _ = outcome("lenient", GOOD, SEVERE, refine=MENDED, critique="well, fine")
    assert found.reasons == ("refined: critique: none that can be read",)


def test_a_draft_with_a_wrong_form_is_mended_even_if_the_critique_passes_it() -> None:
    found, asked = outcome("lenient", NO_STEPS, PASS, refine=MENDED)
    assert not found.reasons and found.refined and asked == ["refine"]
    found, _ = outcome("lenient", NO_STEPS, PASS, refine=NO_STEPS)
    assert found.reasons and found.reasons[0].startswith("refined: schema: $: missing key")


def test_a_bad_refinement_does_not_lose_a_draft_that_nothing_stands_against() -> None:
    found, _ = outcome("lenient", GOOD, REVISE, refine=NO_STEPS)
    assert not found.reasons and not found.refined and found.gate["kept"] == "draft"
    assert found.judged.value["summary"] == "good" and len(found.calls) == 1
    found, _ = outcome("strict", GOOD, REVISE, refine=NO_STEPS)
    assert found.reasons


def test_without_a_critique_the_form_decides_or_strict_refuses() -> None:
    assert not outcome("lenient", GOOD, None)[0].reasons
    found, asked = outcome("strict", GOOD, None)
    assert found.reasons == ("critique: none that can be read",) and asked == []


def test_the_teacher_is_told_what_is_wrong() -> None:
    teacher = Scripted(refine=MENDED)
    draft = DraftRow("row-0001", 1, PLAN.as_dict(), NO_STEPS, "strict", {"key": "k"})
    row = CritiqueRow("row-0001", 1, "k", critique("revise", "medium"), {})
    gate = Gate("lenient", read_template(REFINE), read_template(CRITIQUE))
    asyncio.run(gate.judge(PLAN, draft, row, teacher))
    (ask,) = teacher.asked
    text = ask.messages[0]["content"]
    assert 'missing key "next_steps"' in text.replace("'", '"') and "medium, clarity: vague" in text
    assert PLAN.prompt in text and NO_STEPS in text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GOOD, ""),
        (f"Here it is:\n```json\n{GOOD}\n```", ""),
        (GOOD.replace('"', "'"), "form: JSON that can only be guessed at"),
        (GOOD[:-20], "form: no whole JSON object"),
        ("no", "form: no whole JSON object (none)"),
        (json.dumps(envelope("x", payload_type="itinerary")), "schema: payload"),
    ],
)
def test_an_answer_is_read_as_everywhere_and_never_by_a_guess(text: str, problem: str) -> None:
    problems = judge(text, "envelope", {}).problems
    assert (problems[0] if problems else "").startswith(problem) and bool(problems) == bool(problem)


def test_another_kind_of_answer_than_was_asked_for_is_a_problem() -> None:
    judged = judge(GOOD, "envelope", {"payload_type": "procedure"})
    assert judged.problems == ("expected: payload_type is not 'procedure'",)


def test_a_plain_text_needs_only_to_be_there() -> None:
    assert judge(" hello ", None, {}).value == "hello"
    assert judge("  ", None, {}).problems
    assert unreadable("anything", None) == ""


def test_a_critique_that_fits_no_schema_is_asked_for_again() -> None:
    assert unreadable_critique(json.dumps(SEVERE)) == ""
    assert "verdict" in unreadable_critique(json.dumps(critique("perhaps")))
    assert unreadable_critique("fine!") != ""


def test_a_template_that_is_missing_is_a_sentence(tmp_path: Any) -> None:
    with pytest.raises(UserError, match=r"critique\.j2 cannot be read"):
        read_template(CRITIQUE, tmp_path)
    (tmp_path / CRITIQUE).write_text("{{ unknown_name }}", encoding="utf-8")
    template = read_template(CRITIQUE, tmp_path)
    with pytest.raises(UserError, match="unknown_name"):
        template.fill(prompt="x")
