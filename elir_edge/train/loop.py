"""The training loop: batches -> losses -> step -> average -> validate -> state and checkpoint."""

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
"""Steps may take half a minute: over less the time left could not be told."""
_TELL_SECONDS = 60
"""Between lines about the time left, where there is no terminal for a bar."""

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run is carried out; none of it changes the weights that come out.

    Attributes:
        out: folder of state, log, pictures and checkpoint.
        resume: continue from the state in `out`.
        minutes: stop (resumably) after so long; None: run to the end.
        save_every: steps between states and validations.
        save_minutes: also write the state, without a validation, after so long; None: never.
        log_every: steps between log lines.
        num_workers: processes that make batches; 0: a thread does.

    Raises:
        UsageError: a time that is negative or not a number.
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
                raise UsageError(f"{option} {value:g} is no length of time", expected="0 or more")


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run reached.

    Attributes:
        model: with the averaged weights.
        step: optimizer steps done.
        seconds: of training.
        scores: of the last validation.
        signal: number of the signal that ended it before its time; None: none did.
    """

    model: Elir
    step: int
    seconds: float
    scores: dict[str, float]
    signal: int | None = None


def learning_rate_at(config: TrainConfig, step: int) -> float:
    """Return the rate of optimizer step `step` (0-based); each phase has a schedule of its own."""
    ends = (  # of the phases; those that a run does not have end at 0 or at `steps`
        config.coarse_steps - config.refine_steps,
        config.coarse_steps,
        config.decoder_steps,
        config.steps - config.unrolled_steps,
        config.steps,
    )
    first = max((end for end in ends if end <= step), default=0)
    last = min(end for end in ends if end > step)
    done, length = step - first, last - first
    warmup = min(1.0, (done + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "constant":
        return config.learning_rate * warmup
    return config.learning_rate * warmup * 0.5 * (1 + float(np.cos(np.pi * done / length)))


def place(module: M, device: str) -> M:
    """Move a module to a device, kernels in the channels-last order, which convolutions prefer."""
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
    """Minimise `objective` from `model`'s weights and return the averaged model.

    Args:
        config: the run.
        model: its initial weights; trained in place.
        objective: what is minimised, and which parts learn.
        sampler: this process's share of the batch of each step.
        validation: scores and pictures of the averaged model, taken at each save.
        options: where and how.
        processes: the processes that train together; their number does not change the result,
            up to the order of additions.
        materials: hashes of what else decides the result; a resumed run must have the same.

    Raises:
        TrainingError: the loss is not finite, there is nothing fitting to resume, or another run
            would be overwritten.
    """
    check_folder(options)
    state = TrainState(config, place(model, processes.device), objective, materials)
    if options.resume:
        state.restore(options.out)
    losses_of = processes.shared(LossModule(model, objective, config.precision))
    with contextlib.ExitStack() as stack:
        report = None
        if processes.is_main:
            report = _Report(stack, state, validation, options, processes)
        processes.wait()
        stop = stack.enter_context(_stop_on_signals())
        batches = stack.enter_context(
            prefetched(
                sampler,
                state.step,
                config.steps,
                num_workers=options.num_workers,
                # With others, all must stop after the same step.
                stopped=lambda: stop.signal is not None and processes.share.count == 1,
            )
        )
        begun = state.step
        deadline = None if options.minutes is None else time.monotonic() + 60 * options.minutes
        for batch in batches:
            losses = _train_step(state, losses_of, batch, processes)
            late = deadline is not None and time.monotonic() > deadline
            stopping = processes.any(late or stop.signal is not None)
            saving = state.step % options.save_every == 0 or state.step == config.steps or stopping
            if state.step % options.log_every == 0 or saving:
                values = _finite(processes.mean(losses), state.step)
                if report:
                    report.losses(values)
            if report:
                report.step_done(saving)
            if stopping:
                break
        else:
            if report and stop.signal is not None and state.step > begun:
                report.step_done(True)  # stopped while a batch was waited for
        processes.wait()
    state.assign(state.average.average)
    scores = report.scores if report else {}
    if report and not scores:  # resumed at the very end
        scores = validation.scores(model)
    return RunResult(
        model=model, step=state.step, seconds=state.seconds, scores=scores, signal=stop.signal
    )


def check_folder(options: RunOptions) -> None:
    """Refuse to start over a run, or to resume none.

    Raises:
        TrainingError: as it says.
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
    """Let Ctrl-C and SIGTERM end the run after the step at hand; a second one ends it at once.

    Elsewhere than in the main thread, where Python hears no signals, they stay as they are.
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
    """Take one optimizer step and return the losses and the norm of their gradient."""
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


class _Report:
    """What the main process writes and shows while the loop runs."""

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
        self._began = self._saved = self._told = self._started = time.monotonic()
        self.scores: dict[str, float] = {}

    def losses(self, values: dict[str, float]) -> None:
        """Log and show the losses of the step just taken."""
        self._record.losses(self._state.step, values)
        self._progress.update(self._bar, shown=f"loss {values['total']:.4f}")

    def step_done(self, saving: bool) -> None:
        """Show the step, and write what is due: the state by time; with `saving` scores too."""
        self._progress.update(self._bar, completed=self._state.step)
        now = time.monotonic()
        if not console.is_interactive and now - self._told > _TELL_SECONDS:
            self._told = now
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
