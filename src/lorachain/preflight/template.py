"""Rules over rows and the base's chat template: what looks like its tokens, and what it adds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from lorachain.chat import ChatEncoder
from lorachain.preflight.finding import Finding, found
from lorachain.records import ChatRow, Message

_MARK = "\ue000"
_LOOKS_LIKE_CONTROL = r"<\|[a-z_]{2,40}\|>"  # of some template, if not of this one
_CLIP = 100


def control_tokens(
    rows: Sequence[ChatRow], encoder: ChatEncoder, role: str = "training"
) -> list[Finding]:
    """Contents that hold the text of a control token, of this base or of another's template.

    It is encoded as text, so it opens no turn and ends none. Mostly it is what an export of a chat
    left behind, and the model then learns to write it.
    """
    texts = sorted(encoder.control_tokens, key=len, reverse=True)
    pattern = re.compile("|".join([*map(re.escape, texts), _LOOKS_LIKE_CONTROL]))
    seen: Counter[str] = Counter()
    where = []
    for row in rows:
        inside = {text for turn in row.messages for text in pattern.findall(turn.content)}
        seen.update(inside)
        if inside:
            where.append(row.where)
    if not where:
        return []
    listed = ", ".join(f"{text} in {n:,}" for text, n in seen.most_common(3))
    return [
        found(
            "control-tokens",
            f"{len(where):,} of {len(rows):,} {role} rows hold text that looks like a control "
            f"token: {listed}. It is trained as plain text.",
            "Remove what an export left behind (turns come from the row's roles alone); where the "
            "text is meant, leave it.",
            where,
            texts=dict(seen),
        )
    ]


def default_system(rows: Sequence[ChatRow], encoder: ChatEncoder) -> list[Finding]:
    """A system prompt that the template puts before rows that have none."""
    text = system_text(encoder)
    without = sum(row.messages[0].role != "system" for row in rows)
    if not text or not without:
        return []
    shown = text if len(text) <= _CLIP else f"{text[:_CLIP]}..."
    return [
        found(
            "default-system",
            f"The base's template puts a system prompt of its own before {without:,} of "
            f"{len(rows):,} rows: {shown!r}.",
            "Ask through the same template, which does so again; or give every row a `system`.",
            text=text,
            rows=without,
        )
    ]


def system_text(encoder: ChatEncoder) -> str:
    """What the template says before the first turn of a chat without a system prompt, or ''.

    That is what stands before the first user turn and before no later one, without control tokens
    and the name of the role.
    """
    turns = (Message("user", _MARK), Message("assistant", "."), Message("user", _MARK))
    parts = encoder.render(turns, generation=False).split(_MARK)
    if len(parts) != 3:
        return ""
    first, later = parts[0], parts[1]
    same = 0
    while same < min(len(first), len(later)) and first[-1 - same] == later[-1 - same]:
        same += 1
    left = first[: len(first) - same]
    for token in sorted(encoder.control_tokens, key=len, reverse=True):
        left = left.replace(token, "\n")
    return re.sub(r"^\s*system\s*\n", "", left).strip()
