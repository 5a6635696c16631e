"""What the doctor says of the versions on a disk, through the process that reads them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from test_lineage import make

from lorachain import lineage
from lorachain.paths import PROJECT_ROOT

SCRIPTS = PROJECT_ROOT / "scripts"
sys.path.append(str(SCRIPTS))

from doctor_parts import chain, child  # noqa: E402
from doctor_parts.lines import ERROR, OK, WARNING, Line  # noqa: E402


def lines_of(models: Path) -> list[Line]:
    probe = SCRIPTS / "doctor_parts" / "probe_chain.py"
    return chain.chain_lines(child.ask(Path(sys.executable), probe, 120, str(models)), models)


def test_no_version_yet(tmp_path: Path) -> None:
    (line,) = lines_of(tmp_path / "models")
    assert (line.state, line.command) == (OK, "python scripts/quickstart.py")


def test_finished_unfinished_stale_and_a_base_that_is_not_here(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = make(tmp_path / "v1").data["base"] | {"name": str(tiny_base)}
    v1 = make(tmp_path / "v1", base=here)
    v2 = make(tmp_path / "deep" / "v2", v1.folder)
    make(tmp_path / "v1.before-restart-1", base=here)
    (tmp_path / "v3").mkdir()
    lineage.begin(tmp_path / "v3", "python go.py --output v3")
    good, unfinished, known, unknown = lines_of(tmp_path)
    assert (good.state, unfinished.state) == (OK, WARNING)
    assert good.found.endswith("2 finished, every hash as recorded: deep/v2, v1")
    assert unfinished.found == "v3 is not finished"
    assert unfinished.command == "python go.py --output v3"
    assert (known.state, known.found) == (OK, f"on this machine: {tiny_base}")
    assert unknown.state == WARNING
    assert unknown.found.startswith("org/base is not ready on this machine: org/base is not on")

    make(tmp_path / "v1", weights="trained again", base=here)
    stale = [line for line in lines_of(tmp_path) if line.state == ERROR]
    assert [line.found for line in stale] == [
        f"{v2.folder.relative_to(tmp_path).as_posix()} is damaged or stale: its parent was trained "
        "again since: this version is stale"
    ]
