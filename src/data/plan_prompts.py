"""python src/data/plan_prompts.py --spec data/specs/dataset_v1_spec.yaml [--out-dir data/interim]

Plan the prompts that a teacher is to answer: what a spec asks for, each different from all others
and from what every suite under eval/suites asks. The same spec gives the same file.

  python src/data/plan_prompts.py --spec my_spec.yaml --limit 3
  python src/data/plan_prompts.py --spec my_spec.yaml --from-failures eval/comparisons/v2
"""

from __future__ import annotations

from collections.abc import Sequence

from lorachain import cli
from lorachain.paths import SUITES, from_project, from_user

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
    given = parser.parse_args(argv)

    from lorachain.datagen.plan_files import plan_files

    print(plan_files(given.spec, given.out_dir, given.from_failures, given.limit, given.suites))


if __name__ == "__main__":
    cli.run(main)
