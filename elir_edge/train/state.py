"""What changes while a run goes on: weights, their average, the optimizer, the step."""

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
        config: the run.
        model: its weights, on the device of the run.
        objective: says which parts learn; all others are frozen here.
        materials: hashes of what else decides the result.
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
        """Put the averaged weights in place for the length of the block."""
        current = {k: p.detach().clone() for k, p in self.parts.named_parameters()}
        self.assign(self.average.average)
        try:
            yield self.model
        finally:
            self.assign(current)

    def assign(self, values: Mapping[str, Tensor]) -> None:
        """Set the learning weights."""
        with torch.no_grad():
            for key, parameter in self.parts.named_parameters():
                parameter.copy_(values[key])

    def save(self, folder: Path) -> None:
        """Write everything that a resumed run needs.

        Raises:
            TrainingError: it cannot be written; the state before it stays.
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
            except RuntimeError as error:  # torch says so little of a full disk
                raise TrainingError(
                    f"the state cannot be written to {folder} ({str(error).splitlines()[0]})",
                    fix="make room on the disk, then pass --resume (make: RESUME=1)",
                ) from error

    def restore(self, folder: Path) -> None:
        """Go back to what `save` wrote.

        Raises:
            TrainingError: it is damaged, or of another run. That there is one is `check_folder`'s
                part.
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
    """Turn what a malformed file makes torch and Python raise into one line."""
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
            f"{path} is damaged or no training state",
            fix="start anew in another --out (make: RUN=...)",
        ) from error
