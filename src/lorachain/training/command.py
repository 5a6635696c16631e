"""The command line of a training stage, shared by fine_tune.py and fine_tune_v2.py.

The two differ in values only: their defaults, and whether a parent is required or refused.
Nothing heavy is imported until the arguments are known to be good.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lorachain.cli import ArgumentParser
from lorachain.config import Resolved, resolve
from lorachain.errors import UserError
from lorachain.paths import CONFIGS, from_project, from_user, quoted, shown

DEFAULT_CONFIG = CONFIGS / "training_config.yaml"


@dataclass(frozen=True)
class Defaults:
    """What one script trains when it is run with no arguments. Paths are the project's."""

    script: str
    output: str
    train_data: str
    val_data: str
    source_model: str | None = None


V1 = Defaults(
    script="src/training/fine_tune.py",
    output="models/fine_tuned",
    train_data="data/processed/train_llm.jsonl",
    val_data="data/processed/val_llm.jsonl",
)
V2 = Defaults(
    script="src/training/fine_tune_v2.py",
    output="models/fine_tuned_v2",
    train_data="data/processed/train_finetune2.jsonl",
    val_data="data/processed/val_finetune2.jsonl",
    source_model="models/fine_tuned",
)


def parser(defaults: Defaults, description: str) -> ArgumentParser:
    """The flags of a stage. Flags that stand for a setting have no default here: the settings'
    own default applies, and a flag that was given can be told from one that was not."""
    p = ArgumentParser(description=description)
    p.add_argument("--config", metavar="YAML", help=f"settings (default: {_name(DEFAULT_CONFIG)})")
    p.add_argument(
        "--base-model",
        metavar="NAME",
        help="hub id, folder, or smollm2-135m-instruct"
        + (" (default: the parent's)" if defaults.source_model else " (default: the config's)"),
    )
    if defaults.source_model:
        p.add_argument(
            "--source-model",
            metavar="DIR",
            help=f"the version to go on from (default: ./{defaults.source_model})",
        )
    p.add_argument(
        "--train-data", metavar="JSONL", help=f"training rows (default: ./{defaults.train_data})"
    )
    p.add_argument(
        "--val-data",
        metavar="JSONL",
        help=f"validation rows, or 'none' (default: ./{defaults.val_data})",
    )
    p.add_argument(
        "--output", metavar="DIR", help=f"the new version (default: ./{defaults.output})"
    )
    p.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="one setting, such as training.learning_rate=1e-4; may be repeated",
    )
    if defaults.source_model:
        p.add_argument(
            "--replay-share",
            type=float,
            metavar="SHARE",
            help="share of trained tokens that repeat earlier versions' rows, such as 0.2",
        )
        p.add_argument(
            "--replay-data",
            action="append",
            metavar="JSONL",
            help="other rows to mix in; may be repeated",
        )
    p.add_argument(
        "--resume",
        default="auto",
        metavar="auto|never|DIR",
        help="go on from the newest checkpoint (auto), from none, or from this one",
    )
    p.add_argument(
        "--restart",
        action="store_true",
        help="start from the beginning; what is at --output is moved aside, not deleted",
    )
    p.add_argument(
        "--show-sample",
        type=int,
        metavar="N",
        help="print N rows with the trained tokens marked, and stop",
    )
    p.add_argument("--verbose", action="store_true", help="say more about what happens")
    return p


def main(defaults: Defaults, description: str, argv: Sequence[str] | None) -> None:
    """Parse, check what needs no model, then train (or show rows)."""
    args = parser(defaults, description).parse_args(argv)
    if args.verbose:
        from lorachain.cli import set_up_output

        set_up_output(verbose=True)
    replay_data = getattr(args, "replay_data", None)
    source = getattr(args, "source_model", None)
    source_model = from_user(source) if source else _project_path(defaults.source_model)
    resolved = resolve(
        DEFAULT_CONFIG,
        from_user(args.config) if args.config else None,
        args.set,
        {
            "model.base_model": args.base_model,
            "model.source_model": str(source_model) if source_model else None,
            "data.train_data": _flag_path(args.train_data),
            "data.val_data": _flag_path(args.val_data),
            "training.output_dir": _flag_path(args.output),
            "replay.share": getattr(args, "replay_share", None),
            "replay.data": [str(from_user(p)) for p in replay_data] if replay_data else None,
        },
    )
    _check_parent_asked(resolved, defaults)
    config = resolved.config
    train = from_project(config.data.train_data or defaults.train_data)
    validation = config.data.val_data or defaults.val_data
    val: Path | None = None if validation == "none" else from_project(validation)
    output = from_project(config.training.output_dir or defaults.output)
    _check_paths(train, val, output)
    from lorachain.training.stage import Request, run

    request = Request(
        resolved,
        train,
        val,
        output,
        source_model,
        args.resume if args.resume in ("auto", "never") else str(from_user(args.resume)),
        args.restart,
        command(sys.argv),
    )
    if args.show_sample is not None:
        from lorachain.training.sample import show_sample

        show_sample(request, args.show_sample)
        return
    run(request)


def command(argv: Sequence[str]) -> str:
    """The command that goes on from here: without --restart and --resume, which would begin again
    or go back."""
    words: list[str] = []
    given = iter(argv)
    for word in given:
        if word == "--resume":
            next(given, None)
        elif word != "--restart" and not word.startswith("--resume="):
            words.append(word)
    python = "python" if os.environ.get("VIRTUAL_ENV") else quoted(sys.executable)
    return " ".join([python, *map(quoted, words)])


def _check_parent_asked(resolved: Resolved, defaults: Defaults) -> None:
    if defaults.source_model is None and resolved.config.model.source_model is not None:
        raise UserError(
            "fine_tune.py makes version 1, which has no parent (model.source_model is set). To go "
            "on from a version, use src/training/fine_tune_v2.py --source-model DIR."
        )
    if defaults.source_model is None and resolved.config.replay.share > 0:
        raise UserError("Version 1 has no earlier rows to replay; leave replay.share out.")


def _check_paths(train: Path, validation: Path | None, output: Path) -> None:
    for path, flag in ((train, "--train-data"), (validation, "--val-data")):
        if path is not None and not path.is_file():
            raise UserError(f"{flag}: file not found: {shown(path)}")
    if output.is_file():
        raise UserError(f"--output {shown(output)} is a file; a folder is needed.")
    if train == validation:
        raise UserError(
            f"--train-data and --val-data are the same file, {shown(train)}. A model must be "
            "tested on rows that it has not seen."
        )


def _flag_path(value: str | None) -> str | None:
    return value if value is None or value == "none" else str(from_user(value))


def _project_path(value: str | None) -> Path | None:
    return None if value is None else from_project(value)


def _name(path: Path) -> str:
    return path.relative_to(CONFIGS.parent).as_posix()
