"""Row 12, for every setting there is: either it belongs to a run, and a half-made run refuses
another value of it, or it does not, and the run goes on to the end that it would have had.

A new setting must be entered into one of the two tables below.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from chain_support import BASIC, largest_difference
from fault_support import (
    KILLED,
    SETS,
    Bench,
    copy_of,
    hashes,
    is_finished,
    log_of,
    resumed_from,
    steps_of,
)

from lorachain.checkpoint import verify
from lorachain.config import KNOWN_KEYS, NOT_SHAPING, flat, resolve, shaping
from lorachain.errors import UserError
from lorachain.training.command import DEFAULT_CONFIG

pytestmark = [pytest.mark.posix, pytest.mark.usefixtures("one_thread")]

KEEP = ("checkpoint.resume=exact", "checkpoint.save_total_limit=2")
QUIET = ("lora.lora_dropout=0", "training.neftune_noise_alpha=null")  # no random numbers
REPLAY = ("replay.share=0.3",)

# Another value of each setting that belongs to a run, with what else it needs to be allowed.
SHAPING: dict[str, tuple[str, ...]] = {
    "model.dtype": ("bf16",),
    "model.attn_implementation": ("eager",),
    "lora.r": ("8",),
    "lora.lora_alpha": ("16",),
    "lora.lora_dropout": ("0.2",),
    "lora.target_modules": ("[q_proj, v_proj]",),
    "lora.layers_to_transform": ("[0]",),
    "lora.use_rslora": ("true",),
    "lora.use_dora": ("true",),
    "lora.loraplus_lr_ratio": ("4",),
    "quantization.load_in_4bit": ("true",),
    "quantization.load_in_8bit": ("true",),
    "quantization.bnb_4bit_quant_type": ("fp4",),
    "quantization.bnb_4bit_use_double_quant": ("false",),
    "quantization.bnb_4bit_compute_dtype": ("fp32",),
    "data.max_seq_length": ("512",),
    "data.on_overlong": ("drop",),
    "training.num_train_epochs": ("3",),
    "training.max_steps": ("7",),
    "training.per_device_train_batch_size": ("2",),
    "training.gradient_accumulation_steps": ("2",),
    "training.length_window": ("2",),
    "training.learning_rate": ("2e-2",),
    "training.lr_scheduler_type": ("linear",),
    "training.lr_scheduler_kwargs": ("{num_cycles: 0.75}",),
    "training.warmup_ratio": ("0.3",),
    "training.warmup_steps": ("3",),
    "training.optim": ("adafactor",),
    "training.optim_args": ("momentum=0.9",),
    "training.weight_decay": ("0.1",),
    "training.adam_beta1": ("0.8",),
    "training.adam_beta2": ("0.99",),
    "training.adam_epsilon": ("1e-6",),
    "training.max_grad_norm": ("0.5",),
    "training.neftune_noise_alpha": ("5",),
    "training.seed": ("7",),
    "training.eval_strategy": ("no",),
    "training.eval_steps": ("2", "training.eval_strategy=steps"),  # read only with it
    "training.load_best_model_at_end": ("true",),
    "training.early_stopping_patience": ("2",),
    "training.early_stopping_threshold": ("0.1",),
    "checkpoint.resume": ("weights",),
}
OF_LATER_VERSIONS = {"replay.share": ("0.2",)}

# What may change between a stop and the run that goes on, each with its test.
NUMBERS = {
    "training.logging_steps": "2",
    "checkpoint.save_steps": "1",
    "checkpoint.save_total_limit": "1",
}
MEMORY = {
    "training.gradient_checkpointing": "true",
    "training.max_tokens_per_micro_batch": "48",
}
PATHS = {"model.base_model", "data.train_data", "data.val_data", "training.output_dir"}
LOOKS = {"data.answer_schema": "envelope"}  # what the look before the training reads
PATHS_OF_LATER_VERSIONS = {"model.source_model", "replay.data"}


def test_every_setting_takes_a_side() -> None:
    refused = {*SHAPING, *OF_LATER_VERSIONS}
    free = {*NUMBERS, *MEMORY, *LOOKS, *PATHS, *PATHS_OF_LATER_VERSIONS}
    assert refused | free == set(KNOWN_KEYS)
    assert free == NOT_SHAPING and not refused & free


class Half:
    """A run that was killed in its seventh step of eight, and the same one uninterrupted."""

    def __init__(
        self, bench: Bench, name: str, sets: Sequence[str] = (), parent: Path | None = None
    ) -> None:
        self.bench = bench
        self.sets = (*SETS, *KEEP, *sets)
        self.parent = parent
        whole = bench.start(f"{name}-whole", sets=(*KEEP, *sets), parent=parent)
        # The sixth log line after the first evaluation would be the seventh step's.
        killed = bench.start(
            *(name,),
            sets=(*KEEP, *sets),
            parent=parent,
            fault="kill@append training_log.jsonl#8",
        )
        assert whole.wait() == 0, whole.text()
        assert killed.wait() == KILLED, killed.text()
        self.whole = bench.folder / f"{name}-whole"
        self.folder = bench.folder / name
        self.step = max(int(p.name.split("-")[1]) for p in self.folder.glob("checkpoint-*"))

    def again(self, output: str, *flags: str, sets: Sequence[str] = ()) -> Path:
        """The same command with what is given besides, in this process."""
        sets = (*self.sets, *sets)
        if self.parent is None:
            return self.bench.place.v1(output, *flags, sets=sets)
        of_child = [text for text in sets if not text.startswith("lora.")]
        return self.bench.place.v2(self.parent, output, *flags, sets=of_child)

    def copy(self, name: str) -> str:
        """A copy of the half-made run, as another output's name."""
        return copy_of(self.folder, name).name


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Bench:
    """A place for every run of this file."""
    return Bench.make(tmp_path_factory.mktemp("keys"), tiny_base)


@pytest.fixture(scope="module")
def half(bench: Bench) -> Half:
    """A half-made version 1."""
    return Half(bench, "half")


@pytest.fixture(scope="module")
def half_v2(bench: Bench, half: Half) -> Half:
    """A half-made version 2 with replay."""
    return Half(bench, "half_v2", REPLAY, half.whole)


def refuse(half: Half, key: str, given: Sequence[str]) -> list[str]:
    """The lines of the refusal, after which everything is as it was."""
    value, *rest = given
    before, siblings = hashes(half.folder), sorted(half.bench.folder.iterdir())
    with pytest.raises(UserError) as caught:
        half.again(half.folder.name, sets=[f"{key}={value}", *rest])
    assert hashes(half.folder) == before
    assert sorted(half.bench.folder.iterdir()) == siblings
    assert not is_finished(half.folder)
    return str(caught.value).splitlines()


def settings(half: Half, sets: Sequence[str]) -> dict[str, Any]:
    config = resolve(DEFAULT_CONFIG, None, [*BASIC, *half.sets, *sets]).config
    assert set(flat(config)) == set(KNOWN_KEYS)
    return shaping(config)


def offered(lines: Sequence[str]) -> list[str]:
    """The settings that a refusal tells one to pass."""
    words = [shlex.split(line) for line in lines if line.startswith("  --set ")]
    assert all(len(pair) == 2 for pair in words)
    return [text for _, text in words]


@pytest.mark.parametrize("key", SHAPING)
def test_row_12_another_value_is_refused_with_both_and_changes_nothing(
    half: Half, key: str
) -> None:
    given = SHAPING[key]
    lines = refuse(half, key, given)
    assert lines[0].endswith("checkpoint-6 belongs to another run:")
    sets = [f"{key}={given[0]}", *given[1:]]
    then, now = settings(half, ()), settings(half, sets)
    assert then[key] != now[key]
    was = "not set" if then[key] is None else then[key]
    assert f"  {key}: was {was}, now {now[key]}" in lines
    named = {line.split(":")[0].strip() for line in lines if ": was " in line}
    expected = {key, *(text.partition("=")[0] for text in given[1:])}
    assert named - expected <= {"precision", "optimizer"}  # what follows from a setting
    assert settings(half, [*sets, *offered(lines)]) == then


@pytest.mark.parametrize("key", OF_LATER_VERSIONS)
def test_row_12_another_share_of_replay_is_refused(half_v2: Half, key: str) -> None:
    lines = refuse(half_v2, key, OF_LATER_VERSIONS[key])
    assert "  replay.share: was 0.3, now 0.2" in lines
    assert "  --set replay.share=0.3" in lines
    assert any(" rows: was " in line for line in lines)  # they follow from it


def test_row_12_a_refusal_exits_with_2(half: Half) -> None:
    """The same as a process."""
    before = hashes(half.folder)
    ended = half.bench.run("half", sets=(*KEEP, "training.learning_rate=0.5"))
    assert ended.code == 2
    assert "  training.learning_rate: was 0.01, now 0.5" in ended.lines
    assert "Traceback" not in ended.text
    assert hashes(half.folder) == before


def assert_went_on(half: Half, folder: Path) -> None:
    assert resumed_from(folder) == half.step == 6


def test_row_12_the_same_command_goes_on(half: Half) -> None:
    """What the refusals above are measured against."""
    folder = half.again(half.copy("same"))
    assert_went_on(half, folder)
    assert largest_difference(folder, half.whole) == 0.0
    assert log_of(folder) == log_of(half.whole)


@pytest.mark.parametrize("key", NUMBERS)
def test_row_12_what_shapes_nothing_may_change_and_the_end_is_the_same(
    half: Half, key: str
) -> None:
    folder = half.again(half.copy(key), sets=[f"{key}={NUMBERS[key]}"])
    assert_went_on(half, folder)
    assert largest_difference(folder, half.whole) == 0.0
    if key == "training.logging_steps":
        logged = [entry["step"] for entry in log_of(folder) if "loss" in entry]
        assert logged == [1, 2, 3, 4, 5, 6, 8]
        return
    assert log_of(folder) == log_of(half.whole)
    kept = {"checkpoint.save_steps": [7, 8], "checkpoint.save_total_limit": [8]}
    assert steps_of(folder) == kept[key]  # what was asked for is what happens from here on


def test_row_12_what_is_only_looked_at_may_change_and_the_end_is_the_same(half: Half) -> None:
    sets = [f"{key}={value}" for key, value in LOOKS.items()]
    folder = half.again(half.copy("looks"), sets=sets)
    assert_went_on(half, folder)
    assert largest_difference(folder, half.whole) == 0.0


@pytest.fixture(scope="module")
def quiet(bench: Bench) -> Half:
    """A half-made version 1 without dropout and noise, which depend on how rows are cut up."""
    return Half(bench, "quiet", QUIET)


@pytest.mark.parametrize("key", MEMORY)
def test_row_12_what_helps_against_full_memory_changes_nothing_but_the_rounding(
    quiet: Half, key: str
) -> None:
    folder = quiet.again(quiet.copy(key), sets=[f"{key}={MEMORY[key]}"])
    assert_went_on(quiet, folder)
    assert largest_difference(folder, quiet.whole) < 1e-5
    for one, two in zip(log_of(folder), log_of(quiet.whole), strict=True):
        assert one == pytest.approx(two, rel=1e-4)


def test_row_12_checkpointed_activations_keep_dropouts_draws(half: Half) -> None:
    """Each layer's forward pass is run again in the backward pass, with the same draws."""
    folder = half.again(half.copy("redrawn"), sets=["training.gradient_checkpointing=true"])
    assert_went_on(half, folder)
    assert largest_difference(folder, half.whole) < 1e-5


@pytest.fixture
def elsewhere(bench: Bench) -> Iterator[Path]:
    """Another folder for the same content."""
    folder = bench.folder / "elsewhere"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("key", sorted(PATHS))
def test_row_12_the_same_content_at_another_path_goes_on_to_the_same_end(
    half: Half, elsewhere: Path, key: str
) -> None:
    place = half.bench.place
    output = half.copy(key)
    if key == "training.output_dir":
        shutil.move(half.bench.folder / output, elsewhere / "renamed")
        output = "elsewhere/renamed"
        flags = ()
    elif key == "model.base_model":
        shutil.copytree(place.base, elsewhere / "base")
        flags = ("--base-model", str(elsewhere / "base"))
    else:
        flag = {"data.train_data": "--train-data", "data.val_data": "--val-data"}[key]
        source = place.folder / ("train1.jsonl" if "train" in key else "val1.jsonl")
        shutil.copyfile(source, elsewhere / "rows.jsonl")
        flags = (flag, str(elsewhere / "rows.jsonl"))
    folder = half.again(output, *flags)
    assert_went_on(half, folder)
    assert largest_difference(folder, half.whole) == 0.0
    assert log_of(folder) == log_of(half.whole)


def test_row_12_a_copied_parent_goes_on_to_the_same_end(half_v2: Half, elsewhere: Path) -> None:
    assert half_v2.parent is not None
    shutil.copytree(half_v2.parent, elsewhere / "v1")
    output = half_v2.copy("model.source_model")
    folder = half_v2.again(output, "--source-model", str(elsewhere / "v1"))
    assert_went_on(half_v2, folder)
    assert largest_difference(folder, half_v2.whole) == 0.0


@pytest.fixture(scope="module")
def half_v2_of_rows(bench: Bench, half: Half) -> Half:
    """A half-made version 2 that mixes in rows of its own."""
    rows = json.dumps([str(bench.folder / "train3.jsonl")])
    return Half(bench, "half_v2_of_rows", (*REPLAY, f"replay.data={rows}"), half.whole)


def test_row_12_copied_rows_to_replay_go_on_to_the_same_end(
    half_v2_of_rows: Half, elsewhere: Path
) -> None:
    half = half_v2_of_rows
    copy = shutil.copyfile(half.bench.folder / "train3.jsonl", elsewhere / "train3.jsonl")
    folder = half.again(half.copy("replay.data"), "--replay-data", str(copy))
    assert_went_on(half, folder)
    assert largest_difference(folder, half.whole) == 0.0


def test_row_12_other_rows_to_replay_are_refused_by_their_name(
    half_v2_of_rows: Half, elsewhere: Path
) -> None:
    """`replay.data` is compared by what it holds. --train-data has not changed, so it is not what
    the message may send one to."""
    half = half_v2_of_rows
    text = (half.bench.folder / "train3.jsonl").read_text(encoding="utf-8")
    (elsewhere / "train3.jsonl").write_text(text.replace("gamma", "delta"), encoding="utf-8")
    before = hashes(half.folder)
    with pytest.raises(UserError, match=r" rows: was .*, now .*") as caught:
        half.again(half.folder.name, "--replay-data", str(elsewhere / "train3.jsonl"))
    assert hashes(half.folder) == before
    assert "replay" in str(caught.value)
    assert "--train-data" not in str(caught.value)


def test_row_12_an_output_may_get_its_parents_name(half_v2: Half, elsewhere: Path) -> None:
    """What is replayed depends on no name of the output."""
    assert half_v2.parent is not None
    shutil.copytree(half_v2.folder, elsewhere / half_v2.parent.name)
    folder = half_v2.again(f"elsewhere/{half_v2.parent.name}")
    assert_went_on(half_v2, folder)
    assert largest_difference(folder, half_v2.whole) == 0.0


def test_row_12_a_later_version_writes_down_the_base_that_it_inherited(half_v2: Half) -> None:
    """By which a refusal would call it, and not the base of the default configuration."""
    found = verify(half_v2.folder / "checkpoint-6")
    assert found.about["names"]["base"] == str(half_v2.bench.place.base)


@pytest.mark.parametrize(
    ("field", "file", "flag"),
    [
        ("training rows", "train1.jsonl", "--train-data"),
        ("validation rows", "val1.jsonl", "--val-data"),
    ],
)
def test_row_12_other_content_at_another_path_is_refused(
    half: Half, elsewhere: Path, field: str, file: str, flag: str
) -> None:
    text = (half.bench.folder / file).read_text(encoding="utf-8")
    (elsewhere / "rows.jsonl").write_text(text.replace("river", "ocean"), encoding="utf-8")
    before = hashes(half.folder)
    with pytest.raises(UserError) as caught:
        half.again(half.folder.name, flag, str(elsewhere / "rows.jsonl"))
    was = rf"  {field}: was \S*{re.escape(file)} \([0-9a-f]{{16}}\), now \S*rows.jsonl \("
    assert re.search(was, str(caught.value))
    assert re.search(rf"\n  {flag} \S*{re.escape(file)}\n", str(caught.value))
    assert hashes(half.folder) == before
