"""--show-sample: rows as the model sees them, the trained tokens marked, for a person to read."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from itertools import groupby

from lorachain.errors import UserError
from lorachain.training.dataset import Example
from lorachain.training.gate.encoded import unusable
from lorachain.training.gate.words import spelled
from lorachain.training.stage import Request, prepare

log = logging.getLogger("lorachain")

_GREEN, _DIM, _OFF = "\x1b[30;42m", "\x1b[2m", "\x1b[0m"


def show_sample(request: Request, count: int) -> None:
    """Print `count` rows spread over the training data. No weights are loaded."""
    stage = prepare(request)
    if bad := unusable(stage.found):
        raise UserError(spelled(bad))
    for finding in stage.found:
        log.warning("%s: %s", finding.code, finding.says)
    examples = stage.data.examples
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    count = min(count, len(examples))
    chosen = [examples[i * len(examples) // count] for i in range(count)]
    decode = stage.tokenizer.decode
    for example in chosen:
        sys.stdout.write(marked(example, decode, colour=colour) + "\n\n")
    legend = "green" if colour else "[[ ]]"
    total = sum(len(example.ids) for example in examples)
    trained = stage.data.trained_tokens
    sys.stdout.write(
        f"{len(examples)} rows, {total} tokens, of which {trained} ({trained / total:.0%}) are "
        f"trained: those in {legend}.\n"
    )


def marked(example: Example, decode: Callable[[list[int]], str], *, colour: bool) -> str:
    """One row's text with its trained stretches in green, or between [[ and ]]."""
    before, after = (_GREEN, _OFF) if colour else ("[[", "]]")
    head = f"{example.row.where}: {len(example.ids)} tokens, {example.trained_tokens} trained"
    text = []
    at = 0
    for trained, run in groupby(example.trained):
        length = len(list(run))
        piece = decode(list(example.ids[at : at + length]))
        text.append(f"{before}{piece}{after}" if trained else piece)
        at += length
    return f"{_DIM}{head}{_OFF}\n{''.join(text)}" if colour else f"{head}\n{''.join(text)}"
