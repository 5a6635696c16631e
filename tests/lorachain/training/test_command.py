"""The two scripts' command line: paths, mistakes, and the command that goes on."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lorachain.errors import UserError
from lorachain.paths import PROJECT_ROOT
from lorachain.training import command as module
from lorachain.training.command import V1, V2, Defaults, command, main, parser
from lorachain.training.stage import Request

posix = pytest.mark.skipif(os.name == "nt", reason="a POSIX shell's quoting")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The requests that reach the trainer, which is the next layer down."""
    import lorachain.training.stage

    found: list[Request] = []
    monkeypatch.setattr(lorachain.training.stage, "run", found.append)
    return found


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user stands: a folder with two files."""
    for name in ("train.jsonl", "val.jsonl"):
        (tmp_path / name).write_text('{"question": "a", "answer": "b"}\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


DATA = ["--train-data", "train.jsonl", "--val-data", "val.jsonl"]


def test_without_arguments_the_projects_own_paths_are_used(
    asked: list[Request], rows: Path
) -> None:
    main(V1, "", [])
    main(V2, "", [])
    one, two = asked
    assert one.train_data == PROJECT_ROOT / "data/processed/train_llm.jsonl"
    assert one.val_data == PROJECT_ROOT / "data/processed/val_llm.jsonl"
    assert (one.output, one.source_model) == (PROJECT_ROOT / "models/fine_tuned", None)
    assert two.train_data == PROJECT_ROOT / "data/processed/train_finetune2.jsonl"
    assert two.val_data == PROJECT_ROOT / "data/processed/val_finetune2.jsonl"
    assert two.output == PROJECT_ROOT / "models/fine_tuned_v2"
    assert two.source_model == PROJECT_ROOT / "models/fine_tuned"
    assert (one.resume, one.restart) == ("auto", False)


def test_flags_are_relative_to_where_the_user_stands(asked: list[Request], rows: Path) -> None:
    argv = [*DATA, "--output", "out", "--source-model", "v1", "--resume", "out/checkpoint-3"]
    main(V2, "", argv)
    (request,) = asked
    assert request.train_data == rows / "train.jsonl"
    assert request.val_data == rows / "val.jsonl"
    assert (request.output, request.source_model) == (rows / "out", rows / "v1")
    assert request.resume == str(rows / "out" / "checkpoint-3")


def test_paths_in_a_config_file_are_relative_to_the_project(
    asked: list[Request], rows: Path
) -> None:
    (rows / "c.yaml").write_text(
        "data: {train_data: data/processed/train_llm.jsonl, val_data: none}\n", encoding="utf-8"
    )
    main(V1, "", ["--config", "c.yaml"])
    assert asked[0].train_data == PROJECT_ROOT / "data/processed/train_llm.jsonl"
    assert asked[0].val_data is None


def test_both_spellings_of_every_flag(asked: list[Request], rows: Path) -> None:
    flags = {
        "base_model": "b",
        "source_model": "v1",
        "train_data": "train.jsonl",
        "val_data": "val.jsonl",
        "output": "out",
        "replay_share": "0.25",
        "replay_data": "val.jsonl",
    }
    for dash in ("-", "_"):
        main(V2, "", [f"--{k.replace('_', dash)}={v}" for k, v in flags.items()])
        main(V2, "", [x for k, v in flags.items() for x in (f"--{k.replace('_', dash)}", v)])
    assert len(asked) == 4
    assert all(replace(request, again="") == replace(asked[0], again="") for request in asked)
    config = asked[0].resolved.config
    assert (config.replay.share, config.replay.data) == (0.25, [str(rows / "val.jsonl")])
    assert config.model.base_model == "b"


@pytest.mark.parametrize(
    ("defaults", "argv", "sentence"),
    [
        (V1, ["--train-data", "no.jsonl"], "--train-data: file not found: no.jsonl"),
        (V1, [*DATA[:2], "--val-data", "no.jsonl"], "--val-data: file not found: no.jsonl"),
        (V1, [*DATA, "--output", "val.jsonl"], "--output val.jsonl is a file"),
        (V1, [*DATA[:2], "--val-data", "./train.jsonl"], "are the same file, train.jsonl"),
        (V1, [*DATA, "--set", "model.source_model=x"], "version 1, which has no parent"),
        (
            V1,
            [*DATA, "--set", "replay.share=0.2", "--set", "replay.data=[val.jsonl]"],
            "no earlier rows to replay",
        ),
        (V2, [*DATA, "--replay-share", "1.5"], r"replay\.share"),
        (V2, [*DATA, "--set", "model.source_model="], "goes on from a version: pass --source-mod"),
        (V1, [*DATA, "--restart", "--resume", "out/checkpoint-3"], "pass one of them"),
        (V1, ["--train-data", "."], r"--train-data: \. is a folder"),
    ],
)
def test_a_mistake_is_found_before_the_trainer_is_reached(
    asked: list[Request], rows: Path, defaults: Defaults, argv: list[str], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        main(defaults, "", argv)
    assert asked == []


@pytest.mark.parametrize("flag", ["--source-model=x", "--replay-share=0.1", "--replay-data=x"])
def test_version_1_has_no_flags_for_a_parent(flag: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        parser(V1, "").parse_args([flag])
    assert stop.value.code == 2
    parser(V2, "").parse_args([flag])


def words(text: str) -> list[str]:
    """A command's words after Python's own, as a POSIX shell takes them."""
    return shlex.split(text)[1:]


AWKWARD = [
    "train & val.jsonl",
    "it's (x86)!.jsonl",
    'a "quoted" $HOME `id`.jsonl',
    "back\\slash",
    "semi;colon|pipe>out<in",
    "star*?[a]{b,c}#",
    "~/x",
    "ümlaut 日本語",
    "",
    "training.lr_scheduler_kwargs={min_lr_rate: 0.1}",
]


@posix
@pytest.mark.parametrize("word", AWKWARD)
def test_the_command_means_the_same_in_a_shell(word: str, tmp_path: Path) -> None:
    text = command(["fine_tune.py", "--set", word, "--output=x"])
    assert words(text) == ["fine_tune.py", "--set", word, "--output=x"]
    shown = subprocess.run(
        ["sh", "-c", 'show() { shift; printf "%s\\n" "$@"; }; show ' + text.split(" ", 1)[1]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown.splitlines() == ["--set", word, "--output=x"]


def test_plain_words_stay_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", "/somewhere")
    argv = ["src/fine_tune.py", "--set", "training.learning_rate=1e-4", "--base-model", "org/a.b-c"]
    assert command(argv) == "python " + " ".join(argv)


def test_paths_under_the_current_folder_are_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = command([str(tmp_path / "fine_tune.py"), "--output", str(tmp_path / "my out")])
    assert text.endswith('fine_tune.py --output "my out"')
    assert str(tmp_path) not in text


@posix
def test_without_an_activated_environment_its_python_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    assert Path(shlex.split(command(["x.py"]))[0]).absolute() == Path(sys.executable)


@pytest.mark.parametrize(
    "flags",
    [
        ["--restart"],
        ["--resume", "never"],
        ["--resume=never"],
        ["--resume", "out/checkpoint-3", "--restart"],
        ["--resume=out/checkpoint-3"],
    ],
)
def test_what_would_begin_again_or_go_back_is_left_out(flags: list[str]) -> None:
    argv = ["fine_tune.py", "--output", "out", *flags, "--verbose"]
    assert words(command(argv)) == ["fine_tune.py", "--output", "out", "--verbose"]


def test_the_command_that_goes_on_reaches_the_trainer(
    asked: list[Request], rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["fine_tune.py", *DATA, "--restart"])
    main(V1, "", None)
    assert asked[0].restart
    assert asked[0].again.endswith("fine_tune.py --train-data train.jsonl --val-data val.jsonl")


def test_only_the_names_differ_between_the_two_scripts() -> None:
    assert (V1.source_model, V2.source_model) == (None, V1.output)
    flags = [
        {s for action in parser(d, "")._actions for s in action.option_strings} for d in (V1, V2)
    ]
    assert flags[1] - flags[0] == {"--source-model", "--replay-share", "--replay-data"}
    assert not flags[0] - flags[1]
    assert (PROJECT_ROOT / V1.script).is_file() and (PROJECT_ROOT / V2.script).is_file()
    assert module.DEFAULT_CONFIG.is_file()


def test_the_parent_may_stand_in_the_config_or_after_set(asked: list[Request], rows: Path) -> None:
    """A flag beats --set, which beats the config, which beats the script's own default."""
    (rows / "c.yaml").write_text("model: {source_model: models/mine}\n", encoding="utf-8")
    config = ["--config", "c.yaml"]
    main(V2, "", config)
    main(V2, "", [*config, "--set", "model.source_model=models/other"])
    main(V2, "", [*config, "--set", "model.source_model=models/other", "--source-model", "v1"])
    main(V2, "", [])
    models = PROJECT_ROOT / "models"
    found = [request.source_model for request in asked]
    assert found == [models / "mine", models / "other", rows / "v1", models / "fine_tuned"]
    assert [r.resolved.asked("model.source_model") for r in asked] == [True, True, True, False]


def test_a_base_in_a_folder_is_known_by_its_whole_path(
    asked: list[Request], rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that is trained from another folder must find it."""
    (rows / "my base").mkdir()
    main(V1, "", [*DATA, "--base-model", "my base"])
    main(V1, "", [*DATA, "--set", "model.base_model=./my base"])
    main(V1, "", [*DATA, "--base-model", "smollm2-135m-instruct"])
    names = [request.resolved.config.model.base_model for request in asked]
    assert names == [str(rows / "my base")] * 2 + ["smollm2-135m-instruct"]
    assert all(request.resolved.asked("model.base_model") for request in asked)


@pytest.mark.parametrize("count", ["0", "-1", "²", "many"])
def test_a_sample_of_nothing_is_refused(count: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        parser(V1, "").parse_args([f"--show-sample={count}"])
    assert stop.value.code == 2
    assert "no whole number from 1 up" in capsys.readouterr().err
