"""Windows, or Wine in its place; skipped, with the reason, where there is neither.

With LORACHAIN_WINE=10, as scripts/test_windows_full.py sets it, Wine 10 with everything installed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from full_place import full_place
from place import WINE_10, Place, Unavailable, windows_place

SCRIPTS_TESTS = Path(__file__).resolve().parents[1] / "scripts"
sys.path.append(str(SCRIPTS_TESTS))  # for stub_project and launch_stub


@pytest.fixture(scope="session")
def windows() -> Iterator[Place]:
    try:
        with full_place() if WINE_10 else windows_place() as place:
            yield place
    except Unavailable as reason:
        pytest.skip(f"no Windows here: {reason}")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stub index offers."""
    from stub_project import make_torch, make_wheel

    folder = tmp_path_factory.mktemp("wheels")
    make_torch(folder, "2.13.0+cpu")
    make_wheel(folder, "stubdep", "1.0", {"stubdep.py": "value = 1\n"}, "torch>=2.10")
    return folder
