"""A plan, a teacher's config, and the scripts of the stages as real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from in_process import run_main

from lorachain.datagen.rowfiles import write_rows
from lorachain.datagen.rows import PlanRow
from lorachain.datagen.teacher_config import TeacherConfig
from lorachain.paths import PROJECT_ROOT

KEY = "sk-test-0123456789abcdef"
VARIABLE = "TEST_TEACHER_KEY"
SCRIPTS = PROJECT_ROOT / "src" / "data"


def plan_row(number: int, **changed: Any) -> PlanRow:
    """A plan row that asks for a checklist."""
    values: dict[str, Any] = {
        "id": f"row-{number:04d}",
        "index": number,
        "spec": "test",
        "task": "checklist",
        "prompt": f"What to pack? This is question number {number}.",
        "system": "You are a guide.",
        "schema": "envelope",
        "expected": {"payload_type": "checklist"},
    }
    return PlanRow(**(values | changed))


def settings(url: str, store: Path, **changed: Mapping[str, Any] | list[str]) -> dict[str, Any]:
    """A teacher's config as YAML has it: fast, patient for no more than a moment."""
    found: dict[str, Any] = {
        "endpoint": {"base_url": url, "api_key_env": VARIABLE, "env_file": str(store / "no.env")},
        "models": ["first", "second"],
        "request": {"max_tokens": 200},
        "limits": {"rpm": None, "concurrency": 4},
        "retries": {"first_wait_s": 0.001, "longest_wait_s": 0.01},
        "timeouts": {"connect_s": 5, "read_s": 20, "total_s": 30},
        "runtime": {"store": str(store)},
    }
    for section, values in changed.items():
        merged = isinstance(values, dict) and section in found
        found[section] = {**found[section], **values} if merged else values
    return found


def config(url: str, store: Path, **changed: Any) -> TeacherConfig:
    """The same, read."""
    return TeacherConfig.model_validate(settings(url, store, **changed))


@dataclass
class Ran:
    """A script that is over."""

    code: int
    out: str
    err: str


@dataclass
class Workplace:
    """A folder with a plan and a config, where the scripts of the pipeline are run."""

    folder: Path
    url: str = "http://127.0.0.1:9/v1"

    def __post_init__(self) -> None:
        self.interim.mkdir(parents=True, exist_ok=True)

    @property
    def interim(self) -> Path:
        return self.folder / "interim"

    @property
    def processed(self) -> Path:
        return self.folder / "processed"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def plan(self) -> Path:
        return self.interim / "prompt_plan_v1.jsonl"

    @property
    def drafts(self) -> Path:
        return self.interim / "drafts_v1.jsonl"

    @property
    def critiques(self) -> Path:
        return self.interim / "critiques_v1.jsonl"

    @property
    def dataset(self) -> Path:
        return self.processed / "dataset_v1.jsonl"

    def make_plan(self, count: int) -> None:
        """Write a plan of so many rows."""
        write_rows(self.plan, [plan_row(number) for number in range(count)])

    def configure(self, **changed: Any) -> None:
        """Write the teacher's config."""
        text = yaml.safe_dump(settings(self.url, self.store, **changed))
        (self.folder / "teacher.yaml").write_text(text, encoding="utf-8")

    def command(self, script: str, *flags: str) -> list[str]:
        """The command line of a stage's script."""
        argv = [sys.executable, str(SCRIPTS / f"{script}.py")]
        argv += ["--config", str(self.folder / "teacher.yaml")]
        if "--out-dir" not in flags:
            home = self.processed if script == "generate_dataset" else self.interim
            argv += ["--out-dir", str(home)]
        named = {"--plan": self.plan, "--drafts": self.drafts, "--critiques": self.critiques}
        needed = {"generate_drafts": 1, "generate_critiques": 2, "generate_dataset": 3}[script]
        wanted = ["--drafts"] if needed == 2 else list(named)[:needed]
        for flag in wanted:
            if flag not in flags:
                argv += [flag, str(named[flag])]
        return [*argv, *flags]

    def start(
        self, script: str, *flags: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a stage's script."""
        return subprocess.Popen(
            self.command(script, *flags),
            cwd=self.folder,
            env=clean_environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def run(self, script: str, *flags: str, environment: Mapping[str, str] | None = None) -> Ran:
        """Run it to its end: in this process, or in one of its own where it gets an environment."""
        if environment is None:
            argv = self.command(script, *flags)[2:]
            place = SCRIPTS / f"{script}.py"
            return Ran(*run_main(place, argv, self.folder, clean_environment()))
        process = self.start(script, *flags, environment=environment)
        out, err = process.communicate(timeout=120)
        return Ran(process.returncode, out, err)

    def run_all(self, *flags: str) -> list[Ran]:
        """All three stages."""
        scripts = ("generate_drafts", "generate_critiques", "generate_dataset")
        return [self.run(script, *flags) for script in scripts]

    def final_files(self) -> dict[str, bytes]:
        """What the stages wrote, but for manifests: those hold times."""
        files: Sequence[Path] = [self.drafts, self.critiques, *sorted(self.processed.glob("*.js*"))]
        return {
            path.name: path.read_bytes()
            for path in files
            if path.is_file() and not path.name.endswith(".manifest.json")
        }


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This environment without proxies, with the key."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return {**kept, "NO_PROXY": "*", VARIABLE: KEY, "PYTHONUTF8": "1", **(more or {})}
