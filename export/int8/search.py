"""Which recipe is the fastest that keeps the gates?

All placements are timed side by side; the three fastest are repaired, from the fastest on, by what
costs no time to run: the better estimator, then corrected biases. The first to pass is taken. Where
none does, they get convolutions in float32, the cheapest sets of them first (`cost.py`), and the
fastest of those that pass is taken. Times within a tie of each other count as equal, so that noise
does not decide; a tie goes to the placement that rounds less.

Where none passes, the recipe that loses least is taken. The search judges on its own crops and asks
for more than the gates do: photos differ.
"""

import contextlib
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import onnx

from elir_edge.errors import BackendError, ExportError
from export.int8.bias import correct_biases
from export.int8.cost import float_choices, work_of_convolutions
from export.int8.judge import Judge, Quality, stage_of_nodes
from export.int8.quantize import quantize
from export.int8.ranges import Estimator, Observed, Range
from export.int8.recipe import BY_RUNTIME, Recipe
from export.int8.rounding import round_weights
from export.int8.running import STOOD_IN_FOR, Feed, running, time_in_turns
from export.parity import MAX_LOST_INT8, MIN_PSNR_INT8

VERSION = 7
"""Of the search: findings of another version are not used."""
_SPARE_PSNR, _SPARE_LOST = 3.0, 0.035
"""What a recipe must have over the gates: photos differ."""
_TIE = 1.1
_SAME_LOST = 0.01
"""Decibels that a runtime gives up for sharing another's file."""
_MAX_PLACEMENTS = 3
_ROUNDING_CROPS, _CORRECTION_CROPS = 16, 8
_ROUNDS = 6
_ESTIMATORS: tuple[Estimator, ...] = ("minmax", "mse")
_WORST_STAGES = 2


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A recipe that was tried."""

    recipe: Recipe
    quality: Quality
    passed: bool

    @classmethod
    def of(cls, recipe: Recipe, quality: Quality) -> "Trial":
        """Judge a recipe by its quality: with room to the gates, since photos differ."""
        limits = MIN_PSNR_INT8 + _SPARE_PSNR, MAX_LOST_INT8 - _SPARE_LOST
        return cls(recipe=recipe, quality=quality, passed=quality.within(*limits))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a search found.

    Attributes:
        runtime: that it is for.
        recipe: the one to use.
        passed: whether it keeps the gates on the search's crops.
        trials: all that was judged, in order.
        milliseconds: per placement without repairs, and of the float32 graph.
        refused: placements that the runtime does not take, and why.
        stages: PSNR in dB with just this stage quantized; empty where nothing had to be repaired.
        layers: decibels that each convolution wins when it stays in float32, most first.
    """

    runtime: str
    recipe: Recipe
    passed: bool
    trials: list[Trial] = field(default_factory=list)
    milliseconds: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    layers: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return it as text, for people and for the cache."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Finding":
        """Read what `to_json` wrote."""
        values = json.loads(text)
        values["recipe"] = _recipe(values["recipe"])
        values["trials"] = [
            Trial(
                recipe=_recipe(trial["recipe"]),
                quality=Quality(**trial["quality"]),
                passed=trial["passed"],
            )
            for trial in values["trials"]
        ]
        return cls(**values)


class Search:
    """One float32 graph, its ranges and its judge; finds a recipe for a runtime.

    Args:
        probe: float32 graph with all stages as outputs.
        model: the same with the image as its only output.
        observed: ranges.
        judge: on the search's crops.
        feeds: calibration inputs, for the rounding of weights and the correction of biases.
        report: told what is being tried.
    """

    def __init__(
        self,
        probe: onnx.ModelProto,
        model: onnx.ModelProto,
        observed: Mapping[str, Observed],
        judge: Judge,
        feeds: Sequence[Feed],
        report: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._model, self._observed, self._judge = model, observed, judge
        self._feeds = feeds[:_ROUNDING_CROPS]
        self._report = report
        self._convolutions = [n.name for n in model.graph.node if n.op_type == "Conv"]
        report("rounding weights")
        self.rounded = round_weights(model, self._convolutions, self._feeds)
        self._stages = stage_of_nodes(probe)
        self._corrected: dict[Recipe, onnx.ModelProto] = {}
        self._estimated: dict[tuple[Estimator, bool], dict[str, Range]] = {}

    @functools.cached_property
    def _costs(self) -> dict[str, int]:
        """What each convolution costs in float32; few searches come to ask."""
        work = work_of_convolutions(self._model)
        nodes = (node for node in self._model.graph.node if node.op_type == "Conv")
        return {node.name: work[node.output[0]].in_float for node in nodes}

    def make(self, recipe: Recipe) -> onnx.ModelProto:
        """Carry out a recipe."""
        if recipe in self._corrected:
            return self._corrected[recipe]
        source = self.rounded if recipe.rounding == "compensated" else self._model
        quantized = quantize(source, self._ranges(recipe), recipe)
        if recipe.corrected:
            feeds = self._feeds[:_CORRECTION_CROPS]
            quantized = correct_biases(self._model, quantized, self._convolutions, feeds)
            self._corrected[recipe] = quantized  # takes a quarter of a minute
        return quantized

    def _ranges(self, recipe: Recipe) -> dict[str, Range]:
        key = recipe.estimator, recipe.symmetric
        if key not in self._estimated:
            self._estimated[key] = {
                name: seen.estimate(recipe.estimator, symmetric=recipe.symmetric)
                for name, seen in self._observed.items()
            }
        return self._estimated[key]

    def find(self, runtime: str, prefer: Recipe | None = None, *, repair: bool = True) -> Finding:
        """Search for a runtime.

        Args:
            runtime: that is to run the graph.
            prefer: a recipe to take if it passes and is no slower and no worse than the best found.
            repair: whether a recipe that misses the gates is repaired; else the fastest placement
                is taken as it is.

        Raises:
            ExportError: the runtime refuses every placement; each is listed with the reason.
        """
        milliseconds, refused = self._time_placements(runtime)
        order = [name for name in BY_RUNTIME[runtime] if name in milliseconds]
        require_placements(runtime, order, refused)
        fastest = min(milliseconds[name] for name in order)
        # Stable: placements that tie stay in the order of the table.
        order.sort(key=lambda name: int(np.log(milliseconds[name] / fastest) / np.log(_TIE)))
        trials: list[Trial] = []
        stages: dict[str, float] = {}
        layers: dict[str, float] = {}
        missed: list[tuple[str, Trial]] = []
        chosen: Trial | None = None
        for name in order[: _MAX_PLACEMENTS if repair else 1]:
            trial = self._repair_cheaply(name, runtime, trials, correct=repair)
            if trial.passed:
                chosen = trial
                break
            missed.append((name, trial))
        if chosen is None and repair:
            passing: list[tuple[float, Trial]] = []
            for name, trial in missed:
                if passing and min(taken for taken, _ in passing) <= milliseconds[name] * _TIE:
                    break
                if not layers:
                    stages, layers = self._blame(trial.recipe, runtime)
                repaired = self._repair_with_floats(trial, runtime, layers, trials)
                if repaired.passed:
                    passing.append((self._time([repaired.recipe], runtime)[0], repaired))
            if passing:
                chosen = min(passing, key=lambda pair: pair[0])[1]
        if chosen is None:
            chosen = min(trials, key=lambda trial: trial.quality.lost_db)
        if prefer is not None and prefer != chosen.recipe:
            trials.append(self._try(prefer, runtime))
            own, preferred = self._time([chosen.recipe, prefer], runtime)
            loses_more = trials[-1].quality.lost_db > chosen.quality.lost_db + _SAME_LOST
            as_good = preferred <= own * _TIE and not loses_more
            if trials[-1].passed and (not chosen.passed or as_good):
                chosen = trials[-1]
        return Finding(
            runtime=runtime,
            recipe=chosen.recipe,
            passed=chosen.passed,
            trials=trials,
            milliseconds=milliseconds,
            refused=refused,
            stages=stages,
            layers=layers,
        )

    def find_untimed(self, runtime: str, *, repair: bool = True) -> Finding:
        """Search for a runtime that another stands in for: one placement, symmetric, repaired."""
        (placement,) = BY_RUNTIME[runtime]
        trials: list[Trial] = []
        stages: dict[str, float] = {}
        layers: dict[str, float] = {}
        trial = self._repair_cheaply(placement, runtime, trials, correct=repair)
        if repair and not trial.passed:
            stages, layers = self._blame(trial.recipe, runtime)
            trial = self._repair_with_floats(trial, runtime, layers, trials)
        chosen = trial if trial.passed else min(trials, key=lambda t: t.quality.lost_db)
        return Finding(
            runtime=runtime,
            recipe=chosen.recipe,
            passed=chosen.passed,
            trials=trials,
            stages=stages,
            layers=layers,
        )

    def _repair_cheaply(
        self, placement: str, runtime: str, trials: list[Trial], *, correct: bool
    ) -> Trial:
        """Try the estimators, and corrected biases with the better one if it does not pass."""
        tried = []
        for estimator in _ESTIMATORS:
            recipe = Recipe(
                placement=placement, estimator=estimator, symmetric=runtime in STOOD_IN_FOR
            )
            tried.append(self._try(recipe, runtime))
        trials += tried
        best = min(tried, key=lambda trial: trial.quality.lost_db)
        if best.passed or not correct:
            return best
        trials.append(self._try(replace(best.recipe, corrected=True), runtime))
        return trials[-1]

    def _repair_with_floats(
        self, trial: Trial, runtime: str, layers: Mapping[str, float], trials: list[Trial]
    ) -> Trial:
        for names in float_choices(layers, self._costs):
            recipe = replace(trial.recipe, float_nodes=names)
            trial = self._try(recipe, runtime)
            trials.append(trial)
            if trial.passed:
                break
        return trial

    def _blame(self, recipe: Recipe, runtime: str) -> tuple[dict[str, float], dict[str, float]]:
        """Return the PSNR with one stage quantized, and what each layer of the worst ones costs."""
        plain = replace(recipe, corrected=False, float_nodes=())
        stages = {}
        for stage in dict.fromkeys(self._stages[name] for name in self._convolutions):
            others = tuple(n for n in self._convolutions if self._stages[n] != stage)
            only = self._try(replace(plain, float_nodes=others), runtime)
            stages[stage] = round(only.quality.psnr_db, 2)
        base = self._try(plain, runtime).quality.lost_db
        worst = sorted(stages, key=lambda stage: stages[stage])[:_WORST_STAGES]
        wins = {}
        for name in self._convolutions:
            if self._stages[name] in worst:
                trial = self._try(replace(plain, float_nodes=(name,)), runtime)
                wins[name] = round(base - trial.quality.lost_db, 4)
        helping = {name: win for name, win in wins.items() if win > 0}
        return stages, dict(sorted(helping.items(), key=lambda item: -item[1]))

    def _try(self, recipe: Recipe, runtime: str) -> Trial:
        self._report(f"{runtime}: {recipe.title}")
        with running(self.make(recipe), runtime) as run:
            quality = self._judge(run)
        return Trial.of(recipe, quality)

    def _time_placements(self, runtime: str) -> tuple[dict[str, float], dict[str, str]]:
        """Time the float32 graph and the placements that the runtime takes; say why not others."""
        self._report(f"{runtime}: timing")
        recipes: list[Recipe] = []
        refused: dict[str, str] = {}
        for name in BY_RUNTIME[runtime]:
            recipe = Recipe(placement=name, estimator="minmax")
            try:
                with running(self.make(recipe), runtime):
                    recipes.append(recipe)
            except BackendError as error:
                refused[name] = str(error)
        times = self._time([None, *recipes], runtime)
        names = ["float32", *(recipe.placement for recipe in recipes)]
        milliseconds = {name: round(time, 2) for name, time in zip(names, times, strict=True)}
        return milliseconds, refused

    def _time(self, recipes: Sequence[Recipe | None], runtime: str) -> list[float]:
        """Return the median milliseconds of each, measured in turns; None: the float32 graph."""
        with contextlib.ExitStack() as stack:
            runs = [
                stack.enter_context(
                    running(self._model if recipe is None else self.make(recipe), runtime)
                )
                for recipe in recipes
            ]
            times = time_in_turns(runs, self._judge.feeds[0], rounds=_ROUNDS)
        return [float(np.median(collected)) for collected in times]


def require_placements(runtime: str, taken: Sequence[str], refused: Mapping[str, str]) -> None:
    """Require a placement that a runtime takes.

    Raises:
        ExportError: there is none; each is listed with the reason.
    """
    if not taken:
        raise ExportError(
            f"{runtime} takes int8 in no placement",
            got="; ".join(f"{name}: {reason}" for name, reason in refused.items()),
            fix="use --precision fp16",
        )


def _recipe(values: dict[str, Any]) -> Recipe:
    return Recipe(**{**values, "float_nodes": tuple(values["float_nodes"])})
