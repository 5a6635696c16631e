"""What the full run does in the Wine 10 place: scripts, launchers, runs that are ended or held."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chain_support import BASIC, fill_place, lineage
from full_place import DRIVE, PROJECT, ROOT
from place import Place

from lorachain import lineage as lineages

EPOCHS, STEPS = 4, 16
# Dropout and NEFTune draw random numbers in every step, so a state that is not restored shows.
SETS = (
    *(text for text in BASIC if "dropout" not in text and "epochs" not in text),
    "lora.lora_dropout=0.1",
    "training.neftune_noise_alpha=1",
    f"training.num_train_epochs={EPOCHS}",
    "checkpoint.save_steps=2",
    "checkpoint.resume=exact",
)
# Nothing of ours is asked for on a network, which Wine's pip does not reach.
VARIABLES = {
    "CI": "1",
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": "file:///C:/wheels",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}

# Runs inside. Starts a command, waits for a folder, then ends the command or holds a file open in
# this process until the command has ended by itself.
AT_A_CHECKPOINT = """
import json, os, subprocess, sys, time
command, folder, act, log = json.loads(sys.argv[1])
with open(log, "wb") as said:
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said)
    run.stdin.close()
    while run.poll() is None and not os.path.isdir(folder):
        time.sleep(0.005)
    if act == "kill":
        run.kill()
        code = run.wait()
    else:
        with open(os.path.join(folder, act), "rb"):
            code = run.wait()
print(code)
"""


@dataclass
class Bench:
    """Rows and a tiny base on C:, the commands that train on them, and what was found."""

    windows: Place
    work: Path
    base: Path
    figures: dict[str, Any] = field(default_factory=dict)
    ran: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def make(cls, windows: Any, tiny_base: Path) -> Bench:
        """A fresh C:\\work."""
        work = DRIVE / "work"
        shutil.rmtree(work, ignore_errors=True)
        base = Path(shutil.copytree(tiny_base, work / "tiny"))
        fill_place(work, base)
        return cls(windows, work, base)

    def folder(self, name: str) -> Path:
        """A version's folder."""
        return self.work / name

    def v1(self, name: str) -> list[str]:
        """Script and flags that train a version 1."""
        return ["src/training/fine_tune.py", *self._flags(name, 1, SETS), *self._on(self.base)]

    def v2(self, parent: str, name: str) -> list[str]:
        """The same for a version 2."""
        sets = [text for text in SETS if not text.startswith("lora.")]
        source = ["--source-model", self.windows.path(self.folder(parent))]
        return ["src/training/fine_tune_v2.py", *self._flags(name, 2, sets), *source]

    def _on(self, base: Path) -> list[str]:
        return ["--base-model", self.windows.path(base)]

    def _flags(self, name: str, generation: int, sets: Any) -> list[str]:
        path = self.windows.path
        return [
            *("--train-data", path(self.work / f"train{generation}.jsonl")),
            *("--val-data", path(self.work / f"val{generation}.jsonl")),
            *("--output", path(self.folder(name))),
            *(part for text in sets for part in ("--set", text)),
        ]

    def script(
        self, script: str, *arguments: str, python: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a script of C:\\lorachain with the environment's Python, or another one."""
        return self._timed([*self._command(script, python), *arguments], script)

    def launcher(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a batch file of C:\\lorachain."""
        return self._timed([self.windows.path(ROOT / f"{name}.bat"), *arguments], f"{name}.bat")

    def with_checkpoint(self, command: list[str], step: int, act: str) -> dict[str, Any]:
        """Start a training; when its checkpoint of `step` is there, end it ('kill'), or hold the
        named file of that checkpoint open until it has ended. Its exit code and what it said."""
        script, *arguments = command
        output = Path(arguments[arguments.index("--output") + 1].replace("\\", "/")).name
        log = self.work / f"{output}.log"
        place = self.windows.path(self.folder(output) / f"checkpoint-{step}")
        asked = [[*self._command(script), *arguments], place, act, self.windows.path(log)]
        whole = [self.windows.path(self.windows.python), "-X", "utf8", "-c", AT_A_CHECKPOINT]
        what = act if act == "kill" else f"hold {act}"
        done = self._timed([*whole, json.dumps(asked)], f"{script} (at checkpoint-{step}: {what})")
        assert done.returncode == 0, done.stderr
        text = log.read_text(encoding="utf-8", errors="replace")
        self.ran[-1]["exit_code"] = int(done.stdout)  # of the training
        return {"code": int(done.stdout), "text": text}

    def finished(self, name: str) -> None:
        """The version must be whole."""
        assert lineages.is_finished(self.folder(name))

    def wine_version(self) -> str:
        """As Wine says it."""
        command = [*self.windows.enter, "wine", "--version"]
        environment = self.windows.environment()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def _command(self, script: str, python: Path | None = None) -> list[str]:
        python = python or ROOT / ".venv" / "Scripts" / "python.exe"
        return [self.windows.path(python), "-X", "utf8", self.windows.path(ROOT / script)]

    def _timed(self, command: list[str], name: str) -> subprocess.CompletedProcess[str]:
        began = time.monotonic()
        done = self.windows.run(
            command,
            ROOT,
            [self.windows.python.parent],
            3600,
            **VARIABLES,
        )
        seconds = round(time.monotonic() - began, 1)
        self.ran.append({"what": name, "exit_code": done.returncode, "seconds": seconds})
        print(f"  {name}: exit code {done.returncode}, {seconds} s", flush=True)
        return done


def on_linux(bench: Bench, command: list[str], *more: str) -> subprocess.CompletedProcess[str]:
    """Run one of the bench's commands here, its paths as Linux has them."""
    drive = str(DRIVE) + "/"
    script, *words = [
        word.replace("C:\\", drive).replace("\\", "/") if word.startswith("C:\\") else word
        for word in command
    ]
    return subprocess.run(
        [sys.executable, str(PROJECT / script), *words, *more],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )


def seconds_per_step(folder: Path) -> float:
    """How long an optimizer step took, by the version's own figures."""
    measured = lineage(folder)["metrics"]
    tokens = measured["trained_tokens_per_epoch"] * EPOCHS / measured["steps"]
    return round(tokens / measured["trained_tokens_per_second"], 3)
