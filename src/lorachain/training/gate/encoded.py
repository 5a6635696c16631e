"""The rules on encoded rows, for a stage's own files and for what it replays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lorachain.preflight.finding import Finding
from lorachain.preflight.inputs import Length
from lorachain.preflight.lengths import Lengths
from lorachain.preflight.tokens import check_tokens, over_context

if TYPE_CHECKING:
    from lorachain.chat import ChatEncoder
    from lorachain.config import StageConfig
    from lorachain.training.data import StageData

ROLES = {"train": "training", "validation": "validation"}


def limits(config: StageConfig, context: int | None) -> Length:
    """The length limit of a stage on a base that reads `context` tokens."""
    return Length(config.data.max_seq_length, config.data.on_overlong, context)


def check_encoded(
    data: StageData, encoder: ChatEncoder, length: Length
) -> tuple[dict[str, Lengths], list[Finding]]:
    """The lengths of each of the stage's own files by role, and what the rules find in them."""
    lengths: dict[str, Lengths] = {}
    findings = list(data.findings)
    longest = max((len(row.ids) for rows in data.whole.values() for row in rows), default=0)
    for role, rows in data.whole.items():
        lengths[role], more = check_tokens(rows, length, encoder.stop_ids, ROLES[role], longest)
        findings += more
    replayed = [e for e, group in zip(data.examples, data.groups, strict=True) if group]
    return lengths, [*findings, *over_context(replayed, length, "replayed")]


def unusable(findings: list[Finding]) -> list[Finding]:
    """The errors that nobody can allow: such rows cannot be trained on."""
    return [f for f in findings if f.severity == "error" and not f.rule.allowable]
