"""The decode loop: a batch of prompts in, one answer after another out, as each is finished.

A loop of our own over the model's forward pass, instead of `model.generate`, because

1. nothing of a base's generation_config (repetition penalty, top-k, ...) can reach it: greedy is
   the largest logit and no more;
2. finished rows leave the batch while the others go on, and each answer is handed out at once;
3. a row's random numbers depend on its prompt and the seed, not on its neighbours in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from inspect import signature
from time import monotonic
from typing import Any

import torch

from lorachain.evaluation.generated import Decoding, Finish


@dataclass(frozen=True)
class Decoded:
    """One answer's token ids, without the prompt. The token that ended it is the last of them.

    `seconds` run from the start of its batch to its own end.
    """

    ids: tuple[int, ...]
    finish: Finish
    seconds: float


@dataclass
class _Row:
    """One prompt of a running batch."""

    index: int
    room: int
    draw: torch.Generator | None
    ids: list[int]


@torch.inference_mode()
def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    stop: Sequence[int],
    decoding: Decoding,
    on_answer: Callable[[int, Decoded], None],
    context: int | None = None,
) -> None:
    """Answer all prompts in one batch; `on_answer(index, answer)` is called as each is finished.

    `context` is the longest text that the model was made for; an answer that reaches it ends with
    finish `length`. Raises torch's own errors when memory runs out.
    """
    started = monotonic()
    device = model.get_input_embeddings().weight.device
    rows = [
        _Row(i, _room(len(ids), decoding, context), _randomness(ids, decoding, device), [])
        for i, ids in enumerate(prompts)
    ]
    ids, mask = left_padded(prompts, device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache = None
    with _last_logits_contiguous(model):
        while rows:
            logits, cache = _forward(model, ids, mask, positions, cache)
            chosen = _choose(logits, rows, decoding)
            keep = []
            for i, (row, token) in enumerate(zip(rows, chosen.tolist(), strict=True)):
                row.ids.append(token)
                if token in stop or len(row.ids) >= row.room:
                    finish: Finish = "eos" if token in stop else "length"
                    answer = Decoded(tuple(row.ids), finish, monotonic() - started)
                    on_answer(row.index, answer)
                else:
                    keep.append(i)
            if len(keep) < len(rows):
                at = torch.tensor(keep, dtype=torch.long, device=device)
                rows = [rows[i] for i in keep]
                if not rows:
                    return
                cache.batch_select_indices(at)
                chosen, mask, positions = chosen[at], mask[at], positions[at]
            ids = chosen[:, None]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            positions = positions[:, -1:] + 1


def left_padded(prompts: Sequence[Sequence[int]], device: Any) -> tuple[Any, Any]:
    """Token ids [batch, longest] that end together, and their mask (0 where there is padding)."""
    longest = max(map(len, prompts))
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, prompt in enumerate(prompts):
        ids[i, longest - len(prompt) :] = torch.tensor(prompt)
        mask[i, longest - len(prompt) :] = 1
    return ids.to(device), mask.to(device)


def _forward(model: Any, ids: Any, mask: Any, positions: Any, cache: Any) -> tuple[Any, Any]:
    """Logits [batch, vocabulary] of the next token, and the cache."""
    only_last = {"logits_to_keep": 1} if _keeps_logits(model) else {}
    output = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        **only_last,
    )
    return output.logits[:, -1], output.past_key_values


def _keeps_logits(model: Any) -> bool:
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in signature(type(inner).forward).parameters


@contextmanager
def _last_logits_contiguous(model: Any) -> Iterator[None]:
    """Hand the LM head a contiguous input.

    The last position is cut out of [batch, length, hidden] as a view, and torch multiplies such a
    view row by row with as many copies of the head's weight: at 32 prompts and a vocabulary of
    49,152 that took 1.8 GB and more time than the whole rest of the prompt.
    """
    head = model.get_output_embeddings()
    if head is None:
        yield
        return
    hook = head.register_forward_pre_hook(lambda _, given: (given[0].contiguous(), *given[1:]))
    try:
        yield
    finally:
        hook.remove()


def _choose(logits: Any, rows: Sequence[_Row], decoding: Decoding) -> Any:
    """The next token of each row [batch]."""
    if decoding.temperature == 0:
        return logits.argmax(-1)
    odds = (logits.float() / decoding.temperature).softmax(-1)
    if decoding.top_p < 1:
        ranked, order = odds.sort(descending=True)
        outside = ranked.cumsum(-1) - ranked >= decoding.top_p
        outside[:, 0] = False  # the likeliest token always stays
        odds = odds.scatter(1, order, ranked.masked_fill(outside, 0.0))
    # The least of exponential variables with these rates: a draw by `odds` that rounding in
    # another batch hardly ever changes, unlike a walk along their sums.
    noise = [torch.empty_like(odds[0]).exponential_(generator=row.draw) for row in rows]
    return (odds / torch.stack(noise)).argmax(-1)


def _room(prompt: int, decoding: Decoding, context: int | None) -> int:
    if context is None:
        return decoding.max_new_tokens
    return max(1, min(decoding.max_new_tokens, context - prompt))


def _randomness(prompt: Sequence[int], decoding: Decoding, device: Any) -> torch.Generator | None:
    if decoding.temperature == 0:
        return None
    digest = sha256(repr((decoding.seed, list(prompt))).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)
