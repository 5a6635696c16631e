"""What is known of how a version was trained, for advice and for the report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lorachain.errors import UserError
from lorachain.files import sha256_file
from lorachain.lineage import Lineage, data_path
from lorachain.records import ChatRow, read_training_data

LOG = "training_log.jsonl"
MAX_POINTS = 200  # of a curve: more than a page can show

Log = Sequence[Mapping[str, Any]]


def version_facts(found: Lineage | None) -> dict[str, Any]:
    """The facts of one version, from its lineage.json, its training_log.jsonl and its data.

    What is not known is left out: it is unknown, never 0. Without a lineage there are none.

    | key | what it is |
    | --- | --- |
    | kind | `sft` or `grpo` |
    | config | its settings, nested as in lineage.json |
    | steps | optimizer steps taken |
    | epochs_seen | how often a training row was seen, from the log |
    | rows, own_rows, rows_replayed | rows of one epoch: all, its own, drawn from earlier data |
    | rows_by_task | {task: its own rows}, where the data is as it was and names tasks |
    | replay_share | the share of trained tokens that was asked for from earlier data |
    | rows_per_step | rows of one optimizer step: batch size x accumulation x processes |
    | gradient_accumulation_steps, learning_rate, lr_scheduler_type, max_seq_length | settings |
    | steps_per_row | steps / rows |
    | warmup_steps | steps before the highest learning rate, where every step was logged |
    | lr_peak, lr_last | the highest and the last logged learning rate |
    | lr_tail_share | share of the logged steps, after the peak, under a tenth of the peak |
    | lr_dead_share | the same under a hundredth of it |
    | grad_norm_mean, grad_norm_max | norms before clipping, as logged |
    | train_loss_first, train_loss_last | the first and the last logged loss |
    | training_curve | [[step, loss], ...], at most 200 points |
    | validation_curve | [[step, loss], ...], every evaluation |
    | best_step | the step that was kept as the best, where one was chosen |
    | on_overlong | what was done with rows longer than max_seq_length |
    | overlong_rows | its own rows that were longer (an old lineage tells 0 under `error` alone) |
    | answers_cut, lost_answer_tokens | of those rows: answers that were cut, tokens not trained |
    | truncated_answer_share | answers_cut / own_rows; 0 under `error` and `drop` |
    | trained_tokens_per_epoch, seconds, precision, device, seed, resumed_from_step, finished | |
    """
    if found is None:
        return {}
    data, metrics = found.data, found.data["metrics"]
    log = read_log(found.folder / LOG)
    facts: dict[str, Any] = {
        "kind": data["kind"],
        "config": dict(data["config"]),
        "finished": data["finished"],
        "precision": data["identity"].get("precision"),
        "steps": metrics["steps"],
    }
    for key in ("best_step", "train_loss_first", "train_loss_last", "trained_tokens_per_epoch"):
        facts[key] = metrics.get(key)
    for key in ("seconds", "device", "seed", "resumed_from_step"):
        facts[key] = data.get(key)
    facts |= _settings(data) | _rows(found) | _overlong(found) | _log_facts(log)
    if facts.get("rows"):
        facts["steps_per_row"] = facts["steps"] / facts["rows"]
    return {key: value for key, value in facts.items() if value is not None}


def read_log(path: Path) -> list[Mapping[str, Any]]:
    """The entries of a training log; a line torn by a crash is left out, and so is a lost file."""
    entries: list[Mapping[str, Any]] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
            entries.append(entry)
    return entries


def validation_tasks(found: Lineage | None) -> set[str]:
    """The tasks of a version's validation rows; empty where they are gone, changed or unnamed."""
    return set() if found is None else set(_tasks(found, "validation") or ())


def _settings(data: Mapping[str, Any]) -> dict[str, Any]:
    config = data["config"]
    training, limits = config.get("training", {}), config.get("data", {})
    batch = training.get("per_device_train_batch_size")
    accumulation = training.get("gradient_accumulation_steps")
    facts = {
        key: training.get(key)
        for key in ("gradient_accumulation_steps", "learning_rate", "lr_scheduler_type")
    }
    facts["max_seq_length"] = limits.get("max_seq_length")
    facts["on_overlong"] = limits.get("on_overlong")
    facts["replay_share"] = config.get("replay", {}).get("share")
    if batch and accumulation:
        processes = data["identity"].get("processes") or 1
        facts["rows_per_step"] = batch * accumulation * processes
    return facts


def _rows(found: Lineage) -> dict[str, Any]:
    own = sum(int(entry["rows"]) for entry in found.data_files("train"))
    replayed = sum(int(entry.get("rows_drawn", 0)) for entry in found.data_files("replay"))
    if not own:
        return {}
    return {
        "rows": own + replayed,
        "own_rows": own,
        "rows_replayed": replayed,
        "rows_by_task": _tasks(found, "train"),
    }


def _overlong(found: Lineage) -> dict[str, Any]:
    """What became of its own rows over the length limit. A lineage that does not record it still
    tells what `error` and `drop` never let happen."""
    entries = found.data_files("train")
    known = [entry["overlong"] for entry in entries if "overlong" in entry]
    rows = sum(int(entry["rows"]) for entry in entries)
    if rows and len(known) == len(entries):
        cut = sum(one.get("answers_cut", 0) for one in known)
        return {
            "overlong_rows": sum(one["rows"] for one in known),
            "answers_cut": cut,
            "lost_answer_tokens": sum(one.get("lost_answer_tokens", 0) for one in known),
            "truncated_answer_share": cut / rows,
        }
    way = found.data["config"].get("data", {}).get("on_overlong")
    return {
        "overlong_rows": 0 if way == "error" else None,
        "truncated_answer_share": 0.0 if way in ("error", "drop") else None,
    }


def _tasks(found: Lineage, role: str) -> dict[str, int] | None:
    """Rows by task of the files of one role; None unless each is there, unchanged and has tasks."""
    rows: list[ChatRow] = []
    for entry in found.data_files(role):
        path = data_path(entry)
        try:
            if sha256_file(path) != entry["sha256"]:
                return None
            rows += read_training_data(path).rows
        except (OSError, UserError):
            return None
    counts = Counter(row.task for row in rows)
    return None if not counts or "" in counts else dict(sorted(counts.items()))


def _log_facts(log: Log) -> dict[str, Any]:
    steps = [entry for entry in log if _number(entry, "loss") is not None]
    epochs = _known(log, "epoch")
    norms = _known(steps, "grad_norm")
    facts: dict[str, Any] = {
        "epochs_seen": max(epochs, default=None),
        "training_curve": _thinned(_curve(steps, "loss")) or None,
        "validation_curve": _curve(log, "eval_loss") or None,
        "grad_norm_mean": sum(norms) / len(norms) if norms else None,
        "grad_norm_max": max(norms, default=None),
    }
    rates = _known(steps, "learning_rate")
    return facts | (_schedule(rates, steps) if len(rates) == len(steps) else {})


def _schedule(rates: Sequence[float], steps: Log) -> dict[str, Any]:
    """What became of the learning rate. In the warm-up it is low too; that is not its tail."""
    peak = max(rates, default=0.0)
    if peak <= 0:
        return {}
    after = rates[len(rates) - rates[::-1].index(peak) :]
    each_logged = [entry["step"] for entry in steps] == list(range(1, len(steps) + 1))
    return {
        "warmup_steps": rates.index(peak) if each_logged else None,
        "lr_peak": peak,
        "lr_last": rates[-1],
        "lr_tail_share": sum(rate < peak / 10 for rate in after) / len(rates),
        "lr_dead_share": sum(rate < peak / 100 for rate in after) / len(rates),
    }


def _curve(log: Log, key: str) -> list[list[float]]:
    points = [(entry["step"], _number(entry, key)) for entry in log]
    return [[step, value] for step, value in points if value is not None]


def _thinned(curve: list[list[float]]) -> list[list[float]]:
    """Evenly chosen points, the first and the last among them."""
    if len(curve) <= MAX_POINTS:
        return curve
    last = len(curve) - 1
    return [curve[round(i * last / (MAX_POINTS - 1))] for i in range(MAX_POINTS)]


def _known(log: Log, key: str) -> list[float]:
    return [value for _, value in _curve(log, key)]


def _number(entry: Mapping[str, Any], key: str) -> float | None:
    value = entry.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
