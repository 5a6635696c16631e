"""Fixtures of the chain's tests; what they are made of stands in chain_support.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from chain_support import Place, fill_place


@pytest.fixture
def place(tmp_path: Path, tiny_base: Path) -> Place:
    """A fresh place for one test."""
    return fill_place(tmp_path, tiny_base)


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> tuple[Place, list[Path]]:
    """V1, V2 with replay and V3 with replay, trained once. Tests copy what they change."""
    place = fill_place(tmp_path_factory.mktemp("chain"), tiny_base)
    v1 = place.v1("v1")
    v2 = place.v2(v1, "v2", "--replay-share", "0.3")
    v3 = place.v2(v2, "v3", "--replay-share", "0.3", generation=3)
    return place, [v1, v2, v3]
