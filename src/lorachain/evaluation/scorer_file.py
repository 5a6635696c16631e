"""Scorers from a YAML file such as `configs/scorers.yaml`, with every problem reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lorachain import yamlfile
from lorachain.errors import UserError
from lorachain.evaluation.score import RATES
from lorachain.evaluation.scorer_kinds import KINDS, FunctionScorer, SchemaScorer, Scorer
from lorachain.evaluation.scorers import Scorers
from lorachain.evaluation.texts import nearest
from lorachain.evaluation.user_functions import load_function
from lorachain.jsonl import raise_all
from lorachain.paths import absolute, shown
from lorachain.suites import find_schema

_TOP = ("default", "tasks")


def read_scorers(path: Path) -> Scorers:
    """Read a scorers file, import its functions, find its schemas.

    Raises one UserError that lists every unknown key and kind (with the nearest known one), every
    bad value, and every function that cannot be imported.
    """
    loaded = yamlfile.read(path, "Scorers file")
    if not isinstance(loaded, dict):
        raise UserError(
            f"Scorers file {shown(path)} must hold `default:` or `tasks:` with lists of scorers."
        )
    problems = [
        f"{key}: unknown key; known are default and tasks{nearest(str(key), _TOP)}"
        for key in loaded
        if key not in _TOP
    ]
    tasks = loaded.get("tasks") or {}
    if not isinstance(tasks, dict):
        problems.append(f"tasks: must hold lists of scorers by the names of tasks, got {tasks!r}")
        tasks = {}
    default = Scorers().default
    if loaded.get("default") is not None:
        default = _listed(loaded["default"], "default", path, problems)
    by_task = {
        str(task): _listed(given, f"tasks.{task}", path, problems) for task, given in tasks.items()
    }
    raise_all(problems, f"Scorers file {shown(path)} cannot be used")
    return Scorers(default, by_task, path)


def _listed(given: Any, where: str, path: Path, problems: list[str]) -> tuple[Scorer, ...]:
    """The scorers of one task. What is wrong with them is added to `problems`."""
    if not isinstance(given, list) or not given:
        problems.append(f"{where}: must be a list of scorers (`- kind: ...`)")
        return ()
    found: dict[str, Scorer] = {}
    for i, entry in enumerate(given):
        spot = f"{where}[{i}]"
        scorer = _scorer({"kind": entry} if isinstance(entry, str) else entry, spot, problems)
        if scorer is not None:
            try:
                _complete(scorer, path)
            except (ValueError, UserError) as error:
                problems.append(f"{spot}: {error}")
            found[spot] = scorer
    problems += _clashes(found, where)
    return tuple(found.values())


def _scorer(given: Any, where: str, problems: list[str]) -> Scorer | None:
    if not isinstance(given, Mapping):
        problems.append(f"{where}: must be a scorer (`kind: ...`), got {given!r}")
        return None
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        said = "needs `kind`" if kind is None else f"unknown kind {kind!r}"
        problems.append(f"{where}: {said}; known are {', '.join(KINDS)}{nearest(str(kind), KINDS)}")
        return None
    model = KINDS[kind]
    try:
        return model.model_validate({str(key): value for key, value in given.items()})
    except ValidationError as error:
        known = [f.alias or name for name, f in model.model_fields.items()]
        problems += [f"{where}: {_sentence(item, known)}" for item in _errors(error)]
        return None


def _errors(error: ValidationError) -> list[Any]:
    return list(error.errors(include_url=False, include_context=False))


def _sentence(item: Mapping[str, Any], known: list[str]) -> str:
    key = str(item["loc"][0]) if item["loc"] else ""
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        return f"unknown key {key}; known are {', '.join(known)}{nearest(key, known)}"
    if item["type"] == "missing":
        return f"needs `{key}`"
    return f"`{key}` {message}, got {item['input']!r}" if key else message


def _complete(scorer: Scorer, path: Path) -> None:
    """Fetch what a scorer names. Raises ValueError or UserError where it cannot be had."""
    if isinstance(scorer, FunctionScorer):
        scorer.use(load_function(scorer.function, (path.parent, Path.cwd())))
    if isinstance(scorer, SchemaScorer) and scorer.named is not None:
        is_file = scorer.named.endswith(".json")
        name = str(absolute(path.parent, scorer.named)) if is_file else scorer.named
        scorer.use(find_schema(name))


def _clashes(scorers: Mapping[str, Scorer], where: str) -> list[str]:
    """Two columns of one name, names that our own columns have, more than one headline."""
    problems = []
    seen: set[str] = set()
    for spot, scorer in scorers.items():
        if scorer.metric in (*RATES, "schema") and not isinstance(scorer, SchemaScorer):
            problems.append(f"{spot}: the name {scorer.metric} is kind schema's own")
        elif scorer.metric in seen:
            problems.append(f"{spot}: {scorer.label} stands here twice; give it another `name`")
        seen.add(scorer.metric)
    if sum(scorer.headline for scorer in scorers.values()) > 1:
        problems.append(f"{where}: more than one scorer is marked `headline`")
    return problems
