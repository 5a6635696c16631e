"""What a Windows user meets in the set-up, driven through its own main up to exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import setup_env
from setup_parts import environments, mending
from setup_parts.environments import Environment, Probe
from setup_parts.torch_build import Gpu, NvidiaSmi


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with no .venv, on Windows as far as the set-up can tell."""
    (tmp_path / "constraints.txt").write_text("torch==2.13.0\n", encoding="utf-8")
    monkeypatch.setattr(setup_env, "ROOT", tmp_path)
    place = Environment(tmp_path / ".venv", tmp_path / ".venv" / "python.exe", True, False)
    monkeypatch.setattr(environments, "locate", lambda root: place)
    monkeypatch.setattr(setup_env.platform, "system", lambda: "Windows")
    monkeypatch.setattr(setup_env.platform, "machine", lambda: "AMD64")
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        setup_env.main(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_a_32_bit_python(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    said = refused(capsys)
    assert "Error: This is 32-bit Python" in said
    assert "needs 64-bit CPython 3.11, 3.12 or 3.13" in said and "py -3.12" in said
    assert not (project / ".venv").exists()


def test_a_driver_that_is_too_old(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = NvidiaSmi("516.94", (11, 7), (Gpu("NVIDIA GeForce RTX 3060", (8, 6)),))
    monkeypatch.setattr(setup_env, "ask_nvidia_smi", lambda: old)
    said = refused(capsys)
    assert "The NVIDIA driver 516.94 is too old for torch 2.13.0 on NVIDIA GeForce RTX" in said
    assert "install driver 528.33 or newer" in said and "--torch cpu" in said
    assert not (project / ".venv").exists()


@pytest.mark.parametrize(
    ("prints", "says", "do"),
    [
        ("OSError: [WinError 206] Der Dateiname ist zu lang: 'x'", "A path is too long", "short"),
        ("OSError: [WinError 5] Zugriff verweigert: 'x'", "Writing was not permitted", "close"),
        ("OSError: [WinError 32] in Benutzung: 'x'", "is in use", "close the programs that use"),
        ("OSError: [WinError 112] Nicht genug Platz", "The disk is full", "free some space"),
        ("NewConnectionError: [WinError 10061]", "package index was not reached", "connection"),
    ],
)
def test_what_pip_met_is_a_sentence(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    prints: str,
    says: str,
    do: str,
) -> None:
    """A process that prints it and fails stands in for pip; Windows alone could make pip do so."""
    fake = project / "pip_that_fails.py"
    fake.write_text(f"print({prints!r})\nraise SystemExit(1)\n", encoding="utf-8")

    def make_ready(environment: Environment, runner: object, recreate: bool = False) -> Probe:
        environment.prefix.mkdir()
        return Probe((3, 12, 1), "25.0", None)

    def must(self: mending.Runner, command: list[str], doing: str, otherwise: str) -> list[str]:
        return real(self, [sys.executable, str(fake)], doing, otherwise)

    real = mending.Runner.must
    monkeypatch.setattr(mending.Runner, "must", must)
    monkeypatch.setattr(mending, "make_ready", make_ready)
    monkeypatch.setattr(setup_env, "ask_nvidia_smi", lambda: None)
    said = refused(capsys)
    assert says in said and do in said
    assert prints in said, "the last lines of its output"
    assert "setup.log" in said
