"""All that is looked at before a training, put together from a prepared stage."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lorachain.machine import unused_gpu
from lorachain.paths import shown
from lorachain.preflight import schedule
from lorachain.preflight.answers_json import AnswerLook, check_answers, look_at_answers
from lorachain.preflight.computer import check_machine, on_battery
from lorachain.preflight.finding import SEVERITIES, Finding, blocking, in_order
from lorachain.preflight.inputs import Length, Needs, Schedule
from lorachain.preflight.lengths import Lengths
from lorachain.preflight.template import control_tokens, default_system
from lorachain.training.gate.encoded import ROLES
from lorachain.training.gate.rows import check_rows

if TYPE_CHECKING:
    from lorachain.training.stage import Stage

log = logging.getLogger("lorachain")

FORMAT = 1


@dataclass(frozen=True)
class File:
    """One of the stage's own files, with the lengths of its rows before the limit."""

    role: str
    path: str
    format: str
    rows: int
    lengths: Lengths


@dataclass(frozen=True)
class Source:
    """Where rows of the mix come from: "own", a version, or a file of `--replay-data`."""

    name: str
    rows: int
    trained_tokens: int


@dataclass(frozen=True)
class Look:
    """What was looked at and what was found. `tokens` and `trained_tokens` are of one epoch, after
    the length limit. `answers` is by file, as JSON. `schedule` and `needs` are None where no row is
    left, or nobody can say."""

    name: str
    parent: str | None
    base: str
    device: str
    files: tuple[File, ...]
    length: Length
    mix: tuple[Source, ...]
    tokens: int
    trained_tokens: int
    schedule: Schedule | None
    needs: Needs | None
    findings: tuple[Finding, ...]
    allowed: tuple[str, ...] = ()
    probe: Any = None  # a training.probe.Probe
    answers: Mapping[str, AnswerLook] = field(default_factory=dict)

    @property
    def blocking(self) -> list[Finding]:
        """The errors that stop the run."""
        return blocking(self.findings, self.allowed)

    def codes(self) -> dict[str, list[str]]:
        """What a lineage records: what was allowed, and the codes that were found, by severity."""
        found = {
            f"{severity}s": list(
                dict.fromkeys(f.code for f in self.findings if f.severity == severity)
            )
            for severity in SEVERITIES
        }
        return {"allowed": sorted(set(self.allowed)), **found}

    def with_findings(self, more: Sequence[Finding], probe: Any = None) -> Look:
        """The same with what a probe found."""
        return replace(self, findings=tuple(in_order([*self.findings, *more])), probe=probe)

    def as_dict(self) -> dict[str, Any]:
        """For preflight.json."""
        return {
            "format": FORMAT,
            "name": self.name,
            "parent": self.parent,
            "base": self.base,
            "device": self.device,
            "passed": not self.blocking,
            "codes": self.codes(),
            "findings": [finding.as_dict() for finding in self.findings],
            "files": [asdict(file) for file in self.files],
            "answers": {role: look.as_dict() for role, look in self.answers.items()},
            "length": asdict(self.length),
            "mix": [asdict(source) for source in self.mix],
            "tokens": self.tokens,
            "trained_tokens": self.trained_tokens,
            "schedule": self.schedule and schedule.facts(self.schedule),
            "needs": self.needs and {**asdict(self.needs), "memory": self.needs.memory},
            "probe": self.probe and self.probe.as_dict(),
        }


def look_at(stage: Stage, *, progress: bool = True) -> Look:
    """Apply every rule to a prepared stage. Loads no weights."""
    data, config = stage.data, stage.config
    needs, planned = None, None
    if data.examples:
        planned = schedule.plan(
            config,
            len(data.examples),
            fresh_adapter=stage.parent is None,
            has_validation=bool(data.validation),
            processes=stage.processes,
        )
        needs = _needs(stage, planned)
    answers = _answers(stage)  # first: a schema that is not there is soon said
    findings = [*stage.found, *check_rows(stage, progress=progress), *_contents(stage)]
    findings += [finding for look in answers.values() for finding in check_answers(look)]
    findings += schedule.check_schedule(planned) if planned else []
    unused = None if stage.machine.cuda else unused_gpu()
    findings += check_machine(needs, config, unused, on_battery())
    return Look(
        name=shown(stage.request.output),
        parent=stage.parent.name if stage.parent else None,
        base=stage.base.name,
        device=stage.machine.name,
        files=tuple(_files(stage)),
        length=stage.length,
        mix=tuple(_mix(stage)),
        tokens=sum(len(example.ids) for example in data.examples),
        trained_tokens=data.trained_tokens,
        schedule=planned,
        needs=needs,
        findings=tuple(in_order(findings)),
        allowed=stage.request.allow,
        answers=answers,
    )


def _answers(stage: Stage) -> dict[str, AnswerLook]:
    """Whether answers are the JSON that they should be, by file."""
    both = {"train": stage.files.train, "validation": stage.files.validation}
    return {
        role: look_at_answers(data.rows, stage.config.data)
        for role, data in both.items()
        if data is not None
    }


def _contents(stage: Stage) -> list[Finding]:
    """Rules on what rows say: control tokens, the template's system prompt."""
    files = stage.files
    findings = default_system(files.train.rows, stage.encoder)
    for role, data in (("train", files.train), ("validation", files.validation)):
        if data is not None:
            findings += control_tokens(data.rows, stage.encoder, ROLES[role])
    return findings


def _needs(stage: Stage, planned: Schedule) -> Needs | None:
    """The estimate of memory and disk. A base of an unknown shape has none, which is no mistake."""
    from lorachain.preflight.memory import estimate
    from lorachain.training.version import tokenizer_bytes

    try:
        return estimate(
            *(stage.config, stage.precision, stage.machine),
            *(stage.base.folder, stage.request.output),
            longest=max(len(example.ids) for example in stage.data.examples),
            steps=planned.steps,
            version_bytes=tokenizer_bytes(stage.base.folder),
        )
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        log.debug("What the run needs could not be estimated: %s", error)
        return None


def _files(stage: Stage) -> list[File]:
    both = (("train", stage.files.train), ("validation", stage.files.validation))
    return [
        File(role, shown(data.path), data.format, len(data.rows), stage.lengths[role])
        for role, data in both
        if data is not None
    ]


def _mix(stage: Stage) -> list[Source]:
    """Rows and trained tokens of an epoch by where they come from, the stage's own first."""
    names = {data.path: name for name, data in stage.files.replay}
    counted: dict[str, list[int]] = {"own": [0, 0]}
    for example, group in zip(stage.data.examples, stage.data.groups, strict=True):
        name = names[example.row.path] if group else "own"
        count = counted.setdefault(name, [0, 0])
        count[0] += 1
        count[1] += example.trained_tokens
    return [Source(name, *count) for name, count in counted.items()]
