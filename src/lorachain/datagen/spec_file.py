"""Reading a spec with its templates: every problem at once, before anything is planned."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lorachain import yamlfile
from lorachain.checks import check_problem
from lorachain.datagen.spec import AXES, ID, Slot, Spec, Task, expected_of, schema_of
from lorachain.datagen.wordings import Wording, names_in, read_wordings, wording
from lorachain.errors import UserError
from lorachain.files import canonical_json, sha256_text
from lorachain.jsonl import raise_all
from lorachain.paths import PROJECT_ROOT, shown
from lorachain.schemas import find_schema

TEMPLATES = "templates"  # the folder beside a spec
_NAME = re.compile(r"[^\W\d]\w*")
_SCHEMA = re.compile(r"[\w-]+")  # every later stage finds it by its name, from any folder


@dataclass(frozen=True)
class Loaded:
    """A spec with its templates read. `files` are all that was read."""

    path: Path
    spec: Spec
    wordings: Mapping[str, tuple[Wording, ...]]
    files: tuple[Path, ...]

    @property
    def sha256(self) -> str:
        """One hash over every wording and all settings but the counts, which shape no row."""
        texts = {task: [w.source for w in found] for task, found in self.wordings.items()}
        without: Any = {"count": True, "tasks": {"__all__": {"count"}}}
        settings = self.spec.model_dump(mode="json", exclude=without)
        return sha256_text(canonical_json([settings, texts]))

    def count(self, task: str) -> int:
        """How many prompts a task is to have."""
        count = self.spec.tasks[task].count
        return self.spec.count if count is None else count

    def slots(self, task: str) -> dict[str, Slot]:
        """The slots that a task may use: the spec's, with its own in their place."""
        return self.spec.slots | self.spec.tasks[task].slots

    def used(self, task: str, names: Iterable[str]) -> dict[str, Slot]:
        """The slots that fill these names, and those that their values look at, in order."""
        slots = self.slots(task)
        found: set[str] = set()
        todo = set(names) & slots.keys()
        while todo:
            name = todo.pop()
            found.add(name)
            todo |= (looks_at(slots[name], f"slots.{name}") & slots.keys()) - found
        return {name: slot for name, slot in slots.items() if name in found}

    def axis(self, task: str, name: str) -> list[str]:
        """The values of an axis, each as often as its weight says."""
        key = AXES[name]
        weights = getattr(self.spec.tasks[task], key) or getattr(self.spec, key)
        return [value for value, weight in weights.items() for _ in range(weight)]


def load_spec(path: Path) -> Loaded:
    """Read a spec and its templates. Raises one UserError that lists every problem."""
    values = yamlfile.read(path, "Spec")
    if not isinstance(values, dict):
        raise UserError(f"Spec {shown(path)} must hold settings (id:, tasks:, slots:).")
    title = f"The spec {shown(path)} cannot be used"
    try:
        spec = Spec.model_validate(values)
    except ValidationError as error:
        raise_all([_sentence(item) for item in error.errors(include_url=False)], title)
        raise
    problems: list[str] = []
    folder = path.parent / TEMPLATES
    wordings = {
        name: tuple(_wordings(name, task, folder, problems)) for name, task in spec.tasks.items()
    }
    files = {folder / name for task in spec.tasks.values() for name in task.templates}
    loaded = Loaded(path, spec, wordings, (path, *sorted(files)))
    raise_all([*problems, *_problems(loaded)], title)
    return loaded


def looks_at(slot: Slot, where: str) -> set[str]:
    """The names of axes and slots that a slot's values depend on."""
    names = {name for text in slot.texts() for name in names_in(text, where)}
    return names | ({slot.by} if slot.by else set())


def _wordings(name: str, task: Task, folder: Path, problems: list[str]) -> Iterator[Wording]:
    for i, text in enumerate(task.prompts, 1):
        try:
            yield wording(f"{name}#{i}", text)
        except UserError as error:
            problems.append(f"tasks.{name}: {error}")
    for file in task.templates:
        try:
            yield from read_wordings(folder / file, file)
        except UserError as error:
            problems.append(f"tasks.{name}: {error}")


def _problems(loaded: Loaded) -> Iterator[str]:
    """What is wrong though every setting has the right type: names that nothing fills, schemas."""
    for name, task in loaded.spec.tasks.items():
        if not ID.fullmatch(name):
            yield f"tasks.{name}: a task's name holds letters, digits, `_`, `-` and `.` only"
        known = [*loaded.slots(name), *(axis for axis in AXES if loaded.axis(name, axis))]
        for found in loaded.wordings[name]:
            for unknown in sorted(found.names - set(known)):
                yield f"tasks.{name}: {found.name} asks for {unknown}, which no slot fills" + (
                    _nearest(unknown, known)
                )
        try:
            yield from (f"tasks.{name}: {problem}" for problem in _slot_problems(loaded, name))
        except UserError as error:  # a value that is no template
            yield f"tasks.{name}: {error}"
        for path, value in expected_of(task).items():
            if problem := check_problem({"path": path, "value": value}):
                yield f"tasks.{name}.expected: {problem}"
        schema = schema_of(loaded.spec, task)
        if schema is not None and not _SCHEMA.fullmatch(schema):
            yield f"tasks.{name}.schema: name a schema of configs/schemas, and put yours there"
        elif schema is not None:
            try:
                find_schema(schema, PROJECT_ROOT)
            except UserError as error:
                yield f"tasks.{name}.schema: {error}"


def _slot_problems(loaded: Loaded, task: str) -> Iterator[str]:
    """A slot may look at axes and at the slots above it, so that none waits for itself."""
    above = {axis for axis in AXES if loaded.axis(task, axis)}
    names = {name for wording in loaded.wordings[task] for name in wording.names}
    for name, slot in loaded.used(task, names).items():
        if not _NAME.fullmatch(name) or name in AXES:
            yield f"slots.{name}: not a name that a slot can have"
        for other in sorted(looks_at(slot, f"slots.{name}") - above):
            yield f"slots.{name}: {other} is no axis and no slot above it{_nearest(other, above)}"
        if slot.by and slot.by in AXES and slot.of:
            for value in sorted(set(loaded.axis(task, slot.by)) - slot.of.keys()):
                yield f"slots.{name}.of has nothing for the {slot.by} {value!r}"
        above.add(name)


_KNOWN = sorted(
    {field.alias or name for m in (Spec, Task, Slot) for name, field in m.model_fields.items()}
)


def _sentence(item: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{place}: no such setting{_nearest(str(item['loc'][-1]), _KNOWN)}"
    message = item["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, sorted(known), n=1)
    return f" (did you mean {found[0]}?)" if found else ""
