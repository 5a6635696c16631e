"""The batch tester's command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from lorachain import cli
from lorachain.evaluation import batch_test
from lorachain.evaluation.generated import Decoding
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
        batch_size=args.batch_size,
        decoding=Decoding(args.max_new_tokens, args.temperature, args.top_p, args.seed),
        system=args.system,
        limit=args.limit,
        schema=args.schema,
        dtype=args.dtype,
        quantization=args.quantization,
        cpu=args.cpu,
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
    what.add_argument(
        "--base-model",
        metavar="NAME",
        help="hub id or folder of the base (default: the one that the version was trained on)",
    )
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
    what.add_argument(
        "--output",
        type=from_user,
        default=from_user("test_results.json"),
        metavar="FILE",
        help="where the results go (default: test_results.json); the answers are kept beside it",
    )
    _add_how(parser.add_argument_group("how answers are made"))
    return parser


def _add_how(how: argparse._ArgumentGroup) -> None:
    how.add_argument(
        "--batch-size",
        type=cli.whole,
        default=8,
        metavar="N",
        help="prompts answered together; halved when memory runs out (default: 8)",
    )
    how.add_argument(
        "--max-new-tokens", type=cli.whole, default=512, metavar="N", help="default: 512"
    )
    how.add_argument(
        "--temperature",
        type=_number_to(2.0),
        default=0.0,
        metavar="T",
        help="0 takes the likeliest token each time (default)",
    )
    how.add_argument("--top-p", type=_number_to(1.0), default=1.0, metavar="P", help="default: 1.0")
    how.add_argument(
        "--seed", type=int, default=42, metavar="N", help="with a temperature over 0 (default: 42)"
    )
    how.add_argument(
        "--dtype", choices=["auto", "bf16", "fp16", "fp32"], help="default: as the version was made"
    )
    how.add_argument(
        "--quantization", choices=["none", "8bit", "4bit"], help="default: as the version was made"
    )
    how.add_argument("--cpu", action="store_true", help="leave the GPU alone")


def _number_to(most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {most:g}")
        return value

    return read
