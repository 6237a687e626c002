"""Transfer of a static model to the quantizer's environment: tensors and a description, no code."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from elir_edge.model import Elir, ModelConfig, draw_noise
from export.static.rewrites import REWRITES
from export.static.unroll import StaticElir, static_form

WEIGHTS, DESCRIPTION = "static.pt", "static.json"


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """The structure of a static model, without its tensors.

    Attributes:
        config: configuration of the model.
        rewrites: names of the exact rewrites that were applied, in order.
        size: side of the image, in pixels.
    """

    config: ModelConfig
    rewrites: tuple[str, ...]
    size: int


def hand_over(static: StaticElir, description: ModelDescription, folder: Path) -> None:
    """Write a static model with constant noise into a folder."""
    torch.save(static.state_dict(), folder / WEIGHTS)
    values = {
        "config": description.config.to_dict(),
        "rewrites": description.rewrites,
        "size": description.size,
    }
    (folder / DESCRIPTION).write_text(json.dumps(values), encoding="utf-8")


def take_over(folder: Path) -> StaticElir:
    """Return the static model that `hand_over` wrote.

    Raises:
        RuntimeError: the tensors do not fit the description.
        pickle.UnpicklingError: the file holds anything but tensors.
    """
    values = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    model = Elir(ModelConfig.from_dict(values["config"]))
    static = static_form(model, draw_noise(model.config, values["size"], values["size"]))
    for name in values["rewrites"]:
        static = REWRITES[name](static).static
    static.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
    return static
