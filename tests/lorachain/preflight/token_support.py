"""Encoded rows and chats for the rules on tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lorachain.records import ChatRow, Message

STOP = 2


@dataclass(frozen=True)
class Row:
    """A row as the rules take it."""

    row: ChatRow
    ids: tuple[int, ...]
    trained: tuple[bool, ...]


def chat(*turns: str, line: int = 1, system: str = "", schema: str = "") -> ChatRow:
    """Turns of user and assistant in alternation."""
    messages = [Message(("user", "assistant")[i % 2], text) for i, text in enumerate(turns)]
    if system:
        messages.insert(0, Message("system", system))
    return ChatRow(tuple(messages), Path("rows.jsonl"), line, schema=schema)


def encoded(*turns: tuple[int, int], line: int = 1, stops: Sequence[bool] = ()) -> Row:
    """A row of (prompt, answer) lengths in tokens. An answer's last token is the stop token,
    unless `stops` says otherwise."""
    ids: list[int] = []
    trained: list[bool] = []
    for i, (prompt, answer) in enumerate(turns):
        ids += [7] * (prompt + answer)
        trained += [False] * prompt + [True] * answer
        if answer and (stops[i] if stops else True):
            ids[-1] = STOP
    return Row(chat("ask", "say", line=line), tuple(ids), tuple(trained))
