"""What the pipeline chooses for the split and the suite; who runs these stages alone chooses too.

Of the shipped spec's 120 prompts about 100 become rows. A tenth of those are 10 test rows: too few
for a suite of 20, and hardly enough to tell two versions apart. So a small dataset gives a fifth of
its rows to the test. What was chosen first stands in the lock, and stays when rows are added.
"""

from __future__ import annotations

from pathlib import Path

from lorachain.datagen.fixed_suite import FIXED
from lorachain.datagen.lock import LOCK, Rule, read_lock

SEED = 42
SMALL = 300  # rows; below it a tenth is too few to test on
FEWEST = 8  # test rows that are worth a suite


def rule_for(rows: int, splits: Path) -> Rule:
    """The fractions: those that the folder was split by before, else by the number of rows."""
    before = read_lock(splits / LOCK).rule
    if before is not None:
        return before
    return Rule(SEED, 0.7, 0.1, 0.2) if rows < SMALL else Rule(SEED, 0.8, 0.1, 0.1)


def suite_for(spec: str, suites: Path) -> Path | None:
    """The suite that was frozen of a plan before, whatever its size; the first of them."""
    return next(iter(sorted(suites.glob(f"{spec}_fixed*_v1.jsonl"))), None)


def suite_size(test_rows: int) -> int:
    """How many prompts to freeze: 20, or as many as there are; with very few none is frozen."""
    return FIXED if test_rows >= FIXED or test_rows < FEWEST else test_rows
