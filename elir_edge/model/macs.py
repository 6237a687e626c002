"""Multiply-accumulates (MACs) of a model, counted from tensor shapes alone."""

import copy
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor, nn

from elir_edge.model.config import ModelConfig
from elir_edge.model.elir import Elir

LayerCallback = Callable[[str, nn.Module, Tensor, Tensor], None]
"""Callback that gets a layer's path, the layer, its input and its output."""


def run_on_shapes(model: Elir, size: int, note: LayerCallback) -> None:
    """Run the model on shapes alone (meta device, no arithmetic) and report its layers to `note`.

    Layers of the vector field are reported once per Euler step.

    Args:
        model: the model; it is not changed.
        size: side of the square image, in pixels.
        note: called for each convolution and each upsampling layer, in order of execution.
    """
    abstract = copy.deepcopy(model).to("meta")
    for name, module in abstract.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Upsample):
            module.register_forward_hook(_hook_for(note, name))
    factor = model.config.latent_factor
    latent = (1, model.config.latent_channels, size // factor, size // factor)
    with torch.no_grad():
        abstract(torch.empty(1, 3, size, size, device="meta"), torch.empty(latent, device="meta"))


def collapsed_macs(config: ModelConfig, size: int) -> int:
    """Return the multiply-accumulates of a configuration's collapsed model for one square image."""
    with torch.device("meta"):  # only its shapes matter
        model = Elir(config.collapsed())
    return sum(macs_of(model, size).values())


def macs_of(model: Elir, size: int) -> dict[str, int]:
    """Return the multiply-accumulates of a model's convolutions for one square image.

    Args:
        model: the model, collapsed if the collapsed form is to be counted.
        size: side of the image, in pixels.

    Returns:
        MACs of each part that the model has: `encoder`, `coarse`, `velocity` (all K Euler steps),
        `decoder`.
    """
    counted: Counter[str] = Counter()

    def note(name: str, module: nn.Module, given: Tensor, output: Tensor) -> None:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            pixels = (
                (given if isinstance(module, nn.ConvTranspose2d) else output).shape[-2:].numel()
            )
            counted[name.partition(".")[0]] += module.weight.numel() * pixels

    run_on_shapes(model, size, note)
    return dict(counted)


def _hook_for(note: LayerCallback, name: str) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        note(name, module, inputs[0], output)

    return hook
