"""The next version's prompts from what the newest one failed at: tasks and kinds in proportion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lorachain.datagen.asked import AskedItems
from lorachain.datagen.failures import NO_TASK, Failures, apportioned, plan_name
from lorachain.datagen.plan import Plan, make_plan, planned
from lorachain.datagen.spec_file import Loaded
from lorachain.errors import UserError


def plan_from_failures(
    loaded: Loaded, failures: Failures, asked: AskedItems, total: int | None = None
) -> Plan:
    """`total` prompts (as many as the spec asks for, where none is named) for the tasks that
    failed. None is in the spec's own plan, nor near an item of any suite.

    Raises UserError where nothing failed, or nothing that the spec has templates for.
    """
    if not failures.total:
        raise UserError(
            f"{failures.version} passed all {failures.scored} answers that could be scored: there "
            "is nothing to plan from. Test it on a harder suite, or plan without --from-failures."
        )
    known = {key: n for key, n in failures.counts.items() if key[0] in loaded.spec.tasks}
    unknown = sorted({task for task, _ in failures.counts if task not in loaded.spec.tasks})
    if not known:
        raise UserError(
            f"{failures.version} failed at {', '.join(unknown)}, and the spec {loaded.spec.id} has "
            f"none of them (it has {', '.join(loaded.spec.tasks)}). Give a spec that asks them"
            + (", and a suite that names its items' tasks." if NO_TASK in unknown else ".")
        )
    wanted = total or sum(loaded.count(task) for task in loaded.spec.tasks)
    quotas = apportioned(known, wanted)
    reasons: dict[str, list[Mapping[str, Any]]] = {}
    for (task, kind), count in quotas.items():
        reason = {
            "kind": kind,
            "task": task,
            "share": round(failures.counts[task, kind] / failures.total, 4),
            "version": failures.version,
        }
        reasons.setdefault(task, []).extend([reason] * count)
    counts = {task: len(reasons[task]) for task in loaded.spec.tasks if task in reasons}
    plan = planned(
        loaded,
        plan_name(loaded.spec.id, failures.version),
        counts,
        asked,
        before=[row.prompt for row in make_plan(loaded, asked).rows],
        because=lambda task, number: reasons[task][number],
    )
    plan.left_out = unknown
    return plan
