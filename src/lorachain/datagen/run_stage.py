"""One run of a stage: the folder held, rows made side by side, everything finished kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from lorachain.datagen.ask import Asked, DryTeacher, RowFailed, StopRun
from lorachain.datagen.budget import Budget, BudgetSpent, check_prices
from lorachain.datagen.endpoint import Endpoint
from lorachain.datagen.limits import Pace, Stopping
from lorachain.datagen.manifest import now, read_manifest, write_manifest
from lorachain.datagen.rowfiles import RowWriter
from lorachain.datagen.rows import Row
from lorachain.datagen.secret import Secret, read_secret
from lorachain.datagen.signals import StopOnSignal
from lorachain.datagen.stage import Counts, Options, Stage, State, look_up, put_in_order
from lorachain.datagen.stage_progress import StageProgress
from lorachain.datagen.store import CallStore
from lorachain.datagen.teacher import Teacher
from lorachain.datagen.teacher_config import TeacherConfig
from lorachain.errors import Interrupted, UserError
from lorachain.files import InUse, folder_lock
from lorachain.paths import shown

log = logging.getLogger("lorachain")
R = TypeVar("R", bound=Row)


@dataclass
class Result:
    """What came of a run. `failed` are rows that got no answer, by id."""

    counts: Counts = field(default_factory=Counts)
    total: int = 0
    made: int = 0
    accepted: int = 0
    paid: int = 0
    stored: int = 0
    left: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    stopped: str = ""  # the budget's sentence
    interrupted: bool = False
    budget: Budget = field(default_factory=Budget)  # what this stage spent, when it is over


def run_stage(
    stage: Stage[R], config: TeacherConfig, options: Options, budget: Budget | None = None
) -> Result:
    """Make what is not done yet. Returns when all of it, or --limit, is made.

    `budget` is that of several stages together; without one, the config's limits hold for this
    stage. Raises UserError where rows are missing at the end (no answer, a spent budget, an
    endpoint that refuses) and Interrupted after Ctrl-C; what is finished is in place then, too.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(folder_lock(stage.output.parent, "The folder"))
        except InUse:
            raise UserError(
                f"{shown(stage.output.parent)} is in use by another run. Wait until it ends, or "
                "name another --out-dir."
            ) from None
        budget = budget or Budget(config.runtime.max_usd, config.runtime.max_calls)
        secret = Secret("")
        if not options.dry_run:  # a run that cannot begin touches nothing
            check_prices(config.models, config.prices, budget.max_usd)
            secret = read_secret(config.endpoint.api_key_env, config.env_file)
        state = look_up(stage, options)
        _tell(stage, state)
        store = None if options.dry_run else stack.enter_context(CallStore(config.store))
        for place in store.damaged if store else ():
            log.warning("%s cannot be read; what stood there is asked for anew.", place)
        result = Result(total=len(stage.ids), left=state.left, budget=budget)
        began, earlier = now(), budget.copy()
        run = _Run(stage, state, config, result, options.again)
        error = run.to_its_end(store, secret)
        result.budget = budget.since(earlier)
        if isinstance(error, OSError):
            raise error  # the disk is full or gone: what was finished is on it
        if result.made or state.done or not error:
            result.counts = put_in_order(stage, options)
            _write_manifest(stage, config, options, result, began)
        elif stage.output.stat().st_size == 0:
            stage.output.unlink()
    if error is not None:
        raise error
    _raise_what_is_missing(stage, result, options.again)
    return result


class _Run:
    """The rows of one run, made side by side."""

    def __init__(
        self, stage: Stage[R], state: State, config: TeacherConfig, result: Result, again: str
    ) -> None:
        self._stage: Stage[Any] = stage
        self._state = state
        self._config = config
        self._result = result
        self._again = again
        self._in_a_row = 0
        self._error: BaseException | None = None

    def to_its_end(self, store: CallStore | None, secret: Secret) -> BaseException | None:
        """Make the rows. Returns the error that ended it, None for an end in good order."""
        try:
            asyncio.run(self._work(store, secret))
        except KeyboardInterrupt:
            self._result.interrupted = True
        return self._error

    async def _work(self, store: CallStore | None, secret: Secret) -> None:
        config = self._config
        self._result.budget.enter_loop()
        pace = Pace(config.limits.concurrency, config.limits.rpm)
        progress = StageProgress(self._stage.name, len(self._stage.ids), len(self._state.done))
        writer = RowWriter(self._stage.output)
        endpoint = teacher = None
        if store is not None:
            endpoint = Endpoint(config, secret)
            teacher = Teacher(config, endpoint, store, self._result.budget, pace)
        asked: Asked = teacher or DryTeacher()
        try:
            with progress, StopOnSignal(pace) as signals:
                todo = iter(self._state.todo)
                workers = [
                    self._worker(todo, asked, pace, writer, progress)
                    for _ in range(min(config.limits.concurrency, len(self._state.todo)))
                ]
                await asyncio.gather(*workers)
                self._result.interrupted = signals.asked
        finally:
            writer.close()
            if teacher is not None:
                self._result.paid, self._result.stored = teacher.paid, teacher.stored
            if endpoint is not None:
                await endpoint.close()

    async def _worker(
        self,
        todo: Iterator[str],
        asked: Asked,
        pace: Pace,
        writer: RowWriter,
        progress: StageProgress,
    ) -> None:
        """Make one row after the other, until there is none left or all is to stop."""
        result = self._result
        for id_ in todo:
            if pace.stopped:
                return
            try:
                row = await self._stage.make(id_, asked)
                writer.write(row)
            except Stopping:
                return
            except RowFailed as failed:
                result.failed[id_] = str(failed)
                self._in_a_row += 1
                if self._in_a_row >= self._config.retries.failed_rows:
                    await self._stop(pace, _too_many(self._in_a_row, str(failed), self._again))
            except BudgetSpent as spent:
                result.stopped = str(spent)
                await pace.stop()
            except Exception as error:
                await self._stop(pace, error)
            else:
                self._in_a_row = 0
                result.made += 1
                result.accepted += self._stage.is_accepted(row)
                progress.row(result.accepted, result.budget.spent_usd)

    async def _stop(self, pace: Pace, error: BaseException) -> None:
        """End the run with this error, the first of them, once all that is under way is over."""
        self._error = self._error or error
        await pace.stop()


def _too_many(count: int, why: str, again: str) -> StopRun:
    return StopRun(
        f"{count} rows in a row got no answer (the last: {why}). Check the endpoint; {again} goes "
        "on."
    )


def _tell(stage: Stage[R], state: State) -> None:
    for note in stage.notes:
        log.info(note)
    if state.cut_bytes:
        log.info("%s ended in a torn line; it was cut away.", shown(stage.output))
    if state.stale:
        log.info("%d rows were made from something else and are made anew.", state.stale)
    if state.strange:
        log.info(
            "%d rows of %s are of no row of %s and are left out.",
            state.strange,
            shown(stage.output),
            shown(stage.inputs[0]),
        )


def _write_manifest(
    stage: Stage[R], config: TeacherConfig, options: Options, result: Result, began: str
) -> None:
    """`counts` and `cost` are of the rows, whichever run made them; `runs` has each run."""
    before = read_manifest(stage.main) if options.resume else None
    budget = result.budget
    run = {
        "started": began,
        "ended": now(),
        "rows": result.made,
        "answers_paid": result.paid,
        "answers_stored": result.stored,
        "requests": budget.calls,
        "cost_usd": round(budget.spent_usd, 6),
        "of_unknown_cost_usd": round(budget.unknown_usd, 6),
        "failed": len(result.failed),
        "stopped": result.stopped or ("Ctrl-C" if result.interrupted else ""),
    }
    counts = asdict(result.counts)
    write_manifest(
        stage.main,
        stage=stage.name,
        inputs=stage.inputs,
        outputs=sorted({stage.output, *stage.outputs} - {stage.main}),
        settings={**stage.settings, **config.as_settings()},
        counts={"planned": result.total, "complete": result.counts.rows == result.total, **counts},
        dry_run=options.dry_run,
        failed=result.failed,
        runs=[*(before or {}).get("runs", []), run],
    )


def _raise_what_is_missing(stage: Stage[R], result: Result, again: str) -> None:
    """One sentence for a run that did not make all that it was asked for."""
    kept = f"{result.counts.rows} of {result.total} rows are in {shown(stage.output)}"
    if result.interrupted:
        raise Interrupted(f"Stopped. {kept}; {again} goes on.")
    if result.stopped:
        raise UserError(f"{result.stopped}. {kept}; {again} goes on, and its limits begin anew.")
    if result.failed:
        first, why = next(iter(sorted(result.failed.items())))
        raise UserError(
            f"{len(result.failed)} rows got no answer ({first}: {why}). {kept}; {again} tries "
            "the others again."
        )
