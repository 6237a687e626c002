"""The training loop: batch -> losses -> optimizer step -> EMA -> validation -> saved state."""

import contextlib
import datetime
import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from torch import Tensor, nn

from elir_edge.console import console
from elir_edge.data.datasets import Batch
from elir_edge.data.loading import Sampler, prefetched
from elir_edge.errors import TrainingError, UsageError
from elir_edge.model import Elir
from elir_edge.train.config import TrainConfig
from elir_edge.train.distributed import Processes
from elir_edge.train.objectives import BatchDraws, LossModule, Objective, StepImages
from elir_edge.train.record import Record
from elir_edge.train.state import STATE_NAME, TrainState
from elir_edge.train.validation import Validation

_LOG_EVERY = 50
_ETA_SECONDS = 600
"""Steps may take half a minute; the remaining time cannot be estimated over a shorter period."""
_PRINT_SECONDS = 60
"""Seconds between lines about the remaining time, where no terminal can show a progress bar."""

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run is carried out; no option changes the resulting weights of a complete run.

    Attributes:
        out: folder for the state, log, pictures and checkpoint.
        resume: continue from the state in `out`.
        minutes: stop after this many minutes; the run can be resumed. None: run to the end.
        save_every: steps between saves of the state, each with a validation.
        save_minutes: also save the state, without a validation, after this many minutes; None:
            never.
        log_every: steps between log lines.
        num_workers: worker processes that load batches; 0: one thread.

    Raises:
        UsageError: a time is negative or not a finite number.
    """

    out: Path
    resume: bool = False
    minutes: float | None = None
    save_every: int = 1000
    save_minutes: float | None = 5.0
    log_every: int = _LOG_EVERY
    num_workers: int = 0

    def __post_init__(self) -> None:
        """Check the times."""
        for option, value in (("--minutes", self.minutes), ("--save-minutes", self.save_minutes)):
            if value is not None and not 0 <= value < math.inf:
                raise UsageError(f"{option} {value:g} is not a duration", expected="0 or more")


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The result of a run.

    Attributes:
        model: the model with the averaged (EMA) weights.
        step: number of optimizer steps done.
        seconds: training time, without validation.
        scores: scores of the last validation.
        signal: number of the signal that ended the run early; None: no signal did.
    """

    model: Elir
    step: int
    seconds: float
    scores: dict[str, float]
    signal: int | None = None


def learning_rate_at(config: TrainConfig, step: int) -> float:
    """Return the learning rate of step `step` (from 0); each phase has its own schedule."""
    ends = (  # a phase that a run does not have ends at 0 or at `steps`; every run lacks one
        config.coarse_steps - config.refine_steps,
        config.coarse_steps,
        config.decoder_steps,
        config.steps - config.unrolled_steps,
        config.steps,
    )
    first = max(end for end in ends if end <= step)
    last = min(end for end in ends if end > step)
    done, length = step - first, last - first
    warmup = min(1.0, (done + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "constant":
        return config.learning_rate * warmup
    return config.learning_rate * warmup * 0.5 * (1 + float(np.cos(np.pi * done / length)))


def place(module: M, device: str) -> M:
    """Move a module to a device, with kernels in channels-last order (faster convolutions)."""
    module.to(device)
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


def train(
    config: TrainConfig,
    model: Elir,
    objective: Objective,
    sampler: Sampler,
    validation: Validation,
    options: RunOptions,
    processes: Processes,
    *,
    materials: Mapping[str, str],
) -> RunResult:
    """Minimise `objective`, starting from `model`'s weights, and return the averaged model.

    Args:
        config: the configuration of the run.
        model: the model with its initial weights; it is trained in place.
        objective: the losses, and the parts of the model that are trained.
        sampler: maps a step to this process's share of its batch.
        validation: gives scores and pictures of the averaged model at each save.
        options: how the run is carried out, and its folder.
        processes: the processes that train together; their number changes the result only by
            rounding (the order of additions).
        materials: hashes of all other inputs of the run; a resumed run must have the same.

    Raises:
        TrainingError: the loss is not finite, there is no matching state to resume, or another run
            would be overwritten.
    """
    check_folder(options)
    state = TrainState(config, place(model, processes.device), objective, materials)
    if options.resume:
        state.restore(options.out)
    losses_of = processes.shared(LossModule(model, objective, config.precision))
    with contextlib.ExitStack() as stack:
        monitor = None
        if processes.is_main:
            monitor = _RunMonitor(stack, state, validation, options, processes)
        processes.wait()
        stop = stack.enter_context(_stop_on_signals())
        batches = stack.enter_context(
            prefetched(
                sampler,
                state.step,
                config.steps,
                num_workers=options.num_workers,
                # Several processes must all stop after the same step, so they finish theirs.
                stopped=lambda: stop.signal is not None and processes.share.count == 1,
            )
        )
        first_step = state.step
        deadline = None if options.minutes is None else time.monotonic() + 60 * options.minutes
        for batch in batches:
            losses = _train_step(state, losses_of, batch, processes)
            late = deadline is not None and time.monotonic() > deadline
            stopping = processes.any(late or stop.signal is not None)
            saving = state.step % options.save_every == 0 or state.step == config.steps or stopping
            if state.step % options.log_every == 0 or saving:
                values = _finite(processes.mean(losses), state.step)
                if monitor:
                    monitor.losses(values)
            if monitor:
                monitor.step_done(saving)
            if stopping:
                break
        else:
            if monitor and stop.signal is not None and state.step > first_step:
                monitor.step_done(True)  # stopped while waiting for a batch
        processes.wait()
    state.assign(state.average.average)
    scores = monitor.scores if monitor else {}
    if monitor and not scores:  # a finished run was resumed: no step, so no save
        scores = validation.scores(model)
    return RunResult(
        model=model, step=state.step, seconds=state.seconds, scores=scores, signal=stop.signal
    )


def check_folder(options: RunOptions) -> None:
    """Check that the output folder fits `options.resume`.

    Raises:
        TrainingError: the folder holds a run that is not to be resumed, or none to resume.
    """
    holds_run = (options.out / STATE_NAME).exists()
    if holds_run and not options.resume:
        raise TrainingError(
            f"{options.out} holds a run already",
            fix="pass --resume (make: RESUME=1) to go on, or another --out (make: RUN=...)",
        )
    if options.resume and not holds_run:
        raise TrainingError(
            f"nothing to resume in {options.out}", fix="leave out --resume (make: RESUME=1)"
        )


class _Stop:
    """Remembers the first signal that asked the run to end."""

    signal: int | None = None


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[_Stop]:
    """Let Ctrl-C and SIGTERM end the run after the current step, and a second one immediately.

    Outside the main thread Python cannot set signal handlers; there they are left unchanged.
    """
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def remember(number: int, frame: FrameType | None) -> None:
        stop.signal = number
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, remember)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _train_step(
    state: TrainState, losses_of: nn.Module, batch: Batch, processes: Processes
) -> dict[str, Tensor]:
    """Take one optimizer step and return the losses and the gradient norm."""
    config = state.config
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + state.step)
    losses: dict[str, Tensor] = losses_of(
        _to_device(batch, processes.device),
        BatchDraws(generator=generator, share=processes.share),
        state.step,
    )
    state.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(losses["total"])
    if config.clip_norm is None:
        gradients = [p.grad for p in state.parts.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
    else:
        norm = nn.utils.clip_grad_norm_(state.parts.parameters(), config.clip_norm)
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate_at(config, state.step)
    state.optimizer.step()
    state.step += 1
    state.average.update(state.step)
    return {**{name: value.detach() for name, value in losses.items()}, "grad_norm": norm}


class _RunMonitor:
    """The main process's output while the loop runs: progress, log, saved state and scores."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        state: TrainState,
        validation: Validation,
        options: RunOptions,
        processes: Processes,
    ) -> None:
        self._state, self._validation, self._options = state, validation, options
        options.out.mkdir(parents=True, exist_ok=True)
        self._record = stack.enter_context(Record(options.out, state.step))
        self._progress = stack.enter_context(_progress())
        self._bar: TaskID = self._progress.add_task(
            "train", total=state.config.steps, completed=state.step, shown=""
        )
        count = processes.share.count
        console.print(
            f"training {state.config.task} on {count} process{'es' if count > 1 else ''} "
            f"({processes.device}), steps {state.step} to {state.config.steps}"
        )
        self._first_step = state.step
        self._began = self._saved = self._printed = self._started = time.monotonic()
        self.scores: dict[str, float] = {}

    def losses(self, values: dict[str, float]) -> None:
        """Log and show the losses of the last step."""
        self._record.losses(self._state.step, values)
        self._progress.update(self._bar, shown=f"loss {values['total']:.4f}")

    def step_done(self, saving: bool) -> None:
        """Show progress; save the state if it is due by time, or state and scores if `saving`."""
        self._progress.update(self._bar, completed=self._state.step)
        now = time.monotonic()
        if not console.is_interactive and now - self._printed > _PRINT_SECONDS:
            self._printed = now
            console.print(self._eta(now), highlight=False)
        limit = self._options.save_minutes
        if saving:
            self._save_state()
            self._score()
        elif limit is not None and now - self._saved > 60 * limit:
            self._save_state()

    def _eta(self, now: float) -> str:
        step, steps = self._state.step, self._state.config.steps
        seconds = (now - self._began) / (step - self._first_step) * (steps - step)
        return f"step {step} of {steps}, {datetime.timedelta(seconds=round(seconds))} left"

    def _save_state(self) -> None:
        state, now = self._state, time.monotonic()
        state.seconds += now - self._started
        state.save(self._options.out)
        self._started = self._saved = time.monotonic()

    def _score(self) -> None:
        state = self._state
        with state.averaged() as averaged:
            self.scores = self._validation.scores(averaged)
            self._record.samples(state.step, self._validation.samples(averaged))
        self._record.scores(state.step, self.scores, state.seconds)
        shown = " ".join(f"{name} {value:.4g}" for name, value in self.scores.items())
        if shown:
            console.print(f"step {state.step}: {shown}", soft_wrap=True)
        self._started = time.monotonic()


def _to_device(batch: Batch, device: str) -> StepImages:
    def placed(images: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(images).to(device).contiguous(memory_format=torch.channels_last)

    return StepImages(
        clean=placed(batch.clean),
        degraded=placed(batch.degraded),
        latent=None if batch.latent is None else placed(batch.latent),
        decoded=None if batch.decoded is None else placed(batch.decoded),
    )


def _finite(values: dict[str, float], step: int) -> dict[str, float]:
    bad = [name for name, value in values.items() if not np.isfinite(value)]
    if bad:
        raise TrainingError(
            f"training diverged at step {step}: {', '.join(bad)} not finite",
            fix="lower the learning rate, or train in fp32",
        )
    return values


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[shown]}"),
        console=console,
        disable=not console.is_interactive,
        speed_estimate_period=_ETA_SECONDS,
    )
