"""Versions for evaluation tests: random adapters on a base, with a lineage, made in a moment."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluation_support import version_on

from lorachain.models import Base, find_base


@pytest.fixture(scope="session")
def tiny(tiny_base: Path) -> Base:
    """The tiny Llama."""
    return find_base(str(tiny_base))


@pytest.fixture(scope="session")
def v1(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version on the tiny Llama."""
    return version_on(tiny_base, tmp_path_factory.mktemp("versions") / "v1", seed=1)


@pytest.fixture(scope="session")
def v2(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, with other target modules."""
    folder = tmp_path_factory.mktemp("versions") / "v2"
    return version_on(tiny_base, folder, seed=2, target_modules=["o_proj", "up_proj", "q_proj"])


@pytest.fixture(autouse=True)
def _quick(one_thread: None) -> None:
    """Every model here is tiny, or answers few prompts."""
