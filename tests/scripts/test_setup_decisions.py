"""What set-up decides and says: the build of torch, supported Pythons, sentences for failures."""

from __future__ import annotations

import sys

import pytest
from setup_parts.environments import unsupported
from setup_parts.failures import SetupError, explain, explain_import
from setup_parts.running import Narrator, child_environment
from setup_parts.torch_build import INDEX, Gpu, NvidiaSmi, choose_torch, parse_nvidia_smi

BANNER_560 = """\
Wed Jan  8 10:11:12 2025
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 560.94                 Driver Version: 560.94         CUDA Version: 12.6     |
|-----------------------------------------+------------------------+----------------------+
| GPU  Name                  Driver-Model | Bus-Id          Disp.A | Volatile Uncorr. ECC |
| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |
|=========================================+========================+======================|
|   0  NVIDIA GeForce RTX 3060      WDDM  |   00000000:01:00.0  On |                  N/A |
|  0%   45C    P8             12W /  170W |     812MiB /  12288MiB |      2%      Default |
+-----------------------------------------+------------------------+----------------------+
"""
BANNER_610 = """\
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 610.47                 KMD Version: 610.47        CUDA UMD Version: 13.3     |
+-----------------------------------------+------------------------+----------------------+
|   0  NVIDIA GeForce RTX 5070 ...  WDDM  |   00000000:02:00.0  On |                  N/A |
"""


def smi(
    driver: str | None, cuda: tuple[int, int] | None, *gpus: tuple[str, tuple[int, int] | None]
):
    return NvidiaSmi(driver, cuda, tuple(Gpu(*gpu) for gpu in gpus))


RTX_3060 = ("NVIDIA GeForce RTX 3060", (8, 6))
RTX_5070 = ("NVIDIA GeForce RTX 5070", (12, 0))
GTX_1060 = ("NVIDIA GeForce GTX 1060", (6, 1))
GTX_780 = ("NVIDIA GeForce GTX 780", (3, 5))
NEW, MIDDLE = ("581.80", (13, 0)), ("560.94", (12, 6))


@pytest.mark.parametrize(
    ("gpu", "build"),
    [
        (smi(*NEW, RTX_3060), "cu130"),
        (smi("616.92", (13, 4), RTX_5070), "cu130"),
        (smi(*MIDDLE, RTX_3060), "cu126"),
        (smi("531.18", (12, 1), RTX_3060), "cu126"),
        # Pascal left CUDA 13, Blackwell is not in 12.6; the more capable of two GPUs decides.
        (smi(*NEW, GTX_1060), "cu126"),
        (smi(*NEW, GTX_1060, RTX_5070), "cu130"),
        # Without a capability or a CUDA version the driver's version decides.
        (smi("581.80", None, RTX_3060), "cu130"),
        (smi("560.94", None, RTX_3060), "cu126"),
        (smi(*MIDDLE), "cu126"),
        (smi(None, None, ("NVIDIA RTX 9999", (20, 0))), "cu130"),
        (None, None),
        (smi("475.14", (11, 4), GTX_780), None),
    ],
)
def test_torch_for_windows(gpu: NvidiaSmi | None, build: str | None) -> None:
    choice = choose_torch("Windows", "AMD64", gpu, "2.13.0")
    if build is None:
        assert (choice.requirement, choice.index_url) == ("torch==2.13.0", None)
    else:
        assert (choice.requirement, choice.index_url) == (f"torch==2.13.0+{build}", INDEX + build)
    assert choice.needs_cuda is (build is not None)


@pytest.mark.parametrize(
    ("gpu", "floor"),
    [
        (smi("516.94", (11, 7), RTX_3060), "528.33"),
        (smi(*MIDDLE, RTX_5070), "580"),
        (smi("516.94", None, RTX_3060), "528.33"),
    ],
)
def test_a_driver_that_is_too_old_is_named_with_what_to_install(gpu: NvidiaSmi, floor: str) -> None:
    with pytest.raises(SetupError) as caught:
        choose_torch("Windows", "AMD64", gpu, "2.13.0")
    sentence = caught.value.sentence
    assert f"The NVIDIA driver {gpu.driver} is too old" in sentence
    assert gpu.gpus[0].name in sentence
    assert f"install driver {floor} or newer from https://www.nvidia.com/drivers" in sentence
    assert "--torch cpu" in sentence


@pytest.mark.parametrize(
    ("system", "machine", "gpu", "needs_cuda"),
    [
        ("Linux", "x86_64", smi(*NEW, RTX_3060), True),
        ("Linux", "x86_64", None, False),
        ("Linux", "aarch64", None, False),
        ("Darwin", "arm64", None, False),
        ("Windows", "ARM64", smi(*NEW, RTX_3060), False),
    ],
)
def test_elsewhere_the_pinned_release(
    system: str, machine: str, gpu: NvidiaSmi | None, needs_cuda: bool
) -> None:
    choice = choose_torch(system, machine, gpu, "2.13.0")
    assert (choice.requirement, choice.index_url) == ("torch==2.13.0", None)
    assert choice.needs_cuda is needs_cuda


@pytest.mark.parametrize(
    ("gpu", "advice"),
    [
        (smi("580.95.05", (13, 0), RTX_3060), None),
        (smi("560.35", (12, 6), RTX_3060), "--torch cu126"),
        (smi("580.95.05", (13, 0), GTX_1060), "--torch cu126"),
        (smi("560.35", (12, 6), RTX_5070), "update it"),
        (smi("470.1", (11, 4), RTX_3060), "update it"),
        (None, "--torch cpu"),
    ],
)
def test_linux_users_are_told_of_a_better_build(gpu: NvidiaSmi | None, advice: str | None) -> None:
    found = choose_torch("Linux", "x86_64", gpu, "2.13.0").advice
    assert (advice is None and found is None) or (advice or "-") in (found or "")


@pytest.mark.parametrize(
    ("system", "request_", "requirement", "index", "needs_cuda"),
    [
        ("Windows", "cpu", "torch==2.13.0+cpu", INDEX + "cpu", False),
        ("Darwin", "cpu", "torch==2.13.0", None, False),
        ("Linux", "cu126", "torch==2.13.0+cu126", INDEX + "cu126", True),
    ],
)
def test_a_request_beats_what_was_found(
    system: str, request_: str, requirement: str, index: str | None, needs_cuda: bool
) -> None:
    old = smi("516.94", (11, 7), RTX_3060)  # would be an error on its own
    choice = choose_torch(system, "AMD64", old, "2.13.0", request_)
    assert (choice.requirement, choice.index_url) == (requirement, index)
    assert choice.needs_cuda is needs_cuda


def test_nvidia_smi_of_a_usual_driver() -> None:
    query = "NVIDIA GeForce RTX 3060, 560.94, 8.6\nNVIDIA A100, 80GB, 560.94, 8.0\n"
    assert parse_nvidia_smi(BANNER_560, query) == smi(
        "560.94", (12, 6), RTX_3060, ("NVIDIA A100, 80GB", (8, 0))
    )


def test_nvidia_smi_from_driver_610_on() -> None:
    assert parse_nvidia_smi(BANNER_610, "") == smi("610.47", (13, 3))


@pytest.mark.parametrize(
    ("banner", "query", "expected"),
    [
        ("", "", None),
        ("No devices were found\n", "", None),
        ("NVIDIA-SMI has failed because it couldn't communicate with the driver.", "", None),
        ("", "NVIDIA T4, 535.1, [N/A]\n", smi("535.1", None, ("NVIDIA T4", None))),
    ],
)
def test_nvidia_smi_that_tells_little(banner: str, query: str, expected: NvidiaSmi | None) -> None:
    assert parse_nvidia_smi(banner, query) == expected


@pytest.mark.parametrize(
    ("version", "bits64", "implementation", "free_threaded", "reason"),
    [
        ((3, 11, 0), True, "cpython", False, None),
        ((3, 13, 9), True, "cpython", False, None),
        ((3, 10, 13), True, "cpython", False, "Python 3.10.13"),
        ((3, 14, 0), True, "cpython", False, "Python 3.14.0"),
        ((4, 0, 0), True, "cpython", False, "Python 4.0.0"),
        ((3, 12, 1), False, "cpython", False, "32-bit Python 3.12.1"),
        ((3, 13, 0), True, "cpython", True, "the free-threaded build of Python 3.13.0"),
        ((3, 11, 9), True, "pypy", False, "pypy 3.11.9"),
    ],
)
def test_supported_pythons(
    version: tuple[int, ...],
    bits64: bool,
    implementation: str,
    free_threaded: bool,
    reason: str | None,
) -> None:
    assert unsupported(version, bits64, implementation, free_threaded) == reason


def test_an_old_python_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import setup_env

    monkeypatch.setattr(sys, "version_info", (3, 9, 18, "final", 0))
    with pytest.raises(SystemExit) as caught:
        setup_env.main(["--check"])
    assert caught.value.code == 2
    with pytest.raises(SetupError, match=r"This is Python 3\.9\.18, and lorachain needs 64-bit"):
        setup_env.ensure()


REFUSED = (
    "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError("
    "'<pip._vendor.urllib3.connection.HTTPSConnection object>: Failed to establish a new "
    "connection: [WinError 10061] ...')': /simple/torch/\n"
    "ERROR: Could not find a version that satisfies the requirement torch==2.13.0\n"
    "ERROR: No matching distribution found for torch==2.13.0"
)
CERTIFICATE = (
    "Could not fetch URL https://p.example/simple/torch/: There was a problem confirming the ssl "
    "certificate: HTTPSConnectionPool(host='p.example', port=443): Max retries exceeded with url: "
    "/simple/torch/ (Caused by SSLError(SSLCertVerificationError(1, '[SSL: "
    "CERTIFICATE_VERIFY_FAILED] certificate verify failed'))) - skipping\n"
    "ERROR: No matching distribution found for torch==2.13.0"
)
PROXY = (
    "WARNING: Retrying (Retry(total=0)) after connection broken by 'ProxyError('Cannot connect to "
    "proxy.', NewConnectionError('<...>: Failed to establish a new connection'))'\n"
)
DEBIAN = (
    "The virtual environment was not created successfully because ensurepip is not\navailable.  "
    "On Debian/Ubuntu systems, you need to install the python3-venv\npackage using the following "
    "command.\n\n    apt install python3.11-venv\n"
)
LONG_PATH = (
    "ERROR: Could not install packages due to an OSError: [Errno 2] No such file or directory: "
    "'C:\\\\Users\\\\...'\nHINT: This error might have occurred since this system does not have "
    "Windows Long Path support enabled. You can find information on how to enable this at "
    "https://pip.pypa.io/warnings/enable-long-paths"
)
OS_ERROR = "ERROR: Could not install packages due to an OSError: "


@pytest.mark.parametrize(
    ("output", "beginning", "advice"),
    [
        (REFUSED, "The package index was not reached", "HTTPS_PROXY"),
        (CERTIFICATE, "A server's certificate was not accepted", "global.cert"),
        (PROXY, "The proxy was not reached", "HTTPS_PROXY"),
        (DEBIAN, "This Python has no venv module", "apt install python3-venv"),
        ("python3: No module named venv", "This Python has no venv module", "python3-venv"),
        (LONG_PATH, "A path is too long", "C:\\lorachain"),
        (OS_ERROR + "[WinError 206] Der Dateiname ist zu lang", "A path is too long", "short path"),
        (OS_ERROR + "[Errno 28] No space left on device", "The disk is full", "pip cache purge"),
        (OS_ERROR + "[WinError 112] Es steht nicht genug Platz", "The disk is full", "free some"),
        (OS_ERROR + "[Errno 13] Permission denied: 'x'", "Writing was not permitted", "folder"),
        (OS_ERROR + "[WinError 5] Zugriff verweigert: 'x'", "Writing was not permitted", "Program"),
        (OS_ERROR + "[WinError 32] belegt: 'x'", "A file of the environment is in use", "close"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "A download is damaged", "cache purge"),
        ("ERROR: ResolutionImpossible: for help", "The package index has not what", "undo changes"),
        ("ERROR: No matching distribution for x", "The package index has not what", "pip config"),
        ("ERROR: HTTP error 403 Client Error: ...", "The package index refused", "pip config"),
        ("UnicodeEncodeError: 'charmap' codec can't", "This folder's path has letters", "move"),
    ],
)
def test_each_failure_says_what_to_do(output: str, beginning: str, advice: str) -> None:
    sentence = explain(output)
    assert sentence is not None
    assert sentence.startswith(beginning)
    assert advice in sentence
    assert "again" in sentence


def test_an_unknown_failure_gets_no_invented_cause() -> None:
    assert explain("ERROR: something new") is None


def test_a_torch_that_does_not_load() -> None:
    loading = 'OSError: [WinError 126] Modul nicht gefunden. Error loading "...\\\\lib\\\\c10.dll"'
    assert "https://aka.ms/vs/17/release/vc_redist.x64.exe" in explain_import(loading)
    assert "--recreate" in explain_import("ModuleNotFoundError: No module named 'torch'")
    assert "--recreate" in explain_import("Segmentation fault")


def test_an_error_shows_the_last_lines_and_the_log() -> None:
    error = SetupError("It failed.", [f"line {number}" for number in range(40)], "logs/setup.log")
    shown = str(error).splitlines()
    assert shown[0] == "Error: It failed."
    assert shown[2:-1] == [f"    line {number}" for number in range(28, 40)]
    assert shown[-1].endswith("logs/setup.log")


def test_pip_is_told_in_few_lines() -> None:
    narrator = Narrator("installing torch")
    lines = {
        "Looking in indexes: https://p.example/simple": None,
        "Collecting torch==2.13.0": None,
        "  Downloading torch-2.13.0-cp311-cp311-win_amd64.whl.metadata (30 kB)": None,
        "Downloading https://files/torch-2.13.0+cu130-cp311-win_amd64.whl (1.9 GB)": (
            "downloading torch-2.13.0+cu130-cp311-win_amd64.whl (1.9 GB)"
        ),
        "Progress 950 of 1900": None,
        "Downloading tqdm-4.70.1-py3-none-any.whl (78 kB)": None,
        "Installing collected packages: mpmath, sympy, torch": "unpacking 3 packages",
        "Successfully installed torch-2.13.0": None,
    }
    assert [narrator.read(line) for line in lines] == list(lines.values())
    narrator.read("Downloading torch-2.13.0.whl (1.9 GB)")
    narrator.read("Progress 950 of 1900")
    assert narrator.activity == "downloading torch-2.13.0.whl: 50 %"
    assert narrator.is_progress
    narrator.read("Progress 1900 of 1900")
    assert narrator.activity == "downloading torch-2.13.0.whl: 100 %"


def test_pip_keeps_the_users_settings_but_installs_here() -> None:
    given = {"PIP_INDEX_URL": "https://mirror/simple", "PIP_CERT": "c", "PIP_TARGET": "t"}
    made = child_environment({**given, "PIP_USER": "1", "PYTHONHOME": "h"})
    assert (made["PIP_INDEX_URL"], made["PIP_CERT"]) == ("https://mirror/simple", "c")
    assert made["PIP_USER"] == "0"
    assert "PIP_TARGET" not in made
    assert "PYTHONHOME" not in made
