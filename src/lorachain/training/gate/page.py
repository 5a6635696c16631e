"""preflight.html: the look before the training as one offline page, findings first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lorachain.pages.page import render_page
from lorachain.pages.svg import REST, SERIES
from lorachain.preflight.answers_json import share_valid
from lorachain.preflight.computer import gigabytes
from lorachain.preflight.finding import SEVERITIES, Finding, Severity, blocking
from lorachain.training.gate import plots
from lorachain.training.gate.look import Look
from lorachain.training.gate.screen import rates
from lorachain.training.gate.words import how_many_bad, names_bad_rows

MAX_ROWS = 200  # of a finding that the page names; preflight.json has all
_PARTS = ("weights", "adapter", "optimizer", "activations", "logits", "other")
TONES: dict[Severity, str] = {"error": "worse", "warning": "cannot", "note": "equivalent"}
_FLAG = re.compile(
    r"""(--[a-z][a-z-]*(?: "[^"]*"| [\w.]+=[^\s;,)]*[^\s;,.)]|(?<=--allow) [a-z-]+)?)"""
)


@dataclass(frozen=True)
class Shown:
    """A finding as the page shows it: its sentence, without the rows that are listed anyway; `do`
    is cut into texts and flags, which stand apart."""

    finding: Finding
    says: str
    tone: str
    allowed: bool
    do: Sequence[tuple[str, bool]]  # (text, whether it is a flag)
    rows: Sequence[str]
    more: int


@dataclass(frozen=True)
class Picture:
    """A drawing with what it shows. `parts` are (name, size, number of its colour)."""

    title: str
    says: str
    svg: Any
    parts: Sequence[tuple[str, str, str]] = ()


def render_preflight(look: Look) -> str:
    """The page as text. File names and sentences stay text, whatever they hold."""
    counts = {s: sum(f.severity == s for f in look.findings) for s in SEVERITIES}
    return render_page(
        __package__,
        "preflight.html.j2",
        styles=("page.css.j2", "preflight.css.j2"),
        scripts=("theme.js",),
        title=f"Preflight of {look.name}",
        look=look,
        verdict=_verdict(look),
        tone="worse" if look.blocking else "cannot" if counts["warning"] else "better",
        facts=_facts(look),
        findings=[_shown(finding, look) for finding in look.findings],
        pictures=[*_pictures(look)],
    )


def _verdict(look: Look) -> str:
    if look.blocking:
        number = len(look.blocking)
        return f"{'An error stops' if number == 1 else f'{number} errors stop'} this training"
    if any(f.severity == "warning" for f in look.findings):
        return "It can be trained, with something to think about first"
    if any(f.severity == "error" for f in look.findings):
        return "It can be trained, because its errors were allowed"
    return "Nothing speaks against this training"


def _facts(look: Look) -> dict[str, str]:
    own = look.files[0]
    found = {"from": look.parent or "the base", "base": look.base, "rows": f"{own.rows:,}"}
    if look.schedule is not None:
        found["steps"] = f"{look.schedule.steps:,} of {look.schedule.rows_per_step} rows"
        found["epochs"] = f"{look.schedule.epochs:.3g}"
    if "train" in look.answers and (fits := share_valid(look.answers["train"])):
        found["answers"] = fits
    return {**found, "on": look.device}


def _shown(finding: Finding, look: Look) -> Shown:
    pieces = _FLAG.split(finding.do)
    bad = names_bad_rows(finding)
    rows = list(finding.facts["problems"] if bad else finding.where)
    return Shown(
        finding,
        f"{how_many_bad(finding)}." if bad else finding.says,
        TONES[finding.severity],
        finding.severity == "error" and not blocking([finding], look.allowed),
        [(piece, i % 2 == 1) for i, piece in enumerate(pieces) if piece],
        rows[:MAX_ROWS],
        max(0, len(rows) - MAX_ROWS),
    )


def _pictures(look: Look) -> list[Picture]:
    found = [_lengths(look)]
    if look.schedule is not None:
        found += [_rate(look)] if look.schedule.known else []
        found.append(_tokens(look))
    if len(look.mix) > 1:
        found.append(_mix(look))
    return [*found, *_memory(look)]


def _lengths(look: Look) -> Picture:
    of = look.files[0].lengths
    says = f"Half of the rows have {of.whole.p50:,} tokens or more, the longest {of.whole.most:,}. "
    if of.over:
        says += f"{of.over:,} of {of.rows:,} are over the limit of {of.limit:,}."
    else:
        says += f"All are within the limit of {of.limit:,}."
    return Picture("How long the rows are", says, _markup(plots.lengths(of)))


def _rate(look: Look) -> Picture:
    schedule = look.schedule
    assert schedule is not None
    says = f"{schedule.steps:,} steps, {rates(schedule)}."
    return Picture("The learning rate", says, _markup(plots.rate(schedule)))


def _tokens(look: Look) -> Picture:
    of, policy = look.files[0].lengths, look.length.on_overlong
    lost = {"drop": of.drop, "truncate": of.truncate}.get(policy)
    gone = lost.answer_tokens if lost else 0
    parts = [("trained", look.trained_tokens, plots.KEPT)]
    parts.append(("prompts and template", look.tokens - look.trained_tokens, REST))
    if gone:
        parts.append(("answers lost to the limit", gone, plots.GONE))
    share = look.trained_tokens / max(1, look.tokens)
    return Picture(
        "What is trained",
        f"{share:.0%} of the tokens of an epoch carry loss: the answers and their ends.",
        _markup(plots.bar(parts, "Trained tokens among all of an epoch")),
        [(name, f"{size:,}", _swatch(colour)) for name, size, colour in parts],
    )


def _mix(look: Look) -> Picture:
    sources = [(source.name, source.trained_tokens) for source in look.mix]
    rows = ", ".join(f"{source.rows:,} of {source.name}" for source in look.mix[1:])
    return Picture(
        "Where the rows come from",
        f"{look.mix[0].rows:,} rows of its own, and replayed: {rows}. By trained tokens.",
        _markup(plots.mix(sources)),
    )


def _memory(look: Look) -> list[Picture]:
    needs = look.needs
    if needs is None:
        return []
    colours = dict(zip(_PARTS, (*plots.COLOURS, REST), strict=True))
    sizes = {name: getattr(needs, name) for name in _PARTS}
    parts = [(name, size, colours[name]) for name, size in sizes.items() if size]
    return [
        Picture(
            "Memory",
            f"About {gigabytes(needs.memory)} are needed; the frame is the "
            f"{gigabytes(needs.there)} that are free. An estimate: --probe tries it.",
            _markup(plots.bar(parts, "Memory by parts", whole=needs.there)),
            [(name, gigabytes(size), _swatch(colour)) for name, size, colour in parts],
        )
    ]


def _swatch(colour: str) -> str:
    """The class of a colour in the style sheet."""
    if colour in SERIES:
        return f"s{SERIES.index(colour) + 1}"
    return "gone" if colour == plots.GONE else "rest"


def _markup(svg: str) -> Any:
    from markupsafe import Markup

    return Markup(svg)  # our own drawing: matplotlib escapes the names in it
