"""Estimates from a model's shapes, in a second and before quantization, whether it fits the sensor.

Operations are checked against a table of those that the converter was seen to refuse. Memory is
estimated (see `MemoryEstimate`); at export, the converter's own report decides.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elir_edge.errors import ExportError
from elir_edge.model import Elir, collapse
from elir_edge.model.macs import run_on_shapes
from export.targets.imx500.convert import CHIP_BYTES, MEGABYTE

_WEIGHTS_FACTOR = 1.2
"""The converter's bytes per weight; 1.17 and 1.21 were seen for nano at 128 and 256 pixels."""
_RUNNING_FACTOR = 8
"""The converter's working memory, in units of the largest feature map, for nano at 128 and 256."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An operation that the converter refuses: the layers, the reason, and what to use instead."""

    layers: tuple[str, ...]
    reason: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """An estimate of the memory that a model takes on the chip.

    Attributes:
        variant: the model's variant.
        size: side of the image, in pixels.
        weights_bytes: 8 bits per weight, with the vector field's weights counted once per Euler
            step, plus a fifth for the converter's overhead.
        running_bytes: eight times the largest feature map.
        largest: name and output shape (C, H, W) of the layer with the largest feature map.
        refusals: operations that the sensor does not have.
        largest_size: side of the largest image for which the model fits; 0: it never fits.
    """

    variant: str
    size: int
    weights_bytes: int
    running_bytes: int
    largest: tuple[str, tuple[int, ...]]
    refusals: tuple[Refusal, ...]
    largest_size: int

    @property
    def fits(self) -> bool:
        """Whether the model is expected to fit."""
        return not self.refusals and self.weights_bytes + self.running_bytes <= CHIP_BYTES

    def __str__(self) -> str:
        """Return lines for people."""
        name, shape = self.largest
        weights, running = self.weights_bytes / MEGABYTE, self.running_bytes / MEGABYTE
        lines = [
            f"{self.variant} at {self.size} x {self.size} on the IMX500 (estimates)",
            f"  weights  {weights:6.2f} MB",
            f"  running  {running:6.2f} MB, set by {name} ({' x '.join(map(str, shape))})",
            f"  in all   {weights + running:6.2f} MB of {CHIP_BYTES / MEGABYTE:.2f} MB",
        ]
        for refusal in self.refusals:
            shown = ", ".join(refusal.layers[:2])
            lines.append(
                f"  refused  {len(refusal.layers)} layers ({shown}, ...): {refusal.reason}; "
                f"{refusal.fix}"
            )
        lines.append(
            f"  {'fits' if self.fits else 'does not fit'}; largest size that would: "
            f"{self.largest_size or 'none'}"
        )
        return "\n".join(lines)

    def require(self) -> None:
        """Require that the model is expected to fit.

        Raises:
            ExportError: the model does not fit; the message has the numbers and a fix.
        """
        if self.fits:
            return
        weights, running = self.weights_bytes / MEGABYTE, self.running_bytes / MEGABYTE
        got = f"about {weights:.2f} MB of weights and {running:.2f} MB to run, "
        got += f"set by {self.largest[0]} {self.largest[1]}"
        for refusal in self.refusals:
            got += f"; {len(refusal.layers)} layers such as {refusal.layers[0]}: {refusal.reason}"
        usable = self.largest_size and not self.refusals
        raise ExportError(
            f"the {self.variant} model at {self.size} x {self.size} does not fit the IMX500",
            got=got,
            expected=f"{CHIP_BYTES / MEGABYTE:.0f} MB in all",
            fix=f"use SIZE={self.largest_size}" if usable else "use the variant `nano` or `sensor`",
        )


@torch.no_grad()
def estimate(model: Elir, size: int) -> MemoryEstimate:
    """Estimate a model's memory for images of size x size, from shapes alone."""
    collapsed = collapse(model)
    assert isinstance(collapsed, Elir)
    unrolled = sum(p.numel() for p in collapsed.parameters())
    field = sum(p.numel() for p in collapsed.velocity.parameters())
    unrolled += field * max(0, collapsed.config.num_steps - 1)
    weights = round(_WEIGHTS_FACTOR * unrolled)
    name, shape = _largest_map(collapsed, size)
    running = _RUNNING_FACTOR * shape[0] * shape[1] * shape[2]
    multiple = collapsed.size_multiple
    room = max(0, CHIP_BYTES - weights) / running
    return MemoryEstimate(
        variant=collapsed.config.variant,
        size=size,
        weights_bytes=weights,
        running_bytes=running,
        largest=(name, shape),
        refusals=tuple(_refusals(collapsed)),
        largest_size=int(size * room**0.5) // multiple * multiple,
    )


def _largest_map(model: Elir, size: int) -> tuple[str, tuple[int, ...]]:
    """Return name and shape (C, H, W) of the layer with the largest output."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, module: nn.Module, given: Tensor, output: Tensor) -> None:
        shapes[name] = tuple(output.shape[1:])

    run_on_shapes(model, size, note)
    return max(shapes.items(), key=lambda item: torch.Size(item[1]).numel())


def _refusals(model: nn.Module) -> Iterator[Refusal]:
    modules = list(model.named_modules())
    for judge, reason, fix in _TABLE:
        layers = tuple(name for name, module in modules if judge(module))
        if layers:
            yield Refusal(layers=layers, reason=reason, fix=fix)


def _other_transpose(module: nn.Module) -> bool:
    shape = (2, 2)
    return isinstance(module, nn.ConvTranspose2d) and (
        module.kernel_size != shape or module.stride != shape
    )


_TABLE: tuple[tuple[Callable[[nn.Module], bool], str, str], ...] = (
    (
        lambda module: isinstance(module, nn.GroupNorm | nn.InstanceNorm2d),
        "norms over the image give a memory report but no firmware",
        "train with norm `none`",
    ),
    (
        _other_transpose,
        "of transposed convolutions only kernel 2 with stride 2 converts",
        "train with velocity_upsample `transpose2`",
    ),
    (
        lambda module: isinstance(module, nn.PixelShuffle),
        "the converter has no pixel shuffle",
        "use a transposed convolution with kernel 2 and stride 2",
    ),
    (
        lambda module: isinstance(module, nn.PReLU),
        "the converter has no PReLU",
        "use SiLU or ReLU",
    ),
)
"""Operations that the converter refuses: how to recognise a layer, the reason, and the fix."""
