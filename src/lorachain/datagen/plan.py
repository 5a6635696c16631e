"""From a spec to its prompts: the same spec gives the same plan, byte for byte.

    loaded = load_spec(Path("data/specs/dataset_v1_spec.yaml"))
    made = make_plan(loaded, read_asked(SUITES))
    made.rows

Each task has an endless line of prompts, of which a plan takes the first `count`: asking for more
keeps the rows that there were. A prompt that was there before in its task, or that a frozen suite
asks, exactly or nearly, is drawn again. Tasks take turns in the plan, so that its first rows show
all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lorachain.datagen.asked import AskedItem, AskedItems, named
from lorachain.datagen.fill import Filled, Filler
from lorachain.datagen.rows import PlanRow
from lorachain.datagen.spec import expected_of, schema_of
from lorachain.datagen.spec_file import Loaded
from lorachain.errors import UserError
from lorachain.files import canonical_json, sha256_text
from lorachain.jsonl import raise_all
from lorachain.preflight.texts import tight

TRIES = 2_000  # for one prompt
_ID = re.compile(r"(.+)-(\d{4,})-[0-9a-f]{6}")


@dataclass
class Plan:
    """The rows of a plan, and how many prompts were drawn again because they were there before
    (`repeated`) or because a suite asks them (`asked`)."""

    rows: list[PlanRow]
    repeated: int = 0
    asked: int = 0
    left_out: list[str] = field(default_factory=list)  # tasks that failed and the spec has not


def row_id(name: str, task: str, number: int, seed: int) -> str:
    """The id of prompt `number` of a task: it depends on nothing else."""
    digest = sha256_text(canonical_json([name, task, number, seed]))
    return f"{name}-{task}-{number:04d}-{digest[:6]}"


def is_own(loaded: Loaded, id_: str) -> bool:
    """Whether an id is of this spec: a suite that was drawn from its rows asks them again."""
    match = _ID.fullmatch(id_)
    name = loaded.spec.id
    if match is None or not match[1].startswith(f"{name}-"):
        return False
    task = match[1].removeprefix(f"{name}-")
    return id_ == row_id(name, task, int(match[2]), loaded.spec.seed)


def make_plan(loaded: Loaded, asked: AskedItems) -> Plan:
    """The spec's own plan. Raises UserError where a task has not so many different prompts."""
    others = asked.without(lambda item: is_own(loaded, item.id))
    counts = {task: loaded.count(task) for task in loaded.spec.tasks}
    return planned(loaded, loaded.spec.id, counts, others)


def planned(
    loaded: Loaded,
    name: str,
    counts: Mapping[str, int],
    asked: AskedItems,
    *,
    before: Sequence[str] = (),
    because: Callable[[str, int], Mapping[str, Any]] = lambda task, number: {},
) -> Plan:
    """So many rows of each task under a plan's name. `before` are prompts that may not come again;
    `because` gives the reason of each task's number."""
    plan = Plan([])
    lines: dict[str, list[PlanRow]] = {}
    for task, count in counts.items():
        taken = {tight(prompt) for prompt in before}
        filler = Filler(loaded, task, name)
        lines[task] = [
            _row(loaded, name, task, number, _next(filler, task, number, taken, asked, plan))
            for number in range(count)
        ]
    _refuse_shared(lines)
    for index, (task, number, row) in enumerate(_in_turns(lines)):
        fields = row.as_dict() | {"index": index, "because": dict(because(task, number))}
        plan.rows.append(PlanRow(**fields))
    return plan


def _next(
    filler: Filler, task: str, number: int, taken: set[str], asked: AskedItems, plan: Plan
) -> Filled:
    """The prompt of a number: the first try that is new and that no suite asks."""
    hit: list[AskedItem] = []
    for attempt in range(TRIES):
        found = filler.fill(number, attempt)
        key = tight(found.prompt)
        if key in taken:
            plan.repeated += 1
            continue
        if near := asked.near(found.prompt):
            hit = near
            plan.asked += 1
            continue
        taken.add(key)
        return found
    axes = ", ".join(f"{axis} {value}" for axis, value in found.axes.items())
    suites = f" that is not in a suite ({named(hit)})" if hit else ""
    raise UserError(
        f"The spec is too narrow: for prompt {number + 1} of the task {task}"
        f"{f' ({axes})' if axes else ''}, {TRIES:,} draws gave no new one{suites}. Give its "
        "slots more values or it more wordings, or ask for fewer."
    )


def _row(loaded: Loaded, name: str, task: str, number: int, found: Filled) -> PlanRow:
    settings = loaded.spec.tasks[task]
    return PlanRow(
        id=row_id(name, task, number, loaded.spec.seed),
        index=0,
        spec=name,
        task=task,
        prompt=found.prompt,
        system=loaded.spec.system if settings.system is None else settings.system,
        schema=schema_of(loaded.spec, settings),
        expected=expected_of(settings),
        category=found.axes.get("category", ""),
        difficulty=found.axes.get("difficulty", ""),
        region_tags=[found.axes["region"]] if "region" in found.axes else [],
        seed=loaded.spec.seed,
        template=found.wording.name,
        template_sha256=found.wording.sha256,
        spec_sha256=loaded.sha256,
        slots=found.slots,
    )


def _in_turns(lines: Mapping[str, list[PlanRow]]) -> Iterator[tuple[str, int, PlanRow]]:
    for number in range(max(map(len, lines.values()), default=0)):
        for task, rows in lines.items():
            if number < len(rows):
                yield task, number, rows[number]


def _refuse_shared(lines: Mapping[str, list[PlanRow]]) -> None:
    """Two tasks that ask the same want two answers to one prompt. Drawing again would not do: which
    of the two yields would depend on the counts."""
    seen: dict[str, str] = {}
    problems = []
    for task, rows in lines.items():
        for row in rows:
            other = seen.setdefault(tight(row.prompt), task)
            if other != task:
                problems.append(f"{row.prompt[:80]!r}: {other} and {task}")
    raise_all(problems, "Two tasks ask the same; give one of them another wording")


def write_up(plan: Plan, where: str) -> str:
    """What a plan holds, for people."""
    counts: dict[str, int] = {}
    for row in plan.rows:
        counts[row.task] = counts.get(row.task, 0) + 1
    tasks = ", ".join(f"{task} {count}" for task, count in counts.items())
    lines = [f"{len(plan.rows)} prompts planned ({tasks}): {where}"]
    if plan.asked:
        lines.append(f"{plan.asked} drawn again: a frozen suite asks them, or nearly.")
    if plan.left_out:
        lines.append(f"Failed too, but not in this spec: {', '.join(plan.left_out)}.")
    return "\n".join(lines)
