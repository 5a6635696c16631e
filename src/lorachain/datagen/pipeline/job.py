"""What a run of the pipeline is asked for, and what follows from it: spec, config, places."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from lorachain.datagen.gate import GatingMode
from lorachain.datagen.pipeline.flags import STAGES
from lorachain.datagen.pipeline.places import DEFAULT_SPEC, Places, places_of
from lorachain.datagen.plan import Plan
from lorachain.datagen.plan_files import plan_file_name, plan_of_spec
from lorachain.datagen.spec_file import Loaded, load_spec
from lorachain.datagen.teacher_config import TEACHER, TeacherConfig, read_teacher_config
from lorachain.paths import SUITES, from_project, runnable

SCRIPT = "src/data/run_pipeline.py"
DATA, MODELS = from_project("data"), from_project("models")
Mode = Literal["sample", "batch", "full"]


@dataclass(frozen=True)
class Job:
    """What the command line asks for. `count` are the prompts of a sample or of a batch; `first` is
    the stage to begin with, all before it are left as they are. Limits of None: as the config says.
    """

    mode: Mode = "full"
    count: int | None = None
    first: str = STAGES[0]
    spec: Path = DEFAULT_SPEC
    from_failures: Path | None = None
    config_file: Path = TEACHER
    gating_mode: GatingMode = "lenient"
    dry_run: bool = False
    max_usd: float | None = None
    max_calls: int | None = None
    drop_leaks: bool = False
    data: Path = DATA
    suites: Path = SUITES
    models: Path = MODELS

    @cached_property
    def loaded(self) -> Loaded:
        """The spec."""
        return load_spec(self.spec)

    @cached_property
    def config(self) -> TeacherConfig:
        """The teacher's config with the flags in it."""
        limits = {"max_usd": self.max_usd, "max_calls": self.max_calls}
        return read_teacher_config(self.config_file, {"dry_run": self.dry_run or None, **limits})

    @property
    def limit(self) -> int | None:
        """How many prompts are planned at most."""
        return self.count if self.mode == "sample" else None

    def plan(self) -> Plan:
        """The plan as it would be made now. It is the same each time."""
        return plan_of_spec(self.loaded, self.from_failures, self.limit, self.suites)

    @cached_property
    def places(self) -> Places:
        """Where its files are."""
        tag = "v1"
        if self.from_failures is not None:
            name = plan_file_name(self.loaded, self.plan())
            tag = name.removeprefix("prompt_plan_").removesuffix(".jsonl")
        return places_of(
            *(self.loaded.spec.id, self.data, self.suites),
            sample=self.mode == "sample",
            dry_run=self.config.runtime.dry_run,
            tag=tag,
        )

    def command(self, *flags: str | Path) -> str:
        """The pipeline's command with these flags and with those that name the same files."""
        words: list[str | Path] = [from_project(SCRIPT), *flags]
        same = Job()
        for flag, name in (
            ("--spec", "spec"),
            ("--from-failures", "from_failures"),
            ("--config", "config_file"),
            ("--data", "data"),
            ("--suites", "suites"),
            ("--models", "models"),
        ):
            value = getattr(self, name)
            if value != getattr(same, name) and value is not None:
                words += [flag, value]
        if self.gating_mode != same.gating_mode:
            words += ["--gating-mode", self.gating_mode]
        words += ["--dry-run"] if self.dry_run else []
        return runnable(*words)
