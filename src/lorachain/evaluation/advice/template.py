"""A rule's sentence: a Jinja2 template in a sandbox, checked before any fact is known.

It sees facts, settings by section (`training.learning_rate`), thresholds and the filter `percent`,
and no function at all.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lorachain.config import KNOWN_KEYS, StageConfig
from lorachain.evaluation.advice.conditions import text_of
from lorachain.evaluation.advice.facts import FACTS, fact, in_scope, nearest

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.sandbox import SandboxedEnvironment

_SECTIONS = tuple(StageConfig.model_fields)
_SAMPLES = {"number": 2.0, "text": "a text", "flag": True, "other": [1]}


def render(say: str, thresholds: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """The sentence, on one line. Raises jinja2.UndefinedError for a fact that is not known."""
    text = _environment().from_string(say).render(_context(thresholds, known))
    return " ".join(text.split())


def mentioned(say: str) -> set[str]:
    """The names that a template takes from outside, its settings as dotted keys."""
    names, settings = _mentioned(_environment().parse(say))
    return (names - {*_SECTIONS}) | settings


def problems(say: str, for_each: str | None, thresholds: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a template, found by writing it once with every fact that it can have."""
    import jinja2

    environment = _environment()
    try:
        tree = environment.parse(say)
        template = environment.from_string(say)
    except jinja2.TemplateSyntaxError as error:
        yield f"say: {error.message}"
        return
    usable = [n for n in FACTS if in_scope(n, for_each)]
    known = [*usable, *thresholds, *_SECTIONS]
    mentioned, settings = _mentioned(tree)
    names = sorted(mentioned - {*known})
    yield from (f"say: unknown fact {name}{nearest(name, known)}" for name in names)
    unknown = sorted(settings - {*KNOWN_KEYS})
    yield from (f"say: unknown setting {key}{nearest(key, KNOWN_KEYS)}" for key in unknown)
    if names or unknown:
        return
    kinds = {n: found.kind for n in (*usable, *KNOWN_KEYS) if (found := fact(n)) is not None}
    try:
        template.render(_context(thresholds, {n: _SAMPLES[kind] for n, kind in kinds.items()}))
    except Exception as error:
        yield f"say: cannot be written: {error}"


def _mentioned(tree: nodes.Template) -> tuple[set[str], set[str]]:
    """The names that a template needs, and those of its settings as dotted keys."""
    from jinja2 import meta, nodes

    settings = {
        f"{node.node.name}.{node.attr}"
        for node in tree.find_all(nodes.Getattr)
        if isinstance(node.node, nodes.Name) and node.node.name in _SECTIONS
    }
    return meta.find_undeclared_variables(tree), settings


def _context(thresholds: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Thresholds, facts, and settings by section: `training.learning_rate`."""
    context: dict[str, Any] = {**thresholds, **{section: {} for section in _SECTIONS}}
    for name, value in known.items():
        section, dot, key = name.partition(".")
        if dot:
            context[section][key] = value
        else:
            context[name] = value
    return context


@functools.cache
def _environment() -> SandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        finalize=text_of,
        autoescape=False,  # it is plain text; the report escapes it where it shows it
    )
    environment.globals.clear()
    environment.filters["percent"] = _percent
    return environment


def _percent(share: float) -> str:
    """'13.5%' of 0.135."""
    return f"{100 * share:.3g}%"
