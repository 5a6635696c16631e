"""Row 2: killed by a real SIGKILL and run again, a run ends where the uninterrupted one does.

Every run here has dropout, NEFTune noise and four rows to a step, so a random state, a row order
or a gradient that does not come back shows in the last bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from chain_support import largest_difference, lineage
from fault_support import (
    KILLED,
    STEPS,
    Bench,
    Ended,
    copy_of,
    is_finished,
    log_of,
    resumed_from,
    steps_of,
)

from lorachain.soak.launch import Run

pytestmark = pytest.mark.posix

EXACT = "checkpoint.resume=exact"
EACH_STEP = ("training.eval_strategy=steps", "training.eval_steps=1")


def at_append(number: int) -> str:
    """Killed before this line of the training log: its step is taken, and not saved."""
    return f"kill@append training_log.jsonl#{number}"


# With an evaluation after step 4, the log's lines 6 and 8 are those of steps 5 and 7.
IN_STEP_5, IN_STEP_7 = (at_append(6), 4), (at_append(8), 6)


def scheduled(kind: str, **options: Any) -> tuple[str, ...]:
    kwargs = json.dumps(options)
    return f"training.lr_scheduler_type={kind}", f"training.lr_scheduler_kwargs={kwargs}"


PLATEAU = scheduled("reduce_lr_on_plateau", patience=0, factor=0.5)

# name: the optimizer, its settings and its schedule, where it is killed, where it goes on from
CASES: dict[str, tuple[str, tuple[str, ...], tuple[str, int]]] = {
    "adamw": (
        "adamw_torch",
        ("training.weight_decay=0.1", *scheduled("cosine_with_restarts", num_cycles=2)),
        IN_STEP_7,
    ),
    "adamw_fused": ("adamw_torch_fused", scheduled("linear"), IN_STEP_5),
    "adamw_on_a_plateau": (
        "adamw_torch",
        ("training.learning_rate=0.1", *EACH_STEP, *PLATEAU),
        (at_append(13), 6),
    ),
    "adafactor": ("adafactor", scheduled("warmup_stable_decay", num_decay_steps=3), IN_STEP_7),
    "sgd": ("sgd", ("training.learning_rate=1", *scheduled("constant_with_warmup")), IN_STEP_7),
    "sgd_with_momentum": (
        "sgd",
        (
            "training.learning_rate=0.3",
            "training.optim_args=momentum=0.9,nesterov=true",
            *scheduled("polynomial", power=2.0),
        ),
        IN_STEP_5,
    ),
    "rmsprop": (
        "rmsprop",
        ("training.optim_args=momentum=0.5,centered=true", *scheduled("inverse_sqrt")),
        IN_STEP_7,
    ),
    "adagrad": (
        "adagrad",
        ("training.optim_args=lr_decay=0.1", *scheduled("cosine_with_min_lr", min_lr=1e-3)),
        IN_STEP_5,
    ),
    "lion": ("lion_32bit", scheduled("cosine"), IN_STEP_7),
    "ademamix": (
        "ademamix",
        ("training.optim_args=t_alpha=8,t_beta3=8", *scheduled("cosine")),
        IN_STEP_5,
    ),
    "lora_plus": ("adamw_torch", ("lora.loraplus_lr_ratio=8", *scheduled("linear")), IN_STEP_7),
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Bench:
    """One place for all runs of this file, so that versions can share a parent."""
    return Bench.make(tmp_path_factory.mktemp("exact"), tiny_base)


@pytest.fixture(scope="module")
def parent(bench: Bench) -> Path:
    """A version 1."""
    ended = bench.run("v1")
    assert ended.code == 0, ended.text
    return ended.folder


def metrics(folder: Path) -> dict[str, Any]:
    """What a version measured of itself, but for its speed and its name."""
    found = dict(lineage(folder)["metrics"])
    del found["trained_tokens_per_second"]
    own = found["validation_loss"].pop(folder.name)
    return found | {"own": own}


def assert_the_same_end(whole: Path, other: Path) -> None:
    assert largest_difference(whole, other) == 0.0
    assert log_of(other) == log_of(whole)
    assert metrics(other) == metrics(whole)


def whole_and_killed(bench: Bench, name: str, fault: str, **options: Any) -> tuple[Path, Ended]:
    """An uninterrupted run and, beside it, one that is killed and then run again."""
    whole = bench.start(f"{name}-whole", **options)
    killed = bench.start(f"{name}-killed", fault=fault, **options)
    assert whole.wait() == 0, whole.text()
    assert killed.wait() == KILLED, killed.text()
    assert not is_finished(bench.folder / f"{name}-killed")
    again = bench.run(f"{name}-killed", **options)
    assert again.code == 0, again.text
    return bench.folder / f"{name}-whole", again


@pytest.mark.parametrize("name", CASES)
def test_row_02_killed_and_run_again_the_end_is_the_same_to_the_bit(
    bench: Bench, name: str
) -> None:
    """For every kind of optimizer, and every kind of schedule."""
    optim, more, (fault, step) = CASES[name]
    sets = (EXACT, f"training.optim={optim}", *more)
    whole, again = whole_and_killed(bench, name, fault, sets=sets)
    assert resumed_from(again.folder) == step
    assert_the_same_end(whole, again.folder)
    assert lineage(whole)["replaced"] == []  # the optimizer that was asked for is what ran
    assert lineage(whole)["metrics"]["steps"] == STEPS


STOPPED_EARLY = {"adamw_torch": ("3e-2", 3), "adafactor": ("3e-2", 3), "sgd": ("1", 4)}


@pytest.mark.parametrize("optim", STOPPED_EARLY)
def test_row_02_a_later_version_with_replay_early_stopping_and_a_best_step(
    bench: Bench, parent: Path, optim: str
) -> None:
    """Killed in its last step: patience that was used up partly before it and partly after it
    counts as one."""
    rate, patience = STOPPED_EARLY[optim]
    sets = (
        EXACT,
        *EACH_STEP,
        f"training.optim={optim}",
        f"training.learning_rate={rate}",
        *scheduled("cosine_with_restarts", num_cycles=2),
        "training.load_best_model_at_end=true",
        f"training.early_stopping_patience={patience}",
        "training.early_stopping_threshold=0.5",
        "replay.share=0.3",
    )
    whole = bench.run(f"v2-{optim}-whole", sets=sets, parent=parent)
    assert whole.code == 0, whole.text
    found = lineage(whole.folder)["metrics"]
    last = found["steps"]
    assert patience < last < 12, "early stopping must end it, and not at once"
    fault = at_append(2 * last - 1)
    killed = bench.run(f"v2-{optim}-killed", sets=sets, parent=parent, fault=fault)
    assert killed.code == KILLED and not is_finished(killed.folder)
    again = bench.run(f"v2-{optim}-killed", sets=sets, parent=parent)
    assert again.code == 0, again.text
    assert last - patience < (resumed_from(again.folder) or 0) < last
    assert_the_same_end(whole.folder, again.folder)
    assert set(found["validation_loss"]) == {whole.folder.name, "v1"}
    assert [entry["role"] for entry in lineage(again.folder)["data"]].count("replay") == 1


@pytest.mark.parametrize("best", ["true", "false"])
def test_row_02_early_stopping_that_ended_a_run_has_ended_it_after_a_kill_too(
    bench: Bench, best: str
) -> None:
    """Killed while the version is written: nothing is left to train."""
    sets = (
        EXACT,
        *("training.num_train_epochs=5", "training.eval_strategy=steps", "training.eval_steps=2"),
        *("training.early_stopping_patience=1", "training.early_stopping_threshold=5"),
        f"training.load_best_model_at_end={best}",
    )
    whole = bench.run(f"ended-{best}-whole", sets=sets)
    assert whole.code == 0 and lineage(whole.folder)["metrics"]["steps"] == 4
    name = f"ended-{best}"
    killed = bench.run(name, sets=sets, fault="kill@write adapter_model.safetensors#1")
    assert killed.code == KILLED
    again = bench.run(name, sets=sets)
    assert again.code == 0, again.text
    assert (
        "checkpoint-4: all steps are taken; only the version is still to be written" in again.text
    )
    assert_the_same_end(whole.folder, again.folder)


@pytest.fixture(scope="module")
def whole(bench: Bench) -> Path:
    """An uninterrupted run whose steps are cut into several micro-batches."""
    ended = bench.run("whole", sets=SMALL_BATCHES, before="test_exact:record_steps")
    assert ended.code == 0, ended.text
    return ended.folder


SMALL_BATCHES = (EXACT, "training.max_tokens_per_micro_batch=64", "checkpoint.save_total_limit=9")


def die_within_step_6() -> None:
    """SIGKILL between two micro-batches: the first one's gradients are there."""
    from lorachain.training.sft import SFTTrainer

    real = SFTTrainer.training_step

    def training_step(self: Any, model: Any, inputs: Any, *more: Any) -> Any:
        backward = self.accelerator.backward

        def die(loss: Any) -> None:
            backward(loss)
            os.kill(os.getpid(), signal.SIGKILL)

        if self.state.global_step == 5:
            assert len(inputs["micro_batches"]) > 1
            self.accelerator.backward = die
        return real(self, model, inputs, *more)

    SFTTrainer.training_step = training_step  # type: ignore[method-assign]


def test_row_02_killed_between_two_micro_batches_of_a_step(bench: Bench, whole: Path) -> None:
    first = bench.run("within", sets=SMALL_BATCHES, before="test_exact:die_within_step_6")
    assert first.code == KILLED, first.text
    assert steps_of(first.folder) == [2, 4]
    again = bench.run("within", sets=SMALL_BATCHES)
    assert again.code == 0, again.text
    assert resumed_from(again.folder) == 4
    assert_the_same_end(whole, again.folder)


def test_row_02_killed_from_outside_wherever_it_happens_to_be(bench: Bench, whole: Path) -> None:
    for step in (2, 6):
        ended = bench.stopped_at(step, Run.kill, f"outside-{step}", sets=SMALL_BATCHES)
        assert ended.code == KILLED, ended.text
        again = bench.run(f"outside-{step}", sets=SMALL_BATCHES)
        assert again.code == 0, again.text
        assert (resumed_from(again.folder) or 0) >= step
        assert_the_same_end(whole, again.folder)


def record_steps() -> None:
    """Write down, beside the output, what each step is about to see. It draws no random number."""
    import numpy as np
    import torch
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    from lorachain.training.sft import SFTTrainer

    real = SFTTrainer.training_step
    seen: dict[str, Any] = {}
    path: list[Path] = []

    def digest(value: object) -> str:
        return hashlib.sha256(repr(value).encode()).hexdigest()

    def training_step(self: Any, model: Any, inputs: Any, *more: Any) -> Any:
        path[:] = [Path(self.args.output_dir).with_suffix(".steps")]
        rows = [
            digest(ids[mask.bool()].tolist())
            for batch in inputs["micro_batches"]
            for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
        ]
        seen.update(
            step=self.state.global_step + 1,
            rows=rows,
            torch=digest(torch.get_rng_state().tolist()),
            python=digest(random.getstate()),
            numpy=digest([np.asarray(part).tolist() for part in np.random.get_state()]),
        )
        return real(self, model, inputs, *more)

    def before_the_optimizer(optimizer: Any, *_: Any) -> None:
        if seen:
            entry = seen | {"rates": [group["lr"] for group in optimizer.param_groups]}
            with path[0].open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")

    SFTTrainer.training_step = training_step  # type: ignore[method-assign]
    register_optimizer_step_pre_hook(before_the_optimizer)


def take_records(folder: Path) -> dict[int, dict[str, Any]]:
    """What the steps of the last run saw, by their numbers; the next run begins a new record."""
    path = folder.with_suffix(".steps")
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    path.unlink()
    assert len({entry["step"] for entry in entries}) == len(entries)
    return {entry["step"]: entry for entry in entries}


WEIGHTS = (
    "checkpoint.resume=weights",
    "training.num_train_epochs=4",
    "lora.loraplus_lr_ratio=8",  # two groups, each with its own rate
    *scheduled("cosine"),
)


@pytest.fixture(scope="module")
def weights_whole(bench: Bench) -> tuple[Path, dict[int, dict[str, Any]]]:
    """An uninterrupted run of 16 steps, and what each of them saw."""
    ended = bench.run("weights-whole", sets=WEIGHTS, before="test_exact:record_steps")
    assert ended.code == 0, ended.text
    return ended.folder, take_records(ended.folder)


@pytest.mark.parametrize(("fault", "step"), [IN_STEP_5, IN_STEP_7])
def test_row_02_without_the_optimizers_state_rates_rows_and_random_states_come_back(
    bench: Bench, weights_whole: tuple[Path, dict[int, dict[str, Any]]], fault: str, step: int
) -> None:
    """`checkpoint.resume: weights`, from a checkpoint in an epoch and from one at its end."""
    whole, expected = weights_whole
    name = f"weights-{step}"
    first = bench.run(name, sets=WEIGHTS, fault=fault, before="test_exact:record_steps")
    assert first.code == KILLED, first.text
    take_records(first.folder)
    again = bench.run(name, sets=WEIGHTS, before="test_exact:record_steps")
    assert again.code == 0, again.text
    assert [line for line in again.lines if "Going on" in line] == [
        f"Going on from checkpoint-{step}: adapter, learning rate, row order and random state are "
        "where they were; the optimizer's moments are not kept (checkpoint.resume: weights), so "
        "its first 5 steps are eased in."
    ]
    found = take_records(again.folder)
    assert list(found) == list(range(step + 1, 17))
    for key in ("rows", "torch", "python", "numpy"):
        assert {n: e[key] for n, e in found.items()} == {
            n: e[key] for n, e in expected.items() if n > step
        }, key
    for number, entry in found.items():
        share = min(number - step, 6) / 6
        assert entry["rates"] == pytest.approx([r * share for r in expected[number]["rates"]])
    rates, wanted = (
        [e["learning_rate"] for e in log_of(folder) if "loss" in e]
        for folder in (again.folder, whole)
    )
    assert rates == wanted and len(rates) == 16
    assert largest_difference(whole, again.folder) > 0.0  # or the moments would have been kept


def test_what_is_recorded_differs_from_step_to_step(
    weights_whole: tuple[Path, dict[int, dict[str, Any]]],
) -> None:
    """That the test above can fail. NumPy's generator is not drawn from in a step."""
    expected = weights_whole[1]
    assert len(expected) == 16
    for key in ("rows", "torch", "rates"):
        assert len({str(entry[key]) for entry in expected.values()}) >= 15, key


def test_row_02_with_its_state_nothing_is_eased_in_and_one_line_says_so(
    bench: Bench, whole: Path
) -> None:
    expected = take_records(whole)
    folder = copy_of(whole, "from-2")
    (folder / "lineage.json").unlink()
    again = bench.run(
        *("from-2", "--resume", str(folder / "checkpoint-2")),
        sets=SMALL_BATCHES,
        before="test_exact:record_steps",
    )
    assert again.code == 0, again.text
    assert [line for line in again.lines if "Going on" in line] == [
        "Going on from checkpoint-2: adapter, learning rate, row order, random state and "
        "optimizer are where they were."
    ]
    assert take_records(folder) == {n: e for n, e in expected.items() if n > 2}
    assert_the_same_end(whole, folder)


def offer_an_optimizer_with_hidden_state() -> None:
    """Let transformers make it, under a name that it knows: its steps shrink with a count that its
    state_dict lacks."""
    import torch
    from transformers import trainer_optimizer

    class CountsInSecret(torch.optim.SGD):
        taken = 0

        def step(self, closure: Any = None) -> Any:
            self.taken += 1
            for group in self.param_groups:
                group["weight_decay"] = 0.5 / self.taken
            super().step(closure)
            for group in self.param_groups:
                group["weight_decay"] = 0.0

    def handler(context: Any) -> tuple[Any, dict[str, Any]]:
        return CountsInSecret, {"lr": context.args.learning_rate}

    trainer_optimizer._OPTIMIZER_HANDLERS["grokadamw"] = handler


def test_row_02_an_optimizer_that_does_not_come_back_is_refused_before_the_first_step(
    bench: Bench,
) -> None:
    """With the sentence that names the way out, which then works. (Of transformers' own optimizers
    that run here, none is refused: one is added.)"""
    before = "test_exact:offer_an_optimizer_with_hidden_state"
    sets = ("training.optim=grokadamw", "checkpoint.save_steps=1")
    refused = bench.run("hidden", sets=(*sets, EXACT), before=before)
    assert refused.code == 2
    assert refused.lines[-1] == (
        "Error: checkpoint.resume: exact cannot be kept with this optimizer: saved and restored, "
        "it takes other steps than before. Use checkpoint.resume: weights, or another optimizer "
        "such as adamw_torch."
    )
    assert not refused.folder.exists()
    for way_out in (
        ("checkpoint.resume=weights",),
        (EXACT, "training.optim=adamw_torch"),
    ):
        output = f"hidden-{way_out[-1].rpartition('=')[2]}"
        again = bench.run(output, sets=(*sets, *way_out), before=before)
        assert again.code == 0, again.text
        assert steps_of(again.folder) == [6, 7, 8]


def test_an_optimizer_whose_package_is_not_installed_is_named_before_the_first_step(
    bench: Bench,
) -> None:
    ended = bench.run("apollo", sets=(EXACT, "training.optim=apollo_adamw"))
    if ended.code == 0:
        pytest.skip("apollo_torch is installed here")
    assert ended.code == 2
    assert "Error: training.optim" in ended.lines[-1] and "apollo_torch" in ended.lines[-1]
    assert list(ended.folder.rglob("*checkpoint-*")) == []
