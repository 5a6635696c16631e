"""What the quickstart trains and asks: a value, so that the small form is the same path."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lorachain.files import write_text
from lorachain.paths import PROJECT_ROOT, SUITES

CONFIG = PROJECT_ROOT / "configs" / "quickstart.yaml"
DATA = PROJECT_ROOT / "data" / "processed"
SUITE_NAMES = (
    "generation1_v1",
    "generation2_v1",
    "generation3_v1",
    "fixed20_v1",
    "unseen_wordings_v1",
)
MAX_NEW_TOKENS = 224  # the longest answer of the suites has 177


@dataclass(frozen=True)
class StagePlan:
    """One version: its data, its parent, and how much of the earlier data it repeats."""

    name: str
    data: str  # train_<data>.jsonl and val_<data>.jsonl
    parent: str | None = None
    replay_share: float = 0.0


@dataclass(frozen=True)
class Plan:
    """The whole run. `rows_per_task` and `items_per_task` cut the data; None takes all of it."""

    folder: Path
    base_model: str
    stages: tuple[StagePlan, ...]
    rows_per_task: int | None = None
    items_per_task: int | None = None
    max_new_tokens: int = MAX_NEW_TOKENS
    batch_size: int = 24
    sets: tuple[str, ...] = field(default=())

    def version(self, name: str) -> Path:
        """A version's folder."""
        return self.folder / name


STAGES = (
    StagePlan("v1", "llm"),
    StagePlan("v2", "finetune2", "v1", replay_share=0.25),
    StagePlan("v3", "finetune3", "v2", replay_share=0.3),
)
NO_REPLAY = StagePlan("v3_no_replay", "finetune3", "v2")


def make_plan(
    folder: Path | None = None,
    base_model: str = "smollm2-135m-instruct",
    *,
    small: bool = False,
    no_replay: bool = False,
) -> Plan:
    """The plan of a set of flags. The small form has few rows and short answers."""
    name = "quickstart_small" if small else "quickstart"
    folder = folder or PROJECT_ROOT / "models" / name
    stages = (*STAGES, NO_REPLAY) if no_replay else STAGES
    if small:
        return Plan(folder, base_model, stages, 6, 1, max_new_tokens=64, batch_size=16)
    return Plan(folder, base_model, stages, None, 12)


def stage_data(plan: Plan, stage: StagePlan) -> tuple[Path, Path]:
    """The training and validation files of a stage, cut to the plan's size where it has one."""
    paths = [DATA / f"{part}_{stage.data}.jsonl" for part in ("train", "val")]
    if plan.rows_per_task is not None:
        paths = [cut_rows(path, plan.folder / "data", plan.rows_per_task) for path in paths]
    return paths[0], paths[1]


def suites(plan: Plan) -> list[Path]:
    """The suites that every version answers, cut to the plan's size where it has one.

    fixed20 is always asked whole, unless the plan asks one item a task."""
    found = []
    for name in SUITE_NAMES:
        path = SUITES / f"{name}.jsonl"
        limit = plan.items_per_task
        if limit is not None and (limit == 1 or name.startswith("generation")):
            path = cut_rows(path, plan.folder / "suites", limit)
        found.append(path)
    return found


def cut_rows(source: Path, folder: Path, per_task: int) -> Path:
    """A copy of a JSONL file with the first `per_task` rows of each task. Written only when it
    would change, so that hashes and times stay."""
    seen: dict[str, int] = {}
    kept = []
    for line in source.read_text(encoding="utf-8").splitlines():
        task = str(json.loads(line).get("task"))
        seen[task] = seen.get(task, 0) + 1
        if seen[task] <= per_task:
            kept.append(line)
    target = folder / source.name
    text = "\n".join(kept) + "\n"
    if not target.is_file() or target.read_text(encoding="utf-8") != text:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(target, text)
    return target


def stage_command(plan: Plan, stage: StagePlan) -> Sequence[str]:
    """The arguments after `python` that train a stage: what a user would type."""
    train, validation = stage_data(plan, stage)
    script = "fine_tune_v2.py" if stage.parent else "fine_tune.py"
    argv = [str(PROJECT_ROOT / "src" / "training" / script), "--config", str(CONFIG)]
    argv += ["--base-model", plan.base_model]
    if stage.parent:
        argv += ["--source-model", str(plan.version(stage.parent))]
    argv += ["--train-data", str(train), "--val-data", str(validation)]
    argv += ["--output", str(plan.version(stage.name))]
    if stage.replay_share:
        argv += ["--replay-share", str(stage.replay_share)]
    return [*argv, *(part for text in plan.sets for part in ("--set", text))]
