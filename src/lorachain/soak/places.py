"""Where a run is, as far as its folder and its log show, and the moments at which to kill it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lorachain import checkpoint, lineage
from lorachain.adapters import WEIGHTS
from lorachain.soak.launch import Run

START = "starting up"
READING = "reading the data and the base"
LOADING = "loading the model"
TRAINING = "training"
WRITING = "writing a checkpoint"
REMOVING = "removing an old checkpoint"
MEASURING = "measuring what was trained"
VERSION = "writing the version"
AFTER = "after the version was written"
PLACES = (START, READING, LOADING, TRAINING, WRITING, REMOVING, MEASURING, VERSION, AFTER)

TRAINING_LOG = "training_log.jsonl"
_TEMPORARY = re.compile(r"\.checkpoint-(\d+)\.tmp-\d+")
_RESUMED = re.compile(r"^Going on from checkpoint-(\d+):", re.MULTILINE)


@dataclass(frozen=True)
class Look:
    """What an output folder shows at one moment, by names and times alone."""

    newest: int  # the highest checkpoint's step, 0 for none
    temporary: frozenset[str]  # folders of checkpoints that are being written, or removed
    log: int  # when the training log was last begun or appended to
    version: tuple[int, ...]  # when the version's weights were last touched
    finished: bool


def look(folder: Path) -> Look:
    """Look at an output folder, which another process may be changing."""
    found = checkpoint.folders(folder)
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return Look(
        step_of(found[0]) if found else 0,
        frozenset(name for name in names if _TEMPORARY.fullmatch(name)),
        _time(folder / TRAINING_LOG),
        (_time(folder / f".{WEIGHTS}.tmp"), _time(folder / WEIGHTS)),
        lineage.is_finished(folder),
    )


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def step_of(folder: Path) -> int:
    """The step in a checkpoint folder's name."""
    return int(folder.name.rpartition("-")[2])


def resumed_from(text: str) -> int | None:
    """The step from which a run says that it goes on."""
    match = _RESUMED.search(text)
    return int(match[1]) if match else None


def place(then: Look, now: Look, text: Callable[[], str], last: int) -> str:
    """Where a run is, or was when it died. `then` is the folder before it was started, `last` the
    last step of all."""
    if now.finished:
        return AFTER
    if now.version != then.version and any(now.version):
        return VERSION
    fresh = [int(m[1]) for n in now.temporary - then.temporary if (m := _TEMPORARY.fullmatch(n))]
    if fresh:
        return WRITING if max(fresh) > now.newest else REMOVING
    if now.newest == last and (then.newest != last or resumed_from(text()) == last):
        return MEASURING
    if now.log != then.log:
        return TRAINING
    lines = text().splitlines()
    if any(line.startswith("Base ") for line in lines):
        return LOADING
    return READING if any(line.startswith("Reading the data") for line in lines) else START


@dataclass
class Watch:
    """Notes when a run is first seen in each place, in seconds since its start, and when each
    writing of a checkpoint is seen."""

    folder: Path
    then: Look
    last: int
    first: dict[str, float] = field(default_factory=dict)
    writings: dict[frozenset[str], list[float]] = field(default_factory=dict)
    killed: bool = False  # by us

    def see(self, run: Run, seconds: float) -> str:
        """Look once."""
        with suppress(FileNotFoundError):  # it was renamed between two looks
            now = look(self.folder)
            where = place(self.then, now, run.text, self.last)
            self.first.setdefault(where, seconds)
            if where == WRITING:
                self.writings.setdefault(now.temporary - self.then.temporary, []).append(seconds)
            return where
        return ""

    def spans(self, end: float) -> dict[str, float]:
        """How long each place lasts, in seconds (one writing of a checkpoint: the median); `end` is
        when the run was over."""
        found = {}
        once = [name for name in PLACES if name not in (WRITING, REMOVING)]
        starts = [(self.first[name], name) for name in once if name in self.first]
        for (begun, name), (over, _) in zip(starts, [*starts[1:], (end, "")], strict=True):
            found[name] = over - begun
        written = sorted(times[-1] - times[0] for times in self.writings.values())
        found[WRITING] = written[len(written) // 2] if written else 0.0
        return found


@dataclass(frozen=True)
class Moment:
    """When to kill: so many seconds after a place was reached. `count` is the so-many-th writing
    of a checkpoint."""

    place: str
    part: float
    count: int = 1

    def due(self, watch: Watch, spans: Mapping[str, float]) -> float | None:
        """The second of the run's life at which it is to be killed, once that is known."""
        if self.place == START:
            begun: float | None = 0.0
        elif self.place == WRITING:
            times = list(watch.writings.values())[self.count - 1 : self.count]
            begun = times[0][0] if times else None
        else:
            begun = watch.first.get(self.place)
        return None if begun is None else begun + self.part * spans.get(self.place, 0.0)


# Of twenty kills, so many are aimed at a place. A share of a place's time is drawn evenly; of the
# training's, at most 0.6, so that a run is rarely let through to its end.
_AIMED = {
    START: 1,
    READING: 1,
    LOADING: 2,
    TRAINING: 7,
    WRITING: 5,
    MEASURING: 1,
    VERSION: 2,
    AFTER: 1,
}


def moments(seed: int) -> Iterator[Moment]:
    """Moments without end, drawn from a seed."""
    rng = random.Random(seed)
    while True:
        deck = [name for name, count in _AIMED.items() for _ in range(count)]
        rng.shuffle(deck)
        for name in deck:
            part = rng.random() * (0.6 if name == TRAINING else 1.0)
            yield Moment(name, part, rng.randint(1, 3) if name == WRITING else 1)
