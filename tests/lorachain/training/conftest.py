"""Tiny models are fastest on one thread, and by far where other work runs beside the tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Every test here."""
