"""An engine that is made up: what its placements cost and lose is told, nothing is run."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

import pytest

from elir_edge.errors import BackendError
from export.calibration.judge import Quality
from export.int8 import search as search_module
from export.int8.candidates import Convolution
from export.int8.recipe import Recipe
from export.int8.search import Effort, SearchResult, find


class Place(StrEnum):
    """Placements of the engine; the first rounds least."""

    TRUNKS = "trunks"
    SUMS = "sums"
    EVERYTHING = "everything"
    CONVOLUTIONS = "convolutions"
    CHANGING = "changing"


class MadeUp:
    """Candidates, and the judge of them.

    Args:
        times: milliseconds of each placement; those without are refused.
        lost: decibels that each placement loses.
        wins: what each convolution wins in float32.
        estimator_wins: what the estimator `mse` wins.
        correction_wins: what corrected biases win.
        worst: PSNR of the worst crop with just one stage quantized, by stage; of several stages
            it is the least.
    """

    runtime = "made-up"
    placements: tuple[Place, ...] = tuple(Place)[:-1]
    last_resorts: tuple[Place, ...] = (Place.CHANGING,)
    isolating = Place.CONVOLUTIONS
    corrected = False

    def __init__(
        self,
        times: Mapping[str, float],
        lost: Mapping[str, float],
        *,
        wins: Mapping[str, float] | None = None,
        estimator_wins: float = 0.0,
        correction_wins: float = 0.0,
        float_takes: float = 1.0,
        corrects: bool = True,
        timed: bool = True,
        symmetric: bool = False,
        worst: Mapping[str, float] | None = None,
    ) -> None:
        self.times, self.lost, self.wins = times, lost, wins or {}
        self.estimator_wins, self.correction_wins = estimator_wins, correction_wins
        self.float_takes = float_takes
        self.corrects, self.timed, self.symmetric = corrects, timed, symmetric
        self.convolutions = {
            f"{stage}_{letter}": Convolution(stage=stage, cost=cost)
            for stage in ("latent", "coarse", "decoded")
            for letter, cost in (("a", 10), ("b", 1))
        }
        self.worst = worst or {}
        self.judged: list[Recipe[Place]] = []
        self.loaded: list[Recipe[Place] | None] = []
        self.most_loaded = 0
        self.loads: list[Recipe[Place] | None] = []
        self.feeds: list[dict[str, Any]] = [{}]

    @contextlib.contextmanager
    def running(self, recipe: Recipe[Place] | None) -> Iterator[Any]:
        """Yield the recipe itself."""
        if recipe is not None and recipe.placement.value not in self.times:
            raise BackendError(f"{recipe.placement} is too new")
        self.loads.append(recipe)
        self.loaded.append(recipe)
        self.most_loaded = max(self.most_loaded, len(self.loaded))
        try:
            yield recipe
        finally:
            self.loaded.remove(recipe)

    def __call__(self, recipe: Recipe[Place], *told: object) -> Quality:
        """Judge."""
        assert recipe in self.loaded
        self.judged.append(recipe)
        lost = self.lost[recipe.placement]
        lost -= sum(self.wins.get(name, 0.0) for name in recipe.float_nodes)
        lost -= self.estimator_wins * (recipe.estimator == "mse")
        lost -= self.correction_wins * recipe.corrected
        rounded = {
            each.stage for n, each in self.convolutions.items() if n not in recipe.float_nodes
        }
        worst = min((self.worst.get(stage, 44.0) for stage in rounded), default=44.0)
        return Quality(psnr_db=50 - 10 * lost, worst_psnr_db=worst, lost_db=lost)

    def time(
        self,
        runs: Sequence[Recipe[Place] | None],
        feed: object,
        *,
        rounds: int,
        seconds: float,
    ) -> list[list[float]]:
        """Stand in for `time_in_turns`: three turns undisturbed, one not."""
        once = [
            100.0 if r is None else self.times[r.placement] + self.float_takes * len(r.float_nodes)
            for r in runs
        ]
        return [[time, time, time, 9 * time] for time in once]


def search(
    made_up: MadeUp,
    monkeypatch: pytest.MonkeyPatch,
    *,
    prefer: Recipe[Place] | None = None,
    effort: Effort = Effort.GATES,
) -> SearchResult[Place]:
    """Search among made-up candidates."""
    monkeypatch.setattr(search_module, "time_in_turns", made_up.time)
    return find(made_up, made_up, prefer=prefer, effort=effort)  # type: ignore[arg-type]
