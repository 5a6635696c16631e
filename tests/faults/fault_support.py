"""Runs as real processes that can be killed at a named point, and what they leave behind."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chain_support import BASIC, Place, fill_place, lineage

from lorachain import faults
from lorachain.paths import PROJECT_ROOT
from lorachain.soak.launch import Run, start

# Dropout and NEFTune draw random numbers in every step, so a state that is not restored shows.
SETS = (
    *(text for text in BASIC if "dropout" not in text),
    "lora.lora_dropout=0.1",
    "training.neftune_noise_alpha=1",
    "training.num_train_epochs=2",
    "checkpoint.save_steps=2",
)
STEPS = 8
KILLED = -9


@dataclass
class Ended:
    """A run that is over: its exit code, and what it said."""

    code: int
    text: str
    folder: Path

    @property
    def lines(self) -> list[str]:
        """What it said, line by line."""
        return self.text.splitlines()


@dataclass
class Bench:
    """A folder with a base and data, where runs are processes."""

    place: Place
    _number: Any = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def make(cls, folder: Path, base: Path) -> Bench:
        """With data of three generations."""
        return cls(fill_place(folder, base))

    @property
    def folder(self) -> Path:
        """Where everything stands."""
        return self.place.folder

    def start(
        self,
        output: str | Path,
        *flags: str,
        sets: Sequence[str] = (),
        parent: Path | None = None,
        fault: str | None = None,
        trace: Path | None = None,
        before: str | None = None,
        generation: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Run:
        """Start a version 1, or a later one where there is a `parent`. `fault` fails it at a point,
        `trace` writes the points down; `before` is 'module:function', called in it first."""
        number = generation or (1 if parent is None else 2)
        name = "fine_tune" if parent is None else "fine_tune_v2"
        settings = [t for t in SETS if parent is None or not t.startswith("lora.")]
        argv = [part for text in (*settings, *sets) for part in ("--set", text)]
        argv += ["--output", str(self.folder / output), *self.place.data(number)]
        argv += (
            ["--base-model", str(self.place.base)]
            if parent is None
            else ["--source-model", str(parent)]
        )
        environment = dict(environment or {})
        if fault:
            environment[faults.ACTION] = fault
        if trace:
            environment[faults.TRACE] = str(trace)
        return start(
            PROJECT_ROOT / "src" / "training" / f"{name}.py",
            [*argv, *flags],
            self.folder / f"run-{next(self._number)}.log",
            environment,
            threads=1,
            before=before,
        )

    def run(self, output: str | Path, *flags: str, **options: Any) -> Ended:
        """The same, to its end."""
        started = self.start(output, *flags, **options)
        code = started.wait()
        return Ended(code, started.text(), self.folder / output)

    def stopped_at(
        self, step: int, act: Callable[[Run], None], output: str, **options: Any
    ) -> Ended:
        """Start a run and `act` on it once its checkpoint of `step` is there."""
        started = self.start(output, **options)
        folder = self.folder / output / f"checkpoint-{step}"
        deadline = time.monotonic() + 240
        while started.running and not folder.is_dir() and time.monotonic() < deadline:
            time.sleep(0.002)
        act(started)
        return Ended(started.wait(), started.text(), self.folder / output)


def points(trace: Path) -> list[str]:
    """The points that a traced run reached, in order."""
    return trace.read_text(encoding="utf-8").splitlines()


def steps_of(folder: Path) -> list[int]:
    """The steps of the checkpoints in a folder, lowest first."""
    return sorted(int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*"))


def log_of(folder: Path) -> list[dict[str, Any]]:
    """The entries of training_log.jsonl without what differs from run to run: the speed."""
    lines = (folder / "training_log.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    return [{k: v for k, v in e.items() if "second" not in k} for e in entries]


def hashes(folder: Path) -> dict[str, str]:
    """Every file of a folder by its hash; the lock file is no content."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def copy_of(folder: Path, name: str) -> Path:
    """A copy beside it."""
    return Path(shutil.copytree(folder, folder.with_name(name), symlinks=True))


def is_finished(folder: Path) -> bool:
    """Whether a version is whole, by its completion mark."""
    return (folder / "lineage.json").is_file()


def resumed_from(folder: Path) -> int | None:
    """The step that a finished version last went on from."""
    step: int | None = lineage(folder)["resumed_from_step"]
    return step
