"""The first stage, from files to files: a spec (and what failed) to a plan. It needs no teacher."""

from __future__ import annotations

from pathlib import Path

from lorachain.datagen.asked import read_asked, suite_files
from lorachain.datagen.failures import read_failures
from lorachain.datagen.manifest import write_manifest
from lorachain.datagen.plan import Plan, make_plan, write_up
from lorachain.datagen.plan_failures import plan_from_failures
from lorachain.datagen.rowfiles import write_rows
from lorachain.datagen.spec_file import Loaded, load_spec
from lorachain.paths import shown

PLAN = "prompt_plan_v1.jsonl"


def plan_of_spec(loaded: Loaded, failures: Path | None, limit: int | None, suites: Path) -> Plan:
    """The plan of a spec, its first `limit` rows; or of what a comparison's newest version failed
    at, `limit` rows in all."""
    asked = read_asked(suites)
    if failures is not None:
        return plan_from_failures(loaded, read_failures(failures), asked, limit)
    plan = make_plan(loaded, asked)
    plan.rows = plan.rows[:limit]
    return plan


def plan_file_name(loaded: Loaded, plan: Plan) -> str:
    """prompt_plan_v1.jsonl, or prompt_plan_after_VERSION.jsonl for one that follows failures."""
    after = plan.rows[0].spec.removeprefix(loaded.spec.id) if plan.rows else ""
    return f"prompt_plan{after}.jsonl".replace("-after-", "_after_") if after else PLAN


def plan_files(
    spec: Path, out_dir: Path, failures: Path | None, limit: int | None, suites: Path
) -> str:
    """Write the plan and its manifest; what came of it, for people."""
    loaded = load_spec(spec)
    plan = plan_of_spec(loaded, failures, limit, suites)
    path = out_dir / plan_file_name(loaded, plan)
    write_rows(path, plan.rows)
    write_manifest(
        path,
        stage="plan",
        inputs=[*loaded.files, *suite_files(suites)],
        settings={"spec_sha256": loaded.sha256, "seed": loaded.spec.seed, "limit": limit},
        counts={"rows": len(plan.rows), "repeated": plan.repeated, "asked": plan.asked},
    )
    return write_up(plan, shown(path))
