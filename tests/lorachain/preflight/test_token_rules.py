"""The length limit and the end token: what is lost is counted, and what mends it is named."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from token_support import STOP, Row, chat, encoded

from lorachain.chat import ChatEncoder
from lorachain.preflight.finding import Finding
from lorachain.preflight.inputs import Length
from lorachain.preflight.lengths import Cost, Lengths, Spread, measure
from lorachain.preflight.tokens import check_tokens

ROWS = [encoded((10, 10 * i), line=i) for i in range(1, 11)]  # 20, 30, ..., 110 tokens


def check(rows: list[Row], limit: int, on_overlong: str, context: int | None = None) -> list[Any]:
    return check_tokens(rows, Length(limit, on_overlong, context), [STOP])[1]


def only(findings: list[Finding], code: str) -> Finding:
    (finding,) = [f for f in findings if f.code == code]
    return finding


def value(finding: Finding, setting: str) -> str:
    """What a finding says to set."""
    match = re.search(rf"--set {re.escape(setting)}=(\S+?)[;.,]?(\s|$)", finding.do)
    assert match, finding.do
    return match[1]


# --- lengths ---


def test_lengths_are_counted_before_any_limit() -> None:
    found = measure(ROWS, 60)
    assert found.whole == Spread(p50=70, p95=110, most=110, least=20, total=650)
    assert found.prompt == Spread(10, 10, 10, 10, 100)
    assert found.answer == Spread(p50=60, p95=100, most=100, least=10, total=550)
    assert (found.rows, found.over, found.lossless) == (10, 5, 110)


def test_each_choice_has_its_cost() -> None:
    rows = [*ROWS, encoded((80, 5), line=11)]  # its answer lies beyond the limit, whole
    found = measure(rows, 60)
    assert found.drop == Cost(rows=6, answer_tokens=60 + 70 + 80 + 90 + 100 + 5)
    assert found.truncate == Cost(rows=1, cut=5, answer_tokens=10 + 20 + 30 + 40 + 50 + 5, ends=5)


def test_a_cut_between_two_turns_loses_no_end() -> None:
    row = encoded((5, 10), (20, 10))  # the limit falls into the second prompt
    assert measure([row], 25).truncate == Cost(rows=0, cut=1, answer_tokens=10, ends=0)


def test_the_first_token_carries_no_loss() -> None:
    assert measure([encoded((0, 4))], 10).answer.total == 3


def test_the_histogram_has_every_row_once() -> None:
    bins = measure(ROWS, 60).histogram
    assert [sum(part) for part in (bins.rows, bins.prompts, bins.answers)] == [10, 10, 10]
    assert bins.edges[0] == 0 and bins.edges[-1] > 110 and len(bins.edges) == len(bins.rows) + 1
    place = next(i for i, edge in enumerate(bins.edges[1:]) if edge > 10)
    assert bins.prompts[place] == 10


def test_no_rows_are_no_mistake() -> None:
    found = measure([], 60)
    assert (found.rows, found.over, found.lossless, found.whole) == (0, 0, 0, Spread())
    assert isinstance(found, Lengths) and found.as_dict()["drop"]["rows"] == 0


# --- over the limit ---


def test_overlong_rows_name_all_three_choices_and_what_they_cost() -> None:
    found = only(check(ROWS, 60, "error"), "overlong-rows")
    assert found.severity == "error" and not found.rule.allowable
    assert "5 of 10 training rows" in found.says and "the longest has 110" in found.says
    assert "drop leaves 5 rows out, with 400 answer tokens" in found.do
    assert "truncate cuts 150 answer tokens and the end of 5 rows" in found.do
    assert found.where == tuple(f"rows.jsonl:{line}" for line in range(6, 11))
    assert check(ROWS, int(value(found, "data.max_seq_length")), "error") == []


def test_a_limit_that_loses_nothing_says_nothing() -> None:
    for choice in ("error", "drop", "truncate"):
        assert check(ROWS, 110, choice) == []


@pytest.mark.parametrize(("choice", "lost"), [("drop", "400"), ("truncate", "150")])
def test_what_a_choice_loses_is_a_warning_with_the_answer_tokens(choice: str, lost: str) -> None:
    found = only(check(ROWS, 60, choice), "answers-cut")
    assert found.severity == "warning" and f"{lost} answer tokens" in found.says
    assert not [f for f in check(ROWS, 60, choice) if f.code == "overlong-rows"]


def test_what_drop_loses_of_a_recipe_with_long_answers() -> None:
    """1,024 tokens where answers have 1,200: every row would be cut, and each loses its end."""
    rows = [encoded((300, 1200), line=i) for i in range(1, 161)]
    findings = check(rows, 1024, "truncate")
    assert "160 of 160 training rows" in only(findings, "answers-cut").says
    end = only(findings, "end-untrained")
    assert end.severity == "error" and "160 of 160" in end.says
    assert check(rows, int(value(end, "data.max_seq_length")), "truncate") == []


def test_no_limit_beyond_what_the_base_reads_is_advised() -> None:
    found = only(check(ROWS, 60, "error", context=100), "overlong-rows")
    assert "max_seq_length" not in found.do and "the base reads 100 tokens" in found.do
    assert "max_seq_length=110" in only(check(ROWS, 60, "error", 110), "overlong-rows").do


@pytest.mark.parametrize(
    ("choice", "limit", "longer"),
    [("error", 200, 1), ("truncate", 200, 1), ("truncate", 100, 0), ("drop", 105, 0)],
)
def test_rows_beyond_the_context_are_an_error_where_they_are_trained_on(
    choice: str, limit: int, longer: int
) -> None:
    findings = [f for f in check(ROWS, limit, choice, 100) if f.code == "over-context"]
    assert len(findings) == longer
    for found in findings:
        assert found.where == ("rows.jsonl:10",) and not found.rule.allowable
        settled = check(ROWS, int(value(found, "data.max_seq_length")), "drop", 100)
        assert "over-context" not in {f.code for f in settled}


def test_one_limit_is_advised_for_all_files() -> None:
    length = Length(60, "error")
    findings = check_tokens(ROWS, length, [STOP], "validation", longest=130)[1]
    assert value(only(findings, "overlong-rows"), "data.max_seq_length") == "130"
    assert "the longest has 110" in only(findings, "overlong-rows").says


# --- trained tokens ---


def test_rows_without_a_trained_token_are_an_error() -> None:
    found = only(check([*ROWS, encoded((20, 0), line=99)], 200, "error"), "nothing-trained")
    assert found.severity == "error" and found.where == ("rows.jsonl:99",)


@pytest.mark.parametrize(("others", "severity"), [(10, "error"), (200, "warning")])
def test_answers_that_lie_beyond_the_limit_are_named(others: int, severity: str) -> None:
    rows = [encoded((10, 10), line=i) for i in range(others)]
    rows.append(encoded((90, 10), line=999))
    found = only(check(rows, 60, "truncate"), "nothing-trained")
    assert found.severity == severity and found.where == ("rows.jsonl:999",)
    assert "beyond data.max_seq_length = 60" in found.says
    assert "nothing-trained" not in {f.code for f in check(rows, 60, "drop")}
    assert check(rows, int(value(found, "data.max_seq_length")), "truncate") == []


def test_an_answer_that_ends_with_no_stop_token_is_an_error() -> None:
    found = only(
        check([*ROWS, encoded((5, 5), line=50, stops=[False])], 200, "error"), "end-untrained"
    )
    assert found.severity == "error" and found.where == ("rows.jsonl:50",)
    assert "not learn to stop" in found.says


def test_a_stop_token_that_is_not_trained_does_not_count() -> None:
    row = encoded((5, 5))
    untrained = replace(row, trained=(*row.trained[:-1], False))
    assert only(check([untrained], 200, "error"), "end-untrained").where == ("rows.jsonl:1",)


def test_an_earlier_answer_without_its_end_is_a_warning() -> None:
    rows = [encoded((5, 5), (5, 5), line=1, stops=[False, True]), encoded((5, 5), (5, 5), line=2)]
    found = only(check(rows, 200, "error"), "end-untrained")
    assert found.severity == "warning" and found.where == ("rows.jsonl:1",)


@pytest.mark.parametrize(("others", "severity"), [(20, "error"), (300, "warning")])
def test_an_end_that_truncate_cuts_off_is_as_bad_as_it_is_frequent(
    others: int, severity: str
) -> None:
    rows = [encoded((10, 10), line=i) for i in range(others)] + [encoded((10, 60), line=999)]
    found = only(check(rows, 60, "truncate"), "end-untrained")
    assert found.severity == severity and found.where == ("rows.jsonl:999",)
    assert "end-untrained" not in {f.code for f in check(rows, 60, "drop")}


def test_what_the_encoder_makes_teaches_every_turn_to_end(smol_tokenizer: Any) -> None:
    encoder = ChatEncoder(smol_tokenizer)
    chats = [chat("hi", "hello"), chat("a", "b", "c", "d", line=2, system="Be brief.")]
    rows = []
    for row in chats:
        done = encoder.encode(row.messages)
        rows.append(Row(row, done.ids, done.trained))
    length = Length(4096, "error")
    assert check_tokens(rows, length, encoder.stop_ids)[1] == []
    cut = [replace(r, ids=r.ids[:-1], trained=r.trained[:-1]) for r in rows]
    found = only(check_tokens(cut, length, encoder.stop_ids)[1], "end-untrained")
    assert found.where == ("rows.jsonl:1", "rows.jsonl:2")
