"""The end of a stage: measure, check that it really trained, write the version, lineage last."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from lorachain import adapters, lineage
from lorachain.checkpoint import Checkpoint
from lorachain.config import flat
from lorachain.errors import UserError
from lorachain.files import canonical_json, fsync_file, sha256_file, sha256_text, write_text
from lorachain.lineage import portable
from lorachain.oserrors import remedy
from lorachain.paths import PROJECT_ROOT, runnable, shown
from lorachain.training.callbacks import read_log
from lorachain.training.card import model_card
from lorachain.training.clock import clock
from lorachain.training.data import describe
from lorachain.training.next_step import go_on_from
from lorachain.training.output import LOG_FILE
from lorachain.training.sft import SFTTrainer
from lorachain.training.stage import Stage, is_main_process, probe_setting

log = logging.getLogger("lorachain")

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
PACKAGES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "safetensors")


def tokenizer_bytes(base: Path) -> int:
    """The size of the files that a version takes over from its base."""
    return sum((base / name).stat().st_size for name in TOKENIZER_FILES if (base / name).is_file())


def finish(
    stage: Stage,
    trainer: SFTTrainer,
    identity: Mapping[str, Any],
    before: Mapping[str, Any],
    found: Checkpoint | None,
) -> Path:
    """Check, measure and write a trained stage. Returns the version's folder.

    `before` are the adapter's tensors as they were when the stage began (not when it resumed).
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    check_moved(model, before)
    if stage.parent is not None:
        check_parent_untouched(stage)
    losses = validation_losses(stage, trainer)
    output = stage.request.output
    if not is_main_process():
        return output
    data = _lineage(stage, trainer, identity, losses, found)
    data["probe"] = adapters.probe(model, stage.encoder, probe_setting(stage, model))
    try:
        _write(stage, model, data)
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(
            f"{shown(output)} could not be written: {why}. Its checkpoints are "
            f"good. {remedy(error)}"
        ) from error
    _say(stage, data)
    return output


def _write(stage: Stage, model: Any, data: dict[str, Any]) -> None:
    """Put a version's files into its folder, lineage.json last."""
    output = stage.request.output
    adapters.save_adapter(model, output)
    for name in TOKENIZER_FILES:
        if (stage.base.folder / name).is_file():
            shutil.copyfile(stage.base.folder / name, output / name)
            fsync_file(output / name)
    write_text(output / "README.md", model_card(data, read_log(output / LOG_FILE)))
    data["files"] = {
        name: sha256_file(output / name)
        for name in (adapters.WEIGHTS, adapters.CONFIG, *TOKENIZER_FILES)
        if (output / name).is_file()
    }
    lineage.write(output, data)


def check_moved(model: Any, before: Mapping[str, Any]) -> None:
    """Raises UserError when training left an adapted module exactly as it was."""
    unmoved = set(adapters.unmoved_modules(model, before))
    modules: dict[str, list[str]] = {}
    for name in before:
        modules.setdefault(name.partition(".lora_")[0], []).append(name)
    still = sorted(module for module, names in modules.items() if set(names) <= unmoved)
    if still:
        raise UserError(
            f"Training changed nothing in {len(still)} of {len(modules)} adapted modules "
            f"({still[0]}, ...), so no version was written. The learning rate may be too small "
            "for the number of steps (training.learning_rate, training.num_train_epochs)."
        )


def check_parent_untouched(stage: Stage) -> None:
    """Raises UserError when a file of the parent is not as it was."""
    assert stage.parent is not None
    if changed := lineage.changed_files(stage.parent):
        raise UserError(
            f"The parent {shown(stage.parent.folder)} changed while its child was trained: "
            f"{'; '.join(changed)}. Restore the parent, then run this again with --restart."
        )


def validation_losses(stage: Stage, trainer: SFTTrainer) -> dict[str, float]:
    """Loss per trained token on the stage's own validation set and on every ancestor's."""
    sets = {stage.request.output.name: stage.data.validation, **stage.data.ancestors}
    return {name: round(trainer.mean_loss(rows), 6) for name, rows in sets.items() if rows}


def _lineage(
    stage: Stage,
    trainer: SFTTrainer,
    identity: Mapping[str, Any],
    losses: Mapping[str, float],
    found: Checkpoint | None,
) -> dict[str, Any]:
    parent, state, output = stage.parent, trainer.state, stage.request.output
    logged = [entry for entry in read_log(output / LOG_FILE) if "loss" in entry]
    return {
        "format": lineage.FORMAT,
        "name": output.name,
        "kind": "sft",
        "parent": parent
        and {
            "name": parent.name,
            "path": portable(parent.folder, output),
            "adapter_sha256": parent.adapter_sha256,
        },
        "base": {"name": stage.base.name, "fingerprint": stage.base.fingerprint.as_dict()},
        "data": describe(stage.files, stage.data),
        "config": stage.config.model_dump(mode="json"),
        "config_sha256": sha256_text(canonical_json(flat(stage.config))),
        "preflight": dict(stage.preflight or {}),
        "settings": {setting.key: setting.origin for setting in stage.settings},
        "identity": dict(identity),
        "seed": stage.config.training.seed,
        "packages": _packages(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": stage.machine.name,
        "git_commit": _git_commit(),
        "replaced": list(stage.precision.replaced),
        "loss_way": trainer.way,
        "started": stage.started,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - stage.began, 1),
        "resumed_from_step": found.step if found else None,
        "metrics": {
            "steps": state.global_step,
            "best_step": state.best_global_step
            if stage.config.training.load_best_model_at_end
            else None,
            "train_loss_first": logged[0]["loss"] if logged else None,
            "train_loss_last": logged[-1]["loss"] if logged else None,
            "validation_loss": dict(losses),
            "trained_tokens_per_epoch": stage.data.trained_tokens,
            "trained_tokens_per_second": round(trainer.meter.rate, 1) or None,
            "trainable_parameters": adapters.check_trainable(
                trainer.accelerator.unwrap_model(trainer.model)
            ),
        },
    }


def _packages() -> dict[str, str]:
    versions = {"lorachain": importlib.metadata.version("lorachain")}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _git_commit() -> str | None:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def _say(stage: Stage, data: Mapping[str, Any]) -> None:
    output = stage.request.output
    ask = runnable(PROJECT_ROOT / "batch_test_model.py", "--model", output)
    losses = ", ".join(
        f"{loss:.4f} on {'its own' if name == output.name else name + chr(39) + 's'} rows"
        for name, loss in data["metrics"]["validation_loss"].items()
    )
    log.info(
        "%s is finished after %d steps and %s%s. Validation loss: %s.\n"
        "Next, ask it something, or go on from it:\n"
        "  %s\n"
        "  %s",
        *(shown(output), data["metrics"]["steps"], clock(data["seconds"])),
        " since it went on" if data["resumed_from_step"] else "",
        *(losses or "not measured", ask, go_on_from(output)),
    )
