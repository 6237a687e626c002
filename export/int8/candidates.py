"""What an engine gives to the search: what it can make of one float32 model, and how it runs."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from export.calibration.timing import Run
from export.int8.recipe import PlacementT, Recipe


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A convolution of the float32 model.

    Attributes:
        stage: of the model, that it belongs to.
        cost: of leaving it in float32 (`Work.in_float`).
    """

    stage: str
    cost: int


class Candidates(Protocol[PlacementT]):
    """One float32 model and all int8 models that an engine can make of it."""

    @property
    def runtime(self) -> str:
        """The runtime that they are for."""

    @property
    def placements(self) -> Sequence[PlacementT]:
        """What is tried; of those that are equally fast, the first rounds least."""

    @property
    def last_resorts(self) -> Sequence[PlacementT]:
        """What is tried where nothing else passes: fast, but not the same on all processors."""

    @property
    def isolating(self) -> PlacementT:
        """The placement in which nothing but convolutions is rounded, to judge stages alone."""

    @property
    def timed(self) -> bool:
        """Whether the runtime is here; if not, another computes the same numbers."""

    @property
    def symmetric(self) -> bool:
        """Whether the runtime takes no zero points but 0."""

    @property
    def corrects(self) -> bool:
        """Whether `running` obeys a recipe's `corrected`."""

    @property
    def corrected(self) -> bool:
        """What a recipe's `corrected` is to begin with."""

    @property
    def convolutions(self) -> Mapping[str, Convolution]:
        """The float32 model's convolutions by name, in order of computation."""

    def running(self, recipe: Recipe[PlacementT] | None) -> AbstractContextManager[Run]:
        """Yield what runs the model of a recipe in the runtime; None: the float32 model.

        Raises:
            BackendError: the runtime does not take it.
        """
