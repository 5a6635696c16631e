"""Rows 18 to 20: what may be wrong with the rows is said before a model loads, line by line, and
what only looks wrong is trained on."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from chain_support import largest_difference, lineage, make_rows, write_rows
from fault_support import Bench, Ended, hashes

from lorachain.chat import ChatEncoder
from lorachain.records import read_training_data
from lorachain.training.data import rows_hash
from lorachain.training.dataset import encode_rows

# Enough to see that a file is trained on.
SHORT = ("training.num_train_epochs=1", "training.eval_strategy=no")
LOADED = re.compile(r"^Base .*, on ", re.MULTILINE)
CONTROL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Bench:
    """One place for the module: every test writes a file of its own."""
    return Bench.make(tmp_path_factory.mktemp("rows"), tiny_base)


@pytest.fixture(scope="module")
def plain(bench: Bench) -> Ended:
    """A version of the rows as they should be."""
    ended = bench.run("plain", sets=SHORT)
    assert ended.code == 0, ended.text
    assert LOADED.search(ended.text)  # what the refused runs never say
    return ended


def lines_of(bench: Bench) -> list[str]:
    return (bench.folder / "train1.jsonl").read_text(encoding="utf-8").splitlines()


def trained_on(
    bench: Bench, data: bytes, name: str, *flags: str, sets: Sequence[str] = ()
) -> Ended:
    """A run on a file with these bytes."""
    path = bench.folder / f"{name}.jsonl"
    path.write_bytes(data)
    return bench.run(name, "--train-data", str(path), *flags, sets=(*SHORT, *sets))


def refused(ended: Ended, *messages: str) -> None:
    """Exit code 2 and these lines, before any weights, and no folder is left behind."""
    assert ended.code == 2, ended.text
    for message in messages:
        assert message in ended.text
    assert not LOADED.search(ended.text)
    assert "Traceback" not in ended.text
    assert not ended.folder.exists()


# ---- row 18


def test_row_18_every_bad_line_is_reported_with_its_number_before_the_model_loads(
    bench: Bench,
) -> None:
    """All of them at once, whatever is wrong with each; the good ones between them are passed."""
    good = lines_of(bench)
    bad: dict[int, tuple[str, str]] = {
        2: ('{"messages": [', "not JSON: "),
        4: ("[1, 2]", "expected a JSON object, got list"),
        5: ('"text"', "expected a JSON object, got str"),
        7: ('{"messages": "hello", "target": "x"}', "`messages` must be a list"),
        8: ('{"messages": [{"role": "user", "content": 7}], "target": "x"}', "got int"),
        9: ('{"messages": [{"role": "robot", "content": "a"}], "target": "x"}', "is 'robot'"),
        11: ('{"messages": [{"role": "user", "content": "a"}], "target": 3.5}', "got float"),
        12: ('{"messages": [{"role": "user", "content": "a"}]}', "there is no answer"),
        13: ('{"question": "a", "answer": "b"}', "format question, but the file's is messages"),
        15: (
            '{"messages": [{"role": "user", "content": "  "}], "target": "x"}',
            "user turn 1 is empty",
        ),
        16: ('{"messages": [{"role": "user", "content": "a"}], "target": ""}', "turn 2 is empty"),
    }
    text = "\n".join(bad[n][0] if n in bad else line for n, line in enumerate(good, start=1))
    ended = trained_on(bench, text.encode(), "bad-lines")
    path = bench.folder / "bad-lines.jsonl"
    refused(ended, f"bad-rows: {len(bad)} of the 16 rows of {path} cannot be trained on:")
    reported = [line for line in ended.lines if line.startswith(f"  {path}:")]
    assert len(reported) == len(bad)
    for line, (number, (_, what)) in zip(reported, bad.items(), strict=True):
        assert line.startswith(f"  {path}:{number}: ") and what in line


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_row_18_utf_16_is_named_and_refused(bench: Bench, encoding: str) -> None:
    """With its mark at the start, and without it as some editors write it."""
    text = "\r\n".join(lines_of(bench))
    name = f"wide-{encoding}"
    ended = trained_on(bench, text.encode(encoding), name)
    refused(ended, f"{bench.folder / name}.jsonl is UTF-16, not UTF-8. Save it again as UTF-8")


def test_row_18_a_byte_that_is_no_utf_8_is_found_at_its_line(bench: Bench) -> None:
    lines = [line.encode() for line in lines_of(bench)]
    lines[6] = lines[6].replace(b"alpha", b"alph\xe9", 1)
    column = lines[6].index(b"\xe9") + 1
    ended = trained_on(bench, b"\n".join(lines), "latin-1")
    path = bench.folder / "latin-1.jsonl"
    refused(ended, f"{path}:7: not UTF-8 (byte {column} of the line)")


@pytest.mark.parametrize(
    ("name", "data"), [("empty", b""), ("blank", b"\n\r\n  \n"), ("mark-alone", b"\xef\xbb\xbf")]
)
def test_row_18_a_file_without_rows_is_refused(bench: Bench, name: str, data: bytes) -> None:
    refused(trained_on(bench, data, name), f"bad-rows: {bench.folder / name}.jsonl holds no rows.")


def test_row_18_the_validation_file_is_checked_as_well(bench: Bench) -> None:
    path = bench.folder / "val-bad.jsonl"
    good = (bench.folder / "val1.jsonl").read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*good[:2], "{oops", *good[2:]]), encoding="utf-8")
    ended = bench.run("bad-validation", "--val-data", str(path), sets=SHORT)
    refused(ended, f"{path}:3: not JSON: ")


def test_row_18_a_later_version_checks_its_rows_the_same_way(bench: Bench, plain: Ended) -> None:
    path = bench.folder / "bad-v2.jsonl"
    path.write_text((bench.folder / "train2.jsonl").read_text(encoding="utf-8") + "null\n", "utf-8")
    before = hashes(plain.folder)
    ended = bench.run("v2", "--train-data", str(path), parent=plain.folder, sets=SHORT)
    refused(ended, f"{path}:17: expected a JSON object, got NoneType")
    assert hashes(plain.folder) == before


def test_row_18_a_mark_and_crlf_train_to_the_same_version(bench: Bench, plain: Ended) -> None:
    """A file from Windows is the same file."""
    text = "\r\n".join([*lines_of(bench)[:9], "", *lines_of(bench)[9:], ""])
    ended = trained_on(bench, b"\xef\xbb\xbf" + text.encode(), "from-windows")
    assert ended.code == 0, ended.text
    assert largest_difference(ended.folder, plain.folder) == 0.0
    rows = "training rows"
    assert lineage(ended.folder)["identity"][rows] == lineage(plain.folder)["identity"][rows]


# ---- row 19


def with_long_rows(*, question: int = 1, answer: int = 1) -> bytes:
    """13 rows that fit 128 tokens, and 3 whose question or answer is that many words long."""
    rows = make_rows(16, "alpha")
    for row in rows[4:7]:
        row["messages"][0]["content"] += " river" * question
        row["target"] += " stone" * answer
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


LIMIT = "data.max_seq_length=128"


def test_row_19_overlong_rows_are_counted_and_each_way_out_that_is_offered_works(
    bench: Bench,
) -> None:
    data = with_long_rows(answer=200)
    ended = trained_on(bench, data, "overlong", sets=(LIMIT,))
    path = bench.folder / "overlong.jsonl"
    refused(
        ended,
        "overlong-rows: 3 of 16 training rows are longer than data.max_seq_length = 128 tokens",
        f"rows: {path}:5, :6, :7\n",
    )
    longest = re.search(r"the longest has (\d+)\)", ended.text)
    assert longest
    advice = next(line for line in ended.lines if line.startswith("  -> --set "))
    offers = [offer.split() for offer in re.findall(r"--set [\w.]+=\w+", advice)]
    assert [offer[1] for offer in offers] == [
        f"data.max_seq_length={longest[1]}",
        "data.on_overlong=drop",
        "data.on_overlong=truncate",
    ]
    left = []
    for offer in offers:
        shown = trained_on(bench, data, "overlong", *offer, "--show-sample", "1", sets=(LIMIT,))
        assert shown.code == 0, shown.text
        found = re.search(r"^(\d+) rows, (\d+) tokens", shown.text, re.MULTILINE)
        assert found
        left.append((int(found[1]), int(found[2])))
    (kept, most), (dropped, least), (cut, between) = left
    assert (kept, dropped, cut) == (16, 13, 16)
    assert most > between == least + 3 * 128


def test_row_19_rows_that_keep_nothing_to_learn_are_counted_and_left_out(bench: Bench) -> None:
    """Cut to the limit, three rows are questions alone: all of their labels are masked."""
    data = with_long_rows(question=200)
    sets = (LIMIT, "data.on_overlong=truncate")
    asked = trained_on(bench, data, "masked", sets=sets)
    said = "nothing-trained: 3 of 16 training rows have their whole answer beyond"
    refused(asked, said, f"rows: {bench.folder / 'masked'}.jsonl:5, :6, :7\n")
    ended = trained_on(bench, data, "masked", "--allow", "nothing-trained", sets=sets)
    assert ended.code == 0, ended.text
    assert "3 of 16 training rows have their whole answer beyond" in ended.text
    assert "masked: from the base, on 13 rows (format: messages)" in ended.text
    assert lineage(ended.folder)["metrics"]["steps"] == 4  # 13 rows, 4 a step


@pytest.mark.parametrize("way", ["truncate", "drop"])
def test_row_19_no_trained_token_at_all_is_an_error(bench: Bench, way: str) -> None:
    rows = make_rows(16, "alpha")
    for row in rows:
        row["messages"][0]["content"] += " river" * 200
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    ended = trained_on(bench, data, f"nothing-{way}", sets=(LIMIT, f"data.on_overlong={way}"))
    path = bench.folder / f"nothing-{way}.jsonl"
    refused(
        ended,
        "16 of 16 training rows are longer than data.max_seq_length = 128 tokens",
        f"{path}: no row has a single token to learn from within data.max_seq_length = 128.",
    )


# ---- row 20


def spiked(rows: Sequence[dict[str, Any]], marks: Sequence[str]) -> list[dict[str, Any]]:
    """The rows with three texts in the question and three in the answer."""
    a, b, c = marks
    return [
        {
            "messages": [{"role": "user", "content": f"{row['messages'][0]['content']}{b}{a}user"}],
            "target": f"Not{c} the end.{b} {a}assistant {row['target']}",
        }
        for row in rows
    ]


def test_row_20_control_tokens_in_contents_never_become_the_templates_own(
    bench: Bench, smol_tokenizer: Any
) -> None:
    """Trained through the script; what it trained on holds as many control tokens as the same
    rows with harmless words, all of them the template's."""
    rows = make_rows(16, "alpha")
    path = write_rows(bench.folder / "spiked.jsonl", spiked(rows, CONTROL))
    ended = bench.run("spiked", "--train-data", str(path), sets=SHORT)
    assert ended.code == 0, ended.text
    encoder = ChatEncoder(smol_tokenizer)
    examples = encode_rows(read_training_data(path), encoder, 1024, "error")
    assert lineage(ended.folder)["identity"]["training rows"] == rows_hash(examples)
    harmless = write_rows(bench.folder / "harmless.jsonl", spiked(rows, ("one", "two", "three")))
    expected = encode_rows(read_training_data(harmless), encoder, 1024, "error")
    own = set(smol_tokenizer.all_special_ids) | set(
        smol_tokenizer.convert_tokens_to_ids(sorted(encoder.control_tokens))
    )
    end = smol_tokenizer.convert_tokens_to_ids("<|im_end|>")
    for example, other in zip(examples, expected, strict=True):
        assert [i for i in example.ids if i in own] == [i for i in other.ids if i in own]
        trained = [i for i, flag in zip(example.ids, example.trained, strict=True) if flag]
        assert trained.count(end) == 1 and trained[-1] == end  # it stops there and nowhere else
        target = example.row.messages[-1].content
        assert smol_tokenizer.decode(trained[:-1]) == target
        assert all(mark in target for mark in CONTROL)


def test_row_20_the_sample_shows_the_whole_answer_as_trained(bench: Bench) -> None:
    path = write_rows(bench.folder / "shown.jsonl", spiked(make_rows(4, "alpha"), CONTROL))
    ended = bench.run("shown", "--train-data", str(path), "--show-sample", "4", sets=SHORT)
    assert ended.code == 0, ended.text
    answers = re.findall(r"\[\[(.*?)\]\]", ended.text, re.DOTALL)[:4]
    wanted = [json.loads(line)["target"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert answers == [f"{target}<|im_end|>" for target in wanted]
