"""Base against one version on one suite, for people: outputs, metrics, and every schema failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from lorachain.evaluation import metrics, stats, verdicts
from lorachain.evaluation.contract import Contract, Kept, keep, read_contract
from lorachain.evaluation.evaluate import BASE, Evaluation, VersionResult
from lorachain.evaluation.paired import Paired, pair_up
from lorachain.evaluation.score import Scored, task_of
from lorachain.suites import Suite

FORMAT = 1
HEAD = 400  # characters of a failed answer that are shown

TUNED = "finetuned"
RATES = (
    "strict_parse",
    "lenient_parse",
    "required_fields",
    "envelope_valid",
    "payload_valid",
    "schema_valid",
    "strict_valid",
    "task_valid",
    "strict_task_valid",
)


@dataclass(frozen=True)
class Sample:
    """One answer with what it keeps of its item's contract (None: the item names no schema)."""

    scored: Scored
    kept: Kept | None

    def value(self, rate: str) -> float | None:
        """1 or 0 by one of RATES; None where the item does not ask for it."""
        kept, score = self.kept, self.scored.score
        if rate in ("task_valid", "strict_task_valid"):
            return score.metric(rate)
        if kept is None:
            return None
        found = {
            "strict_parse": kept.answer.strict,
            "lenient_parse": kept.answer.lenient,
            "required_fields": not kept.missing,
            "envelope_valid": kept.envelope,
            "payload_valid": kept.payload,
            "schema_valid": kept.whole,
            "strict_valid": kept.strict,
        }[rate]
        return None if found is None else float(found)


@dataclass(frozen=True)
class Line:
    """One rate of both sides, and the difference between them."""

    rate: str
    base: float | None
    tuned: float | None
    paired: Paired
    p_holm: float | None
    verdict: str
    reason: str


@dataclass(frozen=True)
class Samples:
    """What `run_samples` found. `evaluation` holds the base, one version, and one suite."""

    evaluation: Evaluation
    margin: float = 0.05

    @property
    def suite(self) -> Suite:
        """The suite."""
        return self.evaluation.suites[0]

    @property
    def results(self) -> dict[str, VersionResult]:
        """{base or finetuned: the result}."""
        sides = {r.version.folder is None: r for r in self.evaluation.versions}
        return {BASE: sides[True], TUNED: sides[False]}

    @cached_property
    def contracts(self) -> dict[str, Contract]:
        """The suite's schemas in their parts, by name."""
        return {n: read_contract(n, schema) for n, schema in self.suite.schemas.items()}

    @cached_property
    def sides(self) -> dict[str, list[Sample]]:
        """{base or finetuned: every answer, in the suite's order}."""
        return {
            side: [_sample(scored, self.contracts) for scored in result.answers[self.suite.name]]
            for side, result in self.results.items()
        }

    @cached_property
    def lines(self) -> list[Line]:
        """Each rate that the suite asks for; the headline's first. Holm holds for the others."""
        known = [r for r in RATES if any(s.value(r) is not None for s in self.sides[TUNED])]
        headline = next((r for r in metrics.HEADLINES if r in known), known[0] if known else "")
        found = [(rate, self._paired(rate)) for rate in known]
        family = [paired.p for rate, paired in found if rate != headline and paired.p is not None]
        adjusted = iter(stats.holm(family))
        lines = []
        for rate, paired in found:
            first = rate == headline
            p = paired.p if first or paired.p is None else next(adjusted)
            size = 1 if first else len(family)
            verdict, reason = verdicts.judge(paired, p, size, self.margin, self._cut(rate))
            base, tuned = (_mean(self.sides[side], rate) for side in (BASE, TUNED))
            lines.append(Line(rate, base, tuned, paired, p, verdict, reason))
        return sorted(lines, key=lambda line: line.rate != headline)

    @cached_property
    def tasks(self) -> dict[str, list[int]]:
        """The places of each task's items."""
        found: dict[str, list[int]] = {}
        for i, item in enumerate(self.suite.items):
            if task := task_of(item):
                found.setdefault(task, []).append(i)
        return dict(sorted(found.items()))

    def mean(self, side: str, rate: str, places: Sequence[int]) -> float | None:
        """One side's rate over these items."""
        return _mean([self.sides[side][i] for i in places], rate)

    def _cut(self, rate: str) -> verdicts.Cut:
        """How many of the answers that are compared ended at the token limit, on each side."""
        base, tuned = self.sides[BASE], self.sides[TUNED]
        pairs = [
            (a.scored.generated.finish == "length", b.scored.generated.finish == "length")
            for a, b in zip(base, tuned, strict=True)
            if a.value(rate) is not None and b.value(rate) is not None
        ]
        return verdicts.Cut(sum(a for a, _ in pairs), sum(b for _, b in pairs), len(pairs))

    def _paired(self, rate: str) -> Paired:
        base, tuned = ([s.value(rate) for s in self.sides[side]] for side in (BASE, TUNED))
        return pair_up(base, tuned, metrics.cluster_labels(self.suite.items))

    def outputs(self, side: str) -> list[dict[str, Any]]:
        """Rows of base_outputs.jsonl or finetuned_outputs.jsonl."""
        return [_output(sample) for sample in self.sides[side]]

    def failures(self) -> list[dict[str, Any]]:
        """Rows of schema_failures_debug.jsonl: each answer that breaks its contract."""
        return [
            _failure(side, sample)
            for side, samples in self.sides.items()
            for sample in samples
            if sample.kept is not None and not sample.kept.whole
        ]

    def metrics(self, now: datetime) -> dict[str, Any]:
        """comparison_metrics.json."""
        tuned = self.results[TUNED].version
        return {
            "format": FORMAT,
            "created": now.isoformat(timespec="seconds"),
            "base_model": self.evaluation.base.name,
            "version": {"name": tuned.name, "sha256": tuned.sha256},
            "suite": {
                "name": self.suite.name,
                "path": str(self.suite.path),
                "sha256": self.suite.sha256,
                "n": len(self.suite.items),
            },
            **{side: self._side(side) for side in (BASE, TUNED)},
            "headline": self.lines[0].rate if self.lines else None,
            "difference": {line.rate: _difference(line) for line in self.lines},
            "scoring": dict(self.evaluation.scoring),
            "settings": {side: r.settings.as_dict() for side, r in self.results.items()},
        }

    def _side(self, side: str) -> dict[str, Any]:
        samples = self.sides[side]
        by_task = {
            task: self._figures([samples[i] for i in places]) for task, places in self.tasks.items()
        }
        return {**self._figures(samples), "by_task": by_task}

    def _figures(self, samples: Sequence[Sample]) -> dict[str, Any]:
        rates = {rate: _mean(samples, rate) for rate in RATES}
        kept = [sample.kept for sample in samples if sample.kept is not None]
        made = [sample.scored.generated for sample in samples]
        output = sum(answer.output_tokens for answer in made)
        fields = dict.fromkeys(key for c in self.contracts.values() for key in c.required)
        return {
            "n": len(samples),
            "scored": len(kept),
            "parse_rate": {"strict": rates["strict_parse"], "lenient": rates["lenient_parse"]},
            "root_types": _counted(k.answer.root_type for k in kept),
            "tiers": _counted(k.answer.tier for k in kept),
            "required_fields_present_rate": rates["required_fields"],
            "required_fields": {
                key: round(sum(key not in k.missing for k in kept) / len(kept), 4)
                for key in fields
                if kept
            },
            "schema_valid_rate": {
                "envelope": rates["envelope_valid"],
                "payload": rates["payload_valid"],
                "whole": rates["schema_valid"],
                "whole_strict": rates["strict_valid"],
            },
            "task_valid_rate": {
                "strict": rates["strict_task_valid"],
                "lenient": rates["task_valid"],
            },
            "failures": _counted(f["kind"] for k in kept for f in k.failures),
            "tokens": {
                "prompt": sum(answer.prompt_tokens for answer in made),
                "output": output,
                "output_mean": round(output / len(made), 2) if made else None,
            },
            "finish_reasons": _counted(answer.finish for answer in made),
        }

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """{side: {what: {kind: how many}}}, the commonest first: for a quick look."""
        found = {}
        for side, samples in self.sides.items():
            kept = [sample.kept for sample in samples if sample.kept is not None]
            found[side] = {
                "root types": _counted(k.answer.root_type for k in kept),
                "schema failures": _counted(
                    f"{f['part']} {f['kind']}" for k in kept for f in k.failures
                ),
                "finish": _counted(sample.scored.generated.finish for sample in samples),
            }
        return found


def _sample(scored: Scored, contracts: Mapping[str, Contract]) -> Sample:
    contract, made = contracts.get(scored.item.schema or ""), scored.generated
    if contract is None:
        return Sample(scored, None)
    return Sample(scored, keep(made.text, contract, cut=made.finish == "length"))


def _counted(kinds: Iterable[str]) -> dict[str, int]:
    return dict(Counter(kinds).most_common())


def _mean(samples: Sequence[Sample], rate: str) -> float | None:
    values = [value for s in samples if (value := s.value(rate)) is not None]
    return round(sum(values) / len(values), 4) if values else None


def _output(sample: Sample) -> dict[str, Any]:
    item, made, kept = sample.scored.item, sample.scored.generated, sample.kept
    return {
        "id": item.id,
        "task": task_of(item),
        "messages": [{"role": turn.role, "content": turn.content} for turn in item.messages],
        "reference": item.reference if item.answer is None else item.answer,
        "output": made.text,
        "finish": made.finish,
        "prompt_tokens": made.prompt_tokens,
        "output_tokens": made.output_tokens,
        "seconds": made.seconds,
        "batch_size": made.batch_size,
        "scores": {rate: sample.value(rate) for rate in RATES},
        "root_type": None if kept is None else kept.answer.root_type,
        "tier": None if kept is None else kept.answer.tier,
        "missing_fields": [] if kept is None else list(kept.missing),
    }


def _failure(side: str, sample: Sample) -> dict[str, Any]:
    item, made, kept = sample.scored.item, sample.scored.generated, sample.kept
    assert kept is not None
    return {
        "id": item.id,
        "task": task_of(item),
        "model": side,
        "root_type": kept.answer.root_type,
        "tier": kept.answer.tier,
        "finish": made.finish,
        "failures": [dict(failure) for failure in kept.failures],
        "head": made.text[:HEAD],
        "characters": len(made.text),
    }


def _difference(line: Line) -> dict[str, Any]:
    paired = asdict(line.paired)
    del paired["narrow"]
    return {
        "base": line.base,
        TUNED: line.tuned,
        **paired,
        "p_holm": line.p_holm,
        "verdict": line.verdict,
        "reason": line.reason,
    }
