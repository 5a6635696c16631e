"""The scripts folder on the path, and what the stub project of the set-up's tests needs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from stub_project import BARE_PYTHON, SCRIPTS, make_torch, make_wheel

sys.path.append(str(SCRIPTS))  # as for a script in that folder, but behind everything else


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stub index offers: newer versions than the pinned ones are there as a temptation."""
    folder = tmp_path_factory.mktemp("wheels")
    make_torch(folder, "2.13.0+cpu")
    make_torch(folder, "2.14.0")
    for name in ("stubdep", "stubdev"):
        for version in ("1.0", "2.0"):
            make_wheel(folder, name, version, {f"{name}.py": "value = 1\n"}, "torch>=2.10")
    return folder


@pytest.fixture(scope="session")
def needs_bare_python() -> None:
    inside_conda = (BARE_PYTHON.parent / "conda-meta").is_dir() or (
        BARE_PYTHON.parent.parent / "conda-meta"
    ).is_dir()
    if inside_conda:
        pytest.skip("the Python under this environment is conda's, in which set-up would work")
