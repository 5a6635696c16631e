"""The length limit: nothing is cut silently, and every choice says what it costs."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from training_support import example

from lorachain.chat import ChatEncoder
from lorachain.errors import UserError
from lorachain.records import TrainingData, read_training_data
from lorachain.training.dataset import Overlong, encode_file, encode_rows, overlong_report


@pytest.fixture(scope="module")
def encoder(smol_tokenizer: Any) -> ChatEncoder:
    return ChatEncoder(smol_tokenizer)


def data(folder: Path, *answers: str) -> TrainingData:
    path = folder / "rows.jsonl"
    rows = [{"question": f"Q{i}?", "answer": answer} for i, answer in enumerate(answers)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_training_data(path)


SHORT, LONG, LONGER = "yes", "yes " * 60, "no " * 90


def test_rows_within_the_limit_are_kept_whole(tmp_path: Path, encoder: ChatEncoder) -> None:
    rows = data(tmp_path, SHORT, LONG)
    free = encode_rows(rows, encoder, 4096, "error")
    exactly = max(len(e.ids) for e in free)
    assert encode_rows(rows, encoder, exactly, "error") == free
    assert [e.row.line for e in free] == [1, 2]
    assert all(e.trained_tokens == sum(e.trained) and e.trained[-1] for e in free)


def test_too_long_is_an_error_that_counts_what_each_choice_costs(
    tmp_path: Path, encoder: ChatEncoder
) -> None:
    rows = data(tmp_path, SHORT, LONG, SHORT, LONGER)
    lengths = [len(e.ids) for e in encode_rows(rows, encoder, 4096, "error")]
    limit = lengths[1] - 10
    lost = 10 + lengths[3] - limit  # all of the tokens beyond the limit are the answers'
    with pytest.raises(UserError) as caught:
        encode_rows(rows, encoder, limit, "error")
    said = str(caught.value)
    assert f"2 of 4 rows are longer than data.max_seq_length = {limit} tokens" in said
    assert f"the longest has {lengths[3]}" in said
    assert "rows.jsonl:2" in said and "rows.jsonl:4" not in said
    assert f"--set data.max_seq_length={lengths[3]} " in said
    assert "leaves those 2 rows out" in said
    assert f"cuts {lost} answer tokens" in said


def test_drop_leaves_the_long_ones_out_and_says_so(
    tmp_path: Path, encoder: ChatEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="lorachain"):
        kept = encode_rows(data(tmp_path, SHORT, LONG, SHORT), encoder, 64, "drop")
    assert [e.row.line for e in kept] == [1, 3]
    assert "1 of 3 rows are longer than data.max_seq_length = 64" in caplog.text
    assert "left out" in caplog.text


def test_truncate_cuts_at_the_limit_and_counts_the_answer_tokens(
    tmp_path: Path, encoder: ChatEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    rows = data(tmp_path, SHORT, LONG)
    whole = encode_rows(rows, encoder, 4096, "error")
    with caplog.at_level(logging.WARNING, logger="lorachain"):
        cut = encode_rows(rows, encoder, 64, "truncate")
    assert cut[0] == whole[0]
    assert (cut[1].ids, cut[1].trained) == (whole[1].ids[:64], whole[1].trained[:64])
    assert f"{whole[1].trained_tokens - cut[1].trained_tokens} answer tokens are cut" in caplog.text


def test_a_row_that_truncation_leaves_nothing_to_learn_is_left_out_aloud(
    tmp_path: Path, encoder: ChatEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"question": "word " * 90, "answer": "yes"}, {"question": "Q?", "answer": "yes"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with caplog.at_level(logging.WARNING, logger="lorachain"):
        kept = encode_rows(read_training_data(path), encoder, 64, "truncate")
    assert [e.row.line for e in kept] == [2]
    assert "1 rows have no token left to learn within 64 tokens" in caplog.text


def test_what_became_of_long_rows_is_counted(tmp_path: Path, encoder: ChatEncoder) -> None:
    rows = data(tmp_path, SHORT, LONG, LONGER)
    _, long, longer = (e.trained_tokens for e in encode_rows(rows, encoder, 4096, "error"))
    dropped = encode_file(rows, encoder, 64, "drop").overlong
    assert dropped == Overlong(rows=2, dropped=2, lost_answer_tokens=long + longer)
    cut = encode_file(rows, encoder, 64, "truncate")
    left = sum(e.trained_tokens for e in cut.examples[1:])
    assert cut.overlong == Overlong(2, 0, 2, 2, long + longer - left)
    assert encode_file(rows, encoder, 4096, "error").overlong == Overlong()


@pytest.mark.parametrize("way", ["drop", "truncate"])
def test_nothing_left_to_learn_is_an_error(tmp_path: Path, encoder: ChatEncoder, way: str) -> None:
    longest = len(encode_rows(data(tmp_path, LONG), encoder, 4096, "error")[0].ids)
    with pytest.raises(UserError, match=rf"no row has a single token .* = 8.*\b{longest} tokens"):
        encode_rows(data(tmp_path, LONG), encoder, 8, way)


def test_a_row_that_the_template_refuses_is_named(tmp_path: Path, smol_tokenizer: Any) -> None:
    import copy

    tokenizer = copy.deepcopy(smol_tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if 'BAD' in m.content %}{{ raise_exception('no thanks') }}"
        "{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    with pytest.raises(UserError, match=r"rows\.jsonl:2: .*no thanks") as caught:
        encode_rows(data(tmp_path, "fine", "BAD", "BAD"), ChatEncoder(tokenizer), 4096, "error")
    assert "rows.jsonl:3: " in str(caught.value) and "rows.jsonl:1: " not in str(caught.value)


def test_the_report_counts_answer_tokens_beyond_the_limit_alone() -> None:
    rows = [example(10, 4), example(12, 3), example(30, [i < 15 for i in range(30)])]
    report = overlong_report(rows, 10)
    assert (report.overlong, report.longest, report.lost_answer_tokens) == (2, 30, 2 + 5)
    assert overlong_report([], 10).longest == 0
