"""Set this project up: `python scripts/setup_env.py`, from any folder, as often as you like.

It makes the folder .venv (unless it runs inside a virtual or conda environment: then that one is
used), installs the build of torch that fits this machine, then the rest in the exact versions of
constraints.txt, and checks that torch imports. Done already, it returns at once; interrupted or
damaged, it mends. Needs nothing but 64-bit CPython 3.11 to 3.13.

For the other scripts in this folder (`import setup_env`):
    ensure(dev) -> Path        set up where needed; the path of the environment's Python
    reexec_inside(dev)         go on in the environment, setting it up first where needed
    exit_on_failure()          a context: a SetupError becomes its sentence and exit code 2
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from setup_parts import environments, mending
from setup_parts.environments import Environment
from setup_parts.failures import SetupError, explain_import
from setup_parts.locking import locked
from setup_parts.running import Runner, run_attached
from setup_parts.torch_build import REQUESTS, NvidiaSmi, TorchChoice, ask_nvidia_smi, choose_torch

ROOT = Path(__file__).resolve().parent.parent
TORCH_CONSTRAINT = "lorachain-torch.txt"
_REEXEC = "LORACHAIN_REEXEC"

_IMPORT_CHECK = """
import json
import torch
import lorachain
print(json.dumps([torch.__version__, torch.version.cuda, torch.cuda.is_available()]))
"""


def say(line: str) -> None:
    """Progress goes to stderr: stdout belongs to the script that asked for the set-up."""
    print(line, file=sys.stderr, flush=True)


def ensure(dev: bool = False, recreate: bool = False, torch: str | None = None) -> Path:
    """Set up where needed and return the environment's Python; well under a second when complete.

    `torch` is one of REQUESTS; None keeps what an earlier set-up was asked for. Raises SetupError.
    """
    environments.check_this_python()
    try:
        environment = environments.locate(ROOT)
        if recreate or environments.problems(environment, ROOT, dev, torch):
            with locked(ROOT / "logs" / "setup.lock", say) as descriptor:
                # Whoever held the lock may have done the work.
                reasons = environments.problems(environment, ROOT, dev, torch)
                if recreate or reasons:
                    why = environments.names(reasons) or "to be made anew"
                    say(f"Setting up {environment.prefix} ({why}).")
                    _set_up(environment, dev, recreate, torch, descriptor)
        return environment.python
    except OSError as error:
        raise environments.explain_os_error(error) from error


def _set_up(
    environment: Environment, dev: bool, recreate: bool, torch: str | None, descriptor: int
) -> None:
    before = environments.read_stamp(environment)
    request = torch or str(before.get("torch", {}).get("request", "auto"))
    dev = dev or bool(before.get("dev"))
    log_path = ROOT / "logs" / "setup.log"
    with log_path.open("w", encoding="utf-8") as log:
        log.write(f"Python {sys.version} on {platform.platform()}\n")
        runner = Runner(ROOT, log_path, log, say, descriptor)
        gpu = ask_nvidia_smi()
        choice = choose_torch(platform.system(), platform.machine(), gpu, _pinned_torch(), request)
        probe = mending.make_ready(environment, runner, recreate)
        stamp: dict[str, Any] = {
            "complete": False,
            "root": str(ROOT),
            "python": ".".join(map(str, probe.version)),
            "files": environments.hashes(ROOT),
            "dev": dev,
            "gpu": gpu is not None,
            "torch": {"request": request, "requirement": choice.requirement},
        }
        environments.write_stamp(environment, stamp)
        _install(environment, runner, choice, dev, probe.pip or "")
        stamp["torch"]["version"] = _check_imports(environment, runner, choice, gpu)
        stamp["distributions"] = environments.distributions(environment)
        environments.write_stamp(environment, {**stamp, "complete": True})


def _pinned_torch() -> str:
    """The version of torch that constraints.txt pins."""
    path = ROOT / "constraints.txt"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = re.search(r"(?m)^torch==([\w.]+)", text)
    if found is None:
        raise SetupError(f"{path} has no line torch==VERSION: restore the file (`git checkout`).")
    return found.group(1)


def _install(
    environment: Environment, runner: Runner, choice: TorchChoice, dev: bool, pip_version: str
) -> None:
    """torch first, then the rest under a constraint that names the very build that came."""
    pip = [str(environment.python), "-I", "-X", "utf8", "-u", "-m", "pip", "install"]
    pip += ["--no-input", "--disable-pip-version-check", "--progress-bar"]
    pip += ["raw" if _at_least(pip_version, (24, 1)) else "off", "-c", "constraints.txt"]
    otherwise = "pip failed: mend what its last lines name, then run the same command again."

    say(f"Installing {choice.requirement} ({choice.why}).")
    if choice.advice:
        say(f"  Note: {choice.advice}.")
    say("  This is the largest part; how long it takes depends on your connection.")
    extra = ["--extra-index-url", choice.index_url] if choice.index_url else []
    runner.must([*pip, *extra, choice.requirement], "installing torch", otherwise)

    exact = environment.prefix / TORCH_CONSTRAINT
    exact.write_text(f"torch=={_installed_torch(environment)}\n", encoding="utf-8")
    say("Installing the other packages" + (", with the tools for tests." if dev else "."))
    wanted = ["-r", "requirements.txt", *(["-r", "requirements-dev.txt"] if dev else [])]
    runner.must([*pip, "-c", str(exact), *wanted], "installing the other packages", otherwise)


def _at_least(version: str, floor: tuple[int, int]) -> bool:
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is not None and (int(found.group(1)), int(found.group(2))) >= floor


def _installed_torch(environment: Environment) -> str:
    for name in environments.distributions(environment):
        if name.startswith("torch-"):
            return name[len("torch-") : -len(".dist-info")]
    raise SetupError("pip reported success, but torch is not there: run with --recreate.")


def _check_imports(
    environment: Environment, runner: Runner, choice: TorchChoice, gpu: NvidiaSmi | None
) -> str:
    """Import torch in the environment, and see that it has CUDA where it must; its version."""
    say("Checking that torch imports.")
    command = [str(environment.python), "-I", "-X", "utf8", "-c", _IMPORT_CHECK]
    code, lines = runner.run(command, "importing torch")
    if code != 0:
        raise runner.error(explain_import("\n".join(lines)), lines)
    version, cuda, available = json.loads(lines[-1])
    if choice.needs_cuda and cuda is None:
        raise runner.error(
            f"torch {version} was installed, which has no CUDA, though nvidia-smi sees a GPU: your "
            "pip settings (`pip config list`) offer that build first; run `python "
            "scripts/setup_env.py --torch cu130` for a CUDA build, or `--torch cpu` to go on "
            "without the GPU."
        )
    if choice.needs_cuda and gpu is not None and not available:
        say(f"  Note: torch {version} does not reach the GPU yet: update its driver and restart.")
    return str(version)


@contextlib.contextmanager
def exit_on_failure() -> Iterator[None]:
    """Turn a SetupError into its sentence and exit code 2, and Ctrl-C into 130."""
    try:
        yield
    except SetupError as error:
        say(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        say("Interrupted; the same command goes on from here.")
        sys.exit(130)


def reexec_inside(dev: bool = False) -> None:
    """Go on in the environment: returns at once where this process already runs in it.

    Else the running script is started again under the environment's Python, with the same
    arguments, and its exit code becomes this process's. Call it before importing anything that
    set-up installs, and after argument errors and --help were answered.
    """
    with exit_on_failure():
        python = ensure(dev)
        environment = environments.locate(ROOT)
        if environment.running:
            os.environ.pop(_REEXEC, None)
            return
        if os.environ.get(_REEXEC) == str(environment.prefix):
            raise SetupError(
                f"{python} does not know that it is in {environment.prefix}: run `python "
                "scripts/setup_env.py --recreate`."
            )
    _continue_under(python, {**os.environ, _REEXEC: str(environment.prefix), "PYTHONUTF8": "1"})


def _continue_under(python: Path, variables: dict[str, str]) -> NoReturn:
    command = [str(python), *sys.argv]
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform != "win32":
        # The same process goes on, so signals and exit codes need no passing on.
        os.execve(python, command, variables)
    # Windows' exec returns to the shell at once.
    sys.exit(run_attached(command, variables))


def _describe(environment: Environment) -> str:
    stamp = environments.read_stamp(environment)
    tools = ", with the tools for tests" if stamp["dev"] else ""
    return (
        f"{environment.prefix} (Python {stamp['python']}, torch {stamp['torch']['version']}{tools})"
    )


def check(dev: bool) -> int:
    """Print the state of the environment; 0 where it is complete, else 2."""
    environment = environments.locate(ROOT)
    reasons = environments.problems(environment, ROOT, dev)
    if reasons:
        print(f"Not complete: {environment.prefix}: " + environments.names(reasons))
        print("Run `python scripts/setup_env.py" + (" --dev`." if dev else "`."))
        return 2
    print(f"Complete: {_describe(environment)}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Set this project up: environment, torch for this machine, all packages.",
        epilog="Safe to run again at any time. The full output of pip is in logs/setup.log.",
        allow_abbrev=False,
    )
    parser.add_argument("--dev", action="store_true", help="also the tools for tests and checks")
    parser.add_argument("--recreate", action="store_true", help="delete .venv and make it anew")
    parser.add_argument(
        "--check",
        action="store_true",
        help="change nothing; say whether all is complete (0) or not (2)",
    )
    parser.add_argument(
        "--torch",
        choices=REQUESTS,
        help="the build of torch (default: what fits this machine); remembered until changed",
    )
    options = parser.parse_args(arguments)
    with exit_on_failure():
        environments.check_this_python()
        if options.check:
            return check(options.dev)
        ensure(options.dev, options.recreate, options.torch)
        print(f"Ready: {_describe(environments.locate(ROOT))}")
    return 0


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    sys.exit(main())
