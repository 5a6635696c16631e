"""Rules of advice, read from YAML and checked as a whole before the first one is asked.

    thresholds:                     # numbers, texts and lists that conditions and sentences name
      few_steps: 50
    rules:                          # in the order of their importance
      - id: few_steps
        title: It hardly trained
        source: travel guide, V2 to V3
        for_each: task              # task, suite or tested_suite: asked for each; or left out
        when: steps < few_steps     # see advice.conditions
        enough: score_n >= 30       # where this does not hold, there is too little to tell
        say: "{{ steps }} steps are too few."    # Jinja2, with facts, settings and thresholds
        change:                     # see advice.changes
          training.num_train_epochs: 3

`say` is rendered in a sandbox, with nothing but these values and the filter `percent`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lorachain import yamlfile
from lorachain.config import StageConfig
from lorachain.errors import UserError
from lorachain.evaluation.advice import template
from lorachain.evaluation.advice.changes import Formula, read_changes
from lorachain.evaluation.advice.conditions import Condition, asked
from lorachain.evaluation.advice.facts import fact, nearest
from lorachain.evaluation.advice.reader import Reader
from lorachain.paths import CONFIGS, shown

RULES = CONFIGS / "advice.yaml"
_KEYS = ("id", "title", "source", "for_each", "when", "enough", "say", "change")
_TEXTS = ("id", "title", "source", "say")
_SECTIONS = tuple(StageConfig.model_fields)


@dataclass(frozen=True)
class Rule:
    """One rule, checked. `asks` are the facts of its conditions, `needs` those of its formulas."""

    id: str
    title: str
    source: str
    say: str
    when: Condition
    enough: Condition | None
    change: Mapping[str, Any]
    for_each: Literal["task", "suite", "tested_suite"] | None
    thresholds: Mapping[str, Any]
    path: Path

    @property
    def asks(self) -> list[str]:
        """The facts that decide it, each once."""
        enough = asked(self.enough) if self.enough else []
        return list(dict.fromkeys([*asked(self.when), *enough]))

    @property
    def needs(self) -> list[str]:
        """The facts without which its sentence or its settings cannot be written."""
        formulas = [f for f in self.change.values() if isinstance(f, Formula) and not f.optional]
        return list(dict.fromkeys([f.fact for f in formulas]))

    @property
    def mentions(self) -> list[str]:
        """The facts and settings that its sentence names."""
        return sorted(template.mentioned(self.say) - {*self.thresholds})

    def sentence(self, known: Mapping[str, Any]) -> str:
        """`say` with these facts. Raises jinja2.UndefinedError for one that is not known, and
        UserError for a sentence that cannot be made of them."""
        import jinja2

        try:
            return template.render(self.say, self.thresholds, known)
        except jinja2.UndefinedError:
            raise
        except Exception as error:  # whatever a user's template may do
            raise UserError(
                f"{shown(self.path)}: rule {self.id}: say cannot be written: {error}. Correct it."
            ) from None


def read_rules(path: Path = RULES) -> tuple[Rule, ...]:
    """The rules of a file, in its order. Raises UserError that lists every problem by rule."""
    loaded = yamlfile.read(path, "Rules of advice")
    problems: list[str] = []
    if not isinstance(loaded, dict) or not isinstance(loaded.get("rules"), list):
        raise UserError(f"{shown(path)} must hold `rules:`, a list of rules.")
    problems += [
        f"unknown key {key}{nearest(str(key), ('thresholds', 'rules'))}"
        for key in loaded
        if key not in ("thresholds", "rules")
    ]
    thresholds = loaded.get("thresholds") or {}
    if not isinstance(thresholds, dict):
        problems.append("thresholds must hold names with values")
        thresholds = {}
    for name in thresholds:
        if not re.fullmatch(r"[A-Za-z_]\w*", str(name)) or fact(str(name)) or name in _SECTIONS:
            problems.append(f"threshold {name}: another name is needed, one that no fact has")
    rules: list[Rule] = []
    seen: set[str] = set()
    for number, row in enumerate(loaded["rules"], start=1):
        name = str(row["id"]) if isinstance(row, dict) and row.get("id") else f"number {number}"
        found = list(_problems_or_rule(row, thresholds, path))
        problems += [f"rule {name}: {problem}" for problem in found if isinstance(problem, str)]
        if name in seen:
            problems.append(f"rule {name}: another rule has this id")
        seen.add(name)
        rules += [rule for rule in found if isinstance(rule, Rule)]
    if problems:
        raise UserError(f"{shown(path)} cannot be used:\n" + "\n".join(f"  {p}" for p in problems))
    return tuple(rules)


def _problems_or_rule(row: Any, thresholds: Mapping[str, Any], path: Path) -> Iterator[str | Rule]:
    """Every problem of one rule, or the rule."""
    if not isinstance(row, dict):
        yield f"must hold {', '.join(_KEYS)}; got {row!r}"
        return
    before = [f"unknown key {k}{nearest(str(k), _KEYS)}" for k in row if k not in _KEYS]
    for key in _TEXTS:
        if not isinstance(row.get(key), str) or not row[key].strip():
            before.append(f"{key} must be a text" if key in row else f"{key} is missing")
    for_each = row.get("for_each")
    if for_each not in (None, "task", "suite", "tested_suite"):
        before.append(f"for_each is task, suite or tested_suite, got {for_each!r}")
        for_each = None
    reader = Reader(for_each, thresholds)
    when = enough = None
    if "when" in row:
        when = reader.read(row["when"])
    else:
        before.append("when is missing")
    if "enough" in row:
        enough = reader.read(row["enough"])
    change = read_changes(row.get("change") or {}, reader)
    problems = [*before, *reader.problems]
    if isinstance(row.get("say"), str):
        problems += template.problems(row["say"], for_each, thresholds)
    yield from dict.fromkeys(problems)
    if not problems:
        assert when is not None
        texts = {key: " ".join(row[key].split()) for key in ("id", "title", "source")}
        yield Rule(
            **texts,
            say=row["say"],
            when=when,
            enough=enough,
            change=change,
            for_each=for_each,
            thresholds=thresholds,
            path=path,
        )
