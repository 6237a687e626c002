"""The search for the fastest int8 recipe that passes the gates, for all engines.

1. Each placement is timed in turns with the float32 model. Times within about 10 % of each other
   count as equal, so that noise does not decide; among equal ones, the placement that the engine
   lists first comes first.
2. The three fastest are repaired, from the fastest on, by what adds no run time: the better
   estimator, then corrected biases. The first recipe that passes is taken.
3. If none passes, convolutions of the two worst stages are left in float32, the cheapest sets
   first (`cost.py`). The fastest recipe that passes is taken. Where a third stage, quantized alone,
   misses the limit of the PSNR, this step is left out, and so are the slower placements: no set
   could pass.
4. If none passes, the engine's last resorts are tried.
5. If none passes, the recipe that loses least is taken.

The search judges on its own crops, with stricter limits than the gates, since photos differ.
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
from export.calibration.timing import ModelRunner, time_in_turns
from export.int8.candidates import Candidates, outside_stages
from export.int8.cost import Gain, blocks_of, float_choices
from export.int8.recipe import PlacementT, Recipe
from export.parity import MAX_LOST_INT8, MIN_PSNR_INT8
from export.reporting import SILENT, Report

VERSION = 11
"""Version of the search; cached results of other versions are not used."""
_SPARE_PSNR, _SPARE_LOST = 3.0, 0.035
"""Margins in dB by which the search's limits are stricter than the gates, since photos differ."""
_MIN_PSNR = MIN_PSNR_INT8 + _SPARE_PSNR
_TIE = 1.1
_SAME_LOST = 0.01
"""Difference in dB that counts as equal, and that may be lost to share another runtime's file."""
_MAX_PLACEMENTS = 3
_ROUNDS, _TIMING_SECONDS = 6, 4.0
"""Turns of the models that are timed together, and the time after which no further one starts."""
_ESTIMATORS: tuple[Estimator, ...] = ("minmax", "mse")
_WORST_STAGES = 2
_MAX_BLOCKS = 64
"""Convolutions whose gain in float32 is measured; of models with more, that of blocks of them."""
_FLOAT = "float32"


class Effort(StrEnum):
    """The extent of a search.

    Attributes:
        GATES: recipes that miss a gate are repaired until one passes.
        FASTEST: the fastest placement is taken without repairs.
        FIRST: the engine's first placement is taken; nothing is timed or compared.
    """

    GATES = "gates"
    FASTEST = "fastest"
    FIRST = "first"


@dataclass(frozen=True, kw_only=True)
class Trial(Generic[PlacementT]):
    """A recipe that was tried.

    Attributes:
        recipe: the recipe.
        quality: its quality on the search's crops.
        passed: whether it keeps the search's limits.
    """

    recipe: Recipe[PlacementT]
    quality: Quality
    passed: bool

    @classmethod
    def of(cls, recipe: Recipe[PlacementT], quality: Quality) -> "Trial[PlacementT]":
        """Return the trial of a recipe, judged with stricter limits than the gates'."""
        passed = quality.within(_MIN_PSNR, MAX_LOST_INT8 - _SPARE_LOST)
        return cls(recipe=recipe, quality=quality, passed=passed)


@dataclass(frozen=True, kw_only=True)
class SearchResult(Generic[PlacementT]):
    """The result of a search.

    Attributes:
        runtime: name of the runtime that it is for.
        recipe: the chosen recipe.
        passed: whether it keeps the search's limits on the search's crops.
        trials: all recipes that were considered, in order.
        milliseconds: time of the float32 model and of each placement without repairs. A placement
            is timed in turns with the float32 model, and their ratio, times the median of the
            float32 model's times, is its time.
        refused: the reason for each placement that the runtime does not support.
        stages: PSNR in dB with only this stage quantized; empty if no stage had to be rated.
        gains: PSNR that convolutions of the worst stages gain in float32, the largest first.
    """

    runtime: str
    recipe: Recipe[PlacementT]
    passed: bool
    trials: list[Trial[PlacementT]] = field(default_factory=list)
    milliseconds: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    gains: list[Gain] = field(default_factory=list)

    def to_json(self) -> str:
        """Return the result as JSON, for people and for the cache."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, placements: type[PlacementT]) -> "SearchResult[PlacementT]":
        """Return the result that `to_json` wrote.

        Args:
            text: the JSON text.
            placements: the engine's enumeration of placements.

        Raises:
            ValueError, KeyError, TypeError: the text is not a search result of this engine.
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
        values["gains"] = [
            Gain(names=tuple(gain["names"]), gain_db=float(gain["gain_db"]))
            for gain in values["gains"]
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
    """Search for the best recipe among an engine's candidates.

    Args:
        candidates: the engine's candidates.
        judge: compares models with float32 on the search's crops.
        prefer: a recipe to take if it passes and is neither slower nor worse than the best one.
        effort: extent of the search.
        report: receives the progress.

    Raises:
        ExportError: the runtime supports no placement; each is listed with the reason.
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
        self._gains: list[Gain] = []

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
            gains=self._gains,
        )

    def _first(self, prefer: Recipe[PlacementT] | None) -> Trial[PlacementT]:
        """Return the first recipe that the runtime supports; nothing is timed."""
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
            if repair and trial.quality.worst_psnr_db < _MIN_PSNR and self._too_many_bad_stages():
                return self._last_resort()
        if not repair:
            return None
        return self._with_floats(missed) or self._last_resort()

    def _by_speed(self) -> list[PlacementT]:
        """Return the placements from the fastest on; ties are in the engine's order."""
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
        """Try all estimators; if none passes, correct the biases with the best one."""
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
        """Leave convolutions in float32, and return the fastest recipe that then passes."""
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
        for names in float_choices(self._gains, costs):
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

    def _too_many_bad_stages(self) -> bool:
        """Tell whether more stages miss the PSNR alone than convolutions in float32 can mend."""
        alone = self._stages_alone()
        return sum(not t.quality.worst_psnr_db >= _MIN_PSNR for t in alone) > _WORST_STAGES

    def _stages_alone(self) -> list[Trial[PlacementT]]:
        """Rate each stage, quantized alone, with nothing rounded but inputs of convolutions."""
        plain = self._plain(self._candidates.isolating, _ESTIMATORS[-1])
        trials = []
        for stage, others in outside_stages(self._candidates.convolutions).items():
            trials.append(self._try(replace(plain, float_nodes=others)))
            self._stages[stage] = round(trials[-1].quality.psnr_db, 2)
        return trials

    def _blame(self, recipe: Recipe[PlacementT]) -> None:
        """Measure what convolutions of the worst stages gain in float32."""
        self._stages_alone()
        plain = replace(recipe, corrected=self._candidates.corrected, float_nodes=())
        base = _lost(self._try(plain))
        worst = sorted(self._stages, key=lambda stage: self._stages[stage])[:_WORST_STAGES]
        names = [n for n, each in self._candidates.convolutions.items() if each.stage in worst]
        gains = []
        for block in self._report.each("convolutions in float32", blocks_of(names, _MAX_BLOCKS)):
            lost = _lost(self._try(replace(plain, float_nodes=block)))
            gains.append(Gain(names=block, gain_db=round(base - lost, 4)))
        helping = [gain for gain in gains if gain.gain_db > 0]
        self._gains = sorted(helping, key=lambda gain: -gain.gain_db)

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
        """Time the float32 model and all supported placements; record why others are refused.

        Models of published size take 0.3 GB each, so that at most three are loaded: the float32
        model, the placement that is timed, and the best one before it. The best one of all is
        judged while it is loaded, since loading it again takes longer. (Where times are nearly
        equal, a placement can become the best one when it is no longer loaded; it is then loaded
        again.)
        """
        self._report(f"{self._candidates.runtime}: timing")
        floats: list[float] = []
        ratios: dict[str, float] = {}
        kept: tuple[Recipe[PlacementT], ModelRunner] | None = None
        with contextlib.ExitStack() as stack:
            run_float = stack.enter_context(self._candidates.running(None))
            keeping = stack.enter_context(contextlib.ExitStack())
            for placement in (*self._candidates.placements, *self._candidates.last_resorts):
                recipe = self._plain(placement, _ESTIMATORS[0])
                loading = stack.enter_context(contextlib.ExitStack())
                try:
                    run = loading.enter_context(self._candidates.running(recipe))
                except BackendError as error:
                    self._refused[placement.value] = str(error)
                    continue
                own, taken = self._typical([run_float, run])
                floats.append(own)
                ratios[placement.value] = taken / own
                typical = float(np.median(floats))
                times = {_FLOAT: 1.0, **ratios}
                self._milliseconds = {n: round(t * typical, 2) for n, t in times.items()}
                if self._by_speed()[0] is placement:
                    keeping.close()
                    keeping, kept = loading, (recipe, run)
                else:
                    loading.close()
            if kept is None:
                raise _no_placement(self._candidates.runtime, self._refused)
            recipe, run = kept
            if recipe.placement is self._by_speed()[0]:
                self._known[recipe] = Trial.of(recipe, self._judge(run))

    def _time(self, recipes: Sequence[Recipe[PlacementT]]) -> list[float]:
        """Return the time of each recipe, measured as `SearchResult.milliseconds`."""
        with contextlib.ExitStack() as stack:
            own, *taken = self._typical(
                [stack.enter_context(self._candidates.running(each)) for each in (None, *recipes)]
            )
        return [time / own * self._milliseconds.get(_FLOAT, own) for time in taken]

    def _typical(self, runs: Sequence[ModelRunner]) -> list[float]:
        """Return the lower quartile of each run's times, since other load only adds to a time."""
        feed = self._judge.feeds[0]
        times = time_in_turns(runs, feed, rounds=_ROUNDS, seconds=_TIMING_SECONDS)
        return [float(np.percentile(collected, 25)) for collected in times]


def _no_placement(runtime: str, refused: Mapping[str, str]) -> ExportError:
    return ExportError(
        f"{runtime} supports no placement of int8",
        got="; ".join(f"{name}: {reason}" for name, reason in refused.items()),
        fix="use --precision fp16",
    )


def _nearest(missed: Sequence[Trial[PlacementT]]) -> Trial[PlacementT]:
    """Return the first, and therefore fastest, of the trials that lose least."""
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
