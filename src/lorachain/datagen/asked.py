"""What every frozen suite asks, so that nothing near it is trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lorachain.datagen.near import NearTexts
from lorachain.paths import shown
from lorachain.suites import read_suite


@dataclass(frozen=True)
class AskedItem:
    """One item of a suite."""

    suite: Path
    id: str
    prompt: str

    @property
    def where(self) -> str:
        """suite:id, for messages."""
        return f"{self.suite.stem}:{self.id}"


class AskedItems:
    """The items of all suites of a folder, to be found by prompts that are near them."""

    def __init__(self, items: list[AskedItem]) -> None:
        self.items = items
        self._near = NearTexts([item.prompt for item in items])

    def near(self, prompt: str) -> list[AskedItem]:
        """The items that a prompt is near, or equal to."""
        return [self.items[i] for i in self._near.near(prompt)]

    def without(self, left_out: Callable[[AskedItem], bool]) -> AskedItems:
        """The same without some items."""
        return AskedItems([item for item in self.items if not left_out(item)])


def suite_files(folder: Path) -> list[Path]:
    """The suites of a folder; one that is not there has none."""
    return sorted(path for path in folder.glob("*") if path.suffix in (".jsonl", ".json"))


def read_asked(folder: Path) -> AskedItems:
    """Read every suite of a folder. Raises UserError for one that is damaged."""
    return AskedItems(
        [
            AskedItem(path, str(item.id), item.question)
            for path in suite_files(folder)
            for item in read_suite(path).items
        ]
    )


def named(items: list[AskedItem]) -> str:
    """Items as a message names them: the first, and how many more."""
    first = f"{items[0].where} in {shown(items[0].suite)}"
    return first if len(items) == 1 else f"{first} and {len(items) - 1} more"
