"""python src/data/generate_dataset.py --plan FILE --drafts FILE --critiques FILE [--resume]

Join plan, drafts and critiques, keep what is good enough, have the teacher mend what can be mended,
and say of everything else why it is out. Writes dataset_v1.jsonl, dataset_v1_rejected.jsonl and
dataset_v1_stats.json. With other gates all is judged anew; what was paid for is not paid for again.

  python src/data/generate_dataset.py --plan data/interim/prompt_plan_v1.jsonl
      --drafts data/interim/drafts_v1.jsonl --critiques data/interim/critiques_v1.jsonl
      --gating-mode lenient --resume
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lorachain import cli
from lorachain.datagen import command
from lorachain.paths import from_project, from_user

INPUTS = {"plan": "plan_prompts", "drafts": "generate_drafts", "critiques": "generate_critiques"}


def main(argv: Sequence[str] | None = None) -> None:
    """Make the dataset."""
    parser = cli.ArgumentParser(description=__doc__)
    for name, script in INPUTS.items():
        parser.add_argument(
            f"--{name}",
            type=from_user,
            required=True,
            metavar="FILE",
            help=f"what {script}.py wrote",
        )
    parser.add_argument(
        "--gating-mode",
        choices=("lenient", "strict"),
        default="lenient",
        help="strict: a critique must say pass; lenient: it may say revise if no issue is severe",
    )
    command.add_flags(parser, from_project("data/processed"))
    args = parser.parse_args(argv)

    def stage(folder: Path, dry_run: bool) -> Any:
        from lorachain.datagen.build import DatasetStage

        accepted = folder / command.named(args.plan, "prompt_plan", "dataset")
        inputs = (args.plan, args.drafts, args.critiques)
        return DatasetStage(*inputs, accepted, args.gating_mode, dry_run=dry_run)

    print(command.run(command.request_of(args), stage))


if __name__ == "__main__":
    cli.run(main)
