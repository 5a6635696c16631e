"""One contestant of evaluation_speed.py, in a process of its own; prints its figures as JSON.

python benchmarks/evaluation_runs.py NAME NEWEST SUITE QUESTIONS BATCH_SIZE MAX_NEW_TOKENS DTYPE
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from lorachain.evaluation import generate
from lorachain.evaluation.chosen import base_name, chain_of, find_versions
from lorachain.evaluation.compare import compare
from lorachain.evaluation.comparison_folder import write_comparison
from lorachain.evaluation.evaluate import Version, evaluate_versions, evaluation_precision
from lorachain.evaluation.generated import Decoding
from lorachain.machine import Machine, Precision, detect
from lorachain.models import Base, find_base
from lorachain.quickstart.measure import PeakMemory
from lorachain.suites import Suite, read_suite


@dataclass
class Work:
    """What is to be asked."""

    base: Base
    versions: list[Version]
    suite: Suite
    machine: Machine
    precision: Precision
    batch_size: int
    max_new_tokens: int


class Clock:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {"loading": 0.0, "answering": 0.0}

    def timed(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, its seconds counted under `what`."""

        def run(*args: Any, **named: Any) -> Any:
            began = time.monotonic()
            try:
                return function(*args, **named)
            finally:
                self.spent[what] += time.monotonic() - began

        return run


def main() -> None:
    """Run one contestant."""
    name, newest, suite, questions, batch_size, max_new_tokens, dtype = sys.argv[1:]
    versions = find_versions([one.folder for one in chain_of(Path(newest))], with_base=True)
    machine = detect()
    work = Work(
        find_base(base_name(versions)),
        versions,
        read_suite(Path(suite), limit=int(questions)),
        machine,
        evaluation_precision(versions, machine, dtype),
        int(batch_size),
        int(max_new_tokens),
    )
    clock = Clock()
    with PeakMemory() as memory:
        began = time.monotonic()
        texts, judge = (ours if name == "lorachain" else one_by_one)(work, clock)
        seconds = time.monotonic() - began
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else memory.bytes
    began = time.monotonic()
    judge()
    print(
        json.dumps(
            {
                "seconds": seconds,
                "loading_seconds": clock.spent["loading"],
                "answering_seconds": clock.spent["answering"],
                "judging_seconds": time.monotonic() - began,
                "peak_mb": peak / 2**20,
                "questions": len(work.suite.items),
                "texts": texts,
                "about": {
                    "base": work.base.name,
                    "device": machine.name,
                    "dtype": work.precision.dtype,
                    "quantization": work.precision.quantization,
                    "packages": {n: version(n) for n in ("torch", "transformers", "peft")},
                },
            }
        )
    )


def ours(work: Work, clock: Clock) -> tuple[list[str], Callable[[], object]]:
    """`evaluate_versions` with a store of its own: nothing is reused."""
    generate.load_generator = clock.timed("loading", generate.load_generator)
    generate.Generator.load = clock.timed("loading", generate.Generator.load)  # type: ignore[method-assign]
    generate.Generator._try_batch = clock.timed(  # type: ignore[method-assign]
        "answering", generate.Generator._try_batch
    )
    temporary = tempfile.TemporaryDirectory()
    folder = Path(temporary.name)
    evaluation = evaluate_versions(
        work.base,
        work.versions,
        [work.suite],
        store=folder / "answers",
        machine=work.machine,
        precision=work.precision,
        decoding=Decoding(work.max_new_tokens),
        batch_size=work.batch_size,
    )
    texts = [a.generated.text for r in evaluation.versions for a in r.answers[work.suite.name]]

    def judge() -> None:
        found = compare(evaluation, created=datetime.now(UTC))
        store = folder / "answers"
        write_comparison(folder / "out", evaluation, found, store=store, title="speed")
        temporary.cleanup()

    return texts, judge


def one_by_one(work: Work, clock: Clock) -> tuple[list[str], Callable[[], object]]:
    """The loop that people write: for each version load everything, then prompt after prompt."""
    texts = []
    for one in work.versions:
        model, tokenizer = clock.timed("loading", load)(work, one)
        for item in work.suite.items:
            texts.append(clock.timed("answering", answer)(model, tokenizer, item, work))
        del model
    return texts, lambda: None


def load(work: Work, one: Version) -> tuple[Any, Any]:
    """A base with one adapter, as its model card says."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    tokenizer = AutoTokenizer.from_pretrained(work.base.folder)
    model: Any = AutoModelForCausalLM.from_pretrained(
        work.base.folder, dtype=dtype[work.precision.dtype]
    ).to(work.machine.device)
    if one.folder is not None:
        model = PeftModel.from_pretrained(model, str(one.folder))
    return model.eval(), tokenizer


@torch.inference_mode()
def answer(model: Any, tokenizer: Any, item: Any, work: Work) -> str:
    """One answer."""
    turns = [{"role": turn.role, "content": turn.content} for turn in item.messages]
    inputs = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
    ).to(model.device)
    made = model.generate(**inputs, max_new_tokens=work.max_new_tokens, do_sample=False)
    ids = made[0, inputs["input_ids"].shape[1] :]
    return str(tokenizer.decode(ids, skip_special_tokens=True))


if __name__ == "__main__":
    main()
