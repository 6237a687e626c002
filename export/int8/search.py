"""Which recipe is the fastest that keeps the gates? The one search, whatever the engine.

All placements are timed side by side; the three fastest are repaired, from the fastest on, by what
costs no time to run: the better estimator, then corrected biases. The first to pass is taken. Where
none does, they get convolutions in float32, the cheapest sets of them first (`cost.py`), and the
fastest of those that pass is taken; after them come the engine's last resorts. Times within a tie
of each other count as equal, so that noise does not decide; a tie goes to the placement that the
engine names first.

Where none passes, the recipe that loses least is taken. The search judges on its own crops and asks
for more than the gates do: photos differ.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Generic

import numpy as np

from elir_edge.errors import BackendError, ExportError
from export.calibration.judge import Judge, Quality
from export.calibration.ranges import Estimator
from export.calibration.timing import Run, time_in_turns
from export.int8.candidates import Candidates
from export.int8.cost import float_choices
from export.int8.recipe import PlacementT, Recipe
from export.parity import MAX_LOST_INT8, MIN_PSNR_INT8
from export.reporting import SILENT, Report

VERSION = 9
"""Of the search: results of another version are not used."""
_SPARE_PSNR, _SPARE_LOST = 3.0, 0.035
"""What a recipe must have over the gates: photos differ."""
_TIE = 1.1
_SAME_LOST = 0.01
"""Decibels that count as equal, and that a runtime gives up for sharing another's file."""
_MAX_PLACEMENTS = 3
_ROUNDS, _TIMING_SECONDS = 6, 15.0
_ESTIMATORS: tuple[Estimator, ...] = ("minmax", "mse")
_WORST_STAGES = 2
_FLOAT = "float32"


class Effort(StrEnum):
    """How far a search goes.

    Attributes:
        GATES: until the gates are kept: recipes that miss one are repaired.
        FASTEST: to the fastest placement, taken as it is.
        FIRST: no placement is compared: the engine's first is taken, as it is.
    """

    GATES = "gates"
    FASTEST = "fastest"
    FIRST = "first"


@dataclass(frozen=True, kw_only=True)
class Trial(Generic[PlacementT]):
    """A recipe that was tried."""

    recipe: Recipe[PlacementT]
    quality: Quality
    passed: bool

    @classmethod
    def of(cls, recipe: Recipe[PlacementT], quality: Quality) -> "Trial[PlacementT]":
        """Judge a recipe by its quality: with room to the gates, since photos differ."""
        limits = MIN_PSNR_INT8 + _SPARE_PSNR, MAX_LOST_INT8 - _SPARE_LOST
        return cls(recipe=recipe, quality=quality, passed=quality.within(*limits))


@dataclass(frozen=True, kw_only=True)
class SearchResult(Generic[PlacementT]):
    """What a search found.

    Attributes:
        runtime: that it is for.
        recipe: the one to use.
        passed: whether it keeps the gates on the search's crops.
        trials: all that was judged, in order.
        milliseconds: per placement without repairs, and of the float32 model.
        refused: placements that the runtime does not take, and why.
        stages: PSNR in dB with just this stage quantized; empty where nothing had to be repaired.
        layers: decibels that each convolution wins when it stays in float32, most first.
    """

    runtime: str
    recipe: Recipe[PlacementT]
    passed: bool
    trials: list[Trial[PlacementT]] = field(default_factory=list)
    milliseconds: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    layers: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return it as text, for people and for the cache."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, placements: type[PlacementT]) -> "SearchResult[PlacementT]":
        """Read it back.

        Args:
            text: as `to_json` wrote it.
            placements: of the engine.

        Raises:
            ValueError, KeyError, TypeError: it is no search result of this engine.
        """
        values = json.loads(text)
        values["recipe"] = _recipe(values["recipe"], placements)
        values["trials"] = [
            Trial(
                recipe=_recipe(trial["recipe"], placements),
                quality=Quality(**trial["quality"]),
                passed=trial["passed"],
            )
            for trial in values["trials"]
        ]
        return cls(**values)


def find(
    candidates: Candidates[PlacementT],
    judge: Judge,
    *,
    prefer: Recipe[PlacementT] | None = None,
    effort: Effort = Effort.GATES,
    report: Report = SILENT,
) -> SearchResult[PlacementT]:
    """Search among an engine's candidates.

    Args:
        candidates: what can be made.
        judge: on the search's crops.
        prefer: a recipe to take if it passes and is no slower and no worse than the best found.
        effort: how far to go.
        report: told what is being tried.

    Raises:
        ExportError: the runtime refuses every placement; each is listed with the reason.
    """
    return _Search(candidates, judge, report).find(prefer, effort)


class _Search(Generic[PlacementT]):
    def __init__(self, candidates: Candidates[PlacementT], judge: Judge, report: Report) -> None:
        self._candidates, self._judge, self._report = candidates, judge, report
        self._known: dict[Recipe[PlacementT], Trial[PlacementT]] = {}
        self._trials: list[Trial[PlacementT]] = []
        self._milliseconds: dict[str, float] = {}
        self._refused: dict[str, str] = {}
        self._stages: dict[str, float] = {}
        self._layers: dict[str, float] = {}

    def find(self, prefer: Recipe[PlacementT] | None, effort: Effort) -> SearchResult[PlacementT]:
        if effort is Effort.FIRST:
            chosen = self._first(prefer)
        else:
            chosen = self._best(prefer, repair=effort is Effort.GATES)
        return SearchResult(
            runtime=self._candidates.runtime,
            recipe=chosen.recipe,
            passed=chosen.passed,
            trials=self._trials,
            milliseconds=self._milliseconds,
            refused=self._refused,
            stages=self._stages,
            layers=self._layers,
        )

    def _first(self, prefer: Recipe[PlacementT] | None) -> Trial[PlacementT]:
        """Return the first of the recipes to be had that the runtime takes; nothing is timed."""
        plain = [self._plain(name, _ESTIMATORS[-1]) for name in self._candidates.placements]
        for recipe in plain if prefer is None else [prefer, *plain]:
            try:
                return self._record(recipe)
            except BackendError as error:
                self._refused[recipe.placement.value] = str(error)
        raise _no_placement(self._candidates.runtime, self._refused)

    def _best(self, prefer: Recipe[PlacementT] | None, *, repair: bool) -> Trial[PlacementT]:
        if self._candidates.timed:
            self._time_placements()
        chosen = self._fastest_that_passes(repair=repair)
        if chosen is None:
            chosen = min(self._trials, key=_lost)
        if prefer is not None and prefer != chosen.recipe:
            chosen = self._preferred(prefer, chosen)
        return chosen

    def _fastest_that_passes(self, *, repair: bool) -> Trial[PlacementT] | None:
        missed: list[Trial[PlacementT]] = []
        for placement in self._by_speed()[: _MAX_PLACEMENTS if repair else 1]:
            trial = self._repair_cheaply(placement, correct=repair)
            if trial.passed:
                return trial
            missed.append(trial)
        if not repair:
            return None
        return self._with_floats(missed) or self._last_resort()

    def _by_speed(self) -> list[PlacementT]:
        """Return the placements from the fastest on; those that tie in the engine's order."""
        times = self._milliseconds
        if not self._candidates.timed:
            return list(self._candidates.placements)
        order = [name for name in self._candidates.placements if name.value in times]
        last = [name for name in self._candidates.last_resorts if name.value in times]
        if not order and not last:
            raise _no_placement(self._candidates.runtime, self._refused)
        if not order:
            return last
        fastest = min(times[name.value] for name in order)
        return sorted(order, key=lambda n: int(np.log(times[n.value] / fastest) / np.log(_TIE)))

    def _repair_cheaply(self, placement: PlacementT, *, correct: bool) -> Trial[PlacementT]:
        """Try the estimators, and corrected biases with the better one if it does not pass."""
        tried = [self._record(self._plain(placement, name)) for name in _ESTIMATORS]
        best = min(tried, key=_lost)
        if best.passed or not correct or not self._candidates.corrects:
            return best
        return self._record(replace(best.recipe, corrected=True))

    def _plain(self, placement: PlacementT, estimator: Estimator) -> Recipe[PlacementT]:
        return Recipe(
            placement=placement,
            estimator=estimator,
            symmetric=self._candidates.symmetric,
            corrected=self._candidates.corrected,
        )

    def _with_floats(self, missed: Sequence[Trial[PlacementT]]) -> Trial[PlacementT] | None:
        """Leave convolutions in float32; return the fastest recipe that passes then."""
        self._blame(_nearest(missed).recipe)
        passing: list[tuple[float, Trial[PlacementT]]] = []
        for trial in missed:
            plain = self._milliseconds.get(trial.recipe.placement.value, 0.0)
            if passing and min(taken for taken, _ in passing) <= plain * _TIE:
                break
            repaired = self._cheapest_floats(trial.recipe)
            if repaired is not None:
                if not self._candidates.timed:
                    return repaired
                passing.append((self._time([repaired.recipe])[0], repaired))
        return min(passing, key=lambda pair: pair[0])[1] if passing else None

    def _cheapest_floats(self, recipe: Recipe[PlacementT]) -> Trial[PlacementT] | None:
        costs = {name: each.cost for name, each in self._candidates.convolutions.items()}
        for names in float_choices(self._layers, costs):
            trial = self._record(replace(recipe, float_nodes=names))
            if trial.passed:
                return trial
        return None

    def _last_resort(self) -> Trial[PlacementT] | None:
        for placement in self._candidates.last_resorts:
            if placement.value in self._milliseconds:
                trial = self._record(self._plain(placement, _ESTIMATORS[0]))
                if trial.passed:
                    return trial
        return None

    def _blame(self, recipe: Recipe[PlacementT]) -> None:
        """Note the PSNR with one stage quantized, and what each layer of the worst ones costs."""
        convolutions = self._candidates.convolutions
        plain = replace(recipe, corrected=self._candidates.corrected, float_nodes=())
        for stage in dict.fromkeys(each.stage for each in convolutions.values()):
            others = tuple(name for name, each in convolutions.items() if each.stage != stage)
            alone = replace(plain, placement=self._candidates.isolating, float_nodes=others)
            self._stages[stage] = round(self._try(alone).quality.psnr_db, 2)
        base = _lost(self._try(plain))
        worst = sorted(self._stages, key=lambda stage: self._stages[stage])[:_WORST_STAGES]
        wins = {
            name: round(base - _lost(self._try(replace(plain, float_nodes=(name,)))), 4)
            for name, each in convolutions.items()
            if each.stage in worst
        }
        helping = {name: win for name, win in wins.items() if win > 0}
        self._layers.update(sorted(helping.items(), key=lambda item: -item[1]))

    def _preferred(
        self, prefer: Recipe[PlacementT], chosen: Trial[PlacementT]
    ) -> Trial[PlacementT]:
        trial = self._record(prefer)
        own, preferred = self._time([chosen.recipe, prefer])
        as_good = preferred <= own * _TIE and _lost(trial) <= _lost(chosen) + _SAME_LOST
        return trial if trial.passed and (not chosen.passed or as_good) else chosen

    def _record(self, recipe: Recipe[PlacementT]) -> Trial[PlacementT]:
        self._trials.append(self._try(recipe))
        return self._trials[-1]

    def _try(self, recipe: Recipe[PlacementT]) -> Trial[PlacementT]:
        if recipe not in self._known:
            text = f"{self._candidates.runtime}: {recipe.title}"
            self._report(text)
            with self._candidates.running(recipe) as run:
                self._known[recipe] = Trial.of(recipe, self._judge(run, self._report, text))
        return self._known[recipe]

    def _time_placements(self) -> None:
        """Time the float32 model and the placements that the runtime takes; say why not others.

        The fastest is judged on the way: to load it again would take longer.
        """
        self._report(f"{self._candidates.runtime}: timing")
        recipes: list[Recipe[PlacementT]] = []
        with contextlib.ExitStack() as stack:
            runs = [stack.enter_context(self._candidates.running(None))]
            for placement in (*self._candidates.placements, *self._candidates.last_resorts):
                recipe = self._plain(placement, _ESTIMATORS[0])
                try:
                    runs.append(stack.enter_context(self._candidates.running(recipe)))
                except BackendError as error:
                    self._refused[placement.value] = str(error)
                else:
                    recipes.append(recipe)
            names = [_FLOAT, *(recipe.placement.value for recipe in recipes)]
            times = self._typical(runs)
            self._milliseconds = {n: round(time, 2) for n, time in zip(names, times, strict=True)}
            first = self._by_speed()[0]
            for recipe, run in zip(recipes, runs[1:], strict=True):
                if recipe.placement is first:
                    self._known[recipe] = Trial.of(recipe, self._judge(run))

    def _time(self, recipes: Sequence[Recipe[PlacementT]]) -> list[float]:
        """Return the milliseconds of each, measured in turns."""
        with contextlib.ExitStack() as stack:
            return self._typical(
                [stack.enter_context(self._candidates.running(recipe)) for recipe in recipes]
            )

    def _typical(self, runs: Sequence[Run]) -> list[float]:
        """Return the lower quartiles: what else the machine does only ever adds to a time."""
        feed = self._judge.feeds[0]
        times = time_in_turns(runs, feed, rounds=_ROUNDS, seconds=_TIMING_SECONDS)
        return [float(np.percentile(collected, 25)) for collected in times]


def _no_placement(runtime: str, refused: Mapping[str, str]) -> ExportError:
    return ExportError(
        f"{runtime} takes int8 in no placement",
        got="; ".join(f"{name}: {reason}" for name, reason in refused.items()),
        fix="use --precision fp16",
    )


def _nearest(missed: Sequence[Trial[PlacementT]]) -> Trial[PlacementT]:
    """Return the first, and so the fastest, of those that lose least."""
    least = min(map(_lost, missed))
    return next(trial for trial in missed if _lost(trial) <= least + _SAME_LOST)


def _lost(trial: Trial[PlacementT]) -> float:
    return trial.quality.lost_db


def _recipe(values: dict[str, Any], placements: type[PlacementT]) -> Recipe[PlacementT]:
    known = {
        **values,
        "placement": placements(values["placement"]),
        "float_nodes": tuple(values["float_nodes"]),
    }
    return Recipe(**known)
