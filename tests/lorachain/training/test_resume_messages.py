"""What a run says when the checkpoint at hand is another run's, and that its advice works."""

from __future__ import annotations

import logging
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lorachain import checkpoint
from lorachain.checkpoint import Checkpoint
from lorachain.config import KNOWN_KEYS, resolve, shaping
from lorachain.errors import UserError
from lorachain.lineage import Lineage
from lorachain.training.resume import (
    FLAGS,
    LINES,
    agreed,
    check_same,
    differing,
    find_checkpoint,
    say_what_else_changed,
)

NAMES = {
    "base": "smollm2-135m-instruct",
    "parent": "none",
    "training rows": "train.jsonl",
    "validation rows": "val.jsonl",
}
HASHES = {
    "base": "b" * 16,
    "parent": None,
    "training rows": "1" * 16,
    "validation rows": "2" * 16,
    "processes": 1,
    "precision": "fp32, none",
    "optimizer": "adamw_torch",
}
GO_ON = "To go on from it, run the same command with:"
AFRESH = (
    "To start this stage from its beginning instead, pass --restart (what is there is moved "
    "aside, not deleted)."
)


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An output that messages show as a short name."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "v2"


def identity(*sets: str, **fields: Any) -> dict[str, Any]:
    """That of a run with these settings, some fields of it other than usual."""
    settings = shaping(resolve(None, sets=sets).config)
    return {**HASHES, **settings, **{k.replace("_", " "): v for k, v in fields.items()}}


def written(
    output: Path, step: int, then: Mapping[str, Any], about: Mapping[str, Any] | None = None
) -> Path:
    """A real checkpoint."""

    def fill(folder: Path) -> None:
        (folder / "trainer_state.json").write_text("{}", encoding="utf-8")

    return checkpoint.write(output, step, then, fill, {"names": NAMES} if about is None else about)


def refusal(
    output: Path,
    then: Mapping[str, Any],
    now: Mapping[str, Any],
    names: Mapping[str, str] = NAMES,
    about: Mapping[str, Any] | None = None,
) -> list[str]:
    """The lines of the message between its first and its last, which are checked here. Nothing on
    disk may change."""
    written(output, 4, then, about)
    before = sorted(output.rglob("*"))
    with pytest.raises(UserError) as caught:
        find_checkpoint(output, "auto", now, names)
    assert sorted(output.rglob("*")) == before
    first, *middle, last = str(caught.value).splitlines()
    where = os.path.join("v2", "checkpoint-4")  # noqa: PTH118 (as it is shown)
    assert (first, last) == (f"{where} belongs to another run:", AFRESH)
    return middle


def parsed(offer: str) -> list[str]:
    """The `--set` texts of an offered line, as a shell hands them over."""
    words = shlex.split(offer)
    assert words[0::2] == ["--set"] * (len(words) // 2)
    return words[1::2]


SETTINGS = {
    "a number": ("training.learning_rate=3e-05", "training.learning_rate=0.5", "3e-05", "0.5"),
    "a whole number": ("lora.r=16", "lora.r=8", "16", "8"),
    "a text": ("training.optim=sgd", "training.optim=adafactor", "sgd", "adafactor"),
    "a text with signs": (
        "training.optim_args=momentum=0.9,nesterov=true",
        "training.optim_args=momentum=0.5",
        "momentum=0.9,nesterov=true",
        "momentum=0.5",
    ),
    "a text that YAML takes for false": (
        "training.eval_strategy=no",
        "training.eval_strategy=epoch",
        "no",
        "epoch",
    ),
    "true": ("lora.use_rslora=true", "lora.use_rslora=false", "True", "False"),
    "a list of texts": (
        "lora.target_modules=[q_proj, v_proj]",
        "lora.target_modules=auto",
        "['q_proj', 'v_proj']",
        "auto",
    ),
    "a list of numbers": (
        "lora.layers_to_transform=[0, 2]",
        "lora.layers_to_transform=[1]",
        "[0, 2]",
        "[1]",
    ),
    "a dict": (
        "training.lr_scheduler_kwargs={num_cycles: 2, power: 1e-1}",
        "training.lr_scheduler_kwargs={}",
        "{'num_cycles': 2, 'power': 0.1}",
        "{}",
    ),
    "an empty dict": (
        "training.lr_scheduler_kwargs={}",
        "training.lr_scheduler_kwargs={num_cycles: 2}",
        "{}",
        "{'num_cycles': 2}",
    ),
    "nothing": ("training.max_steps=null", "training.max_steps=6", "not set", "6"),
    "something, now nothing": ("training.max_steps=6", "training.max_steps=null", "6", "not set"),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_row_12_a_setting_is_named_with_both_values_and_what_is_offered_puts_it_back(
    output: Path, kind: str
) -> None:
    was, now, was_shown, now_shown = SETTINGS[kind]
    key = was.partition("=")[0]
    then = identity(was)
    line, go_on, offer = refusal(output, then, identity(now))
    assert line == f"  {key}: was {was_shown}, now {now_shown}"
    assert go_on == GO_ON
    assert offer.startswith("  --set ")
    again = identity(now, *parsed(offer))
    assert differing(then, again) == []
    assert again[key] == then[key] and type(again[key]) is type(then[key])
    found = find_checkpoint(output, "auto", again, NAMES)
    assert found is not None and found.step == 4


def test_row_12_what_is_offered_for_every_shaping_setting_puts_it_back() -> None:
    """One value of each kind that a setting of ours has by default."""
    from lorachain.training.resume import _undo

    default = identity()
    offers = [_undo(key, default[key], None, None) for key in default if key in KNOWN_KEYS]
    sets = [text for offer in offers for text in parsed(offer)]
    assert identity(*sets) == default
    assert len(sets) == len(default) - len(HASHES)


@pytest.mark.parametrize(
    ("field", "flag"),
    [
        ("base", "--base-model"),
        ("training rows", "--train-data"),
        ("validation rows", "--val-data"),
    ],
)
def test_row_12_files_are_named_by_what_a_person_calls_them(
    output: Path, field: str, flag: str
) -> None:
    key = field.replace(" ", "_")
    names = {**NAMES, field: "other one"}
    lines = refusal(output, identity(), identity(**{key: "f" * 16}), names)
    assert lines == [
        f"  {field}: was {NAMES[field]} ({HASHES[field]}), now other one ({'f' * 16})",
        GO_ON,
        f"  {flag} {NAMES[field]}",
    ]


@pytest.mark.parametrize("field", ["base", "training rows", "validation rows"])
def test_row_12_changed_content_under_the_same_name_is_said_to_be_that(
    output: Path, field: str
) -> None:
    lines = refusal(output, identity(), identity(**{field.replace(" ", "_"): "f" * 16}))
    name = NAMES[field]
    assert lines == [
        f"  {field}: was {name} ({HASHES[field]}), now {name} ({'f' * 16})",
        GO_ON,
        f"  {FLAGS[field]} {name} with the content that it had then",
    ]


def test_row_12_another_parent(output: Path) -> None:
    about = {"names": {**NAMES, "parent": str(output.parent / "models" / "my v1")}}
    names = {**NAMES, "parent": str(output.parent / "models" / "v9")}
    lines = refusal(output, identity(parent="a" * 64), identity(parent="c" * 64), names, about)
    one, nine = (os.path.join("models", name) for name in ("my v1", "v9"))  # noqa: PTH118
    assert lines == [
        f"  parent: was {one} ({'a' * 16}), now {nine} ({'c' * 16})",
        GO_ON,
        f'  --source-model "{one}"',
    ]


def test_row_12_a_parent_where_there_was_none(output: Path) -> None:
    """A version 1's checkpoint in the output of a later one: no --source-model undoes that."""
    names = {**NAMES, "parent": str(output.parent / "v1")}
    line, _, offer = refusal(output, identity(), identity(parent="c" * 64), names)
    assert line == f"  parent: was none, now v1 ({'c' * 16})"
    assert "--source-model none" not in offer


def test_row_12_validation_rows_that_were_none(output: Path) -> None:
    about = {"names": {**NAMES, "validation rows": "none"}}
    lines = refusal(output, identity(validation_rows="0" * 16), identity(), NAMES, about)
    assert lines[-1] == "  --val-data none"


@pytest.mark.parametrize(
    "about", [{}, {"names": None}, {"names": ["train.jsonl"]}, {"names": {"base": "x"}}]
)
def test_row_12_without_the_names_of_then_the_hashes_remain(
    output: Path, about: Mapping[str, Any]
) -> None:
    """A checkpoint's `about` may lack them."""
    now = identity(training_rows="f" * 16)
    assert refusal(output, identity(), now, NAMES, about) == [
        f"  training rows: was {'1' * 16}, now train.jsonl ({'f' * 16})",
        GO_ON,
        "  --train-data as it was then",
    ]


def test_row_12_another_number_of_processes(output: Path) -> None:
    assert refusal(output, identity(processes=2), identity()) == [
        "  processes: was 2, now 1",
        GO_ON,
        "  2 processes, as before (torchrun --nproc_per_node=2)",
    ]


@pytest.mark.parametrize(
    ("field", "was", "now"),
    [
        ("precision", "bf16, 4bit", "fp32, none"),
        ("optimizer", "paged_adamw_8bit", "adamw_torch"),
    ],
)
def test_row_12_what_the_machine_decides_is_no_setting_to_put_back(
    output: Path, field: str, was: str, now: str
) -> None:
    """A run from a GPU, gone on with on a machine without one."""
    assert refusal(output, identity(**{field: was}), identity(**{field: now})) == [
        f"  {field}: was {was}, now {now}",
        GO_ON,
        f"  the same {field} as before ({was}): on the machine, and with the settings, of then",
    ]


def test_row_12_more_than_a_dozen_differences_are_counted_and_all_of_them_offered(
    output: Path,
) -> None:
    sets = [
        *("lora.r=1", "lora.lora_alpha=1", "lora.lora_dropout=0.5", "lora.use_dora=true"),
        *("lora.use_rslora=true", "data.max_seq_length=99", "training.seed=7"),
        *("training.num_train_epochs=9", "training.learning_rate=1", "training.warmup_steps=3"),
        *("training.optim=sgd", "training.weight_decay=0.5", "training.adam_beta1=0.5"),
        "training.max_grad_norm=2",
    ]
    then = identity()
    lines = refusal(output, then, identity(*sets))
    fields = sorted(text.partition("=")[0] for text in sets)
    at = lines.index(GO_ON)
    assert (len(sets), LINES) == (14, 12)
    assert [line.split(":")[0].strip() for line in lines[:LINES]] == fields[:12]
    assert lines[LINES:at] == ["  and 2 more"]
    assert identity(*sets, *[text for o in lines[at + 1 :] for text in parsed(o)]) == then


def test_row_12_exactly_a_dozen_differences_are_all_shown(output: Path) -> None:
    then = {f"field {i:02}": 0 for i in range(12)}
    lines = refusal(output, then, dict.fromkeys(then, 1))
    assert [line for line in lines if "more" in line] == []
    assert lines[11] == "  field 11: was 0, now 1"


def test_a_field_that_one_side_lacks_differs() -> None:
    """As after an update that brought a setting or dropped one."""
    assert differing({"a": 1, "b": 2}, {"a": 1, "b": 2}) == []
    assert differing({"b": 2, "a": 1}, {"a": 9, "c": 3, "b": 0}) == ["a", "b", "c"]
    assert differing({"a": 1, "old": 5}, {"a": 1}) == ["old"]
    assert differing({"a": 1.0, "b": [1]}, {"a": 1, "b": [1]}) == []


def test_a_setting_that_the_checkpoint_does_not_know_says_so(output: Path) -> None:
    then = identity()
    del then["training.seed"]
    lines = refusal(output, then, identity())
    assert lines[0] == "  training.seed: was not set, now 42"
    assert "training.seed=null" not in lines[2]  # which the setting would refuse


def test_the_same_run_goes_on(output: Path) -> None:
    then = identity()
    written(output, 2, then)
    written(output, 10, then)
    found = find_checkpoint(output, "auto", identity(), {**NAMES, "base": "elsewhere/base"})
    assert found is not None and found.folder == output / "checkpoint-10"
    assert find_checkpoint(output.with_name("empty"), "auto", then, NAMES) is None


def test_a_named_checkpoint_is_taken_and_later_ones_are_put_aside(
    output: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (2, 4, 10):
        written(output, step, identity())
    found = find_checkpoint(output, str(output / "checkpoint-4"), identity(), NAMES)
    assert found is not None and found.step == 4
    assert sorted(path.name for path in output.iterdir()) == [
        *("checkpoint-2", "checkpoint-4", "set-aside-1-checkpoint-10"),
    ]
    assert caplog.messages == [
        "checkpoint-10 set aside as set-aside-1-checkpoint-10: this run goes on from step 4."
    ]


def test_never_puts_all_of_them_aside(output: Path) -> None:
    for step in (2, 4):
        written(output, step, identity("lora.r=1"))
    assert find_checkpoint(output, "never", identity(), NAMES) is None
    assert sorted(path.name for path in output.iterdir()) == [
        *("set-aside-1-checkpoint-2", "set-aside-1-checkpoint-4"),
    ]


def refused_folder(output: Path, folder: Path, sentence: str) -> None:
    before = sorted(output.parent.rglob("*"))
    with pytest.raises(UserError) as caught:
        find_checkpoint(output, str(folder), identity(), NAMES)
    assert str(caught.value).replace("\\", "/") == sentence
    assert sorted(output.parent.rglob("*")) == before


def test_a_checkpoint_of_another_output_is_refused(output: Path) -> None:
    written(output, 2, identity())
    other = written(output.with_name("v9"), 4, identity())
    refused_folder(output, other, "--resume v9/checkpoint-4 is not a checkpoint of --output v2.")


def damage_state(folder: Path) -> None:
    folder.joinpath("trainer_state.json").write_text("[]", encoding="utf-8")


def damage_manifest(folder: Path) -> None:
    folder.joinpath("MANIFEST.json").unlink()


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (damage_state, "trainer_state.json is not as it was written (hash mismatch)"),
        (damage_manifest, "it has no MANIFEST.json: it was never finished"),
    ],
)
def test_a_named_checkpoint_that_is_damaged_is_refused_and_no_other_taken(
    output: Path, act: Any, reason: str
) -> None:
    written(output, 2, identity())
    folder = written(output, 4, identity())
    act(folder)
    refused_folder(output, folder, f"v2/checkpoint-4 cannot be resumed: {reason}.")


def test_a_named_checkpoint_that_is_not_there_says_which_are(output: Path) -> None:
    written(output, 2, identity())
    refused_folder(
        output,
        output / "checkpoint-4",
        "--resume: v2/checkpoint-4 does not exist; there are checkpoint-2.",
    )


def test_a_bare_name_means_a_checkpoint_of_the_output(output: Path) -> None:
    written(output, 2, identity())
    found = find_checkpoint(output, "/elsewhere/checkpoint-2", identity(), NAMES)
    assert found is not None and found.folder == output / "checkpoint-2"


def test_what_was_set_aside_is_no_checkpoint_any_more(output: Path) -> None:
    aside = checkpoint.set_aside(written(output, 4, identity()), "it is spoilt")
    refused_folder(
        output,
        aside,
        "v2/set-aside-1-checkpoint-4 cannot be resumed: it is no checkpoint folder.",
    )


def finished(output: Path, then: Mapping[str, Any]) -> Lineage:
    return Lineage(output, {"identity": dict(then)})


def test_a_finished_version_of_other_settings_is_never_changed(output: Path) -> None:
    check_same(finished(output, identity()), identity(), NAMES)
    now = identity("training.seed=7", training_rows="f" * 16)
    with pytest.raises(UserError) as caught:
        check_same(finished(output, identity()), now, NAMES)
    assert str(caught.value).splitlines() == [
        "v2 is a finished version, made with other settings or data:",
        "  training rows: was " + "1" * 16 + ", now train.jsonl (" + "f" * 16 + ")",
        "  training.seed: was 42, now 7",
        "A finished version is never changed. Choose another --output, or pass --restart to train "
        "it again (the old one is moved aside, not deleted).",
    ]


def said(caplog: pytest.LogCaptureFixture, about: Any, now: Mapping[str, str]) -> Sequence[str]:
    say_what_else_changed(Checkpoint(Path("checkpoint-4"), 4, {}, about), now)
    return caplog.messages


MADE_WITH = {"torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2", "device": "CPU"}


def test_other_packages_and_another_device_are_named_and_stop_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = {**MADE_WITH, "torch": "2.14.0", "device": "NVIDIA H200"}
    assert said(caplog, {"made_with": MADE_WITH}, now) == [
        "checkpoint-4 was written with another set-up (device was CPU, now NVIDIA H200; torch was "
        "2.13.0, now 2.14.0): it goes on, but not to the last bit."
    ]
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.parametrize(
    "about",
    [
        {"made_with": MADE_WITH},
        {"made_with": {"torch": "2.13.0"}},  # a package that is new to the list
        {"made_with": {**MADE_WITH, "bitsandbytes": "0.1"}},  # and one that has gone from it
        {},
        {"made_with": None},
        {"made_with": "torch 2.13"},
    ],
)
def test_the_same_set_up_and_an_unknown_one_are_not_worth_a_line(
    caplog: pytest.LogCaptureFixture, about: Mapping[str, Any]
) -> None:
    assert said(caplog, about, MADE_WITH) == []


def test_one_process_finds_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    found = Checkpoint(Path("checkpoint-4"), 4, {})
    assert agreed(lambda: found) is found
    assert agreed(lambda: None) is None


def test_the_message_names_no_value_that_is_the_same(output: Path) -> None:
    text = "\n".join(refusal(output, identity(), identity("lora.r=8")))
    assert re.findall(r"[a-z]+\.[a-z_]+", text) == ["lora.r", "lora.r"]
