"""A version's README.md: what it is, what it learned from, how it did, in a form a person reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lorachain.builtin_base import BUILTIN_BASES

_WIDTH, _HEIGHT = 60, 10


def model_card(data: Mapping[str, Any], logged: Sequence[Mapping[str, Any]]) -> str:
    """The model card of a lineage. `logged` are the entries of its training log."""
    metrics, parent = data["metrics"], data["parent"]
    config = data["config"]
    name = data["base"]["name"]
    lines = [
        f"# {data['name']}",
        "",
        f"A LoRA adapter for `{name}` "
        + (f"that goes on from `{parent['name']}`." if parent else "trained from the base."),
        "",
        "| | |",
        "|---|---|",
        f"| base | {name} ({data['base']['fingerprint']['id']}) |",
        f"| parent | {parent['name'] if parent else 'none: this is version 1'} |",
        f"| adapter | r={config['lora']['r']}, alpha={config['lora']['lora_alpha']:g}, "
        f"{metrics['trainable_parameters']:,} parameters |",
        f"| training | {metrics['steps']} steps, learning rate "
        f"{config['training']['learning_rate']:g}, {config['training']['lr_scheduler_type']} |",
        f"| finished | {data['finished']} on {data['device']} |",
        "",
        "## Data",
        "",
        "| role | file | rows | sha256 |",
        "|---|---|---|---|",
        *(
            f"| {entry['role']} | {entry['path']} | "
            f"{entry.get('rows_drawn', entry['rows'])} | {entry['sha256'][:12]} |"
            for entry in data["data"]
        ),
        "",
        *_overlong(data),
        *_let_pass(data),
        "## Validation loss",
        "",
        "| rows of | loss per token |",
        "|---|---|",
        *(f"| {name} | {loss:.4f} |" for name, loss in metrics["validation_loss"].items()),
        "",
        "## Training loss",
        "",
        "```text",
        loss_curve(logged),
        "```",
        "",
        "## Use",
        "",
        "```python",
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM",
        "",
        f'base = AutoModelForCausalLM.from_pretrained("{_loadable(name)}")',
        'model = PeftModel.from_pretrained(base, "PATH OF THIS FOLDER")',
        "```",
        "",
    ]
    if data["replaced"]:
        lines += ["## Replaced on the training machine", ""]
        lines += [f"- {sentence}" for sentence in data["replaced"]] + [""]
    return "\n".join(lines)


def _overlong(data: Mapping[str, Any]) -> list[str]:
    """A sentence for each file that had rows over the length limit."""
    limit = data["config"].get("data", {}).get("max_seq_length")
    found = [(entry["path"], entry["overlong"]) for entry in data["data"] if "overlong" in entry]
    sentences = [
        f"- {path}: {one['rows']} rows are longer than {limit} tokens; {one['dropped']} were left "
        f"out and {one['truncated']} cut, which took {one['lost_answer_tokens']} answer tokens."
        for path, one in found
        if one["rows"]
    ]
    return [*sentences, ""] if sentences else []


def _let_pass(data: Mapping[str, Any]) -> list[str]:
    """A sentence on the preflight errors that `--allow` let pass."""
    codes = data.get("preflight", {}).get("errors")
    return [f"- It was trained in spite of: {', '.join(codes)} (`--allow`).", ""] if codes else []


def _loadable(base: str) -> str:
    """A base as transformers finds it from the project's folder: it knows no built-in names."""
    return f"models/base/{base}" if base in BUILTIN_BASES else base


def loss_curve(logged: Sequence[Mapping[str, Any]]) -> str:
    """The training loss over steps, drawn with characters: 60 columns, 10 rows."""
    points = [(int(e["step"]), float(e["loss"])) for e in logged if "loss" in e]
    if not points:
        return "(no step was logged)"
    first, last = points[0][0], points[-1][0]
    # Few steps reach from edge to edge; of many, each column holds as many as the next.
    wide = last - first < _WIDTH
    columns: list[list[float]] = [[] for _ in range(_WIDTH)]
    for step, loss in points:
        across, steps = (_WIDTH - 1, max(1, last - first)) if wide else (_WIDTH, last - first + 1)
        columns[(step - first) * across // steps].append(loss)
    means = [sum(c) / len(c) if c else None for c in columns]
    known = [m for m in means if m is not None]
    low, high = min(known), max(known)
    span = (high - low) or 1.0
    grid = [[" "] * _WIDTH for _ in range(_HEIGHT)]
    for x, mean in enumerate(means):
        if mean is not None:
            grid[round((high - mean) / span * (_HEIGHT - 1))][x] = "*"
    labels = [f"{high - span * row / (_HEIGHT - 1):8.3f}" for row in range(_HEIGHT)]
    body = [f"{label} |{''.join(row).rstrip()}" for label, row in zip(labels, grid, strict=True)]
    axis = " " * 9 + "+" + "-" * _WIDTH
    return "\n".join([*body, axis, f"{'step':>8}  {first}{last:>{_WIDTH - len(str(first))}}"])
