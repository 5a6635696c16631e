"""Run venv and pip: every line into the log, the lines that matter to a waiting person shown."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from setup_parts.failures import SetupError, explain

HEARTBEAT_SECONDS = 15.0
BIG_MEGABYTES = 20.0


def child_environment(given: Mapping[str, str]) -> dict[str, str]:
    """The user's environment, pip's settings included, less what would divert the installation."""
    environment = dict(given)
    for name in ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONHOME", "PYTHONPATH"):
        environment.pop(name, None)
    environment.pop("__PYVENV_LAUNCHER__", None)  # macOS: would name the Python we started from
    environment["PIP_USER"] = "0"
    environment["PYTHONUTF8"] = "1"
    return environment


class Narrator:
    """Turns pip's output into the few lines that a person who waits wants to see."""

    def __init__(self, doing: str) -> None:
        self.activity = doing
        self.is_progress = False

    def read(self, line: str) -> str | None:
        """Take in one line of output; returns what to show for it, if anything."""
        text = line.strip()
        progress = re.match(r"Progress (\d+) of (\d+)$", text)
        self.is_progress = progress is not None
        if progress is not None:
            part, whole = int(progress.group(1)), int(progress.group(2))
            if whole:
                base = self.activity.split(": ", 1)[0]
                self.activity = f"{base}: {100 * part // whole} %"
            return None
        started = re.match(r"(Collecting|Processing|Downloading|Using cached) (\S+)", text)
        if started is not None:
            name = started.group(2).split("/")[-1].split("\\")[-1]
            verb = {"Downloading": "downloading", "Collecting": "looking up"}
            self.activity = f"{verb.get(started.group(1), 'reading')} {name}"
            size = re.search(r"\((\d+(?:\.\d+)?) (MB|GB)\)", text)
            if started.group(1) == "Downloading" and size is not None:
                megabytes = float(size.group(1)) * (1000 if size.group(2) == "GB" else 1)
                if megabytes >= BIG_MEGABYTES:
                    return f"{self.activity} ({size.group(1)} {size.group(2)})"
        elif text.startswith("Installing collected packages:"):
            count = text.count(",") + 1
            packages = "1 package" if count == 1 else f"{count} packages"
            self.activity = f"unpacking {packages}"
            return self.activity
        elif text.startswith("Installing build dependencies"):
            self.activity = "preparing to build this project"
        return None


@dataclass
class Runner:
    """Runs commands in the project's folder and writes all of their output to one log."""

    root: Path
    log_path: Path
    log: IO[str]
    say: Callable[[str], None]
    lock_descriptor: int | None = None
    heartbeat_seconds: float = HEARTBEAT_SECONDS

    def run(self, command: Sequence[str], doing: str) -> tuple[int, list[str]]:
        """Run a command to its end; returns its exit code and its lines of output."""
        self.log.write("\n$ " + " ".join(command) + "\n")
        self.log.flush()
        inherited = (
            (self.lock_descriptor,)
            if self.lock_descriptor is not None and sys.platform != "win32"
            else ()
        )
        process = subprocess.Popen(
            list(command),
            cwd=self.root,
            env=child_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            pass_fds=inherited,
        )
        try:
            lines = self._follow(process, Narrator(doing))
            return process.wait(), lines
        except BaseException:
            # Ctrl-C reaches the child as well; it gets a moment to clean up after itself.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()
                process.wait()
            raise

    def _follow(self, process: subprocess.Popen[str], narrator: Narrator) -> list[str]:
        assert process.stdout is not None
        stream = process.stdout
        arrived: queue.Queue[str | None] = queue.Queue()

        def pump() -> None:
            for line in stream:
                arrived.put(line)
            arrived.put(None)

        threading.Thread(target=pump, daemon=True).start()
        started = shown = time.monotonic()
        lines: list[str] = []
        while True:
            try:
                line = arrived.get(timeout=1.0)
            except queue.Empty:
                line = ""
            if line is None:
                return lines
            if line:
                news = narrator.read(line)
                if not narrator.is_progress:
                    lines.append(line.rstrip())
                    self.log.write(line)
                    self.log.flush()
                if news:
                    self.say("  " + news)
                    shown = time.monotonic()
            now = time.monotonic()
            if now - shown >= self.heartbeat_seconds:
                self.say(f"  ... {narrator.activity} ({_minutes(now - started)})")
                shown = now

    def must(self, command: Sequence[str], doing: str, otherwise: str) -> list[str]:
        """Run a command that must succeed; raises SetupError with the cause where it is known."""
        try:
            code, lines = self.run(command, doing)
        except OSError as error:
            raise self.error(explain(str(error)) or f"{otherwise} ({error})") from error
        if code != 0:
            raise self.error(explain("\n".join(lines)) or otherwise, lines)
        return lines

    def error(self, sentence: str, lines: Sequence[str] = ()) -> SetupError:
        return SetupError(sentence, lines, str(self.log_path))


def _minutes(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02d} min" if whole >= 60 else f"{whole} s"


def run_attached(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run a command on this terminal and return its exit code.

    Ctrl-C goes to the child as well, which decides when it is done (it may be saving its work), so
    this process waits on; a child that dies of it counts as 130, as in a shell.
    """
    process = subprocess.Popen(
        list(command), env=None if environment is None else dict(environment)
    )
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            continue
        return exit_code(code)


def exit_code(code: int) -> int:
    """A child's return code as one that can be passed on to sys.exit, and 130 for Ctrl-C.

    Windows gives a crash (0xC0000005) as a number over 2**31, which sys.exit would turn into -1.
    POSIX gives a death by signal 9 as -9, for which shells say 137.
    """
    if sys.platform == "win32":
        signed = code - (1 << 32) if code >= 1 << 31 else code
        return 130 if signed == 0xC000013A - (1 << 32) else signed  # STATUS_CONTROL_C_EXIT
    return 128 - code if code < 0 else code
