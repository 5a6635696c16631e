"""python src/data/plan_prompts.py --spec data/specs/dataset_v1_spec.yaml [--out-dir data/interim]

Plan the prompts that a teacher is to answer: what a spec asks for, each different from all others
and from what every suite under eval/suites asks. The same spec gives the same file.

  python src/data/plan_prompts.py --spec my_spec.yaml --limit 3
  python src/data/plan_prompts.py --spec my_spec.yaml --from-failures eval/comparisons/v2
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lorachain import cli
from lorachain.paths import SUITES, from_project, from_user, shown

PLAN = "prompt_plan_v1.jsonl"


def main(argv: Sequence[str] | None = None) -> None:
    """Plan prompts."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=from_user, required=True, help="the YAML to plan from")
    parser.add_argument(
        "--out-dir",
        type=from_user,
        default=from_project("data/interim"),
        help=f"where {PLAN} is written (data/interim)",
    )
    parser.add_argument(
        "--from-failures",
        type=from_user,
        metavar="RESULTS",
        help="plan from what the newest version of this comparison failed at (its folder, or a "
        "results file of batch_test_model.py); writes prompt_plan_after_VERSION.jsonl",
    )
    parser.add_argument(
        "--limit",
        type=cli.whole,
        help="only the first so many prompts; with --from-failures so many in all",
    )
    parser.add_argument(
        "--suites", type=from_user, default=SUITES, help="suites to keep clear of (eval/suites)"
    )
    print(run(**vars(parser.parse_args(argv))))


def run(
    spec: Path, out_dir: Path, from_failures: Path | None, limit: int | None, suites: Path
) -> str:
    """Write the plan and its manifest; what came of it, for people."""
    from lorachain.datagen.asked import read_asked, suite_files
    from lorachain.datagen.failures import read_failures
    from lorachain.datagen.manifest import write_manifest
    from lorachain.datagen.plan import make_plan, write_up
    from lorachain.datagen.plan_failures import plan_from_failures
    from lorachain.datagen.rowfiles import write_rows
    from lorachain.datagen.spec_file import load_spec

    loaded, asked = load_spec(spec), read_asked(suites)
    name = PLAN
    if from_failures is None:
        plan = make_plan(loaded, asked)
        plan.rows = plan.rows[:limit]
    else:
        plan = plan_from_failures(loaded, read_failures(from_failures), asked, limit)
        name = f"prompt_plan{plan.rows[0].spec.removeprefix(loaded.spec.id)}.jsonl"
        name = name.replace("-after-", "_after_")
    path = out_dir / name
    write_rows(path, plan.rows)
    write_manifest(
        path,
        stage="plan",
        inputs=[*loaded.files, *suite_files(suites)],
        settings={"spec_sha256": loaded.sha256, "seed": loaded.spec.seed, "limit": limit},
        counts={"rows": len(plan.rows), "repeated": plan.repeated, "asked": plan.asked},
    )
    return write_up(plan, shown(path))


if __name__ == "__main__":
    cli.run(main)
