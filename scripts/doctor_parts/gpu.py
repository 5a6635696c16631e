"""torch, the NVIDIA driver, the GPU, the 4-bit product and the memory, from what was asked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from setup_parts.failures import known_import_failure
from setup_parts.torch_build import (
    CUDA_BUILDS,
    DRIVERS_PAGE,
    CudaBuild,
    NvidiaSmi,
    best_build,
    most_capable,
    serves,
)

from doctor_parts.child import Report
from doctor_parts.lines import ERROR, OK, WARNING, Line, size

PRODUCT_TOLERANCE = 0.01
FOUR_BIT_TOLERANCE = 0.2
SMALL_MODEL_BYTES = 4e9
"""The quickstart's peak is 3.4 GB."""
RECREATE = "python scripts/setup_env.py --recreate"
CPU_ONLY = "python scripts/setup_env.py --torch cpu"


def driver_line(smi: NvidiaSmi | None, program: str | None, cuda: str | None, system: str) -> Line:
    """The driver, and whether it serves the CUDA of the torch that is installed (`cuda`)."""
    check = "NVIDIA driver"
    if smi is None and program is None:
        return Line(
            check,
            WARNING,
            "none (there is no nvidia-smi): training runs on the CPU, which is for small models",
            f"If this computer has an NVIDIA GPU, install its driver ({DRIVERS_PAGE}), then run "
            "the set-up again:",
            "python scripts/setup_env.py",
        )
    if smi is None:
        do = f"Install the newest driver ({DRIVERS_PAGE}) and restart, if there is an NVIDIA GPU."
        return Line(check, WARNING, f"{program} is there, but names no GPU", do)
    serves_up_to = "" if smi.cuda is None else f", for CUDA up to {_dotted(smi.cuda)}"
    names = ", ".join(gpu.name for gpu in smi.gpus) or "a GPU"
    found = f"{smi.driver or 'unknown'}{serves_up_to}; {names}"
    major = int(cuda.split(".")[0]) if cuda else None
    if smi.cuda is None or major is None or smi.cuda[0] >= major:
        return Line(check, OK, found)
    do, command = _newer_driver(smi, system)
    return Line(check, ERROR, f"{found}: too old for torch's CUDA {cuda}", do, command)


def _newer_driver(smi: NvidiaSmi, system: str) -> tuple[str, str]:
    """What to do about a driver that is too old for the installed torch, and the command."""
    capability = most_capable(smi)[1]
    first = next((build for build in CUDA_BUILDS if serves(build, capability)), CUDA_BUILDS[0])
    newer = f"Install driver {first.windows_driver} or newer ({DRIVERS_PAGE}) and restart"
    other = best_build(smi, system)
    if other is None:
        return f"{newer}; or go on without the GPU:", CPU_ONLY
    return f"{newer}; or take the build of torch for this driver:", _build_command(other)


def torch_line(
    report: Report,
    smi: NvidiaSmi | None,
    system: str,
    request: str,
    environment: Mapping[str, str],
) -> Line:
    """torch and its build: does it import, and does it use the GPU that is there? `request` is the
    build that set-up was asked for."""
    problem = report.problem("torch")
    if problem is not None:
        return _no_import(problem)
    facts = report.facts.get("torch")
    if facts is None:
        do = "The environment's Python fails. Make it anew:"
        return Line("torch", ERROR, f"not looked at: {report.how}", do, RECREATE)
    build = f"for CUDA {facts['cuda']}" if facts["cuda"] else "without CUDA"
    found = f"{facts['version']}, {build}; imports in {facts['seconds']:.1f} s"
    if smi is None or facts["available"]:
        return Line("torch", OK, found)
    gpu = most_capable(smi)[0]
    if facts["cuda"]:
        hidden = environment.get("CUDA_VISIBLE_DEVICES")
        if hidden is not None and hidden.strip() in ("", "-1"):
            do = "CUDA_VISIBLE_DEVICES hides it; unset that to train on the GPU."
            return Line("torch", WARNING, f"{found}; it does not see {gpu}", do)
        do = f"Install the newest driver ({DRIVERS_PAGE}), restart, then run this again."
        return Line("torch", ERROR, f"{found}; it does not reach {gpu}", do)
    return _without_cuda(found, gpu, smi, system, request)


def _no_import(problem: str) -> Line:
    if re.search(r"did not end within|crashed", problem):
        do = "Try once more (the first import after a set-up is slow). If it stays, make it anew:"
        return Line("torch", ERROR, f"it cannot be imported: {problem}", do, RECREATE)
    if "No module named 'torch'" in problem:
        do, command = "Install it:", "python scripts/setup_env.py"
        return Line("torch", ERROR, "not installed in the environment", do, command)
    first = next(iter(problem.splitlines()), problem)
    known = known_import_failure(problem)
    if known is not None:
        do, command = known[:1].upper() + known[1:], ""
    else:
        do, command = "Make it anew; if that does not help, report this line:", RECREATE
    return Line("torch", ERROR, f"it cannot be imported: {first}", do, command)


def _without_cuda(found: str, gpu: str, smi: NvidiaSmi, system: str, request: str) -> Line:
    """A torch without CUDA beside an NVIDIA GPU."""
    if request == "cpu":
        return Line("torch", OK, f"{found}, as asked for (--torch cpu): {gpu} is not used")
    build = best_build(smi, system)
    if build is not None:
        do = "Install the build that uses it:"
        return Line("torch", ERROR, f"{found}: {gpu} is not used", do, _build_command(build))
    capability = most_capable(smi)[1]
    if not any(serves(build, capability) for build in CUDA_BUILDS):
        return Line("torch", WARNING, f"{found}; {gpu} is too old for every CUDA build of torch")
    do, command = _newer_driver(smi, system)
    return Line("torch", ERROR, f"{found}: {gpu} is not used; its driver is too old", do, command)


def _build_command(build: CudaBuild) -> str:
    return f"python scripts/setup_env.py --torch {build.tag}"


def gpu_lines(report: Report, smi: NvidiaSmi | None, system: str) -> list[Line]:
    """Every GPU that torch sees, its memory, and whether it computes."""
    problem = report.problem("gpus")
    if problem is not None:
        first = next(iter(problem.splitlines()), problem)
        best = best_build(smi, system) if smi else None
        command = _build_command(best) if best else CPU_ONLY
        do = "Close other programs that use it. If it stays, install the build of torch for it:"
        return [Line("GPU", ERROR, f"a product of two matrices failed: {first}", do, command)]
    found: Sequence[Mapping[str, Any]] = report.facts.get("gpus") or []
    return [_gpu_line(gpu) for gpu in found]


def _gpu_line(gpu: Mapping[str, Any]) -> Line:
    found = f"{gpu['name']}, {size(gpu['total'])}, of which {size(gpu['free'])} are free"
    if not gpu["error"] < PRODUCT_TOLERANCE:  # also where it is not a number
        do = "Install the newest driver, and let the GPU run at its own clock; it may be faulty."
        return Line("GPU", ERROR, f"{found}; it computes wrongly (off by {gpu['error']:.2g})", do)
    if gpu["free"] < gpu["total"] / 2:
        do = "Another program holds more than half of its memory: close it before training."
        return Line("GPU", WARNING, found, do)
    return Line("GPU", OK, found)


def four_bit_line(report: Report) -> Line:
    """What bitsandbytes made of a 4-bit product."""
    check, problem = "bitsandbytes", report.problem("four_bit")
    on_gpu = bool((report.facts.get("torch") or {}).get("available"))
    state = ERROR if on_gpu else WARNING
    if problem is not None:
        first = next(iter(problem.splitlines()), problem)
        do = "Until it works, train without it: --set quantization.load_in_4bit=false --set "
        do += "training.optim=adamw_torch. To install it again:"
        return Line(check, state, f"a 4-bit product failed: {first}", do, RECREATE)
    facts = report.facts["four_bit"]
    off = f"{facts['error']:.1%} off the float product, {FOUR_BIT_TOLERANCE:.0%} are allowed"
    found = f"{facts['version']}, a 4-bit (NF4) product on the {_device(facts)}: {off}"
    if facts["error"] <= FOUR_BIT_TOLERANCE:
        return Line(check, OK, found)
    do = "Its 4-bit products are wrong: train with --set quantization.load_in_4bit=false."
    return Line(check, state, found, do)


def _device(facts: Mapping[str, Any]) -> str:
    return "GPU" if facts["device"] == "cuda" else "CPU"


def memory_line(report: Report) -> Line:
    """The computer's own memory."""
    facts = report.facts.get("memory")
    if facts is None:
        why = report.problem("memory") or "not looked at"
        return Line("memory", WARNING, why, "Install psutil:", "python scripts/setup_env.py")
    found = f"{size(facts['total'])}, of which {size(facts['free'])} are free"
    if facts["free"] < SMALL_MODEL_BYTES:
        do = "The quickstart takes 3.4 GB, larger models more: close other programs."
        return Line("memory", WARNING, found, do)
    return Line("memory", OK, found)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
