"""Asking as the scripts do it: the base found, the machine looked at, progress shown."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from lorachain import machine, models
from lorachain.errors import UserError
from lorachain.evaluation.chosen import base_name
from lorachain.evaluation.evaluate import (
    Evaluation,
    Version,
    check_base,
    evaluate_versions,
    evaluation_precision,
)
from lorachain.evaluation.flags import How
from lorachain.evaluation.progress import Progress
from lorachain.evaluation.scorers import Scorers
from lorachain.files import InUse
from lorachain.models import Base
from lorachain.paths import shown
from lorachain.suites import Suite

log = logging.getLogger("lorachain")


def find_base_of(versions: Sequence[Version], named: str | None = None) -> Base:
    """The base that these versions stand on, or the one that was named.

    Raises UserError where it cannot be found, or is another than a version stands on.
    """
    base = models.find_base(named or base_name(versions))
    for version in versions:
        check_base(version, base)
    return base


def ask(
    base: Base,
    versions: Sequence[Version],
    suites: Sequence[Suite],
    *,
    store: Path,
    how: How,
    store_flag: str = "--answers",
    scorers: Scorers | None = None,
) -> Evaluation:
    """Every version's answers to every suite; those that the store has are not made again.

    `store_flag` is what chooses another store. Raises UserError for whatever the user can mend,
    and Interrupted after Ctrl-C.
    """
    if how.cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # before torch is imported; "" is lost on Windows
    here = machine.detect()
    precision = evaluation_precision(versions, here, how.dtype, how.quantization)
    for line in precision.replaced:
        if not line.startswith("training."):
            log.info("%s", line)
    try:
        with Progress() as progress:
            evaluation = evaluate_versions(
                base,
                versions,
                suites,
                store=store,
                machine=here,
                precision=precision,
                decoding=how.decoding,
                batch_size=how.batch_size,
                scorers=scorers,
                on_progress=progress,
            )
    except InUse:
        raise UserError(
            f"Another run is adding to the answers in {shown(store)}. Wait until it ends, or keep "
            f"these elsewhere: {store_flag}."
        ) from None
    for result in evaluation.versions:
        if result.reused:
            log.info("%s: %d answers were there already.", result.version.name, result.reused)
    return evaluation
