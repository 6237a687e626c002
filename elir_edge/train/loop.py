"""The training loop: batches -> losses -> step -> average -> validate -> state and checkpoint."""

import contextlib
import json
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from elir_edge.data.datasets import Batch, CropSampler
from elir_edge.errors import TrainingError
from elir_edge.files import replacing_file
from elir_edge.model import Elir
from elir_edge.train.config import TrainConfig
from elir_edge.train.ema import WeightAverage
from elir_edge.train.objectives import Objective

STATE_NAME = "state.pt"
LOG_NAME = "log.jsonl"
_LOG_EVERY = 50

M = TypeVar("M", bound=nn.Module)
Validation = Callable[[Elir], dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run is carried out; none of it changes the weights that come out.

    Attributes:
        out: folder of state, log and checkpoint.
        device: torch device of the networks.
        resume: continue from the state in `out`.
        minutes: stop (resumably) after so long; None: run to the end.
        save_every: steps between states and validations.
    """

    out: Path
    device: str = "cpu"
    resume: bool = False
    minutes: float | None = None
    save_every: int = 1000


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run reached: its averaged model, steps done, seconds of training, last scores."""

    model: Elir
    step: int
    seconds: float
    scores: dict[str, float]


def learning_rate_at(config: TrainConfig, step: int) -> float:
    """Return the rate of optimizer step `step` (0-based)."""
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "constant":
        return config.learning_rate * warmup
    return config.learning_rate * warmup * 0.5 * (1 + float(np.cos(np.pi * step / config.steps)))


def place(module: M, device: str) -> M:
    """Move a module to a device, kernels in the channels-last order, which convolutions prefer."""
    module.to(device)
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


class _Run:
    """The mutable state of one run."""

    def __init__(
        self,
        config: TrainConfig,
        model: Elir,
        objective: Objective,
        options: RunOptions,
        materials: Mapping[str, str],
    ) -> None:
        self.materials = dict(materials)
        self.config, self.options, self.objective = config, options, objective
        self.model = place(model, options.device)
        self.parts = nn.ModuleDict(dict(objective.trainable(model)))
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for parameter in self.parts.parameters():
            parameter.requires_grad_(True)
        self.optimizer = torch.optim.AdamW(
            self.parts.parameters(),
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.average = WeightAverage(self.parts, config.ema_decay)
        self.step = 0
        self.seconds = 0.0

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        device = self.options.device
        clean, degraded = _to_device(batch.clean, device), _to_device(batch.degraded, device)
        with torch.autocast(
            torch.device(device).type, torch.bfloat16, enabled=self.config.precision == "bf16"
        ):
            losses = self.objective.losses(self.model, clean, degraded, generator)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(losses["total"])
        losses["grad_norm"] = nn.utils.clip_grad_norm_(
            self.parts.parameters(), self.config.clip_norm
        )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(self.config, self.step)
        self.optimizer.step()
        self.average.update()
        self.step += 1
        return {name: value.detach() for name, value in losses.items()}

    @contextlib.contextmanager
    def averaged(self) -> Iterator[Elir]:
        """Put the averaged weights in place for the length of the block."""
        current = {k: p.detach().clone() for k, p in self.parts.named_parameters()}
        self.assign(self.average.average)
        try:
            yield self.model
        finally:
            self.assign(current)

    def assign(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for key, parameter in self.parts.named_parameters():
                parameter.copy_(values[key])

    def save(self) -> None:
        state = {
            "config": json.dumps(self.config.to_dict()),
            "materials": self.materials,
            "step": self.step,
            "seconds": self.seconds,
            "parts": self.parts.state_dict(),
            "average": self.average.average,
            "optimizer": self.optimizer.state_dict(),
        }
        with replacing_file(self.options.out / STATE_NAME) as path:
            torch.save(state, path)

    def restore(self) -> None:
        path = self.options.out / STATE_NAME
        if not path.exists():
            raise TrainingError(
                f"nothing to resume in {self.options.out}", fix="leave out --resume"
            )
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
            config, materials = json.loads(state["config"]), state["materials"]
        except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
            raise TrainingError(
                f"{path} is damaged or no training state", fix="start anew in another --out"
            ) from error
        changed = [k for k, v in self.materials.items() if materials.get(k) != v]
        if changed:
            raise TrainingError(
                f"{path} was written by a run with other {' and '.join(changed)}",
                fix="use the same as then, or another --out",
            )
        if config != self.config.to_dict():
            raise TrainingError(
                f"{path} was written by a run with another configuration",
                fix="use the same options as then, or another --out",
            )
        self.parts.load_state_dict(state["parts"])
        self.average.load(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]


def train(
    config: TrainConfig,
    model: Elir,
    objective: Objective,
    sampler: CropSampler,
    validate: Validation,
    options: RunOptions,
    *,
    materials: Mapping[str, str],
) -> RunResult:
    """Minimise `objective` from `model`'s weights and return the averaged model.

    Args:
        config: the run.
        model: its initial weights; trained in place.
        objective: what is minimised, and which parts learn.
        sampler: batch of each step.
        validate: scores of the averaged model, taken at each save.
        options: where and how.
        materials: hashes of what else decides the result; a resumed run must have the same.

    Raises:
        TrainingError: the loss is not finite, there is nothing fitting to resume, or another run
            would be overwritten.
    """
    run = _Run(config, model, objective, options, materials)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.resume:
        run.restore()
    elif (options.out / STATE_NAME).exists():
        raise TrainingError(
            f"{options.out} holds a run already", fix="pass --resume to go on, or another --out"
        )
    deadline = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    scores: dict[str, float] = {}
    with _progress() as progress, _prefetch(sampler, run.step, config.steps) as batches:
        bar = progress.add_task("train", total=config.steps, completed=run.step, shown="")
        started = time.monotonic()
        for batch in batches:
            losses = run.train_step(batch)
            stopping = deadline is not None and time.monotonic() > deadline
            saving = run.step % options.save_every == 0 or run.step == config.steps or stopping
            if run.step % _LOG_EVERY == 0 or saving:
                values = _finite(losses, run.step)
                _log(options.out, {"step": run.step, **values})
                progress.update(bar, completed=run.step, shown=f"loss {values['total']:.4f}")
            if saving:
                run.seconds += time.monotonic() - started
                run.save()
                with run.averaged() as averaged:
                    scores = validate(averaged)
                _log(options.out, {"step": run.step, "seconds": round(run.seconds, 1), **scores})
                shown = " ".join(f"{name} {value:.2f}" for name, value in scores.items())
                progress.console.print(f"step {run.step}: {shown}")
                started = time.monotonic()
            if stopping:
                break
    run.assign(run.average.average)
    if not scores:  # resumed at the very end
        scores = validate(run.model)
    return RunResult(model=run.model, step=run.step, seconds=run.seconds, scores=scores)


@contextlib.contextmanager
def _prefetch(sampler: CropSampler, first: int, last: int) -> Iterator[Iterator[Batch]]:
    """Yield the batches of steps first..last-1, each made while the one before is in use."""
    with ThreadPoolExecutor(1) as pool:

        def batches() -> Iterator[Batch]:
            coming = pool.submit(sampler, first)
            for step in range(first, last):
                batch = coming.result()
                if step + 1 < last:
                    coming = pool.submit(sampler, step + 1)
                yield batch

        yield batches()


def _to_device(images: NDArray[np.float32], device: str) -> Tensor:
    return torch.from_numpy(images).to(device).contiguous(memory_format=torch.channels_last)


def _finite(losses: dict[str, Tensor], step: int) -> dict[str, float]:
    values = {name: float(value) for name, value in losses.items()}
    bad = [name for name, value in values.items() if not np.isfinite(value)]
    if bad:
        raise TrainingError(
            f"training diverged at step {step}: {', '.join(bad)} not finite",
            fix="lower the learning rate, or train in fp32",
        )
    return values


def _log(out: Path, record: dict[str, Any]) -> None:
    with (out / LOG_NAME).open("a") as file:
        file.write(json.dumps(record) + "\n")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[shown]}"),
    )
