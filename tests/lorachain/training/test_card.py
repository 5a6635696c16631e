"""The model card: what a person wants to know of a version, and its loss as a picture."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lorachain.training.card import loss_curve, model_card


def data(**changed: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": "fine_tuned_v2",
        "base": {"name": "org/some-model", "fingerprint": {"id": "0123abcd"}},
        "parent": {"name": "fine_tuned"},
        "config": {
            "lora": {"r": 16, "lora_alpha": 32.0},
            "training": {"learning_rate": 2e-4, "lr_scheduler_type": "cosine"},
        },
        "metrics": {
            "trainable_parameters": 1_234_567,
            "steps": 90,
            "validation_loss": {"fine_tuned_v2": 0.5, "fine_tuned": 1.23456},
        },
        "finished": "2025-01-02T03:04:05+00:00",
        "device": "CPU (x, 2 cores)",
        "data": [
            {"role": "train", "path": "a/train.jsonl", "rows": 200, "sha256": "f" * 64},
            {
                "role": "replay",
                "path": "a/old.jsonl",
                "rows": 300,
                "rows_drawn": 41,
                "sha256": "e" * 64,
            },
        ],
        "replaced": [],
    }
    return found | changed


def logged(*losses: float, first: int = 1) -> list[dict[str, Any]]:
    return [{"step": first + i, "loss": loss} for i, loss in enumerate(losses)]


def grid(curve: str) -> list[str]:
    """The drawing alone, a row a line."""
    return [line.split("|", 1)[1].ljust(60) for line in curve.splitlines() if "|" in line]


def test_the_card_says_what_it_is_and_from_what() -> None:
    card = model_card(data(), logged(2.0, 1.0))
    assert card.startswith("# fine_tuned_v2\n")
    assert "for `org/some-model` that goes on from `fine_tuned`." in card
    assert "| base | org/some-model (0123abcd) |" in card
    assert "r=16, alpha=32, 1,234,567 parameters" in card
    assert "90 steps, learning rate 0.0002, cosine" in card
    assert "| train | a/train.jsonl | 200 | ffffffffffff |" in card
    assert "| replay | a/old.jsonl | 41 | eeeeeeeeeeee |" in card
    assert "| fine_tuned_v2 | 0.5000 |" in card and "| fine_tuned | 1.2346 |" in card
    assert 'from_pretrained("org/some-model")' in card
    assert 'PeftModel.from_pretrained(base, "PATH OF THIS FOLDER")' in card
    assert "Replaced" not in card
    assert not re.search(r"\b(nan|None|inf)\b", card)


def test_every_table_is_one() -> None:
    blocks = [b for b in model_card(data(), []).split("\n\n") if b.startswith("|")]
    assert len(blocks) == 3
    for block in blocks:
        lines = block.splitlines()
        assert set(lines[1]) == {"|", "-"}
        assert {line.count("|") for line in lines} == {lines[0].count("|")}


def test_version_1_and_what_was_replaced() -> None:
    card = model_card(data(parent=None, replaced=["training.optim: a needs b"]), logged(1.0))
    assert "trained from the base." in card
    assert "| parent | none: this is version 1 |" in card
    assert "## Replaced on the training machine\n\n- training.optim: a needs b\n" in card


def test_a_built_in_base_is_named_so_that_transformers_finds_it() -> None:
    base = {"name": "smollm2-135m-instruct", "fingerprint": {"id": "1"}}
    card = model_card(data(base=base), [])
    assert 'from_pretrained("models/base/smollm2-135m-instruct")' in card


def test_a_falling_loss_falls() -> None:
    rows = grid(loss_curve(logged(*[10 - i / 10 for i in range(100)])))
    assert len(rows) == 10
    heights = [next(y for y in range(10) if rows[y][x] == "*") for x in range(60)]
    assert heights == sorted(heights) and (heights[0], heights[-1]) == (0, 9)
    assert sum(row.count("*") for row in rows) == 60


def test_the_axes_say_the_highest_the_lowest_and_the_steps() -> None:
    lines = loss_curve(logged(4.0, 3.0, 2.0, first=7)).splitlines()
    assert lines[0].split("|")[0].strip() == "4.000"
    assert lines[9].split("|")[0].strip() == "2.000"
    assert lines[-1].split() == ["step", "7", "9"]
    assert {len(line) for line in lines[-2:]} == {70}


def test_one_point_is_one_star() -> None:
    curve = loss_curve(logged(2.5))
    assert sum(row.count("*") for row in grid(curve)) == 1
    assert grid(curve)[0][0] == "*" and curve.startswith("   2.500 |*")


def test_a_flat_loss_is_one_line() -> None:
    rows = grid(loss_curve(logged(*[1.5] * 30)))
    assert [y for y, row in enumerate(rows) if "*" in row] == [0]


def test_steps_that_share_a_column_are_averaged() -> None:
    highest = float(loss_curve(logged(*[1.0, 3.0] * 300)).split("|")[0])
    assert highest == 2.0  # not the 3.0 of single steps, of the last one neither


@pytest.mark.parametrize("entries", [[], [{"step": 1, "eval_loss": 2.0}]])
def test_nothing_logged_is_said(entries: list[dict[str, Any]]) -> None:
    assert loss_curve(entries) == "(no step was logged)"
