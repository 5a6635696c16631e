"""The batch tester's command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lorachain import cli
from lorachain.evaluation import batch_test
from lorachain.evaluation.flags import (
    add_base_model,
    add_how,
    add_sampling,
    add_scorers,
    read_how,
)
from lorachain.paths import PROJECT_ROOT, from_user

QUESTIONS = PROJECT_ROOT / "test_questions.json"


def read_arguments(description: str, argv: Sequence[str] | None) -> batch_test.Request:
    """From the command line to a request. Exits with code 2 on an argument that is wrong."""
    parser = make_parser(description)
    args = parser.parse_args(argv)
    if not args.model and not args.base:
        parser.error("nothing to test: give --model FOLDER (several times to compare), or --base")
    return batch_test.Request(
        models=tuple(args.model),
        with_base=args.base,
        questions=args.questions,
        output=args.output,
        base_model=args.base_model,
        how=read_how(args),
        system=args.system,
        limit=args.limit,
        schema=args.schema,
        scorers=args.scorers,
    )


def make_parser(description: str) -> argparse.ArgumentParser:
    """All flags, with their defaults in the help."""
    parser = cli.ArgumentParser(description=description)
    what = parser.add_argument_group("what is tested")
    what.add_argument(
        "--model",
        type=from_user,
        action="append",
        default=[],
        metavar="FOLDER",
        help="a finished version; give it several times to compare",
    )
    what.add_argument("--base", action="store_true", help="test the base as well")
    add_base_model(what)
    what.add_argument(
        "--questions",
        type=from_user,
        default=QUESTIONS,
        metavar="FILE",
        help="a JSON array of {question, answer?, topic?, difficulty?}, or a suite as JSON Lines "
        "(default: the project's test_questions.json)",
    )
    what.add_argument("--limit", type=cli.whole, metavar="N", help="ask only the first N questions")
    what.add_argument(
        "--system", metavar="TEXT", help="the system prompt of questions that have none"
    )
    what.add_argument(
        "--schema",
        metavar="NAME",
        help="score answers by a JSON schema: a name under configs/schemas, or a file",
    )
    add_scorers(what)
    what.add_argument(
        "--output",
        type=from_user,
        default=from_user("test_results.json"),
        metavar="FILE",
        help="where the results go (default: test_results.json); the answers are kept beside it",
    )
    how = parser.add_argument_group("how answers are made")
    add_how(how)
    add_sampling(how)
    return parser
