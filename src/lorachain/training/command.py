"""The command line of a training stage, shared by fine_tune.py and fine_tune_v2.py.

The two differ in values only: their defaults, and whether a parent is required or refused.
Nothing heavy is imported until the arguments are known to be good.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorachain.awake import PRIORITIES, give_way
from lorachain.builtin_base import BUILTIN_BASES
from lorachain.cli import ArgumentParser, whole
from lorachain.config import Resolved, resolve, with_values
from lorachain.errors import EXIT_OK, UserError
from lorachain.paths import CONFIGS, from_project, from_user, runnable, shown
from lorachain.preflight.finding import check_codes

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
        type=whole,
        metavar="N",
        help="print N rows with the trained tokens marked, and stop",
    )
    p.add_argument(
        "--preflight-only",
        action="store_true",
        help="say what was found before the training, and stop (exit code 2 where it would)",
    )
    p.add_argument(
        "--allow",
        metavar="CODE",
        action="append",
        default=[],
        help="train although the preflight finds this error, such as leak-suite; may be repeated",
    )
    p.add_argument(
        "--probe",
        action="store_true",
        help="load the model and try the largest micro-batch before the training",
    )
    p.add_argument(
        "--priority",
        choices=PRIORITIES,
        help="let other programs go first (default: as the system started it)",
    )
    p.add_argument("--verbose", action="store_true", help="say more about what happens")
    return p


def main(defaults: Defaults, description: str, argv: Sequence[str] | None) -> int:
    """Parse, check what needs no model, then train (or only look). Returns the exit code."""
    args = parser(defaults, description).parse_args(argv)
    check_codes(args.allow)
    if args.verbose:
        from lorachain.cli import set_up_output

        set_up_output(verbose=True)
    replay_data = getattr(args, "replay_data", None)
    if args.restart and args.resume not in ("auto", "never"):
        raise UserError(
            "--restart begins anew and --resume DIR goes on from a checkpoint: pass one of them."
        )
    resolved = resolve(
        DEFAULT_CONFIG,
        from_user(args.config) if args.config else None,
        args.set,
        {
            "model.base_model": _base(args.base_model, from_user),
            "model.source_model": _flag_path(getattr(args, "source_model", None)),
            "data.train_data": _flag_path(args.train_data),
            "data.val_data": _flag_path(args.val_data),
            "training.output_dir": _flag_path(args.output),
            "replay.share": getattr(args, "replay_share", None),
            "replay.data": [str(from_user(p)) for p in replay_data] if replay_data else None,
        },
        {"model.source_model": defaults.source_model},
    )
    _check_parent_asked(resolved, defaults)
    base = _base(_base(resolved.config.model.base_model, from_project), from_user)
    if base != resolved.config.model.base_model:
        source = resolved.sources.get("model.base_model", "default")
        resolved = with_values(resolved, {"model.base_model": base}, source)
    config = resolved.config
    parent = config.model.source_model
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
        from_project(parent) if parent else None,
        args.resume if args.resume in ("auto", "never") else str(from_user(args.resume)),
        args.restart,
        command(sys.argv),
        tuple(args.allow),
        args.probe,
    )
    if args.show_sample is not None:
        from lorachain.training.sample import show_sample

        show_sample(request, args.show_sample)
        return EXIT_OK
    if args.priority:
        give_way(args.priority)
    if args.preflight_only:
        from lorachain.training.gate.passing import only
        from lorachain.training.stage import prepare

        return only(prepare(request))
    run(request)
    return EXIT_OK


def command(argv: Sequence[str]) -> str:
    """The command that goes on from here: without --restart and --resume, which would begin again
    or go back, and without --probe, whose answer is known."""
    words: list[str] = []
    given = iter(argv)
    for word in given:
        if word == "--resume":
            next(given, None)
        elif word not in ("--restart", "--probe") and not word.startswith("--resume="):
            words.append(word)
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1:
        words[:0] = ["-m", "torch.distributed.run", f"--nproc_per_node={count}"]
    return runnable(*words)


def _check_parent_asked(resolved: Resolved, defaults: Defaults) -> None:
    if defaults.source_model is None and resolved.config.model.source_model is not None:
        raise UserError(
            "fine_tune.py makes version 1, which has no parent (model.source_model is set). To go "
            "on from a version, use src/training/fine_tune_v2.py --source-model DIR."
        )
    if defaults.source_model is not None and resolved.config.model.source_model is None:
        raise UserError(
            "fine_tune_v2.py goes on from a version: pass --source-model DIR. To train a version 1 "
            "from a base, use src/training/fine_tune.py."
        )
    if defaults.source_model is None and resolved.config.replay.share > 0:
        raise UserError("Version 1 has no earlier rows to replay; leave replay.share out.")


def _check_paths(train: Path, validation: Path | None, output: Path) -> None:
    for path, flag in ((train, "--train-data"), (validation, "--val-data")):
        if path is not None and path.is_dir():
            raise UserError(f"{flag}: {shown(path)} is a folder; name the .jsonl file in it.")
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


def _base(name: str | None, start: Callable[[str], Path]) -> str | None:
    """A base as the lineage names it: a folder by its whole path, so that its children find it
    from wherever they are trained."""
    if name is None or name in BUILTIN_BASES or not start(name).is_dir():
        return name
    return str(start(name))


def _name(path: Path) -> str:
    return path.relative_to(CONFIGS.parent).as_posix()
