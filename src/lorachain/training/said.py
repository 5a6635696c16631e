"""What a stage says of itself: what is about to be trained, and how to go on after a stop."""

from __future__ import annotations

import logging

from lorachain import checkpoint
from lorachain.errors import Interrupted
from lorachain.paths import shown
from lorachain.training.inherit import format_table
from lorachain.training.stage import Stage, is_main_process

log = logging.getLogger("lorachain")


def say_what_follows(stage: Stage) -> None:
    """The few lines that tell a person what is about to be trained, and on what."""
    data, parent = stage.data, stage.parent
    own = sum(group == 0 for group in data.groups)
    log.info(
        "%s: from %s, on %d rows (format: %s)%s; %d trained tokens an epoch.",
        *(stage.request.output.name, parent.name if parent else "the base", own),
        stage.files.train.format,
        _replayed(stage),
        data.trained_tokens,
    )
    log.info(
        "Base %s (%s), %s%s, on %s.",
        *(stage.base.name, stage.base.fingerprint.id, stage.precision.dtype),
        "" if stage.precision.quantization == "none" else f", {stage.precision.quantization}",
        stage.machine.name,
    )
    for sentence in stage.precision.replaced:
        log.info("Replaced on this machine: %s.", sentence)
    if stage.settings:
        log.info("Settings:\n%s", format_table(stage.settings))


def _replayed(stage: Stage) -> str:
    replay = stage.data.replay
    if replay is None:
        return ""
    share = replay.trained_tokens / stage.data.trained_tokens
    sources = ", ".join(f"{count} of {name}" for name, count in sorted(replay.rows.items()))
    return f" and {len(replay.examples)} replayed ({sources}; {share:.0%} of the trained tokens)"


def interrupted(stage: Stage, step: int, total: int) -> Interrupted:
    """What Ctrl-C ends with. One process of several speaks."""
    if not is_main_process():
        return Interrupted("")
    again = stage.request.again or "the same command"
    folder = stage.request.output / f"checkpoint-{step}"
    return Interrupted(
        f"Stopped at step {step} of {total}; it is saved in {shown(folder)}.\n"
        f"To go on, run it again:\n  {again}"
    )


def stopped_at_once(stage: Stage) -> Interrupted:
    """What a second Ctrl-C ends with, or one outside the training itself."""
    newest = checkpoint.folders(stage.request.output)[:1]
    where = f"Its newest checkpoint is {newest[0].name}" if newest else "It has no checkpoint yet"
    return Interrupted(
        f"Stopped at once. {where}.\nTo go on, run it again:\n"
        f"  {stage.request.again or 'the same command'}"
    )
