"""Ask the environment's Python, in a process of its own: it may crash or hang, the doctor not."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from setup_parts.running import child_environment


@dataclass
class Report:
    """What a probe said. A step has facts, or an error; the last one may have neither."""

    facts: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    stopped_in: str | None = None
    """The step in which the process ended before its time."""
    how: str = ""
    """How it ended, such as "it crashed (exit code -11)"."""

    def problem(self, step: str) -> str | None:
        """Why a step has no facts; None where it has, and where it was never begun."""
        if step == self.stopped_in:
            return self.how
        return self.errors.get(step)


def ask(python: Path, probe: Path, timeout: float, *arguments: str) -> Report:
    """Run a probe. It writes a JSON object a line: {"begin": step}, then {"step": ...} with its
    facts or its error."""
    command = [str(python), "-I", "-X", "utf8", str(probe), *arguments]
    try:
        process = subprocess.Popen(
            command,
            env=offline(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        return Report(stopped_in="start", how=f"the environment's Python does not start: {error}")
    how = ""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        how = f"it did not end within {timeout:g} s"
    except BaseException:
        process.kill()
        process.wait()
        raise
    if not how and process.returncode != 0:
        how = _crash(process.returncode, err.decode("utf-8", "replace"))
    return read(out.decode("utf-8", "replace"), how)


def offline(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a probe: nothing in it goes to the network."""
    environment = child_environment(given)
    environment.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    return environment


def _crash(code: int, err: str) -> str:
    number = f"0x{code & 0xFFFFFFFF:X}" if os.name == "nt" and abs(code) > 255 else str(code)
    last = [line.strip() for line in err.splitlines() if line.strip()][-1:]
    return f"it crashed (exit code {number})" + (f": {last[0]}" if last else "")


def read(output: str, how: str) -> Report:
    """A probe's output, and how it ended where that was not well."""
    report = Report(how=how)
    begun = "start"
    for text in output.splitlines():
        try:
            said = json.loads(text)
        except ValueError:
            continue  # some library's word
        if not isinstance(said, dict):
            continue
        if "begin" in said:
            begun = str(said["begin"])
        elif "error" in said:
            report.errors[str(said["step"])] = str(said["error"])
        elif "step" in said:
            report.facts[str(said["step"])] = said["facts"]
    if how:
        report.stopped_in = begun
    return report
