"""A run goes through the gate once, before its first step and before any weights are loaded.

What is found is said on one screen and stands in the output as preflight.json and preflight.html.
A run that is refused leaves no output behind, so its report is under logs/preflight. A run that
goes on from a checkpoint has been through: identity and rows are those that were looked at, so it
reads what was found then.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorachain.errors import EXIT_OK, EXIT_USER_ERROR, UserError
from lorachain.files import make_folder, write_json, write_text
from lorachain.machine import unused_gpu
from lorachain.paths import PROJECT_ROOT, shown
from lorachain.training.gate.look import Look, look_at
from lorachain.training.gate.screen import screen
from lorachain.training.gate.words import refusal
from lorachain.training.output import PREFLIGHT_JSON, PREFLIGHT_PAGE

if TYPE_CHECKING:
    from lorachain.training.stage import Stage

log = logging.getLogger("lorachain")

REPORTS = PROJECT_ROOT / "logs" / "preflight"


def pass_gate(stage: Stage, *, main: bool) -> Look:
    """Look at everything, and say it. Raises UserError where an error stands that was not allowed.

    Of several processes all look, and the `main` one speaks and writes.
    """
    look = _looked(stage, main)
    if main:
        page = None if look.blocking else stage.request.output / PREFLIGHT_PAGE
        log.info("%s\n", screen(look, page, errors=False))
    if look.blocking:
        report = _report(look, stage.request.output.name) if main else None
        raise UserError(refusal(look.name, look.blocking, report))
    return look


def only(stage: Stage) -> int:
    """Say and write what was found, and train nothing. Returns the exit code."""
    look = _looked(stage, True)
    report = _report(look, stage.request.output.name)
    sys.stdout.write(screen(look, report) + "\n")
    return EXIT_USER_ERROR if look.blocking else EXIT_OK


def _looked(stage: Stage, main: bool) -> Look:
    look = look_at(stage, progress=main)
    if stage.request.probe and not look.blocking:
        from lorachain.training.probe import probe

        if main:
            log.info("Trying the largest micro-batch (--probe).")
        result, findings = probe(stage)
        look = look.with_findings(findings, result)
    return look


def write_reports(look: Look, folder: Path, stem: str | None = None) -> Path:
    """Write both files into a folder; returns the page's path."""
    from lorachain.training.gate.page import render_preflight

    names = (PREFLIGHT_JSON, PREFLIGHT_PAGE) if stem is None else (f"{stem}.json", f"{stem}.html")
    write_json(folder / names[0], look.as_dict())
    write_text(folder / names[1], render_preflight(look))
    return folder / names[1]


def _report(look: Look, name: str) -> Path | None:
    """The report of what was not trained, beside all outputs; None where it cannot be written."""
    try:
        make_folder(REPORTS)
        return write_reports(look, REPORTS, name)
    except (OSError, UserError) as error:
        log.warning("The report could not be written: %s", error)
        return None


def gone_through(stage: Stage, *, main: bool) -> dict[str, Any] | None:
    """What a run that goes on was told when it began, in one line; None where nothing is known.

    Raises UserError where `--probe` finds that its largest micro-batch does not fit (any more).
    """
    codes = _recorded(stage.request.output / PREFLIGHT_JSON)
    if codes is None:
        return None
    if main:
        if not stage.machine.cuda and (unused := unused_gpu()):
            log.warning("%s", unused)
        counts = [_count(codes[f"{kind}s"], kind) for kind in ("error", "warning", "note")]
        log.info(
            "Preflight, when it began: %s (%s).",
            *(", ".join(counts), shown(stage.request.output / PREFLIGHT_PAGE)),
        )
    if stage.request.probe:
        from lorachain.training.probe import probe

        if findings := probe(stage)[1]:
            raise UserError(refusal(shown(stage.request.output), findings, None))
    return codes


def _count(codes: list[str], kind: str) -> str:
    text = f"{len(codes)} {kind}{'' if len(codes) == 1 else 's'}"
    return f"{text} ({', '.join(codes)})" if codes and kind != "note" else text


def _recorded(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        codes = {
            key: [str(code) for code in data["codes"][key]]
            for key in ("allowed", "errors", "warnings", "notes")
        }
        return codes if data["passed"] is True else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
