"""The state of a run that changes with each step: weights, EMA, optimizer, step number."""

import contextlib
import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from elir_edge.errors import TrainingError
from elir_edge.files import replacing_file
from elir_edge.model import Elir
from elir_edge.train.config import TrainConfig
from elir_edge.train.ema import WeightAverage
from elir_edge.train.objectives import Objective

STATE_NAME = "state.pt"


class TrainState:
    """The mutable state of one run.

    Args:
        config: the configuration of the run.
        model: the model, on the run's device.
        objective: names the parts that are trained; all others are frozen.
        materials: hashes of all other inputs of the run.
    """

    def __init__(
        self, config: TrainConfig, model: Elir, objective: Objective, materials: Mapping[str, str]
    ) -> None:
        self.config, self.model, self.materials = config, model, dict(materials)
        self.parts = nn.ModuleDict(dict(objective.trainable(model)))
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for parameter in self.parts.parameters():
            parameter.requires_grad_(True)
        self.optimizer = torch.optim.AdamW(
            self.parts.parameters(),
            lr=config.learning_rate,
            betas=config.betas,
            eps=config.adam_eps,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.average = WeightAverage(self.parts, config.ema_decay, config.ema_warmup)
        self.step = 0
        self.seconds = 0.0

    @contextlib.contextmanager
    def averaged(self) -> Iterator[Elir]:
        """Yield the model with the averaged weights, which it has until the block ends."""
        current = {k: p.detach().clone() for k, p in self.parts.named_parameters()}
        self.assign(self.average.average)
        try:
            yield self.model
        finally:
            self.assign(current)

    def assign(self, values: Mapping[str, Tensor]) -> None:
        """Set the trained weights."""
        with torch.no_grad():
            for key, parameter in self.parts.named_parameters():
                parameter.copy_(values[key])

    def save(self, folder: Path) -> None:
        """Write everything that a resumed run needs.

        Raises:
            TrainingError: the file cannot be written; the earlier state is kept.
        """
        state = {
            "config": json.dumps(self.config.to_dict()),
            "materials": self.materials,
            "step": self.step,
            "seconds": self.seconds,
            "parts": self.parts.state_dict(),
            "average": self.average.average,
            "optimizer": self.optimizer.state_dict(),
        }
        with replacing_file(folder / STATE_NAME) as path:
            try:
                torch.save(state, path)
            except RuntimeError as error:  # what torch raises when the disk is full
                raise TrainingError(
                    f"the state cannot be written to {folder} ({str(error).splitlines()[0]})",
                    fix="make room on the disk, then pass --resume (make: RESUME=1)",
                ) from error

    def restore(self, folder: Path) -> None:
        """Load the state that `save` wrote; `check_folder` has checked that the file exists.

        Raises:
            TrainingError: the file is damaged, or belongs to another run.
        """
        path = folder / STATE_NAME
        with _explained(path):
            state = torch.load(path, weights_only=True, map_location="cpu")
            config, materials = json.loads(state["config"]), dict(state["materials"])
        changed = [k for k, v in self.materials.items() if materials.get(k) != v]
        if changed:
            raise TrainingError(
                f"{path} was written by a run with other {' and '.join(changed)}",
                fix="use the same as then, or another --out (make: RUN=...)",
            )
        if config != self.config.to_dict():
            raise TrainingError(
                f"{path} was written by a run with another configuration",
                fix="use the same options as then, or another --out (make: RUN=...)",
            )
        with _explained(path):
            self.parts.load_state_dict(state["parts"])
            self.average.load(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the exceptions that a malformed file causes into one `TrainingError`."""
    try:
        yield
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        EOFError,
        RuntimeError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise TrainingError(
            f"{path} is damaged or not a training state",
            fix="start anew in another --out (make: RUN=...)",
        ) from error
