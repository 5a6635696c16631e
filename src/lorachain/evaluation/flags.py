"""Flags that the evaluation scripts share, and what they say of how answers are made."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lorachain import cli
from lorachain.evaluation.generated import Decoding
from lorachain.paths import PROJECT_ROOT, from_user

ANSWERS = PROJECT_ROOT / "eval" / "answers"


@dataclass(frozen=True)
class How:
    """How answers are made. None means: not asked for, so as the first version was trained."""

    batch_size: int = 8
    decoding: Decoding = field(default_factory=Decoding)
    dtype: str | None = None
    quantization: str | None = None
    cpu: bool = False


def read_how(args: Any) -> How:
    """From the flags of `add_how` and, where there are any, of `add_sampling`."""
    drawn = {key: getattr(args, key) for key in ("temperature", "top_p", "seed") if key in args}
    return How(
        batch_size=args.batch_size,
        decoding=Decoding(args.max_new_tokens, **drawn),
        dtype=args.dtype,
        quantization=args.quantization,
        cpu=args.cpu,
    )


def add_base_model(group: argparse._ArgumentGroup) -> None:
    """--base-model, for a base that is not where the lineage has it."""
    group.add_argument(
        "--base-model",
        metavar="NAME",
        help="hub id or folder of the base (default: the one that the version was trained on)",
    )


def add_answers(group: argparse._ArgumentGroup) -> None:
    """--answers: the store that comparisons share."""
    group.add_argument(
        "--answers",
        type=from_user,
        default=ANSWERS,
        metavar="DIR",
        help="where answers are kept as they are made, for all comparisons (default: eval/answers)",
    )


def add_scorers(group: argparse._ArgumentGroup) -> None:
    """--scorers: other scorers than those by schema and checks."""
    group.add_argument(
        "--scorers",
        type=from_user,
        metavar="FILE",
        help="who scores what, such as configs/scorers.yaml (default: by schema and checks)",
    )


def add_how(how: argparse._ArgumentGroup) -> None:
    """How the base is held and asked."""
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
        "--dtype", choices=["auto", "bf16", "fp16", "fp32"], help="default: as the version was made"
    )
    how.add_argument(
        "--quantization", choices=["none", "8bit", "4bit"], help="default: as the version was made"
    )
    how.add_argument("--cpu", action="store_true", help="leave the GPU alone")


def add_sampling(how: argparse._ArgumentGroup) -> None:
    """Drawing tokens instead of taking the likeliest."""
    how.add_argument(
        "--temperature",
        type=number_to(2.0),
        default=0.0,
        metavar="T",
        help="0 takes the likeliest token each time (default)",
    )
    how.add_argument("--top-p", type=number_to(1.0), default=1.0, metavar="P", help="default: 1.0")
    how.add_argument(
        "--seed", type=int, default=42, metavar="N", help="with a temperature over 0 (default: 42)"
    )


def number_to(most: float) -> Callable[[str], float]:
    """A flag's value that is a number from 0 to `most`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {most:g}")
        return value

    return read


def share(text: str) -> float:
    """A flag's value between 0 and 1, without the ends."""
    wrong = f"{text!r} is no share between 0 and 1, such as 0.05 for 5 points"
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(wrong) from None
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(wrong)
    return value
