"""What a run would cost, before it begins and without a call."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar

from lorachain.datagen.budget import cost_of, likely_tokens, worst_case
from lorachain.datagen.forms import first_form
from lorachain.datagen.request import RequestMaker
from lorachain.datagen.rowfiles import RowIndex
from lorachain.datagen.rows import Row
from lorachain.datagen.stage import Options, Stage
from lorachain.datagen.store import CallStore
from lorachain.datagen.teacher_config import TeacherConfig

R = TypeVar("R", bound=Row)
_USUAL_TOKENS = 900  # of an answer, until rows of this stage say better


@dataclass
class Estimate:
    """Of the rows that are not done. `likely_usd` and `most_usd` are None without a price table;
    `most_usd` is one request a row at its worst, with the dearest model: retries are not in it."""

    rows: int = 0
    calls: int = 0
    in_store: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    likely_usd: float | None = 0.0
    most_usd: float | None = 0.0


def estimate(stage: Stage[R], config: TeacherConfig, options: Options) -> Estimate:
    """Count what a run with these options would ask. Changes no file."""
    found = Estimate()
    maker = RequestMaker(config)
    first = config.models[0]
    priced = all(model in config.prices for model in config.models)
    done, mean = _done(stage, options)
    todo = [id_ for id_ in stage.ids if id_ not in done][: options.limit]
    found.rows = len(todo)
    with CallStore(config.store) if config.store.is_dir() else nullcontext() as store:
        for id_ in todo:
            for ask in stage.asks(id_):
                if store is not None and maker.key(ask, first, 0) in store:
                    found.in_store += 1
                    continue
                prompt = sum(likely_tokens(m["content"]) for m in ask.messages)
                found.calls += 1
                found.prompt_tokens += prompt
                found.output_tokens += mean
                if not priced:
                    continue
                body = maker.body(ask, first, 0, first_form(config, ask))
                found.likely_usd = (found.likely_usd or 0) + cost_of(
                    config.prices[first], prompt, mean
                )
                found.most_usd = (found.most_usd or 0) + max(
                    worst_case(config.prices[model], ask.messages, body, config.request.max_tokens)
                    for model in config.models
                )
    if not priced:
        found.likely_usd = found.most_usd = None
    return found


def _done(stage: Stage[R], options: Options) -> tuple[set[str], int]:
    """The ids that are done, and the mean tokens of their answers."""
    if not stage.output.is_file() or options.restart:
        return set(), _USUAL_TOKENS
    rows = RowIndex(stage.output, stage.kind, dry_run=options.dry_run)
    done: set[str] = set()
    tokens: list[int] = []
    for id_ in stage.ids:
        if id_ in rows and getattr(rows[id_], "stamp", "") == stage.stamp(id_):
            done.add(id_)
            tokens += [call.get("output_tokens", 0) for call in stage.calls(rows[id_])]
    mean = round(sum(tokens) / len(tokens)) if tokens else _USUAL_TOKENS
    return done, mean


def estimate_text(stage: Stage[R], config: TeacherConfig, found: Estimate) -> str:
    """The estimate for people."""
    lines = [
        f"{stage.name}: {found.rows} rows to make, {found.calls} calls to {config.models[0]}"
        + (f", {found.in_store} answers in the store already" if found.in_store else ""),
        f"About {found.prompt_tokens:,} tokens in and {found.output_tokens:,} out.",
    ]
    if found.likely_usd is None or found.most_usd is None:
        lines.append("Cost: unknown. Name the models' prices under prices: in the config.")
    else:
        lines.append(
            f"About ${found.likely_usd:.2f}; at most ${found.most_usd:.2f} where each call takes "
            "one request (--max-usd is a hard limit)."
        )
        lines.append(prices_text(config))
    if config.limits.rpm:
        lines.append(f"At {config.limits.rpm:g} requests a minute: {_minutes(found, config)}.")
    return "\n".join(lines)


def prices_text(config: TeacherConfig) -> str:
    """Which price table an estimate stands on."""
    table = "; ".join(
        f"{model} {config.prices[model].prompt:g} in, {config.prices[model].completion:g} out"
        for model in config.models
    )
    return f"By prices: of the config, in US dollars per million tokens ({table}); check them."


def _minutes(found: Estimate, config: TeacherConfig) -> str:
    minutes = found.calls / (config.limits.rpm or 1)
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
