"""What a person sees while it trains, and how they stop it: progress, logs, Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import TrainerCallback

from lorachain.faults import reached
from lorachain.files import write_text
from lorachain.training.clock import clock, when_done
from lorachain.training.output import LOG_FILE

log = logging.getLogger("lorachain")

FEW = 3  # steps after which the end is said
PLAIN_SECONDS = 10.0  # between two plain lines where there is no terminal


class TokenMeter:
    """Trained tokens per second, from the steps that were really taken (evaluation left out)."""

    def __init__(self) -> None:
        self.tokens = 0
        self.seconds = 0.0
        self.loss = float("nan")  # of the newest step

    def add(self, tokens: int, seconds: float, loss: float) -> None:
        """Count one step's trained tokens and its duration in seconds; remember its loss."""
        self.tokens += tokens
        self.seconds += seconds
        self.loss = loss

    @property
    def rate(self) -> float:
        """Trained tokens per second, 0 before the first step."""
        return self.tokens / self.seconds if self.seconds else 0.0


class Progress(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """A progress bar on a terminal, a plain line every ten seconds elsewhere; after the first few
    steps, once, how long it will take and when it will be done."""

    def __init__(
        self,
        meter: TokenMeter,
        name: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.meter = meter
        self.name = name
        self._monotonic, self._now = monotonic, now
        self.bar: Any = None
        self._last = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar where the run begins, which may be in the middle."""
        if not state.is_world_process_zero:
            return
        self._first = state.global_step
        self._began = self._monotonic()
        if sys.stderr.isatty():
            self.bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                desc=self.name,
                unit="step",
                dynamic_ncols=True,
            )

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any
    ) -> None:
        """Say a validation loss when there is one."""
        if "eval_loss" in logs and state.is_world_process_zero:
            text = f"{self.name}: step {state.global_step}, validation loss {logs['eval_loss']:.4f}"
            tqdm.write(text, file=sys.stderr) if self.bar is not None else log.info(text)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move on by one step."""
        if not state.is_world_process_zero:
            return
        self._say_when(state.global_step - self._first, state.max_steps - state.global_step)
        loss, rate = self.meter.loss, kwargs["lr_scheduler"].get_last_lr()[0]
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)
            self.bar.set_postfix_str(
                f"loss {loss:.3f}, lr {rate:.1e}, {self.meter.rate:.0f} trained tokens/s"
            )
            return
        now = self._monotonic()
        first, last = self._first + 1, state.max_steps
        if state.global_step in (first, last) or now - self._last >= PLAIN_SECONDS:
            self._last = now
            done = state.global_step - self._first
            left = (now - self._began) / done * (last - state.global_step)
            log.info(
                "%s: step %d/%d, loss %.3f, lr %.1e, %.0f trained tokens/s, %s left",
                *(self.name, state.global_step, last, loss, rate, self.meter.rate),
                clock(left),
            )

    def _say_when(self, done: int, left: int) -> None:
        """Once: the time of a step and of the end. The first step starts slowly and does not
        count."""
        if done == 1:
            self._warm = self._monotonic()
        elif done == FEW and left > 0:
            step = (self._monotonic() - self._warm) / (FEW - 1)
            text = f"{self.name}: {when_done(step, left, self._now())}"
            tqdm.write(text, file=sys.stderr) if self.bar is not None else log.info(text)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class JsonlLog(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """training_log.jsonl: one line for each logged step and each evaluation."""

    def __init__(self, folder: Path, meter: TokenMeter) -> None:
        self.path = folder / LOG_FILE
        self.meter = meter

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget what was logged after the checkpoint that the run goes on from."""
        if state.is_world_process_zero:
            kept = [e for e in read_log(self.path) if e["step"] <= state.global_step]
            write_text(self.path, "".join(json.dumps(entry) + "\n" for entry in kept))

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any
    ) -> None:
        """Append one line."""
        if not state.is_world_process_zero or not ("loss" in logs or "eval_loss" in logs):
            return
        entry = {"step": state.global_step, "epoch": round(state.epoch or 0.0, 4)}
        entry |= {k: v for k, v in logs.items() if k != "epoch"}
        if "loss" in logs:
            entry["trained_tokens_per_second"] = round(self.meter.rate, 1)
        reached("append", self.path)
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(entry) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The entries of a training_log.jsonl; a line torn by a crash is left out."""
    entries = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                entries.append(json.loads(line))
    return [entry for entry in entries if isinstance(entry, dict) and "step" in entry]


class StopOnInterrupt(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Ctrl-C saves at the end of the step and stops; a second one stops at once.

    So do the signals that a system sends when it shuts down, a terminal when it is closed
    (SIGTERM, SIGHUP; SIGBREAK on Windows), and a scheduler before it takes a machine away.
    """

    def __init__(self) -> None:
        self.asked = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopOnInterrupt:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
                number = getattr(signal, name, None)
                if number is None or _nohup(number):
                    continue
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, signum: int, frame: Any) -> None:
        if self.asked:
            if signum in _BY_HAND:
                raise KeyboardInterrupt
            return  # a system that shuts down sends SIGTERM and then SIGHUP
        self.asked = True
        with contextlib.suppress(OSError):  # the terminal may be gone
            log.info("\nStopping: this step is finished and saved first (Ctrl-C again: at once).")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask the Trainer to save and stop."""
        self.asked = _any_process(self.asked, args)
        if self.asked:
            control.should_save = True
            control.should_training_stop = True
            if args.metric_for_best_model is None:  # else the choice of the best would lack it
                control.should_evaluate = False


_BY_HAND = {getattr(signal, name, None) for name in ("SIGINT", "SIGBREAK")}


def _nohup(number: int) -> bool:
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) == signal.SIG_IGN


def _any_process(asked: bool, args: Any) -> bool:
    """Whether any process was asked: all of them must stop at the same step."""
    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized():
        return asked
    flag = torch.tensor(int(asked), device=args.device)
    distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
    return bool(flag)
