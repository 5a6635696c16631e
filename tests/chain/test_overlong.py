"""Rows over the length limit: what became of them is in the lineage, and the advice reads it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from advice_support import comparison, version
from chain_support import Place, fill_place, lineage, write_rows

from lorachain.chat import ChatEncoder
from lorachain.errors import UserError
from lorachain.evaluation.advice import AdviceItem, advise, read_rules
from lorachain.evaluation.version_facts import version_facts
from lorachain.lineage import read
from lorachain.models import find_base, load_tokenizer
from lorachain.records import read_training_data
from lorachain.training.dataset import encode_rows

LIMIT = 96
NONE = dict.fromkeys(("rows", "dropped", "truncated", "answers_cut", "lost_answer_tokens"), 0)


def row(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}], "target": answer}


@pytest.fixture(scope="module")
def truncated(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> tuple[Place, Path]:
    """12 rows that fit, 3 with long answers, 1 whose question alone is over the limit."""
    place = fill_place(tmp_path_factory.mktemp("overlong"), tiny_base)
    rows = [row(f"say {i}", f"yes {i}.") for i in range(12)]
    rows += [row(f"tell {i}", "river stone " * 60) for i in range(3)]
    rows += [row("river stone " * 60, "yes.")]
    write_rows(place.folder / "train1.jsonl", rows)
    write_rows(place.folder / "val1.jsonl", [row(f"say {i}", f"yes {i}.") for i in (20, 21)])
    sets = [f"data.max_seq_length={LIMIT}", "data.on_overlong=truncate"]
    passed = ("--allow", "end-untrained", "--allow", "nothing-trained")
    return place, place.v1("v1", *passed, sets=sets)


def lost_tokens(place: Place) -> int:
    """Trained tokens of the whole rows less those of the rows as they were trained on."""
    encoder = ChatEncoder(load_tokenizer(find_base(str(place.base))))
    rows = read_training_data(place.folder / "train1.jsonl")
    limits = ((100_000, "error"), (LIMIT, "truncate"))
    whole, cut = (sum(e.trained_tokens for e in encode_rows(rows, encoder, *way)) for way in limits)
    return whole - cut


def advice(folder: Path) -> AdviceItem:
    """What the shipped rule says of a real version."""
    compared = comparison([version("v1", **version_facts(read(folder)))], [])
    rule = next(rule for rule in read_rules() if rule.id == "answers_truncated")
    return advise(compared, "v1", [rule])[0]


def test_the_lineage_counts_what_became_of_each_file(truncated: tuple[Place, Path]) -> None:
    place, v1 = truncated
    train, validation = lineage(v1)["data"]
    assert train["rows"] == 16
    assert train["overlong"] == {
        "rows": 4,
        "dropped": 1,
        "truncated": 3,
        "answers_cut": 4,
        "lost_answer_tokens": lost_tokens(place),
    }
    assert train["overlong"]["lost_answer_tokens"] > 0
    assert validation["overlong"] == NONE
    card = (v1 / "README.md").read_text(encoding="utf-8")
    assert "4 rows are longer than 96 tokens; 1 were left out and 3 cut, which took" in card


def test_truncated_answers_are_facts_and_the_rule_holds_with_their_counts(
    truncated: tuple[Place, Path],
) -> None:
    place, v1 = truncated
    facts, lost = version_facts(read(v1)), lost_tokens(place)
    assert (facts["overlong_rows"], facts["answers_cut"]) == (4, 4)
    assert (facts["truncated_answer_share"], facts["lost_answer_tokens"]) == (4 / 16, lost)
    item = advice(v1)
    assert item.holds == "yes"
    assert f"4 of 16 rows, {lost} answer tokens lost" in item.evidence[0]
    assert "25% of the training rows lost the end of their answer at 96 tokens" in item.do
    assert item.config == {"data.max_seq_length": 2 * LIMIT}


def test_where_no_row_is_too_long_the_rule_does_not_hold(place: Place) -> None:
    v1 = place.v1("v1", sets=["data.on_overlong=truncate"])
    assert [entry["overlong"] for entry in lineage(v1)["data"]] == [NONE, NONE]
    item = advice(v1)
    assert item.holds == "no"
    assert "0 of 16 rows, 0 answer tokens lost" in item.evidence[0]


def test_dropped_rows_are_counted_and_cut_no_answer(
    truncated: tuple[Place, Path], tmp_path: Path
) -> None:
    """Of the replayed file too, whose rows over the limit are always left out."""
    place, v1 = truncated
    limits = [f"data.max_seq_length={LIMIT}", "data.on_overlong=drop"]
    v2 = place.v2(v1, str(tmp_path / "v2"), "--replay-share", "0.3", sets=limits)
    train, _, replay = lineage(v2)["data"]
    assert train["overlong"] == NONE
    assert (replay["overlong"]["rows"], replay["overlong"]["dropped"]) == (4, 4)
    assert replay["overlong"]["answers_cut"] == 0
    assert version_facts(read(v2))["overlong_rows"] == 0, "of its own rows"
    assert advice(v2).holds == "no"


def test_an_older_lineage_is_read_and_the_rule_says_what_to_measure(
    truncated: tuple[Place, Path], tmp_path: Path
) -> None:
    old = shutil.copytree(truncated[1], tmp_path / "v1")
    data = lineage(old)
    for entry in data["data"]:
        del entry["overlong"]
    (old / "lineage.json").write_text(json.dumps(data), encoding="utf-8")
    assert not {"overlong_rows", "truncated_answer_share"} & version_facts(read(old)).keys()
    item = advice(old)
    assert item.holds == "unknown"
    assert "To know truncated_answer_share: train it again (an older lineage.json" in item.do
    data["config"]["data"]["on_overlong"] = "error"
    (old / "lineage.json").write_text(json.dumps(data), encoding="utf-8")
    assert advice(old).holds == "no", "`error` lets no such row through"
    data["data"][0]["overlong"] = []
    (old / "lineage.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(UserError, match=r"lineage\.json is damaged"):
        read(old)
