"""The look before the training as one screen of text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap

from lorachain.paths import shown
from lorachain.preflight.answers_json import share_valid
from lorachain.preflight.computer import gigabytes
from lorachain.preflight.finding import MAX_NAMED, SEVERITIES, Finding, blocking, named
from lorachain.preflight.inputs import Schedule
from lorachain.training.gate.look import File, Look
from lorachain.training.gate.words import how_many_bad, names_bad_rows, same_file

WIDTH, LINES = 96, 45
_LABEL = 11
_NO_BREAK = "\u00a0"


def screen(look: Look, report: Path | None = None, *, errors: bool = True) -> str:
    """All of it in some 40 lines of 96 columns: numbers first, then findings, the worst first.

    Errors are always there in full (without `errors`, those that stop the run come elsewhere).
    Where it gets too long, warnings and notes lose their rows, then notes their sentences, then
    warnings their advice: the page has them.
    """
    stopping = look.blocking
    findings = [f for f in look.findings if errors or f not in stopping]
    head = [f"Preflight of {look.name}", *_numbers(look)]
    foot = ["", f"Pictures and all rows: {shown(report)}"] if report is not None else []
    if not look.findings:
        foot = ["", "Nothing was found that speaks against it.", *foot]
    for brevity in range(4):
        lines = [*head, *_findings(findings, look, brevity), *foot]
        if len(lines) <= LINES:
            break
    return "\n".join(lines)


def _numbers(look: Look) -> Iterator[str]:
    for file in look.files:
        what = "rows" if file.role == "train" else "validation"
        yield from _line(what, f"{file.rows:,} in {file.path} ({file.format})")
    if len(look.mix) > 1:
        others = ", ".join(f"{source.rows:,} of {source.name}" for source in look.mix[1:])
        share = sum(source.trained_tokens for source in look.mix[1:]) / max(1, look.trained_tokens)
        yield from _line("replayed", f"{others} ({share:.0%} of the trained tokens)")
    train = look.files[0]
    yield from _table(train)
    yield from _line("limit", _limit(look, train))
    if look.tokens:
        share = look.trained_tokens / look.tokens
        text = f"{look.trained_tokens:,} of the {look.tokens:,} tokens of an epoch ({share:.0%})"
        yield from _line("trained", text)
    for role, answers in look.answers.items():
        if fits := share_valid(answers):
            yield from _line("answers", fits if role == "train" else f"validation: {fits}")
    if look.schedule is not None:
        yield from _line("steps", _steps(look.schedule))
        yield from _line("rate", rates(look.schedule))
    yield from _machine(look)


def _table(file: File) -> Iterator[str]:
    of = file.lengths
    yield f"  {'tokens':<{_LABEL}}{'median':>8}{'95%':>8}{'longest':>9}"
    for name, spread in (("prompt", of.prompt), ("answer", of.answer), ("row", of.whole)):
        yield f"    {name:<{_LABEL - 2}}{spread.p50:>8,}{spread.p95:>8,}{spread.most:>9,}"


def _limit(look: Look, train: File) -> str:
    limit, of = look.length.limit, train.lengths
    context = look.length.context
    reads = f"; the base reads {context:,}" if context is not None else ""
    if not of.over:
        return f"{limit:,} tokens, which every row fits{reads}"
    what = {"error": "an error", "drop": "left out", "truncate": "cut"}[look.length.on_overlong]
    lost = {"drop": of.drop, "truncate": of.truncate}.get(look.length.on_overlong)
    cost = f", {lost.answer_tokens:,} answer tokens lost" if lost else ""
    over = f"{of.over:,} of {of.rows:,} rows are longer ({what}{cost})"
    return f"{limit:,} tokens: {over}{reads}"


def _steps(s: Schedule) -> str:
    rows = f"{s.rows_per_step} row{'' if s.rows_per_step == 1 else 's'}"
    text = f"{s.steps:,} of {rows}; an epoch has {s.steps_per_epoch:,}, "
    return text + (
        f"so {s.share_seen:.1%} of the rows are seen"
        if s.share_seen < 1
        else f"so each row is seen {s.epochs:.3g} times"
        if s.epochs > 1
        else "so each row is seen once"
    )


def rates(s: Schedule) -> str:
    """The way of the learning rate in one line."""
    if not s.known:
        return f"{s.scheduler}: it follows the loss"
    peak = [*s.rates].index(s.peak) + 1
    warm = f"up to {s.peak:.3g} at step {peak:,}" if peak > 1 else f"{s.peak:.3g} from step 1"
    return f"{s.scheduler}: {warm}, {s.rates[-1]:.2g} at the last"


def _machine(look: Look) -> Iterator[str]:
    needs = look.needs
    if needs is None:
        return
    parts = ", ".join(
        f"{name} {gigabytes(size)}"
        for name, size in (
            ("weights", needs.weights),
            ("adapter", needs.adapter),
            ("optimizer", needs.optimizer),
            ("activations", needs.activations),
            ("logits", needs.logits),
            ("other", needs.other),
        )
        if size or name != "other"
    )
    text = f"about {gigabytes(needs.memory)} of {gigabytes(needs.there)} free on {look.device}"
    yield from _line("memory", f"{text}: {parts}")
    yield from _line(
        "disk", f"{gigabytes(needs.checkpoints)} of {gigabytes(needs.disk_free)} free at the output"
    )
    if look.probe is not None:
        peak = look.probe.peak_bytes
        took = f"; {gigabytes(peak)} at its peak" if peak is not None else ""
        yield from _line(
            "probe",
            f"the largest micro-batch ({look.probe.tokens:,} tokens) took "
            f"{look.probe.seconds:.1f} s{took}",
        )


def _findings(findings: Sequence[Finding], look: Look, brevity: int) -> Iterator[str]:
    for severity in SEVERITIES:
        found = [f for f in findings if f.severity == severity]
        if not found:
            continue
        title = f"{len(found)} {severity}{'' if len(found) == 1 else 's'}"
        if severity == "note" and brevity > 1:
            yield from ("", f"{title}: {', '.join(dict.fromkeys(f.code for f in found))}")
            continue
        yield from ("", title)
        for finding in found:
            yield from _finding(finding, look, 0 if severity == "error" else brevity)


def _finding(finding: Finding, look: Look, brevity: int) -> Iterator[str]:
    passed = finding.severity == "error" and not blocking([finding], look.allowed)
    allowed = " (allowed)" if passed else ""
    bad = names_bad_rows(finding)
    says = f"{how_many_bad(finding)}:" if bad else finding.says
    yield from _wrapped(f"{finding.code}  {says}{allowed}", "  ", "    ")
    if bad:
        problems = finding.facts["problems"]
        for text in problems[:MAX_NAMED]:
            yield from _wrapped(text, "    ", "      ")
        if len(problems) > MAX_NAMED:
            yield f"    ... and {len(problems) - MAX_NAMED:,} more"
    elif finding.where and brevity < 1:
        yield from _wrapped(f"rows: {named(same_file(finding.where))}", "    ", "    ")
    if brevity < 3:
        yield from _wrapped(f"-> {finding.do}", "    ", "       ")


def _line(label: str, text: str) -> list[str]:
    return _wrapped(text, f"  {label:<{_LABEL}}", " " * (_LABEL + 2))


def _wrapped(text: str, first: str, later: str) -> list[str]:
    """Lines of at most 96 columns; paths and flags with their values stay whole."""
    lines = wrap(
        re.sub(r"(--[a-z-]+) (?=\S)", rf"\1{_NO_BREAK}", text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_NO_BREAK, " ") for line in lines]
