"""The figures of a soak, as JSON and as lines."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from lorachain.soak.places import PLACES


@dataclass
class Figures:
    """What a soak counted. `problems` is empty when everything held."""

    date: str
    base: str
    resume: str
    seed: int
    kills_asked: int
    kills: int = 0
    where: Counter[str] = field(default_factory=Counter)
    died_without_a_new_checkpoint: int = 0
    rounds: int = 0  # versions trained to their end and compared
    lives: int = 0  # runs started
    steps_needed: int = 0
    steps_taken: int = 0
    set_aside: int = 0
    largest_difference: float = 0.0
    uninterrupted_seconds: list[dict[str, float]] = field(default_factory=list)  # by place
    seconds: float = 0.0
    about: dict[str, Any] = field(default_factory=dict)  # device, system, Python, packages
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For the report's JSON; the places in the order of a run."""
        return asdict(self) | {"where": {name: self.where[name] for name in PLACES}}

    def lines(self) -> list[str]:
        """For a person to read."""
        packages = self.about.get("packages", {})
        named = ", ".join(f"{name} {packages[name]}" for name in sorted(packages))
        whole = " and ".join(f"{spans['in all']:.1f}" for spans in self.uninterrupted_seconds)
        again = self.steps_taken - self.steps_needed
        return [
            f"{self.date}, {self.base}, checkpoint.resume={self.resume}, seed {self.seed}",
            f"{self.about.get('device', '')}; Python {self.about.get('python', '')}; {named}",
            f"{self.kills} kills of {self.kills_asked} in {self.seconds:.0f} s: {self.lives} runs "
            f"were started for {self.rounds} versions (uninterrupted: {whole} s)",
            *(f"{self.where[name]:6d} {name}" for name in PLACES),
            f"{self.died_without_a_new_checkpoint} of the killed runs had saved nothing new",
            f"{self.steps_taken} steps were taken for {self.steps_needed} ({again} again)",
            f"{self.set_aside} checkpoints were set aside",
            f"largest difference from the uninterrupted run: {self.largest_difference:g}",
        ]
