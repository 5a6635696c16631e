"""Which build of torch this machine needs: what nvidia-smi says, and the decision drawn from it.

PyPI's torch for Windows has no CUDA; PyPI's torch for Linux is built for CUDA 13.0. The builds and
the GPUs that they serve: PyTorch's release matrix for 2.12 to 2.14
(https://github.com/pytorch/pytorch/blob/main/RELEASE.md and pytorch issues 178665 and 190355).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from setup_parts.failures import SetupError

INDEX = "https://download.pytorch.org/whl/"
DRIVERS_PAGE = "https://www.nvidia.com/drivers"


@dataclass(frozen=True)
class Gpu:
    name: str
    capability: tuple[int, int] | None


@dataclass(frozen=True)
class NvidiaSmi:
    """What nvidia-smi answered; `cuda` is the newest CUDA version that the driver serves."""

    driver: str | None
    cuda: tuple[int, int] | None
    gpus: tuple[Gpu, ...]


@dataclass(frozen=True)
class CudaBuild:
    tag: str
    driver_cuda: tuple[int, int]
    """The driver must serve this CUDA version (within a major version, minors are compatible)."""
    windows_driver: str
    capabilities: tuple[tuple[int, int], tuple[int, int]]
    """First compute capability served, and the first one after it that is not."""


# Best first. 13.2 is also published for torch 2.13, as an experiment.
CUDA_BUILDS = (
    CudaBuild("cu130", (13, 0), "580", ((7, 5), (99, 0))),
    CudaBuild("cu126", (12, 0), "528.33", ((5, 0), (10, 0))),
)
REQUESTS = ("auto", "cpu", *(build.tag for build in CUDA_BUILDS))


@dataclass(frozen=True)
class TorchChoice:
    requirement: str
    index_url: str | None
    """An index to look in besides the user's own; None where that one has the build."""
    why: str
    needs_cuda: bool
    advice: str | None = None


def find_nvidia_smi() -> str | None:
    """The path of nvidia-smi, also where Windows drivers put it outside of PATH."""
    found = shutil.which("nvidia-smi")
    if found or os.name != "nt":
        return found
    for folder in (
        Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32"),
        Path(os.environ.get("PROGRAMFILES", r"C:\Program Files"), "NVIDIA Corporation", "NVSMI"),
    ):
        if (folder / "nvidia-smi.exe").is_file():
            return str(folder / "nvidia-smi.exe")
    return None


def ask_nvidia_smi() -> NvidiaSmi | None:
    """Run nvidia-smi; None where there is none, where it fails, and where it sees no GPU."""
    program = find_nvidia_smi()
    if program is None:
        return None

    def answer(*arguments: str) -> str:
        try:
            done = subprocess.run(
                [str(program), *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=30,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""

    return parse_nvidia_smi(
        answer(), answer("--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader")
    )


def parse_nvidia_smi(banner: str, query: str) -> NvidiaSmi | None:
    """Read `nvidia-smi`'s table and its `name,driver_version,compute_cap` lines.

    Drivers from 610 on call the versions "KMD Version" and "CUDA UMD Version". A driver that is
    too old for the query still shows its versions in the table.
    """
    gpus = []
    driver = None
    for line in query.splitlines():
        fields = [field.strip() for field in line.rsplit(",", 2)]
        if len(fields) == 3 and fields[0]:
            driver = fields[1]
            gpus.append(Gpu(fields[0], _version(fields[2])))
    if driver is None:
        found = re.search(r"(?:Driver|KMD) Version:\s*(\d+(?:\.\d+)*)", banner)
        driver = found.group(1) if found else None
    cuda = re.search(r"CUDA (?:UMD )?Version:\s*(\d+\.\d+)", banner)
    if driver is None and cuda is None and not gpus:
        return None
    return NvidiaSmi(driver, _version(cuda.group(1)) if cuda else None, tuple(gpus))


def choose_torch(
    system: str, machine: str, gpu: NvidiaSmi | None, pinned: str, request: str = "auto"
) -> TorchChoice:
    """The build of torch for this machine. `pinned` is the version, such as 2.13.0.

    `system` and `machine` are as in the module platform. Raises SetupError where the driver is too
    old for every build that serves the GPU. A build is asked for by its full name (2.13.0+cu130):
    a plain 2.13.0 would be satisfied by a CPU build that is there already.
    """
    plain = f"torch=={pinned}"
    if request == "cpu":
        why = "the build without CUDA, as asked for"
        if system == "Darwin":
            return TorchChoice(plain, None, why, False)
        return TorchChoice(f"{plain}+cpu", INDEX + "cpu", why, False)
    if request != "auto":
        why = f"the CUDA build {request}, as asked for"
        return TorchChoice(f"{plain}+{request}", INDEX + request, why, True)
    if gpu is None:
        small = "the build without CUDA, `--torch cpu`, is a smaller download"
        return TorchChoice(
            plain, None, "no NVIDIA GPU answers here", False, small if system == "Linux" else None
        )
    name, capability = most_capable(gpu)
    if system == "Windows" and machine.upper() in ("AMD64", "X86_64"):
        return _choose_for_windows(gpu, name, capability, pinned)
    if system != "Linux":
        return TorchChoice(plain, None, f"there are no CUDA builds for {system} {machine}", False)
    return TorchChoice(
        plain, None, f"the release for Linux, for {name}", True, _linux_advice(gpu, capability)
    )


def _choose_for_windows(
    gpu: NvidiaSmi, name: str, capability: tuple[int, int] | None, pinned: str
) -> TorchChoice:
    fitting = [build for build in CUDA_BUILDS if serves(build, capability)]
    if not fitting:
        return TorchChoice(
            f"torch=={pinned}",
            None,
            f"{name} is too old for every CUDA build of torch {pinned}; training runs on the CPU",
            False,
        )
    best = best_build(gpu, "Windows")
    if best is not None:
        return TorchChoice(f"torch=={pinned}+{best.tag}", INDEX + best.tag, f"for {name}", True)
    raise SetupError(
        f"The NVIDIA driver {gpu.driver or ''} is too old for torch {pinned} on {name}: install "
        f"driver {fitting[-1].windows_driver} or newer from {DRIVERS_PAGE}, restart, then run the "
        "same command again (or go on without the GPU: "
        "`python scripts/setup_env.py --torch cpu`)."
    )


def best_build(gpu: NvidiaSmi, system: str) -> CudaBuild | None:
    """The best CUDA build that both the GPU and its driver serve; None where there is none."""
    driver_cuda = gpu.cuda
    if driver_cuda is None and system == "Windows":
        driver_cuda = _cuda_of_windows_driver(gpu.driver)
    capability = most_capable(gpu)[1]
    for build in CUDA_BUILDS:
        # A driver that tells no version is most likely newer than this script.
        if serves(build, capability) and (driver_cuda is None or driver_cuda >= build.driver_cuda):
            return build
    return None


def serves(build: CudaBuild, capability: tuple[int, int] | None) -> bool:
    return capability is None or build.capabilities[0] <= capability < build.capabilities[1]


def _linux_advice(gpu: NvidiaSmi, capability: tuple[int, int] | None) -> str | None:
    """PyPI's build serves CUDA 13 drivers and GPUs from Turing on; others may choose by hand."""
    build = CUDA_BUILDS[0]
    driver_is_old = gpu.cuda is not None and gpu.cuda < build.driver_cuda
    if not driver_is_old and serves(build, capability):
        return None
    others = [b for b in CUDA_BUILDS[1:] if serves(b, capability)]
    if others and (gpu.cuda is None or gpu.cuda >= others[0].driver_cuda):
        tag = others[0].tag
        return f"this driver or GPU may need another build: `--torch {tag}` installs that for it"
    return f"this driver may be too old for the GPU to be used: update it from {DRIVERS_PAGE}"


def most_capable(gpu: NvidiaSmi) -> tuple[str, tuple[int, int] | None]:
    if not gpu.gpus:
        return "the NVIDIA GPU", None
    best = max(gpu.gpus, key=lambda one: one.capability or (0, 0))
    return best.name, best.capability


def _cuda_of_windows_driver(driver: str | None) -> tuple[int, int] | None:
    version = _version(driver or "")
    if version is None:
        return None
    for build in CUDA_BUILDS:
        floor = _version(build.windows_driver)
        if floor is not None and version >= floor:
            return build.driver_cuda
    return (0, 0)


def _version(text: str) -> tuple[int, int] | None:
    found = re.match(r"(\d+)(?:\.(\d+))?", text)
    return (int(found.group(1)), int(found.group(2) or 0)) if found else None
