"""Data with the shapes of two real projects whose trainings taught next to nothing.

The first had 120 rows or so whose answers were envelopes of about 1,100 tokens, a limit of 1,024,
one epoch and 16 rows a step. The second had 1,480 prompts, of which 200 steps of 2 rows saw 400,
under a cosine that ended at zero. The texts are made up; lengths and counts are what matters.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chain_support import write_rows

ENVELOPE = (
    "summary",
    "assumptions",
    "uncertainty_notes",
    "next_steps",
    "verification_steps",
    "payload_type",
    "payload",
)
_TEXT = (
    "arrive early and ask the desk for the form that they need before noon then keep the paper "
    "with the ticket because the second office wants to see it again and the train leaves at the "
    "hour from the far side of the square where a small sign shows the way to the water"
)
_WORDS = _TEXT.split()
ENVELOPE_SETTINGS = (
    "training.num_train_epochs=1",
    "training.gradient_accumulation_steps=16",
    "training.warmup_ratio=0",
    "data.max_seq_length=1024",
)
COMMERCE_SETTINGS = (
    "training.max_steps=200",
    "training.per_device_train_batch_size=2",
    "training.gradient_accumulation_steps=1",
    "training.learning_rate=2e-6",
    "training.lr_scheduler_type=cosine",
    "training.warmup_ratio=0.1",
)


def _sentence(draw: random.Random, words: int) -> str:
    return " ".join(draw.choice(_WORDS) for _ in range(words)).capitalize() + "."


def envelope_row(draw: random.Random, number: int) -> dict[str, Any]:
    """A travel question whose answer is an envelope of seven keys, about 1,100 tokens."""
    town = f"Town {number} on the {draw.choice(_WORDS)} river"
    steps = [_sentence(draw, 12) for _ in range(8)]
    answer: Mapping[str, Any] = {
        "summary": f"How to arrive in {town}: {_sentence(draw, 30)}",
        "assumptions": [_sentence(draw, 14) for _ in range(8)],
        "uncertainty_notes": _sentence(draw, 40),
        "next_steps": steps,
        "verification_steps": [_sentence(draw, 14) for _ in range(8)],
        "payload_type": "procedure",
        "payload": {
            "title": town,
            "steps": [
                {"step": i, "instruction": _sentence(draw, 18)}
                for i in range(1, draw.randint(16, 23))
            ],
        },
    }
    assert tuple(answer) == ENVELOPE
    return {"question": f"{_sentence(draw, 12)} How do I get to {town}?", "answer": _dump(answer)}


def _dump(answer: Mapping[str, Any]) -> str:
    return json.dumps(answer, ensure_ascii=False)


def commerce_row(draw: random.Random, number: int) -> dict[str, Any]:
    """A shop's review with the JSON that is asked of it, short."""
    task = ("extraction", "sql", "insights", "push")[number % 10 // 3]
    review = _sentence(draw, draw.randint(15, 60))
    answer = {"task": task, "order": number, "sentiment": draw.choice(("good", "bad", "mixed"))}
    return {
        "messages": [{"role": "user", "content": f"Order {number}: {review}"}],
        "target": json.dumps(answer),
        "task": task,
    }


def write_envelopes(folder: Path, rows: int = 120) -> list[str]:
    """Its files; returns the flags that name them, with the settings of that training."""
    draw = random.Random(1)
    made = [envelope_row(draw, i) for i in range(rows + 12)]
    write_rows(folder / "envelopes.jsonl", made[:rows])
    write_rows(folder / "envelopes_val.jsonl", made[rows:])
    return _flags(folder, "envelopes", ENVELOPE_SETTINGS)


def write_commerce(folder: Path, rows: int = 1480) -> list[str]:
    """Its files; returns the flags that name them, with the settings of that training."""
    draw = random.Random(2)
    made = [commerce_row(draw, i) for i in range(rows + 40)]
    write_rows(folder / "commerce.jsonl", made[:rows])
    write_rows(folder / "commerce_val.jsonl", made[rows:])
    return _flags(folder, "commerce", COMMERCE_SETTINGS)


def _flags(folder: Path, name: str, settings: tuple[str, ...]) -> list[str]:
    flags = ["--train-data", str(folder / f"{name}.jsonl")]
    flags += ["--val-data", str(folder / f"{name}_val.jsonl")]
    return flags + [part for text in settings for part in ("--set", text)]
