"""What the doctor concludes from what it was told: drivers, builds, GPUs, paths, disks."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import stub_project  # noqa: F401  (conftest puts the scripts on the path)
from doctor_parts import chain, child, computer, gpu
from doctor_parts.child import Report
from doctor_parts.lines import ERROR, OK, WARNING, Line, Screen, conclusion, render
from setup_parts.torch_build import Gpu, NvidiaSmi

RTX_3060, GTX_1060 = Gpu("RTX 3060", (8, 6)), Gpu("GTX 1060", (6, 1))
RTX_5070, GTX_780 = Gpu("RTX 5070", (12, 0)), Gpu("GTX 780", (3, 5))
NEW = NvidiaSmi("581.80", (13, 0), (RTX_3060,))
MIDDLE = NvidiaSmi("560.94", (12, 6), (RTX_3060,))
OLD = NvidiaSmi("516.94", (11, 7), (RTX_3060,))
SET_UP = "python scripts/setup_env.py"


def torch(cuda: str | None, available: bool = False) -> Report:
    facts = {"version": "2.13.0", "cuda": cuda, "available": available, "seconds": 1.0}
    return Report({"torch": facts})


@pytest.mark.parametrize(
    ("smi", "cuda", "state", "do", "command"),
    [
        (None, None, WARNING, "install its driver", SET_UP),
        (NEW, "13.0", OK, "", ""),
        (NEW, "12.6", OK, "", ""),
        (MIDDLE, "12.8", OK, "", ""),  # within a major version, minors are compatible
        (NEW, None, OK, "", ""),
        (MIDDLE, "13.0", ERROR, "Install driver 580 or newer", f"{SET_UP} --torch cu126"),
        (OLD, "12.6", ERROR, "Install driver 580 or newer", f"{SET_UP} --torch cpu"),
        (
            NvidiaSmi("560.94", (12, 6), (RTX_5070,)),
            "13.0",
            ERROR,
            "Install driver 580 or newer",
            f"{SET_UP} --torch cpu",
        ),
    ],
)
def test_driver(smi: NvidiaSmi | None, cuda: str | None, state: str, do: str, command: str) -> None:
    line = gpu.driver_line(smi, None, cuda, "Windows")
    assert (line.state, line.command) == (state, command)
    assert do in line.do


@pytest.mark.parametrize(
    ("report", "smi", "request_", "state", "says", "command"),
    [
        (torch(None), None, "auto", OK, "without CUDA", ""),
        (torch("13.0", True), NEW, "auto", OK, "for CUDA 13.0", ""),
        (torch(None), NEW, "auto", ERROR, "RTX 3060 is not used", f"{SET_UP} --torch cu130"),
        (torch(None), MIDDLE, "auto", ERROR, "is not used", f"{SET_UP} --torch cu126"),
        (torch(None), OLD, "auto", ERROR, "its driver is too old", f"{SET_UP} --torch cpu"),
        (torch(None), NEW, "cpu", OK, "as asked for (--torch cpu)", ""),
        (torch("13.0"), NEW, "auto", ERROR, "does not reach RTX 3060", ""),
        (
            torch(None),
            NvidiaSmi("581.80", (13, 0), (GTX_1060,)),
            "auto",
            ERROR,
            "GTX 1060 is not used",
            f"{SET_UP} --torch cu126",
        ),
        (
            torch(None),
            NvidiaSmi("475.14", (11, 4), (GTX_780,)),
            "auto",
            WARNING,
            "too old for every CUDA build",
            "",
        ),
        (
            Report(errors={"torch": "ModuleNotFoundError: No module named 'torch'"}),
            None,
            "auto",
            ERROR,
            "not installed",
            SET_UP,
        ),
    ],
)
def test_torch(
    report: Report,
    smi: NvidiaSmi | None,
    request_: str,
    state: str,
    says: str,
    command: str,
) -> None:
    line = gpu.torch_line(report, smi, "Windows", request_, {})
    assert (line.state, line.command) == (state, command)
    assert says in line.found
    assert line.state == OK or line.do or "every CUDA build" in line.found


def test_a_gpu_that_is_hidden_on_purpose_is_no_error() -> None:
    line = gpu.torch_line(torch("13.0"), NEW, "Linux", "auto", {"CUDA_VISIBLE_DEVICES": "-1"})
    assert line.state == WARNING
    assert "CUDA_VISIBLE_DEVICES hides it" in line.do


def test_nvidia_smi_that_names_no_gpu() -> None:
    line = gpu.driver_line(None, "/usr/bin/nvidia-smi", None, "Linux")
    assert line.state == WARNING
    assert "names no GPU" in line.found


@pytest.mark.parametrize(
    ("facts", "state", "says"),
    [
        ({"free": 20e9, "error": 1e-4}, OK, "24.0 GB, of which 20.0 GB are free"),
        ({"free": 2e9, "error": 1e-4}, WARNING, "2.0 GB are free"),
        ({"free": 20e9, "error": 0.5}, ERROR, "computes wrongly"),
        ({"free": 20e9, "error": float("nan")}, ERROR, "computes wrongly"),
    ],
)
def test_gpu(facts: dict[str, Any], state: str, says: str) -> None:
    report = Report({"gpus": [{"name": "RTX 4090", "total": 24e9, **facts}]})
    (line,) = gpu.gpu_lines(report, NEW, "Windows")
    assert line.state == state
    assert says in line.found


def test_a_gpu_on_which_nothing_runs() -> None:
    report = Report(errors={"gpus": "RuntimeError: CUDA error: no kernel image is available\nmore"})
    (line,) = gpu.gpu_lines(report, NvidiaSmi("581.80", (13, 0), (GTX_1060,)), "Windows")
    assert (line.state, line.command) == (ERROR, f"{SET_UP} --torch cu126")
    assert line.found.endswith("no kernel image is available")


@pytest.mark.parametrize(
    ("error", "on_gpu", "state"),
    [(0.09, True, OK), (0.3, True, ERROR), (0.3, False, WARNING), (float("nan"), True, ERROR)],
)
def test_four_bit_product(error: float, on_gpu: bool, state: str) -> None:
    facts = {"version": "0.50", "device": "cuda" if on_gpu else "cpu", "error": error}
    report = Report({"torch": {"available": on_gpu}, "four_bit": facts})
    assert gpu.four_bit_line(report).state == state


def test_a_crash_in_the_four_bit_product_is_its_own() -> None:
    report = child.read('{"begin": "torch"}\nnoise\n{"begin": "four_bit"}\n', "it crashed")
    assert report.problem("torch") is None
    line = gpu.four_bit_line(report)
    assert "it crashed" in line.found and "load_in_4bit=false" in line.do


def test_a_probe_asks_no_network() -> None:
    given = child.offline({"PATH": "x", "HF_HUB_OFFLINE": "0", "PYTHONPATH": "y"})
    assert given["HF_HUB_OFFLINE"] == "1" and "PYTHONPATH" not in given


@pytest.mark.parametrize(
    ("root", "enabled", "state"),
    [
        ("C:\\lorachain", False, OK),
        ("C:\\" + "a" * 80, False, WARNING),
        ("C:\\" + "a" * 80, True, OK),
        ("C:\\" + "a" * 80, None, OK),
    ],
)
def test_long_paths(root: str, enabled: bool | None, state: str) -> None:
    line = computer.long_paths_line(Path(root), enabled)
    assert line.state == state
    assert ("LongPathsEnabled" in line.command) is (state == WARNING)


@pytest.mark.parametrize(("free", "state"), [(50e9, OK), (9e9, WARNING), (1e9, ERROR)])
def test_disk(free: float, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    usage = namedtuple("usage", "total used free")

    def disk_usage(path: str) -> Any:
        asked.append(path)
        return usage(0, 0, free)

    monkeypatch.setattr(computer.shutil, "disk_usage", disk_usage)
    line = computer.disk_line(tmp_path / "models" / "not there yet")
    assert (line.state, asked) == (state, [str(tmp_path)])


@pytest.mark.parametrize(
    ("stdout", "utf8", "state"),
    [("utf-8", False, OK), ("UTF8", False, OK), ("cp1252", True, OK), ("cp1252", False, WARNING)],
)
def test_encoding(stdout: str, utf8: bool, state: str) -> None:
    assert computer.encoding_line(stdout, utf8).state == state


def test_where_the_hub_keeps_models(tmp_path: Path) -> None:
    assert computer.hub_cache({"HF_HUB_CACHE": str(tmp_path)}) == tmp_path
    assert computer.hub_cache({"HF_HOME": str(tmp_path)}) == tmp_path / "hub"
    assert computer.hub_cache({"HF_HOME": ""}) == Path.home() / ".cache" / "huggingface" / "hub"
    assert "set: nothing is fetched" in computer.hub_line({"HF_HUB_OFFLINE": "1"}).found


def test_a_32_bit_or_old_python_is_an_error_until_there_is_an_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(computer.sys, "maxsize", 2**31 - 1)
    line = computer.python_line(environment_works=False)
    assert line.state == ERROR
    assert "32-bit" in line.found and "needs 64-bit CPython 3.11" in line.do
    assert computer.python_line(environment_works=True).state == WARNING


def test_many_versions_are_one_line_and_each_bad_one_its_own(tmp_path: Path) -> None:
    good = [{"folder": str(tmp_path / f"v{i}"), "problems": [], "base": "b"} for i in range(12)]
    bad = {"folder": str(tmp_path / "x" / "bad"), "problems": ["its parent is gone"], "base": "b"}
    half = {"folder": str(tmp_path / "half"), "finish": "To finish it, run this:\n  python a.py"}
    report = Report({"versions": [*good, bad, half], "bases": {"b": None, "c": "not here"}})
    lines = chain.chain_lines(report, tmp_path)
    assert [line.state for line in lines] == [OK, ERROR, WARNING, OK, WARNING]
    assert lines[0].found.startswith("12 finished") and lines[0].found.endswith("and 4 more")
    assert lines[1].found == "x/bad is damaged or stale: its parent is gone"
    assert (lines[2].do, lines[2].command) == ("To finish it, run this:", "python a.py")


def test_commands_are_never_wrapped_and_all_is_counted() -> None:
    command = "python scripts/setup_env.py " + "--long-flag " * 20
    lines = [Line("a", ERROR, "found " * 30, "do " * 40, command), Line("longer", OK, "x")]
    text = render(lines, Screen(60))
    assert command in text
    assert all(len(row) <= 60 for row in text.splitlines() if command not in row)
    assert text.endswith("\n1 error.")
    assert conclusion(lines[1:]) == "Everything is in order."
    warned = [Line("a", WARNING, "x"), Line("b", WARNING, "x")]
    assert conclusion(warned) == "2 warnings: nothing that stops a training."
