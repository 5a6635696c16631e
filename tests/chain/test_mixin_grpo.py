"""The checkpoints' mixin is for any Trainer: TRL's GRPO, unchanged, saves and resumes by it too.

GRPO draws its completions in every step, so a random state that does not come back changes what
is trained on, and not only how.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lorachain import checkpoint
from lorachain.adapters import adapter_state
from lorachain.errors import UserError
from lorachain.training.checkpointing import SafeCheckpointMixin

trl = pytest.importorskip("trl")
pytestmark = pytest.mark.usefixtures("one_thread")

# Five prompts, one a step: a second epoch begins after step 5.
STEPS, SAVED, STOP, LAST = 9, 1, 8, 7
FILES = {
    "MANIFEST.json",
    "adapter_config.json",
    "adapter_model.safetensors",
    "rng.json",
    "rng.safetensors",
    "scheduler.json",
    "trainer_state.json",
}
STATE = {"optimizer.json", "optimizer.safetensors"}


class Killed(BaseException):
    """Ends a run where it stands, as a kill would: nothing of it goes on."""


def many_vowels(completions: Sequence[str], **_: Any) -> list[float]:
    """A reward by rule: the share of vowels."""
    return [sum(c in "aeiou" for c in text) / (len(text) + 1) for text in completions]


def make_trainer(
    base: Path,
    output: Path,
    level: str,
    seen: list[Any],
    stop: int | None = None,
    identity: dict[str, Any] | None = None,
) -> Any:
    """A new GRPO trainer on a new model. `seen` takes each step's rate, and the completions."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    class SafeGRPO(SafeCheckpointMixin, trl.GRPOTrainer):  # type: ignore[misc,name-defined]
        """GRPO with checkpoints that survive."""

    class Watch(TrainerCallback):  # type: ignore[misc,unused-ignore]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            seen.append((state.global_step, kwargs["lr_scheduler"].get_last_lr()))
            if state.global_step == stop:
                raise Killed

    def reward(completions: Sequence[str], **more: Any) -> list[float]:
        seen.append(list(completions))
        return many_vowels(completions)

    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    words = ("river", "stone", "lamp", "paper", "bridge")
    args = trl.GRPOConfig(
        output_dir=str(output),
        max_steps=STEPS,
        save_steps=SAVED,
        logging_steps=1,
        learning_rate=3e-3,
        lr_scheduler_type="cosine",
        warmup_steps=2,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=1,
        steps_per_generation=1,
        num_generations=4,
        num_iterations=1,
        max_completion_length=8,
        temperature=1.0,
        beta=0.0,
        optim="adamw_torch",
        seed=5,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        restore_callback_states_from_checkpoint=True,
    )
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    trainer = SafeGRPO(
        model=model,
        reward_funcs=[reward],
        args=args,
        train_dataset=Dataset.from_list([{"prompt": f"Say {word}:"} for word in words]),
        processing_class=AutoTokenizer.from_pretrained(base, local_files_only=True),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM", r=4, lora_alpha=8, lora_dropout=0.1, target_modules="all-linear"
        ),
        callbacks=[Watch()],
    )
    trainer.set_checkpoints(identity or {"run": "grpo"}, level, keep=9, select_best=False)
    return trainer


def final(trainer: Any) -> dict[str, torch.Tensor]:
    return adapter_state(trainer.accelerator.unwrap_model(trainer.model))


@pytest.fixture(autouse=True)
def _random_states() -> Iterator[None]:
    """Every test leaves them as they were."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(before[0]), np.random.set_state(before[1]), torch.set_rng_state(before[2])


Uninterrupted = tuple[dict[str, torch.Tensor], list[Any], Path]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Uninterrupted:
    """An uninterrupted run: its adapter, what it saw, and its folder."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    output, seen = tmp_path_factory.mktemp("grpo") / "whole", list[Any]()
    trainer = make_trainer(tiny_base, output, "exact", seen)
    trainer.train()
    torch.set_num_threads(threads)
    return final(trainer), seen, output


def resumed(base: Path, output: Path, level: str) -> tuple[Any, list[Any], checkpoint.Checkpoint]:
    """A run that ends in its eighth step, and a new trainer that has gone on from its newest
    checkpoint."""
    with pytest.raises(Killed):
        make_trainer(base, output, level, [], stop=STOP).train()
    found = checkpoint.find_latest(output)
    assert found is not None and found.step == LAST
    seen: list[Any] = []
    trainer = make_trainer(base, output, level, seen)
    trainer.train(resume_from_checkpoint=str(found.folder))
    return trainer, seen, found


def after(seen: Sequence[Any], step: int) -> list[Any]:
    """What was seen after a step."""
    at = next(i for i, entry in enumerate(seen) if entry[0] == step and isinstance(entry, tuple))
    return list(seen[at + 1 :])


def test_its_checkpoints_are_ours_alone(whole: Uninterrupted) -> None:
    """No pickle is written anywhere, and every file is vouched for."""
    output = whole[2]
    names = sorted(path.name for path in output.glob("checkpoint-*"))
    assert names == [f"checkpoint-{step}" for step in range(1, STEPS + 1)]
    for name in names:
        found = checkpoint.verify(output / name)
        assert found.identity == {"run": "grpo"}
        assert {path.name for path in found.folder.iterdir()} == FILES | STATE
    suffixes = {path.suffix for path in output.rglob("*") if path.is_file()}
    assert suffixes <= checkpoint.SUFFIXES


def test_the_uninterrupted_run_really_samples_and_learns(whole: Uninterrupted) -> None:
    """That what is compared below could differ."""
    adapter, seen, output = whole
    drawn = [entry for entry in seen if isinstance(entry, list)]
    assert len(drawn) == STEPS
    assert all(len(set(texts)) > 1 for texts in drawn)
    before = load_file(str(output / "checkpoint-2" / "adapter_model.safetensors"))
    assert any(not torch.equal(before[name], adapter[name]) for name in adapter)
    rates = [entry[1] for entry in seen if isinstance(entry, tuple)]
    assert len({str(rate) for rate in rates}) >= 6


def test_row_02_grpo_killed_and_resumed_exactly_ends_where_the_uninterrupted_run_does(
    whole: Uninterrupted, tiny_base: Path, tmp_path: Path
) -> None:
    trainer, seen, found = resumed(tiny_base, tmp_path / "half", "exact")
    adapter, expected, _ = whole
    assert seen == after(expected, found.step)  # the same completions, the same rates
    ended = final(trainer)
    assert ended.keys() == adapter.keys()
    assert max(float((ended[name] - adapter[name]).abs().max()) for name in adapter) == 0.0
    assert trainer.state.global_step == STEPS


def test_row_02_grpo_without_the_optimizers_state_keeps_rates_and_random_states(
    whole: Uninterrupted, tiny_base: Path, tmp_path: Path
) -> None:
    trainer, seen, found = resumed(tiny_base, tmp_path / "half", "weights")
    assert {path.name for path in found.folder.iterdir()} == FILES
    expected = after(whole[1], found.step)
    assert [e for e in seen if isinstance(e, tuple)] == [
        e for e in expected if isinstance(e, tuple)
    ]
    assert seen[0] == expected[0]  # the first completions: same weights, same random state
    ended = final(trainer)
    assert any(not torch.equal(ended[name], whole[0][name]) for name in ended)


def test_row_06_grpo_passes_over_damaged_checkpoints(
    whole: Uninterrupted, tiny_base: Path, tmp_path: Path
) -> None:
    """The one before them is that of an epoch's end."""
    import shutil

    output = Path(shutil.copytree(whole[2], tmp_path / "copy"))
    for step, size in ((9, 0), (8, 100), (7, 5000), (6, 1)):
        path = output / f"checkpoint-{step}" / "adapter_model.safetensors"
        path.write_bytes(path.read_bytes()[:size])
    found = checkpoint.find_latest(output)
    assert found is not None and found.step == 5
    seen: list[Any] = []
    trainer = make_trainer(tiny_base, output, "exact", seen)
    trainer.train(resume_from_checkpoint=str(found.folder))
    adapter = whole[0]
    assert all(torch.equal(value, adapter[name]) for name, value in final(trainer).items())
    assert seen == after(whole[1], 5)


def test_save_model_writes_the_adapter_alone(
    tiny_base: Path, whole: Uninterrupted, tmp_path: Path
) -> None:
    trainer = make_trainer(tiny_base, tmp_path / "out", "exact", [])
    trainer.save_model(str(tmp_path / "saved"))
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        *("adapter_config.json", "adapter_model.safetensors"),
    ]
    saved = load_file(str(tmp_path / "saved" / "adapter_model.safetensors"))
    assert saved.keys() == whole[0].keys()
    assert all(torch.equal(saved[name], value) for name, value in final(trainer).items())
    config = json.loads((tmp_path / "saved" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["r"] == 4


def test_row_14_grpo_takes_no_other_adapter(
    whole: Uninterrupted, tiny_base: Path, tmp_path: Path
) -> None:
    """A checkpoint that lacks a tensor, vouched for by its own manifest."""
    from safetensors.torch import save_file

    tensors = copy.copy(load_file(str(whole[2] / "checkpoint-4" / "adapter_model.safetensors")))
    tensors.pop(next(iter(tensors)))

    def fill(folder: Path) -> None:
        import shutil

        for path in (whole[2] / "checkpoint-4").iterdir():
            if path.name != checkpoint.MANIFEST:
                shutil.copyfile(path, folder / path.name)
        save_file(tensors, str(folder / "adapter_model.safetensors"))

    folder = checkpoint.write(tmp_path / "half", 4, {"run": "grpo"}, fill)
    trainer = make_trainer(tiny_base, tmp_path / "half", "exact", [])
    with pytest.raises(UserError, match="1 tensors are missing from the file"):
        trainer.train(resume_from_checkpoint=str(folder))
