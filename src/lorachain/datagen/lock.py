"""The lock of a split: where every row was placed, once and for all.

`splits.lock.jsonl` in the folder of the splits: a line with the seed and the fractions, then one
{id, split, group, prompt} for each row that was ever placed there. It wins over the hash. The
prompts stand in it so that rows can be compared with those that no dataset holds any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lorachain.errors import UserError
from lorachain.jsonl import read_objects, write_objects
from lorachain.paths import shown

LOCK = "splits.lock.jsonl"
FORMAT = 1
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Rule:
    """What places rows that are in no lock: a seed, and each split's share."""

    seed: int
    train: float
    val: float
    test: float

    def __post_init__(self) -> None:
        shares = (self.train, self.val, self.test)
        if min(shares) < 0 or self.train <= 0 or abs(sum(shares) - 1) > 1e-9:
            raise UserError(
                "The fractions of train, val and test must be 0 or more, that of train more than "
                f"0, and add up to 1; got {self.train:g}, {self.val:g} and {self.test:g}."
            )

    def split(self, share: float) -> str:
        """The split that a number from 0 to 1 falls into."""
        if share < self.train:
            return "train"
        # By what is left of 1, so that a split of 0 gets nothing, whatever the sums' rounding.
        if self.test == 0 or (self.val > 0 and share < self.train + self.val):
            return "val" if self.val else "train"
        return "test"


@dataclass(frozen=True)
class Place:
    """Where one row stands. Two rows of one group are near each other, or near one between."""

    id: str
    split: str
    group: str
    prompt: str


@dataclass(frozen=True)
class Lock:
    """The places of one folder. `rule` is None where nothing was placed yet."""

    path: Path
    rule: Rule | None
    places: tuple[Place, ...] = ()


def read_lock(path: Path) -> Lock:
    """Read a lock; one that is not there is empty. Raises UserError where it is damaged."""
    if not path.is_file():
        return Lock(path, None)
    lines = read_objects(path)
    try:
        head: Mapping[str, Any] = lines[0][1]
        if head["format"] != FORMAT:
            raise UserError(
                f"{shown(path)} has format {head['format']}; this lorachain reads {FORMAT}."
            )
        rule = Rule(head["seed"], head["train"], head["val"], head["test"])
        places = tuple(Place(**line) for _, line in lines[1:])
        if any(place.split not in SPLITS for place in places):
            raise ValueError("split")
    except (LookupError, TypeError, ValueError):
        raise UserError(
            f"{shown(path)} is damaged. It says where every row stands, so it must be put back as "
            "it was; or split into a new folder, and count its test rows as seen."
        ) from None
    return Lock(path, rule, places)


def write_lock(path: Path, rule: Rule, places: Iterable[Place]) -> None:
    """Write the whole lock, atomically."""
    write_objects(path, [{"format": FORMAT, **asdict(rule)}, *(asdict(p) for p in places)])


def check_rule(lock: Lock, rule: Rule) -> None:
    """Raises UserError where a folder was split by another rule before."""
    if lock.rule is None or lock.rule == rule:
        return
    before, now = asdict(lock.rule), asdict(rule)
    changed = [f"{key} {before[key]:g}, not {now[key]:g}" for key in now if before[key] != now[key]]
    raise UserError(
        f"{shown(lock.path.parent)} was split with {', '.join(changed)}, and rows never move. Use "
        "the old values, or split into another folder."
    )


def earlier_locks(folder: Path) -> list[Lock]:
    """The locks of the folders beside this one: splits of other versions of the dataset."""
    paths = sorted(folder.parent.glob(f"*/{LOCK}"))
    return [read_lock(path) for path in paths if path.parent != folder]
