"""What the rules look at, as plain data: `training.gate` fills it from a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from lorachain.records import ChatRow, TrainingData


class Tokens(Protocol):
    """One encoded row: `ids` and `trained` have the same length, in tokens, before any limit."""

    @property
    def row(self) -> ChatRow:
        """The row that was encoded."""

    @property
    def ids(self) -> Sequence[int]:
        """Its tokens."""

    @property
    def trained(self) -> Sequence[bool]:
        """Whether each carries loss."""


@dataclass(frozen=True)
class Asked:
    """What a suite asks: each item's place (suite:id), its prompt, and the answer that it knows."""

    suite: str
    prompts: Sequence[tuple[str, str, str]]  # (place, prompt's text, answer's text or "")


@dataclass(frozen=True)
class Rows:
    """All rows that a stage and its ancestors have, by role. Names are those of versions."""

    train: TrainingData
    validation: TrainingData | None = None
    suites: Sequence[Asked] = ()
    ancestors_train: Mapping[str, Sequence[TrainingData]] = field(default_factory=dict)
    ancestors_validation: Mapping[str, Sequence[TrainingData]] = field(default_factory=dict)
    gone: Sequence[str] = ()  # ancestors' files that are gone or changed, as sentences


@dataclass(frozen=True)
class Length:
    """The length limit: `data.max_seq_length`, `data.on_overlong`, and what the base reads."""

    limit: int
    on_overlong: str
    context: int | None = None


@dataclass(frozen=True)
class Schedule:
    """An optimizer's steps. `rates[i]` is the learning rate of step i + 1, for all `steps`."""

    rows: int
    rows_per_step: int
    steps: int
    steps_per_epoch: int
    rates: Sequence[float]
    warmup_steps: int
    fresh_adapter: bool
    has_validation: bool
    scheduler: str = "cosine"
    max_steps: int | None = None
    batch_size: int = 1
    accumulation: int = 1
    epochs_asked: float = 1.0

    @property
    def known(self) -> bool:
        """Whether the rates are known before the training (`rates` is empty where they are not)."""
        return bool(self.rates)

    @property
    def share_seen(self) -> float:
        """The share of the rows that is trained on at least once."""
        return min(1.0, self.steps / self.steps_per_epoch)

    @property
    def epochs(self) -> float:
        """Epochs covered."""
        return self.steps / self.steps_per_epoch

    @property
    def peak(self) -> float:
        """The highest rate."""
        return max(self.rates, default=0.0)


@dataclass(frozen=True)
class Needs:
    """Bytes that a run needs, by part, and what there is. All in bytes."""

    weights: int
    adapter: int
    optimizer: int
    activations: int
    logits: int
    there: int
    total: int
    checkpoints: int
    disk_free: int
    device: str = "cpu"
    checkpointing: bool = False  # of activations
    quantization: str = "none"
    tokens: int = 0  # of the largest micro-batch, with its padding
    other: int = 0  # workspaces and what the libraries load with the first step

    @property
    def memory(self) -> int:
        """All of the memory that the estimate adds up."""
        tensors = self.weights + self.adapter + self.optimizer + self.activations + self.logits
        return tensors + self.other
