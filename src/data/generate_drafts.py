"""python src/data/generate_drafts.py --plan FILE [--out-dir DIR] [--limit N] [--resume]

Ask the teacher for an answer to each prompt of a plan. Every response is kept as it came, before it
is read: a run that was stopped goes on with --resume and pays for nothing twice.

  python src/data/generate_drafts.py --plan data/interim/prompt_plan_v1.jsonl --price
  python src/data/generate_drafts.py --plan data/interim/prompt_plan_v1.jsonl --limit 20 --max-usd 1
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lorachain import cli
from lorachain.datagen import command
from lorachain.paths import from_project, from_user


def main(argv: Sequence[str] | None = None) -> None:
    """Make drafts."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--plan", type=from_user, required=True, metavar="FILE", help="what plan_prompts.py wrote"
    )
    command.add_flags(parser, from_project("data/interim"))
    args = parser.parse_args(argv)

    def stage(folder: Path, dry_run: bool) -> Any:
        from lorachain.datagen.draft import DraftStage

        output = folder / command.named(args.plan, "prompt_plan", "drafts")
        return DraftStage(args.plan, output, dry_run=dry_run)

    print(command.run(command.request_of(args), stage))


if __name__ == "__main__":
    cli.run(main)
