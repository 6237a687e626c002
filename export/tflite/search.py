"""Which int8 recipe of a TFLite file is the fastest that keeps the gates?

Placements from the fastest on, of each the estimators of ranges, until one passes. Where none does,
convolutions of the nearest go to float32, the cheapest sets of them first (`export/int8/cost.py`).
Scales taken anew for every image come last: on Arm with and without dot products their kernels
round differently (46 dB apart), while with fixed scales all processors gave the same bytes. The
weights come rounded and the biases corrected already.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from elir_edge.runtime.backends.litert import LiteRtBackend
from export.int8.cost import float_choices
from export.int8.judge import Judge
from export.int8.ranges import Estimator, Observed
from export.int8.recipe import Recipe
from export.int8.running import Feed, Run, time_in_turns
from export.int8.search import Finding, Trial, require_placements
from export.tflite.file import Operation, read_operations, with_byte_images
from export.tflite.quantize import PLACEMENTS, quantize_file
from export.to_onnx import IMAGE, RESTORED

RUNTIME = "litert"
VERSION = 7
"""Of the search: findings of another version are not used."""
_ESTIMATORS: tuple[Estimator, ...] = ("minmax", "mse")
_EVEN_LOST = 0.01
_WORST_STAGES = 2
_ROUNDS = 6
_LEVELS = np.float32(255)
_SCOPES = {
    r"Encoder_encoder": "latent",
    r"CoarseEstimator_coarse": "coarse",
    r"StaticStep_(\d+)": "step",
    r"StaticDecoder_decoder": "decoded",
}


def running_file(path: Path, threads: int | None = None) -> Run:
    """Return what runs a file on channels-first float32 images, whatever it takes itself."""
    backend = LiteRtBackend(path, threads)

    def run(feed: Feed) -> dict[str, np.ndarray]:
        given = {name: np.ascontiguousarray(v.transpose(0, 2, 3, 1)) for name, v in feed.items()}
        if backend.takes_bytes(IMAGE):
            given[IMAGE] = np.rint(given[IMAGE] * _LEVELS).astype(np.uint8)
        restored = backend.run(given)[RESTORED].transpose(0, 3, 1, 2)
        if restored.dtype == np.uint8:
            restored = restored.astype(np.float32) / _LEVELS
        return {RESTORED: restored}

    return run


class TfliteSearch:
    """One float32 file, its ranges and its judge.

    Args:
        source: the file.
        observed: ranges of its tensors.
        judge: on the search's crops.
        folder: for the files that are tried.
        report: told what is being tried.
        corrected: whether the file's biases make up for the mean error of int8 already.
    """

    def __init__(
        self,
        source: Path,
        observed: Mapping[str, Observed],
        judge: Judge,
        folder: Path,
        report: Callable[[str], None],
        *,
        corrected: bool,
    ) -> None:
        self._source, self._observed, self._judge = source, observed, judge
        self._folder, self._report = folder, report
        self._corrected = corrected
        work = {o: o.work for o in read_operations(source) if o.work is not None}
        self._stages = {operation.outputs[0]: stage_of(operation) for operation in work}
        self._costs = {operation.outputs[0]: done.in_float for operation, done in work.items()}

    def make(self, recipe: Recipe, path: Path) -> None:
        """Carry out a recipe; the file takes and gives 8-bit images."""
        ranges = {name: seen.estimate(recipe.estimator) for name, seen in self._observed.items()}
        quantize_file(self._source, ranges, recipe, path)
        with_byte_images(path)

    def find(self, *, repair: bool) -> Finding:
        """Search.

        Args:
            repair: whether a recipe that misses the gates is repaired; else the fastest placement
                is taken as it is.

        Raises:
            ExportError: XNNPACK runs no placement whole; each is listed with the reason.
        """
        milliseconds, refused = self._time_placements()
        order = sorted((n for n in PLACEMENTS if n in milliseconds), key=milliseconds.__getitem__)
        require_placements(RUNTIME, order, refused)
        last = [name for name in order if name == "dynamic"]
        trials: list[Trial] = []
        missed: list[Trial] = []
        stages: dict[str, float] = {}
        layers: dict[str, float] = {}
        for placement in [name for name in order if name not in last] if repair else order[:1]:
            missed.append(self._best_of(placement, trials))
            if missed[-1].passed:
                break
        if repair and missed and not missed[-1].passed:
            nearest = _nearest(missed)
            stages, layers = self._blame(nearest)
            for names in float_choices(layers, self._costs):
                recipe = replace(nearest.recipe, float_nodes=names)
                trials.append(self._try(recipe))
                if trials[-1].passed:
                    break
        if repair and not any(trial.passed for trial in trials):
            trials += [self._try(self._recipe(name, "minmax")) for name in last]
        passing = [trial.recipe for trial in trials if trial.passed]
        return Finding(
            runtime=RUNTIME,
            recipe=passing[0] if passing else min(trials, key=_lost).recipe,
            passed=bool(passing),
            trials=trials,
            milliseconds=milliseconds,
            refused=refused,
            stages=stages,
            layers=layers,
        )

    def _best_of(self, placement: str, trials: list[Trial]) -> Trial:
        """Try the estimators in turn until one passes; return the best, note all."""
        tried = []
        for estimator in _ESTIMATORS:
            tried.append(self._try(self._recipe(placement, estimator)))
            if tried[-1].passed:
                break
        trials += tried
        return min(tried, key=_lost)

    def _blame(self, blamed: Trial) -> tuple[dict[str, float], dict[str, float]]:
        """Return the PSNR with one stage quantized, and what each layer of the worst ones costs."""
        stages = {}
        for stage in dict.fromkeys(self._stages.values()):
            others = tuple(name for name, its in self._stages.items() if its != stage)
            alone = replace(blamed.recipe, placement="convolutions", float_nodes=others)
            trial = self._try(alone)
            stages[stage] = round(trial.quality.psnr_db, 2)
        worst = sorted(stages, key=lambda stage: stages[stage])[:_WORST_STAGES]
        wins = {}
        for name, stage in self._stages.items():
            if stage in worst:
                trial = self._try(replace(blamed.recipe, float_nodes=(name,)))
                wins[name] = round(_lost(blamed) - _lost(trial), 4)
        helping = {name: win for name, win in wins.items() if win > 0}
        return stages, dict(sorted(helping.items(), key=lambda item: -item[1]))

    def _recipe(self, placement: str, estimator: Estimator) -> Recipe:
        return Recipe(placement=placement, estimator=estimator, corrected=self._corrected)

    def _try(self, recipe: Recipe) -> Trial:
        self._report(recipe.title)
        path = self._folder / "trial.tflite"
        self.make(recipe, path)
        quality = self._judge(running_file(path))
        path.unlink()
        return Trial.of(recipe, quality)

    def _time_placements(self) -> tuple[dict[str, float], dict[str, str]]:
        """Time the float32 file and the placements that XNNPACK runs whole; say why not others.

        Integer forms of some operations (of norms, say) have no kernel in it.
        """
        self._report("timing")
        paths = {"float32": self._source}
        refused: dict[str, str] = {}
        for placement in PLACEMENTS:
            paths[placement] = self._folder / f"{placement}.tflite"
            self.make(self._recipe(placement, "minmax"), paths[placement])
            others = LiteRtBackend(paths[placement], 1, keep_operations=True).undelegated()
            if others:
                paths.pop(placement).unlink()
                refused[placement] = f"XNNPACK does not run {', '.join(sorted(set(others)))}"
        times = self._time(list(paths.values()))
        for placement in paths.keys() - {"float32"}:
            paths[placement].unlink()
        milliseconds = {name: round(time, 2) for name, time in zip(paths, times, strict=True)}
        return milliseconds, refused

    def _time(self, paths: list[Path]) -> list[float]:
        """Return the lower quartile of each file's milliseconds, measured in turns.

        What else the machine does only ever adds to a time.
        """
        runs = [running_file(path) for path in paths]
        times = time_in_turns(runs, self._judge.feeds[0], rounds=_ROUNDS)
        return [float(np.percentile(collected, 25)) for collected in times]


def stage_of(operation: Operation) -> str:
    """Return the stage that an operation belongs to, by the first module its output is named for.

    The converter names tensors by the modules that made them.
    """
    name = operation.outputs[0]
    found = [
        (match.start(), stage if stage != "step" else f"step_{int(match[1]) + 1}")
        for scope, stage in _SCOPES.items()
        if (match := re.search(scope, name))
    ]
    return min(found)[1] if found else "decoded"  # the last one has the result's name


def _lost(trial: Trial) -> float:
    return trial.quality.lost_db


def _nearest(missed: list[Trial]) -> Trial:
    """Return the first, and so the fastest, of those that lose least."""
    least = min(map(_lost, missed))
    return next(trial for trial in missed if _lost(trial) <= least + _EVEN_LOST)
