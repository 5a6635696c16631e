"""The chain that the evaluation scripts are tried on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from chain_support import fill_place


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A folder with v1, v2 and v3 of a chain, trained once. Tests that write get a `chain`."""
    place = fill_place(tmp_path_factory.mktemp("trained"), tiny_base)
    v1 = place.v1("v1")
    v2 = place.v2(v1, "v2", "--replay-share", "0.3")
    place.v2(v2, "v3", "--replay-share", "0.3", generation=3)
    return place.folder


@pytest.fixture
def chain(trained: Path, tmp_path: Path) -> Path:
    """A copy of the chain's folder, to be changed at will."""
    return Path(shutil.copytree(trained, tmp_path / "a chain"))
