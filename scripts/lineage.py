"""python scripts/lineage.py [DIR ...]

Draw the chain that a version stands in, check every hash in it, and say what is damaged or stale.
Without a folder: every finished version under ./models. Exit code 2 when something is damaged.
"""

from __future__ import annotations

from collections.abc import Sequence

from lorachain import cli
from lorachain.chaintree import draw
from lorachain.errors import EXIT_OK, EXIT_USER_ERROR, UserError
from lorachain.lineage import is_finished
from lorachain.paths import PROJECT_ROOT, from_user


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tree; 2 when a version is damaged, else 0."""
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", metavar="DIR", help="versions (default: all)")
    args = parser.parse_args(argv)
    folders = [from_user(folder) for folder in args.folders]
    if not folders:
        found = sorted((PROJECT_ROOT / "models").glob("**/lineage.json"))
        folders = [path.parent for path in found if is_finished(path.parent)]
    if not folders:
        raise UserError("There is no finished version under models yet. Train one first.")
    text, damaged = draw(folders)
    print(text)
    return EXIT_USER_ERROR if damaged else EXIT_OK


if __name__ == "__main__":
    cli.run(main)
