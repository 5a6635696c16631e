"""python scripts/doctor.py [--json]

Look at everything that a training needs, and say for each thing whether it is in order and, where
it is not, what to do: Python, the environment, torch and its CUDA, the NVIDIA driver, the GPU,
4-bit products, memory, disk, paths, and the versions under ./models. It changes nothing, goes to
no network, and works before the set-up. Exit code 2 when something stops a training, else 0.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from doctor_parts import chain, child, computer, gpu
from doctor_parts.lines import (
    ERROR,
    Line,
    Screen,
    as_json,
    count,
    render,
    without_secrets,
)
from setup_parts import environments
from setup_parts.environments import Environment
from setup_parts.torch_build import ask_nvidia_smi, find_nvidia_smi

ROOT = Path(__file__).resolve().parent.parent
PARTS = ROOT / "scripts" / "doctor_parts"
MODELS = ROOT / "models"
TIMEOUT = 180.0


def examine(timeout: float, stdout: str) -> list[Line]:
    """Every line, in order. `stdout` is the encoding that the console takes."""
    environment = environments.locate(ROOT)
    runs = environments.structure_problem(environment) is None
    lines = guarded("environment", lambda: [computer.environment_line(environment, ROOT)])
    works = all(line.state != ERROR for line in lines)
    lines[:0] = guarded("Python", lambda: [computer.python_line(works)])
    if runs:
        lines += guarded("packages", lambda: [computer.packages_line(environment, ROOT)])
        lines += guarded("torch", lambda: _torch(environment, timeout))
    else:
        lines += guarded("NVIDIA driver", lambda: [_driver(None)])
    utf8 = bool(sys.flags.utf8_mode)
    lines += guarded("disk", lambda: [computer.disk_line(MODELS)])
    enabled = computer.long_paths_enabled
    lines += guarded("long paths", lambda: [computer.long_paths_line(ROOT, enabled())])
    lines += guarded("text", lambda: [computer.encoding_line(stdout, utf8)])
    lines += guarded("model hub", lambda: [computer.hub_line(os.environ)])
    lines += guarded("keys", lambda: [computer.keys_line(os.environ)])
    if runs:
        lines += guarded("versions", lambda: _chain(environment, timeout))
    return without_secrets(lines, os.environ)


def guarded(check: str, look: Callable[[], list[Line]]) -> list[Line]:
    """What a check says. One that fails is a line like any other: the rest is still wanted."""
    try:
        return look()
    except Exception as error:
        found = f"this check itself failed: {type(error).__name__}: {error}"
        return [Line(check, ERROR, found, "Please report this line.")]


def _torch(environment: Environment, timeout: float) -> list[Line]:
    report = child.ask(environment.python, PARTS / "probe_torch.py", timeout)
    smi, system = ask_nvidia_smi(), platform.system()
    request = str(environments.read_stamp(environment).get("torch", {}).get("request", "auto"))
    facts = report.facts.get("torch") or {}
    lines = [gpu.torch_line(report, smi, system, request, os.environ), _driver(facts.get("cuda"))]
    if facts:
        if facts["available"]:
            lines += gpu.gpu_lines(report, smi, system)
        if "four_bit" in report.facts or report.problem("four_bit") is not None:
            lines.append(gpu.four_bit_line(report))
    return [*lines, gpu.memory_line(report)]


def _driver(cuda: str | None) -> Line:
    return gpu.driver_line(ask_nvidia_smi(), find_nvidia_smi(), cuda, platform.system())


def _chain(environment: Environment, timeout: float) -> list[Line]:
    report = child.ask(environment.python, PARTS / "probe_chain.py", timeout, str(MODELS))
    return chain.chain_lines(report, MODELS)


def screen(environment: dict[str, str]) -> Screen:
    """What the terminal can show."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        "✓✗→".encode(encoding)
        symbols = True
    except (UnicodeEncodeError, LookupError):
        symbols = False
    # The consoles of Windows before its Terminal would show the codes themselves.
    ansi = bool(environment.get("WT_SESSION")) or os.name != "nt"
    plain = bool(environment.get("NO_COLOR")) or environment.get("TERM") == "dumb"
    width = shutil.get_terminal_size((100, 40)).columns
    return Screen(min(max(width, 60), 120), symbols, ansi and sys.stdout.isatty() and not plain)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="the same for programs")
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT,
        metavar="SECONDS",
        help="for torch, and for the versions, to answer (default: %(default)g)",
    )
    options = parser.parse_args(arguments)
    lines = examine(options.timeout, sys.stdout.encoding or "unknown")
    if options.json:
        print(as_json(lines))
    else:
        print(f"lorachain in {ROOT}\n")
        print(render(lines, screen(dict(os.environ))))
    return 2 if count(lines, ERROR) else 0


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
