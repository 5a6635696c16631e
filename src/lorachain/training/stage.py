"""One stage from settings to a finished version: check, load, train, check again, write.

Everything that can be wrong is found before the base's weights are loaded. The version is whole
when its lineage.json is there, and it is written last.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lorachain import lineage
from lorachain.awake import kept_awake
from lorachain.config import Resolved, shaping
from lorachain.errors import UserError
from lorachain.files import folder_lock, is_disk_full, remove_leftovers
from lorachain.lineage import Lineage
from lorachain.machine import Machine, Precision
from lorachain.models import Base, context_length, find_base
from lorachain.paths import shown
from lorachain.preflight.finding import Finding
from lorachain.preflight.inputs import Length
from lorachain.preflight.lengths import Lengths
from lorachain.training.data import Files, StageData, encode_files, read_files, rows_hash
from lorachain.training.gate.encoded import check_encoded, limits, unusable
from lorachain.training.gate.look import Look
from lorachain.training.gate.passing import gone_through, pass_gate, write_reports
from lorachain.training.inherit import Setting, inherit
from lorachain.training.next_step import what_is_next
from lorachain.training.output import begun_by_this, occupied, put_away, undo
from lorachain.training.resume import agreed, check_same, find_checkpoint

log = logging.getLogger("lorachain")


@dataclass(frozen=True)
class Request:
    """What a script was asked to do."""

    resolved: Resolved
    train_data: Path
    val_data: Path | None
    output: Path
    source_model: Path | None = None
    resume: str = "auto"  # auto, never, or a checkpoint folder
    restart: bool = False
    again: str = ""  # the command that does this once more
    allow: tuple[str, ...] = ()  # codes of preflight errors that are let pass
    probe: bool = False  # try the largest micro-batch first

    @property
    def names(self) -> dict[str, str]:
        """What a message calls the things that an identity holds by their hashes alone."""
        parent = self.source_model
        return {
            "base": self.resolved.config.model.base_model,
            "parent": "none" if parent is None else str(parent),
            "training rows": str(self.train_data),
            "validation rows": "none" if self.val_data is None else str(self.val_data),
        }


@dataclass
class Stage:
    """A checked request, with what was found on the way. Filled by `prepare`."""

    request: Request
    resolved: Resolved
    parent: Lineage | None
    line: list[Lineage]
    settings: list[Setting]
    files: Files
    base: Base
    machine: Machine
    precision: Precision
    tokenizer: Any
    encoder: Any
    data: StageData
    length: Length
    lengths: Mapping[str, Lengths]  # of its own files by role, before the limit
    found: list[Finding]  # by reading and encoding
    look: Look | None = None  # what the gate saw
    preflight: Mapping[str, Any] | None = None  # what the lineage says of it
    fresh: bool = False  # begin anew, whatever is there
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    began: float = field(default_factory=time.monotonic)

    @property
    def config(self) -> Any:
        """The resolved settings."""
        return self.resolved.config

    @property
    def processes(self) -> int:
        """How many processes train together (torchrun sets it)."""
        return int(os.environ.get("WORLD_SIZE", "1"))

    def _rows(self, group: int) -> list[Any]:
        data = self.data
        return [e for e, g in zip(data.examples, data.groups, strict=True) if g == group]

    @property
    def names(self) -> dict[str, str]:
        """What a message calls the things that an identity holds by their hashes alone."""
        replayed = ", ".join(str(rows.path) for _, rows in self.files.replay)
        base = self.config.model.base_model
        return {**self.request.names, "base": base, "replayed rows": replayed or "none"}

    def identity(self) -> dict[str, Any]:
        """What a run must share with a checkpoint to go on from it, field by field."""
        return {
            "base": self.base.fingerprint.id,
            "parent": self.parent.adapter_sha256 if self.parent else None,
            "training rows": rows_hash(self._rows(0)),
            "replayed rows": rows_hash(self._rows(1)) if self.data.replay else None,
            "validation rows": rows_hash(self.data.validation),
            "processes": self.processes,
            "precision": self.precision.held,
            "optimizer": self.precision.optim,
            **shaping(self.config),
        }


def probe_setting(stage: Stage, model: Any) -> dict[str, str]:
    """Under what a probe of a stage's model is taken."""
    return {
        "dtype": stage.precision.dtype,
        "quantization": stage.precision.quantization,
        "device": stage.machine.device,
        "attention": str(model.config._attn_implementation),
    }


def is_main_process() -> bool:
    """Whether this process writes and speaks (torchrun starts several)."""
    return int(os.environ.get("RANK", "0")) == 0


def run(request: Request) -> Path:
    """Train one version. Returns its folder. Meanwhile the computer is kept from sleeping.

    A finished version of the same settings and data is left alone. Raises UserError for whatever
    the user can mend, and Interrupted after Ctrl-C, when the run is saved.
    """
    try:
        with kept_awake():
            return _hold_and_run(request)
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise UserError(
            f"The disk is full: {shown(error.filename or request.output)} could not be written. "
            f"What is finished at {shown(request.output)} is good. Make room and run the same "
            "command again."
        ) from error


def _hold_and_run(request: Request) -> Path:
    if not is_main_process():
        return _run(prepare(request))
    new, aside = not request.output.exists(), None
    with ExitStack() as held:
        held.enter_context(folder_lock(request.output, "The output"))
        try:
            stage = prepare(request)  # what is there is moved aside only for a run that can begin
            stage.fresh = request.restart and not begun_by_this(request.output, stage.identity())
            if stage.fresh:
                stage.look = pass_gate(stage, main=True)
            # Between the moving and the new lock, another run may have come in and ended.
            while stage.fresh and occupied(request.output):
                if os.name == "nt":  # which moves no folder in which a file is open: the lock
                    held.close()
                aside = put_away(request.output) or aside
                held.enter_context(folder_lock(request.output, "The output"))
                new = True
            return _run(stage)
        except (UserError, KeyboardInterrupt):  # Ctrl-C before the training, which says Interrupted
            if os.name == "nt":
                held.close()
            if new:
                undo(request.output, aside)
            raise


def _run(stage: Stage) -> Path:
    request, identity = stage.request, stage.identity()
    done = not request.restart and lineage.is_finished(request.output)
    if done and not unusable(stage.found):
        check_same(lineage.read(request.output), identity, stage.names)
        if request.resume != "auto":
            raise UserError(
                f"{shown(request.output)} is finished, so there is nothing to resume. To train it "
                "again, pass --restart (the old one is moved aside), or choose another --output."
            )
        (request.output / lineage.UNFINISHED).unlink(missing_ok=True)
        log.info(
            "%s is finished already; nothing to do. %s",
            *(shown(request.output), what_is_next(request.output)),
        )
        return request.output
    found = agreed(
        lambda: (
            None
            if stage.fresh
            else find_checkpoint(request.output, request.resume, identity, stage.names)
        )
    )
    if request.restart and found is not None and is_main_process():
        log.info(
            "%s was begun with --restart by this same command and is not finished: it goes on.",
            shown(request.output),
        )
    main = is_main_process()
    if found is not None and not unusable(stage.found):
        stage.preflight = gone_through(stage, main=main)
    if stage.preflight is None:
        stage.look = stage.look or pass_gate(stage, main=main)
        stage.preflight = stage.look.codes()
    if main:
        remove_leftovers(request.output)
        lineage.begin(request.output, request.again, restarted=request.restart)
        if stage.look is not None:
            write_reports(stage.look, request.output)
    from lorachain.training.train import train

    return train(stage, identity, found)


def prepare(request: Request) -> Stage:
    """Read, check and encode everything a stage needs, without loading the base's weights.

    What is wrong with rows is in the stage's `found`, to be said with all else by the gate.
    """
    resolved = request.resolved
    parent: Lineage | None = None
    settings: list[Setting] = []
    line: list[Lineage] = []
    if request.source_model is not None:
        parent = lineage.read(request.source_model)
        line = [parent, *lineage.ancestors(parent)]
        resolved, settings = inherit(resolved, parent)
    files = read_files(
        resolved.config, request.train_data, request.val_data, line, request.output.name
    )
    if is_main_process():
        log.info("Reading the data and finding the base; nothing is loaded until both are good.")
    base = find_base(resolved.config.model.base_model)
    if parent is not None:
        lineage.check_parent(parent, base.fingerprint, base.name, request.output)
        _check_no_ancestor(line, request.output)
    from lorachain.chat import ChatEncoder
    from lorachain.machine import choose, detect
    from lorachain.models import load_tokenizer

    machine = detect()
    precision = choose(resolved, machine)
    if parent is not None:
        _say_another_precision(parent, precision)
    tokenizer = load_tokenizer(base)
    encoder = ChatEncoder(tokenizer)
    data = encode_files(files, encoder, resolved.config)
    length = limits(resolved.config, context_length(base.folder))
    lengths, findings = check_encoded(data, encoder, length)
    if resolved.config.training.eval_strategy != "no" and request.val_data is None:
        resolved = _without_evaluation(resolved)
    return Stage(
        *(request, resolved, parent, line, settings, files),
        *(base, machine, precision, tokenizer, encoder, data),
        *(length, lengths, [*files.findings, *findings]),
    )


def _say_another_precision(parent: Lineage, precision: Precision) -> None:
    now, then = precision.held, str(parent.data["identity"]["precision"])
    if now != then and is_main_process():
        log.warning(
            "%s was trained on a base held in %s; here it is held in %s. Answers differ a little "
            "between the two, and what is learned now fits the second.",
            *(parent.name, then, now),
        )


def _check_no_ancestor(line: Sequence[Lineage], output: Path) -> None:
    for version in line:
        if output.resolve() == version.folder.resolve():
            raise UserError(
                f"The output {shown(output)} is {version.name}, on which {line[0].name} stands. "
                "A version that others stand on is never changed. Choose another --output."
            )


def _without_evaluation(resolved: Resolved) -> Resolved:
    from lorachain.config import with_values

    training = resolved.config.training
    if training.load_best_model_at_end or training.early_stopping_patience is not None:
        raise UserError(
            "Early stopping and best-model selection need validation data: pass --val-data."
        )
    changed = {"training.eval_strategy": "no", "training.eval_steps": None}
    return with_values(resolved, changed, "replaced")
