"""The recipe of an int8 model: all choices that are needed to make it again."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Literal, TypeVar

from export.calibration.ranges import Estimator

PlacementT = TypeVar("PlacementT", bound=StrEnum)
"""An engine's enumeration of placements: which operations compute in 8 bits."""


@dataclass(frozen=True, kw_only=True)
class Recipe(Generic[PlacementT]):
    """The choices that turn a float32 model and calibration crops into an int8 model.

    Activations are uint8 with a zero point, or int8 without one where `symmetric`; weights
    are int8 per output channel, biases float32.

    Attributes:
        placement: one of the engine's placements.
        estimator: estimator of the activations' ranges.
        rounding: weights are rounded to the `nearest` level, or `compensated` (`qdq/rounding.py`).
        corrected: whether the biases compensate the mean error of each channel.
        float_nodes: names of the convolutions that stay in float32.
        symmetric: whether the activations' ranges are symmetric about zero.
    """

    placement: PlacementT
    estimator: Estimator
    rounding: Literal["nearest", "compensated"] = "compensated"
    corrected: bool = False
    float_nodes: tuple[str, ...] = ()
    symmetric: bool = False

    @property
    def title(self) -> str:
        """The recipe as one line."""
        parts = [self.placement.value, self.estimator, f"{self.rounding} rounding"]
        if self.symmetric:
            parts.append("symmetric")
        if self.corrected:
            parts.append("biases corrected")
        if self.float_nodes:
            parts.append(f"{len(self.float_nodes)} convolutions in float")
        return ", ".join(parts)
