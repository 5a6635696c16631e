"""python src/data/generate_critiques.py --drafts FILE [--out-dir DIR] [--limit N] [--resume]

Ask the teacher what is wrong with each draft: a verdict, issues with their severity, scores. What
must be in a critique says configs/schemas/critique.schema.json.

  python src/data/generate_critiques.py --drafts data/interim/drafts_v1.jsonl --price
  python src/data/generate_critiques.py --drafts data/interim/drafts_v1.jsonl --limit 20 --resume
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lorachain import cli
from lorachain.datagen import command
from lorachain.paths import from_project, from_user


def main(argv: Sequence[str] | None = None) -> None:
    """Make critiques."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--drafts",
        type=from_user,
        required=True,
        metavar="FILE",
        help="what generate_drafts.py wrote",
    )
    command.add_flags(parser, from_project("data/interim"))
    args = parser.parse_args(argv)

    def stage(folder: Path, dry_run: bool) -> Any:
        from lorachain.datagen.critique import CritiqueStage

        output = folder / command.named(args.drafts, "drafts", "critiques")
        return CritiqueStage(args.drafts, output, dry_run=dry_run)

    print(command.run(command.request_of(args), stage))


if __name__ == "__main__":
    cli.run(main)
