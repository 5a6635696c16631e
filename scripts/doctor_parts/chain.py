"""The state of the chain: which versions are finished, which are not, and where their bases are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from doctor_parts.child import Report
from doctor_parts.lines import ERROR, OK, WARNING, Line

MOST_NAMES = 8


def chain_lines(report: Report, models: Path) -> list[Line]:
    """All versions under `models`: the good ones in one line, the others in one each."""
    problem = report.problem("versions") or report.problem("start")
    if problem is not None:
        do = "The versions themselves may be good. See whether this says more:"
        found = f"could not be read: {problem.splitlines()[0]}"
        return [Line("versions", WARNING, found, do, "python scripts/lineage.py")]
    versions: Sequence[Mapping[str, Any]] = report.facts["versions"]
    if not versions:
        do = "The quickstart makes three small ones:"
        return [
            Line("versions", OK, f"none under {models} yet", do, "python scripts/quickstart.py")
        ]
    good = [one for one in versions if "finish" not in one and not one["problems"]]
    lines = [Line("versions", OK, _listed(good, models))] if good else []
    for one in versions:
        if "finish" in one:
            lines.append(_unfinished(one, models))
        elif one["problems"]:
            lines.append(_damaged(one, models))
    return [*lines, *base_lines(report)]


def _listed(good: Sequence[Mapping[str, Any]], models: Path) -> str:
    names = [_name(one, models) for one in good]
    more = len(names) - MOST_NAMES
    shown = ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    return f"{len(names)} finished, every hash as recorded: {shown}"


def _unfinished(one: Mapping[str, Any], models: Path) -> Line:
    do, _, command = str(one["finish"]).partition("\n")
    return Line("versions", WARNING, f"{_name(one, models)} is not finished", do, command.strip())


def _damaged(one: Mapping[str, Any], models: Path) -> Line:
    found = f"{_name(one, models)} is damaged or stale: {'; '.join(one['problems'])}"
    do = "Restore it from a copy, or train it again with --restart. All of the chain:"
    return Line("versions", ERROR, found, do, "python scripts/lineage.py")


def base_lines(report: Report) -> list[Line]:
    """The bases that the finished versions stand on."""
    problem = report.problem("bases")
    if problem is not None:
        return [Line("bases", WARNING, f"could not be looked for: {problem.splitlines()[0]}")]
    bases: Mapping[str, Any] = report.facts.get("bases", {})
    here = [name for name, problem in bases.items() if problem is None]
    lines = [Line("bases", OK, "on this machine: " + ", ".join(here))] if here else []
    for name, problem in bases.items():
        if problem is not None:
            found = f"{name} is not ready on this machine: {problem}"
            do = "It is fetched when it is next needed, if there is a network."
            lines.append(Line("bases", WARNING, found, do))
    return lines


def _name(one: Mapping[str, Any], models: Path) -> str:
    """A version's folder, relative to where versions are kept."""
    return os.path.relpath(one["folder"], str(models)).replace(os.sep, "/")
