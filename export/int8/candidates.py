"""The engine's side of the search: which int8 models it can make, and how to run them."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from export.calibration.timing import ModelRunner
from export.int8.recipe import PlacementT, Recipe


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A convolution of the float32 model.

    Attributes:
        stage: the stage of the model that it belongs to.
        cost: the cost of leaving it in float32 (`Work.in_float`), in multiply-accumulates.
    """

    stage: str
    cost: int


def outside_stages(convolutions: Mapping[str, Convolution]) -> dict[str, tuple[str, ...]]:
    """Return for each stage, in order of computation, the names of all other convolutions."""
    stages = dict.fromkeys(each.stage for each in convolutions.values())
    return {
        stage: tuple(name for name, each in convolutions.items() if each.stage != stage)
        for stage in stages
    }


class Candidates(Protocol[PlacementT]):
    """A float32 model and all int8 models that an engine can make from it."""

    @property
    def runtime(self) -> str:
        """Name of the runtime that the models are for."""

    @property
    def placements(self) -> Sequence[PlacementT]:
        """The placements to try; among equally fast ones, the first is the most accurate."""

    @property
    def last_resorts(self) -> Sequence[PlacementT]:
        """Placements to try if no other passes: fast, but results differ between processors."""

    @property
    def isolating(self) -> PlacementT:
        """The placement that quantizes only convolutions, used to judge single stages."""

    @property
    def timed(self) -> bool:
        """Whether times can be measured; if not, another runtime computes the same values."""

    @property
    def symmetric(self) -> bool:
        """Whether the runtime supports only zero points of 0."""

    @property
    def corrects(self) -> bool:
        """Whether `running` supports recipes with and without corrected biases."""

    @property
    def corrected(self) -> bool:
        """Whether the search starts with corrected biases."""

    @property
    def convolutions(self) -> Mapping[str, Convolution]:
        """The float32 model's convolutions by name, in the order of their computation."""

    def running(self, recipe: Recipe[PlacementT] | None) -> AbstractContextManager[ModelRunner]:
        """Yield a function that runs a recipe's model in the runtime.

        Args:
            recipe: the recipe; None: the float32 model.

        Raises:
            BackendError: the runtime does not support the model.
        """
