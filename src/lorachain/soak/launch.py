"""Start a script of the project as a process of its own, many times over, cheaply.

Importing torch and transformers takes seconds. Where the system can fork, one server process
imports them once and every run is forked from it (multiprocessing's forkserver): a real process,
with its own number, signals and exit code, that begins after the imports. On Windows each run
starts from nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRELOADED = (
    *("lorachain.training.train", "lorachain.training.command"),
    *("lorachain.preflight.near", "matplotlib.figure"),
)


@dataclass
class Run:
    """A started script. `log` takes its standard output and its standard error."""

    process: Any
    log: Path

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return bool(self.process.is_alive())

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        self.process.join()

    def interrupt(self) -> None:
        """Press Ctrl-C in it (POSIX)."""
        os.kill(self.process.pid, signal.SIGINT)

    def wait(self, seconds: float = 240) -> int:
        """Its exit code, negative for a signal. Raises TimeoutError, and kills it, when it takes
        longer than `seconds`."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.kill()
            raise TimeoutError(f"no end within {seconds} s:\n{self.text()[-2000:]}")
        return int(self.process.exitcode)

    def text(self) -> str:
        """What it has said so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def start(
    script: Path,
    arguments: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    threads: int | None = None,
    before: str | None = None,
) -> Run:
    """Start `script` with `arguments`. `threads` are torch's; `before` is 'module:function', called
    in the new process first."""
    kinds = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in kinds else "spawn")
    if "forkserver" in kinds:
        context.set_forkserver_preload(list(PRELOADED))
    log.touch()
    argv = [str(script), *arguments]
    cwd = str(Path.cwd())
    process = context.Process(
        target=_be, args=(argv, str(log), dict(environment or {}), cwd, threads, before)
    )
    process.start()
    return Run(process, log)


def _be(
    argv: list[str],
    log: str,
    environment: dict[str, str],
    cwd: str,
    threads: int | None,
    before: str | None,
) -> None:
    """Become the script: its output, its environment, its arguments."""
    # The system's own way of starting processes: locks made in ours would outlive a kill.
    multiprocessing.set_start_method(None, force=True)
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(handle, stream.fileno())
    os.environ.update(environment)
    os.chdir(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    if before is not None:
        module, _, name = before.partition(":")
        getattr(__import__(module, fromlist=[name]), name)()
    sys.argv = argv
    runpy.run_path(argv[0], run_name="__main__")
