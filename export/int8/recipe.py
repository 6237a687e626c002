"""What an int8 model is made by: small enough to read, complete enough to make it again."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Literal, TypeVar

from export.calibration.ranges import Estimator

PlacementT = TypeVar("PlacementT", bound=StrEnum)
"""An engine's placements: which of its operations compute in 8 bits, by name."""


@dataclass(frozen=True, kw_only=True)
class Recipe(Generic[PlacementT]):
    """How one float32 model becomes one in 8 bits, given calibration crops.

    Activations are uint8 with a zero point, or int8 without one where `symmetric`; weights
    are int8 per output channel, biases float32.

    Attributes:
        placement: one of the engine's.
        estimator: of the activations' ranges.
        rounding: of the weights: to the `nearest` level, or `compensated` (`qdq/rounding.py`).
        corrected: whether the biases make up for the mean error.
        float_nodes: convolutions that stay in float32.
        symmetric: whether zero lies in the middle of the activations' levels.
    """

    placement: PlacementT
    estimator: Estimator
    rounding: Literal["nearest", "compensated"] = "compensated"
    corrected: bool = False
    float_nodes: tuple[str, ...] = ()
    symmetric: bool = False

    @property
    def title(self) -> str:
        """The recipe in a line."""
        parts = [self.placement.value, self.estimator, f"{self.rounding} rounding"]
        if self.symmetric:
            parts.append("symmetric")
        if self.corrected:
            parts.append("biases corrected")
        if self.float_nodes:
            parts.append(f"{len(self.float_nodes)} convolutions in float")
        return ", ".join(parts)
