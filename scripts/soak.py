"""python scripts/soak.py [--kills N] [--report JSON] ...

Train a small real run, kill it at random moments (SIGKILL) and start it again until it is finished;
then compare the end with that of a run that nothing stopped. Exit code 1 when something differs.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lorachain import cli
from lorachain.builtin_base import BUILTIN_BASES
from lorachain.errors import EXIT_BUG, EXIT_OK
from lorachain.files import make_folder, write_json
from lorachain.paths import from_user, shown
from lorachain.soak.run import Plan, soak


def main(argv: Sequence[str] | None = None, *, before: str | None = None) -> int:
    """Kill, compare, and print the figures; 1 when something did not hold, else 0."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--kills", type=cli.whole, default=200, metavar="N", help="how many (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the moments' draw (default: %(default)s)"
    )
    parser.add_argument(
        "--base-model",
        default=next(iter(BUILTIN_BASES)),
        metavar="NAME",
        help="what is trained on (default: %(default)s)",
    )
    parser.add_argument(
        "--resume",
        choices=("exact", "weights"),
        default="exact",
        help="exact (the default): nothing may differ; weights: no learning rate and step may",
    )
    parser.add_argument(
        "--output",
        type=from_user,
        metavar="DIR",
        help="the work folder, kept (default: a temporary one, kept when something differs)",
    )
    parser.add_argument(
        "--report", type=from_user, metavar="JSON", help="where to write the figures"
    )
    args = parser.parse_args(argv)
    if args.report is not None:
        make_folder(args.report.parent)
    work = args.output or Path(tempfile.mkdtemp(prefix="lorachain-soak-"))
    held = False
    try:
        plan = Plan(work, args.base_model, args.kills, args.seed, args.resume, before=before)
        figures = soak(plan)
        held = not figures.problems
    finally:
        if held and args.output is None:
            shutil.rmtree(work, ignore_errors=True)
    print("\n".join(figures.lines()))
    if args.report is not None:
        write_json(args.report, figures.as_dict())
    if held:
        print("Everything held.")
        return EXIT_OK
    print(f"It did NOT hold: {'; '.join(figures.problems)}\nEverything is kept in {shown(work)}.")
    return EXIT_BUG


if __name__ == "__main__":
    cli.run(main)
