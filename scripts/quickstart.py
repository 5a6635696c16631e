"""python scripts/quickstart.py [--small] [--no-replay]

Set everything up, then train three versions of a small model in a chain and show what each one
gained and forgot. Stopped at any point, the same command goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import setup_env


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags. Read before the set-up, so that a mistyped one is answered at once."""
    p = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("--small", action="store_true", help="a few rows only: the same path in minutes")
    p.add_argument(
        "--no-replay",
        action="store_true",
        help="train version 3 a second time without earlier rows, to see what it forgets",
    )
    p.add_argument(
        "--base-model", default="smollm2-135m-instruct", metavar="NAME", help="another base"
    )
    p.add_argument(
        "--output", metavar="DIR", help="where the versions go (default: ./models/quickstart)"
    )
    p.add_argument(
        "--restart",
        action="store_true",
        help="do all of it again; what is there is moved aside, not deleted",
    )
    return p.parse_args([hyphenated(a) for a in (sys.argv[1:] if argv is None else argv)])


def hyphenated(argument: str) -> str:
    """`--base_model=a_b` becomes `--base-model=a_b`. (lorachain.cli has it too, but is not
    installed yet when the flags are read.)"""
    flag, equals, value = argument.partition("=")
    return flag.replace("_", "-") + equals + value if flag.startswith("--") else argument


def main(argv: Sequence[str] | None = None) -> None:
    """Train, ask, and print the tables."""
    args = arguments(argv)
    from lorachain.paths import from_user
    from lorachain.quickstart.plan import make_plan
    from lorachain.quickstart.run import run

    folder = from_user(args.output) if args.output else None
    plan = make_plan(folder, args.base_model, small=args.small, no_replay=args.no_replay)
    print(run(plan, restart=args.restart))


if __name__ == "__main__":
    arguments()
    setup_env.reexec_inside()
    from lorachain import cli

    cli.run(main)
