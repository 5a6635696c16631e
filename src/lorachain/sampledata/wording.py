"""How a question is asked: ten wordings a task for training, four others for the unseen suite.

A wording names its facts in curly brackets: `{facts}` is all of them, shuffled and joined. Each
fact is said in several ways, so that the model learns to look for the fact, not for its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lorachain.sampledata.splits import random_for


@dataclass(frozen=True)
class Wordings:
    """The questions of one task, and the ways to say each fact."""

    training: Sequence[str]
    unseen: Sequence[str]
    facts: Sequence[Sequence[str]]
    unseen_facts: Sequence[Sequence[str]]
    joins: Sequence[str] = ("; ", ". ", "\n", "\n- ")

    def ask(self, values: Mapping[str, object], number: int, key: str, unseen: bool = False) -> str:
        """The `number`-th wording, filled with values; `key` seeds the order of the facts."""
        questions = self.unseen if unseen else self.training
        ways = self.unseen_facts if unseen else self.facts
        random = random_for("wording", key, number, unseen)
        said = [random.choice(way).format(**values) for way in ways]
        random.shuffle(said)
        join = random.choice(self.joins)
        text = join.join(said)
        if join.startswith("\n"):
            text = join + text if join == "\n- " else "\n" + text
        elif not text.endswith("."):
            text += "."
        text = questions[number % len(questions)].format(facts=text, **values).strip()
        # A quoted sentence brings its own full stop, and a list starts on a line of its own.
        return text.replace('.".', '."').replace('!".', '!"').replace(" \n", "\n")
