"""What a refused run ends with: each error with its rows and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lorachain.jsonl import MAX_SHOWN
from lorachain.paths import shown
from lorachain.preflight.finding import Finding, named


def spelled(findings: Sequence[Finding]) -> str:
    """Findings as blocks of text; rows that cannot be read stand one a line."""
    return "\n\n".join(_block(finding) for finding in findings)


def _block(finding: Finding) -> str:
    if names_bad_rows(finding):  # its sentence holds the first problems
        problems = finding.facts["problems"]
        lines = [f"{finding.code}: {how_many_bad(finding)}:"]
        lines += [f"  {text}" for text in problems[:MAX_SHOWN]]
        if len(problems) > MAX_SHOWN:
            lines.append(f"  ... and {len(problems) - MAX_SHOWN:,} more")
    else:
        lines = [f"{finding.code}: {finding.says}"]
        lines += [f"  rows: {named(same_file(finding.where))}"] if finding.where else []
    return "\n".join([*lines, f"  -> {finding.do}"])


def names_bad_rows(finding: Finding) -> bool:
    """Whether a finding's `problems` say what is wrong with each of its rows."""
    return "bad" in finding.facts and "problems" in finding.facts


def how_many_bad(finding: Finding) -> str:
    """What a finding of bad rows says, without the rows."""
    facts = finding.facts
    how = facts.get("how", "trained on")
    return f"{facts['bad']:,} of the {facts['rows']:,} rows of {facts['path']} cannot be {how}"


def same_file(where: Sequence[str]) -> list[str]:
    """Rows as file:line, the file named where it is another than before: a.jsonl:3, :7, b.jsonl:1.
    Pairs of rows stay as they are."""
    found: list[str] = []
    before = ""
    for place in where:
        file, colon, line = place.rpartition(":")
        plain = bool(colon) and line.isdigit() and " " not in line and " = " not in place
        found.append(f":{line}" if plain and file == before else place)
        before = file if plain else ""
    return found


def refusal(name: str, errors: Sequence[Finding], report: Path | None) -> str:
    """Why nothing was trained, and how to go on."""
    count = "an error" if len(errors) == 1 else f"{len(errors)} errors"
    lines = [f"{name} is not trained, because of {count}.", "", spelled(errors), ""]
    codes = list(dict.fromkeys(e.code for e in errors if e.rule.allowable))
    flags = " ".join(f"--allow {code}" for code in codes)
    if codes and all(error.rule.allowable for error in errors):
        lines.append(f"To train all the same, pass {flags}; the version's lineage will say so.")
    elif codes:
        lines.append(f"{flags} lets some of it pass; the rest cannot be trained on.")
    if report is not None:
        lines.append(f"All that was looked at: {shown(report)}")
    return "\n".join(lines).rstrip()
