"""What the gate sees of a chain: ancestors' rows, replayed ones, and all problems at once."""

from __future__ import annotations

import json
import logging
import runpy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chain_support import Place, lineage, make_rows, write_rows

from lorachain.chaintree import draw
from lorachain.errors import UserError
from lorachain.lineage import read
from lorachain.paths import PROJECT_ROOT
from lorachain.training import command
from lorachain.training.gate import passing
from lorachain.training.gate.rows import read_suites

Look = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the reports of these tests go."""
    monkeypatch.setattr(passing, "REPORTS", tmp_path / "reports")
    return tmp_path / "reports"


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Loading weights fails the test."""
    loaded: list[str] = []

    def load(*_: Any, **__: Any) -> None:
        loaded.append("base")
        raise AssertionError("the base's weights were loaded")

    monkeypatch.setattr("lorachain.training.train.load_base", load)
    yield loaded
    assert not loaded


@pytest.fixture
def look(place: Place, reports: Path, no_weights: list[str]) -> Look:
    """The report of --preflight-only on a version 2 of `parent`, by code."""

    def looked(parent: Path, *flags: str, name: str = "v2", **options: Any) -> dict[str, Any]:
        place.v2(parent, name, "--preflight-only", *flags, **options)
        data = json.loads((reports / f"{name}.json").read_text(encoding="utf-8"))
        return {finding["code"]: finding for finding in data["findings"]}

    return looked


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def add(place: Place, file: str, *rows: dict[str, Any]) -> None:
    path = place.folder / file
    write_rows(path, [*rows_of(path), *rows])


@pytest.fixture
def parent(place: Place, chain: tuple[Place, list[Path]]) -> Path:
    """A version 1 on the data of the session's chain; this test's place has the same rows."""
    return chain[1][0]


def test_a_chain_whose_rows_are_its_own_has_no_errors(
    chain: tuple[Place, list[Path]], reports: Path
) -> None:
    for folder in chain[1]:
        data = json.loads((folder / "preflight.json").read_text(encoding="utf-8"))
        assert data["passed"] and not data["codes"]["errors"]
        assert data["codes"] == lineage(folder)["preflight"]
        assert (folder / "preflight.html").is_file()
    mix = {source["name"]: source["rows"] for source in data["mix"]}
    assert mix.keys() == {"own", "v1", "v2"} and mix["own"] == 16


def test_what_was_let_pass_is_said_wherever_the_version_is_shown(
    place: Place, chain: tuple[Place, list[Path]]
) -> None:
    """And of an older version, whose lineage has no such part, nothing is."""
    add(place, "val1.jsonl", rows_of(place.folder / "train1.jsonl")[0])
    v1 = place.v1("v1", "--allow", "leak-validation")
    assert read(v1).let_pass == ["leak-validation"]
    assert "note: trained in spite of leak-validation (--allow)" in draw([v1])[0]
    card = (v1 / "README.md").read_text(encoding="utf-8")
    assert "- It was trained in spite of: leak-validation (`--allow`)." in card
    assert "in spite of" not in draw([chain[1][2]])[0]
    old = lineage(v1)
    for part in ({}, {"preflight": None}, {"preflight": {"errors": 3}}):
        changed = {key: value for key, value in old.items() if key != "preflight"} | part
        (v1 / "lineage.json").write_text(json.dumps(changed), encoding="utf-8")
        assert read(v1).let_pass == []
        assert "in spite of" not in draw([v1])[0]


def test_an_ancestors_prompt_with_its_answer_repeats_and_with_another_contradicts(
    place: Place, parent: Path, look: Look
) -> None:
    one, two = rows_of(place.folder / "train1.jsonl")[:2]
    add(place, "train2.jsonl", one, two | {"target": "It is quite another one."})
    found = look(parent)
    assert found["repeats-ancestor"]["facts"]["repeated"] == 1
    assert found["contradicts-ancestor"]["facts"]["contradicting"] == 1
    where = found["contradicts-ancestor"]["where"][0]
    assert where.startswith(f"{place.folder}/train2.jsonl:18 != ") and where.endswith(":2")
    assert found["repeats-ancestor"]["severity"] == "note"


def test_training_on_what_an_ancestor_is_measured_on_is_refused(
    place: Place, parent: Path, no_weights: list[str]
) -> None:
    add(place, "train2.jsonl", *rows_of(place.folder / "val1.jsonl"))
    with pytest.raises(UserError, match="leak-ancestor-validation: 4 of the 20 rows"):
        place.v2(parent, "v2")
    assert not (place.folder / "v2").exists()


def test_measuring_on_what_an_ancestor_was_trained_on_is_refused(
    place: Place, parent: Path, no_weights: list[str]
) -> None:
    add(place, "val2.jsonl", rows_of(place.folder / "train1.jsonl")[0])
    with pytest.raises(UserError, match="leak-ancestor-training: 1 of the 5 rows"):
        place.v2(parent, "v2")


def test_rows_to_mix_in_are_looked_at_for_leaks_as_well(
    place: Place, parent: Path, no_weights: list[str]
) -> None:
    extra = write_rows(place.folder / "extra.jsonl", rows_of(place.folder / "val2.jsonl")[:3])
    with pytest.raises(UserError, match=r"leak-validation: 3 of the 3 rows of .*extra\.jsonl"):
        place.v2(parent, "v2", "--replay-data", str(extra))


def test_an_ancestors_data_that_is_gone_or_changed_is_a_note(
    place: Place, look: Look, chain: tuple[Place, list[Path]]
) -> None:
    grand, middle = chain[1][:2]
    files = [chain[0].folder / name for name in ("train1.jsonl", "train2.jsonl")]
    kept = [path.read_bytes() for path in files]
    try:
        files[0].unlink()
        files[1].write_bytes(kept[1] + b"\n")
        found = look(middle, name="v4", generation=3)
    finally:
        for path, data in zip(files, kept, strict=True):
            path.write_bytes(data)
    gone = found["ancestor-data-gone"]
    assert gone["facts"]["files"] == [
        f"the training data of v2 ({files[1]}) has changed since",
        f"the training data of v1 ({files[0]}) is not there any more",
    ]
    assert read(grand).name == "v1"


def test_all_problems_of_all_parts_are_said_at_once(
    place: Place, no_weights: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Bad rows of both files, rows that are too long and one that is measured on, too."""
    for name in ("train1.jsonl", "val1.jsonl"):
        path = place.folder / name
        path.write_text(path.read_text(encoding="utf-8") + "{oops\n", encoding="utf-8")
    path = place.folder / "train1.jsonl"
    leaked = (place.folder / "val1.jsonl").read_text(encoding="utf-8").splitlines()[0]
    path.write_text(path.read_text(encoding="utf-8") + leaked + "\n", encoding="utf-8")
    with (
        caplog.at_level(logging.INFO, logger="lorachain"),
        pytest.raises(UserError) as caught,
    ):
        place.v1("v1", sets=["data.max_seq_length=40", "training.warmup_ratio=0"])
    said = str(caught.value)
    assert "because of 5 errors." in said
    assert f"bad-rows: 1 of the 18 rows of {place.folder / 'train1.jsonl'} cannot be" in said
    assert f"{place.folder / 'val1.jsonl'}:5: not JSON" in said
    assert said.count("overlong-rows: ") == 2 and said.count("leak-validation: ") == 1
    assert "--allow leak-validation lets some of it pass" in said
    screen = caplog.text
    assert "few-steps  5 optimizer steps" in screen and "no-warmup  " in screen


def test_rows_that_no_file_has_are_all_named_before_anything_else(
    place: Place, no_weights: list[str]
) -> None:
    for name in ("train1.jsonl", "val1.jsonl"):
        (place.folder / name).write_text("{oops\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        place.v1("v1")
    assert "train1.jsonl:1: not JSON" in str(caught.value)
    assert "val1.jsonl:1: not JSON" in str(caught.value)


def test_ctrl_c_during_the_look_leaves_no_folder(
    place: Place, no_weights: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lorachain.training.stage.pass_gate", stop)
    with pytest.raises(KeyboardInterrupt):
        place.v1("v1")
    assert not (place.folder / "v1").exists()


def test_ctrl_c_after_a_version_was_moved_aside_puts_it_back(
    place: Place, chain: tuple[Place, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(chain[1][0], place.folder / "v1")

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lorachain.training.stage.write_reports", stop)
    with pytest.raises(KeyboardInterrupt):
        place.v1("v1", "--restart")
    assert lineage(place.folder / "v1") == lineage(chain[1][0])
    assert [path.name for path in place.folder.glob("v1*")] == ["v1"]


@pytest.mark.parametrize(
    ("flags", "later"),
    [
        (["--train-data", "a"], False),
        (["--source-model=x"], True),
        (["--replay-share", "0.2"], True),
        (["--replay_data", "a.jsonl"], True),
        (["--set", "model.source_model=x"], True),
    ],
)
def test_the_script_for_the_look_alone_knows_a_later_version(
    flags: list[str], later: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = PROJECT_ROOT / "scripts" / "preflight.py"
    look_alone = runpy.run_path(str(path))["main"]
    seen: list[Any] = []
    monkeypatch.setattr(command, "main", lambda *given: seen.append(given) or 0)
    assert look_alone(flags) == 0
    assert seen[0][0] is (command.V2 if later else command.V1)
    assert seen[0][2] == [*flags, "--preflight-only"]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("leak-suit", r"there is no such code \(did you mean leak-suite\?\)"),
        ("overlong-rows", "cannot be trained on, so this cannot be allowed"),
    ],
)
def test_a_code_that_cannot_be_allowed_is_refused_first(
    place: Place, code: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        place.v1("v1", "--allow", code, "--train-data", "not there.jsonl")


def test_what_the_template_refuses_stands_with_the_other_rows(
    place: Place, no_weights: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorachain.chat import ChatEncoder

    encode = ChatEncoder.encode

    def strict(self: ChatEncoder, messages: Any) -> Any:
        if "alpha 3:" in messages[0].content:
            raise UserError("The base's chat template refuses these turns: no threes")
        return encode(self, messages)

    monkeypatch.setattr(ChatEncoder, "encode", strict)
    with pytest.raises(UserError) as caught:
        place.v1("v1")
    path = place.folder / "train1.jsonl"
    assert f"1 of the 16 rows of {path} cannot be taken by this base's chat template:" in str(
        caught.value
    )
    assert f"  {path}:4: The base's chat template refuses these turns: no threes" in str(
        caught.value
    )


def test_a_suite_asks_and_one_that_cannot_be_read_is_a_note(tmp_path: Path) -> None:
    rows = [{"id": "a", "system": "Be kind.", "question": "Who?", "answer": "You"}]
    rows += [{"id": "b", "prompt": "Why?", "reference": {"because": 1}}, {"id": "c", "prompt": "?"}]
    write_rows(tmp_path / "good.jsonl", rows)
    (tmp_path / "worse.jsonl").write_text("[", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no suite", encoding="utf-8")
    asked, notes = read_suites(tmp_path)
    assert [(one.suite, list(one.prompts)) for one in asked] == [
        (
            "good",
            [
                ("good:a", "Who?", "You"),
                ("good:b", "Why?", '{"because": 1}'),
                ("good:c", "?", ""),
            ],
        )
    ]
    assert [note.code for note in notes] == ["suite-unread"]
    assert "worse.jsonl" in notes[0].says and notes[0].severity == "note"


def test_a_row_that_a_suite_asks_is_refused(
    place: Place, tmp_path: Path, no_weights: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    suites = tmp_path / "suites"
    suites.mkdir()
    asked = make_rows(3, "alpha")[2]["messages"]
    write_rows(suites / "mine.jsonl", [{"id": "x", "messages": asked}])
    monkeypatch.setattr("lorachain.training.gate.rows.SUITES", suites)
    with pytest.raises(UserError, match="leak-suite: 1 of the 16 rows"):
        place.v1("v1")
