"""The randomised kill test: train under kills until it is finished, and compare the end.

A round is one version trained into a fresh folder: version 1, then version 2 on it, then version 1
again. Its run is killed at a random moment and started again, until one comes to its end. All
rounds of a version have one uninterrupted run to be compared with.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lorachain import lineage
from lorachain.errors import UserError
from lorachain.files import make_folder, remove_folder
from lorachain.paths import shown
from lorachain.soak import checks
from lorachain.soak.course import STEPS, Course
from lorachain.soak.figures import Figures
from lorachain.soak.launch import Run, start
from lorachain.soak.places import Moment, Watch, look, moments, place

log = logging.getLogger("lorachain")

KILLED = -int(getattr(signal, "SIGKILL", signal.SIGTERM))  # what a kill leaves on each system
LOOK_SECONDS = 0.003
SAY_SECONDS = 10.0
UNHARMED = 12  # runs in a row that came to their end before their moment: something is wrong


@dataclass(frozen=True)
class Plan:
    """What a soak is asked to do. `threads` are torch's (None: as many as it takes by itself);
    `before` is 'module:function', called in every run first."""

    work: Path
    base: str
    kills: int
    seed: int = 0
    level: str = "exact"
    versions: int = 2
    threads: int | None = None
    before: str | None = None


class Broken(Exception):
    """Something that must hold does not."""


def soak(plan: Plan) -> Figures:
    """Train under kills. The figures' `problems` say what did not hold; it stops at the first.

    Raises UserError when the work folder is not empty, or when the uninterrupted run fails.
    """
    make_folder(plan.work)
    if any(plan.work.iterdir()):
        raise UserError(f"{shown(plan.work)} is not empty. Choose another --output.")
    figures = Figures(
        datetime.now(UTC).isoformat(timespec="seconds"),
        *(plan.base, plan.level, plan.seed, plan.kills),
    )
    began = time.monotonic()
    work = Soak(plan, Course.make(plan.work, plan.base, plan.level), figures)
    try:
        work.without_kills()
        work.with_kills()
    except Broken as problem:
        figures.problems.append(str(problem))
    figures.seconds = round(time.monotonic() - began, 1)
    return figures


@dataclass
class Soak:
    """A soak under way."""

    plan: Plan
    course: Course
    figures: Figures
    spans: list[dict[str, float]] = field(default_factory=list)  # of version 1, of version 2
    _draw: Iterator[Moment] = field(init=False)
    _said: float = field(default_factory=time.monotonic)
    _unharmed: int = 0

    def __post_init__(self) -> None:
        self._draw = moments(self.plan.seed)

    def without_kills(self) -> None:
        """Train each version once, in peace: what the others must equal, and how long they take.

        Raises UserError when that fails."""
        parent: Path | None = None
        for version in range(1, self.plan.versions + 1):
            log.info("Training version %d without kills, to compare with.", version)
            folder = self._whole(version)
            run, watch = self._start(version, folder, parent)
            end = self._watched(run, watch, None, limit=3600)
            if run.wait() != 0:
                raise UserError(f"The uninterrupted run failed:\n{run.text()[-2000:]}")
            self.spans.append(watch.spans(end))
            spans = {"in all": end} | self.spans[-1]
            self.figures.uninterrupted_seconds.append({k: round(s, 3) for k, s in spans.items()})
            parent = folder
        data = lineage.read(self._whole(1)).data
        self.figures.about = {k: data[k] for k in ("device", "system", "python", "packages")}

    def with_kills(self) -> None:
        """One round after the other, until all kills are used. Raises Broken."""
        chain = 0
        while self.figures.kills < self.plan.kills:
            chain += 1
            folder = self.plan.work / f"chain-{chain}"
            parent: Path | None = None
            for version in range(1, self.plan.versions + 1):
                if version == 1 or self.figures.kills < self.plan.kills:
                    self._round(version, folder / f"v{version}", parent)
                    parent = folder / f"v{version}"
            remove_folder(folder)  # all of it held

    def _round(self, version: int, folder: Path, parent: Path | None) -> None:
        """Train one version to its end and compare it. Raises Broken."""
        number = self.figures.rounds + 1
        while not self._life(version, folder, parent, number):
            pass
        gap = checks.largest_difference(self._whole(version), folder)
        problems = checks.at_the_end(self._whole(version), folder, gap, self.plan.level == "exact")
        figures = self.figures
        figures.rounds = number
        figures.steps_needed += STEPS
        figures.largest_difference = max(figures.largest_difference, gap)
        if problems:
            raise Broken(f"round {number} ended differently in {folder}: {'; '.join(problems)}")

    def _life(self, version: int, folder: Path, parent: Path | None, number: int) -> bool:
        """Run once, to a kill or to the end, and check what is there then. True when it is
        finished. Raises Broken."""
        figures = self.figures
        moment = next(self._draw) if figures.kills < self.plan.kills else None
        figures.lives += 1
        run, watch = self._start(version, folder, parent)
        whole = figures.uninterrupted_seconds[version - 1]["in all"]
        self._watched(run, watch, moment, limit=120 + 20 * whole)
        code, text, now = run.wait(), run.text(), look(folder)
        problems = checks.after_a_life(folder, watch.then, now, text)
        figures.set_aside += checks.set_aside(folder)
        if not (now.finished if code == 0 else watch.killed and code == KILLED):
            problems.append(f"it ended with exit code {code}:\n{text[-2000:]}")
        if now.log != watch.then.log:
            figures.steps_taken += checks.steps_after(folder, watch.then.newest)
        if code == KILLED:
            where = place(watch.then, now, run.text, STEPS)
            figures.kills += 1
            figures.where[where] += 1
            figures.died_without_a_new_checkpoint += now.newest == watch.then.newest
            log.debug("Run %d: %s, killed at %s; now %s.", figures.lives, moment, where, now)
        if problems:
            raise Broken(
                f"run {figures.lives} (round {number}, {folder}, said in {run.log.name}): "
                + "; ".join(problems)
            )
        self._unharmed = 0 if code == KILLED else self._unharmed + 1
        if self._unharmed > UNHARMED:
            raise Broken(f"{UNHARMED} runs in a row came to their end before they could be killed")
        return code == 0

    def _start(self, version: int, folder: Path, parent: Path | None) -> tuple[Run, Watch]:
        script, arguments = self.course.command(version, folder, parent)
        name = f"run-{self.figures.lives}.log" if self.figures.lives else f"whole-{version}.log"
        watch = Watch(folder, look(folder), STEPS)
        threads, before = self.plan.threads, self.plan.before
        run = start(script, arguments, self.plan.work / name, threads=threads, before=before)
        return run, watch

    def _watched(self, run: Run, watch: Watch, moment: Moment | None, limit: float) -> float:
        """Watch a run until it has ended, or kill it at its moment. Returns the seconds that it
        lasted. Raises Broken when it does not end."""
        version = int(watch.folder.name[1:])
        began = time.monotonic()
        try:
            while run.running:
                now = time.monotonic() - began
                watch.see(run, now)
                due = moment.due(watch, self.spans[version - 1]) if moment else None
                if due is not None and now >= due:
                    watch.killed = True
                    run.kill()
                    break
                if now > limit:
                    run.kill()
                    raise Broken(f"a run did not end within {limit:.0f} s (see {run.log})")
                self._say(version)
                time.sleep(LOOK_SECONDS if due is None else min(LOOK_SECONDS, due - now))
        except BaseException:
            run.kill()
            raise
        return time.monotonic() - began

    def _say(self, version: int) -> None:
        if time.monotonic() - self._said >= SAY_SECONDS:
            self._said = time.monotonic()
            figures = self.figures
            log.info(
                "%d of %d kills; round %d (version %d); %d runs, %d steps so far.",
                *(figures.kills, figures.kills_asked, figures.rounds + 1, version),
                *(figures.lives, figures.steps_taken),
            )

    def _whole(self, version: int) -> Path:
        return self.plan.work / "whole" / f"v{version}"
