"""Fixtures of the fault matrix; what they are made of stands in fault_support.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_support import Bench


@pytest.fixture
def bench(tmp_path: Path, tiny_base: Path) -> Bench:
    """A fresh place whose runs are real processes."""
    return Bench.make(tmp_path, tiny_base)
