"""How a static model goes to the quantizer's environment: as numbers and a description, no code."""

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
    """What a static model was made of, beside its numbers.

    Attributes:
        config: of the model.
        rewrites: exact rewrites that were applied, in order.
        size: side of the image, pixels.
    """

    config: ModelConfig
    rewrites: tuple[str, ...]
    size: int


def hand_over(static: StaticElir, description: ModelDescription, folder: Path) -> None:
    """Write a static model into a folder, its noise part of it."""
    torch.save(static.state_dict(), folder / WEIGHTS)
    values = {
        "config": description.config.to_dict(),
        "rewrites": description.rewrites,
        "size": description.size,
    }
    (folder / DESCRIPTION).write_text(json.dumps(values), encoding="utf-8")


def take_over(folder: Path) -> StaticElir:
    """Make the static model again that `hand_over` wrote.

    Raises:
        RuntimeError: the numbers are not those of the description.
        pickle.UnpicklingError: the file holds more than numbers.
    """
    values = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    model = Elir(ModelConfig.from_dict(values["config"]))
    static = static_form(model, draw_noise(model.config, values["size"], values["size"]))
    for name in values["rewrites"]:
        static = REWRITES[name](static).static
    static.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
    return static
