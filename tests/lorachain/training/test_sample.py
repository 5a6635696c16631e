"""--show-sample: what is trained stands out, and nothing is lost or added."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lorachain.chat import ChatEncoder
from lorachain.records import Message, read_training_data
from lorachain.training import command
from lorachain.training.dataset import Example, encode_rows
from lorachain.training.sample import marked


@pytest.fixture
def row(tmp_path: Path, smol_tokenizer: Any) -> Example:
    turns = [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Erste Antwort: ü, 日本."},
        {"role": "user", "content": "Two?"},
        {"role": "assistant", "content": "The second."},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"messages": turns}) + "\n", encoding="utf-8")
    return encode_rows(read_training_data(path), ChatEncoder(smol_tokenizer), 512, "error")[0]


def test_answers_and_their_end_tokens_are_marked(row: Example, smol_tokenizer: Any) -> None:
    text = marked(row, smol_tokenizer.decode, colour=False)
    head, body = text.split("\n", 1)
    assert head == f"{row.row.where}: {len(row.ids)} tokens, {row.trained_tokens} trained"
    assert body.count("[[") == body.count("]]") == 2
    assert "[[Erste Antwort: ü, 日本.<|im_end|>]]" in body
    assert body.endswith("[[The second.<|im_end|>]]")
    assert body.replace("[[", "").replace("]]", "") == smol_tokenizer.decode(list(row.ids))


def test_in_colour_the_marks_are_green_and_end(row: Example, smol_tokenizer: Any) -> None:
    text = marked(row, smol_tokenizer.decode, colour=True)
    assert "\x1b[30;42mThe second.<|im_end|>\x1b[0m" in text
    assert "[[" not in text and text.startswith("\x1b[2m")


def test_rows_are_taken_from_the_whole_file_and_no_weights_are_loaded(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    import lorachain.models

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(lorachain.models, "load_base", never)
    for name, count in (("train", 12), ("val", 2)):
        rows = [{"question": f"{name} {i}?", "answer": f"answer {i}"} for i in range(count)]
        text = "".join(json.dumps(r) + "\n" for r in rows)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    argv = ["--train-data", "train.jsonl", "--val-data", "val.jsonl", "--output", "out"]
    argv += ["--base-model", str(tiny_base)]
    command.main(command.V1, "", [*argv, "--show-sample", "3"])
    out = capsys.readouterr().out
    assert [line.split(":")[1] for line in out.splitlines() if line.startswith("train.jsonl:")] == [
        "1",
        "5",
        "9",
    ]
    assert "[[answer 4<|im_end|>]]" in out
    assert out.splitlines()[-1].startswith("12 rows, ") and "[[ ]]" in out.splitlines()[-1]
    assert not (tmp_path / "out").exists()
    command.main(command.V1, "", [*argv, "--show-sample", "99"])
    out = capsys.readouterr().out
    numbers = [line.split(":")[1] for line in out.splitlines() if line.startswith("train.jsonl:")]
    assert numbers == [str(i) for i in range(1, 13)], "each row once"


def test_a_row_where_everything_is_trained(smol_tokenizer: Any, row: Example) -> None:
    whole = Example(row.row, row.ids, (True,) * len(row.ids))
    assert marked(whole, smol_tokenizer.decode, colour=False).count("[[") == 1
    assert Message("user", "One?") in whole.row.messages
