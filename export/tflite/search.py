"""Which int8 recipe of a TFLite file is the fastest that keeps the gates?

As in `export.int8.search`: placements from the fastest on; of each the estimators of ranges, then
convolutions in float32, those first whose rounding costs most. The weights come rounded and the
biases corrected already.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from elir_edge.runtime.backends.litert import LiteRtBackend
from export.int8.judge import Judge
from export.int8.ranges import Estimator, Observed
from export.int8.recipe import Recipe
from export.int8.running import Feed, Run
from export.int8.search import SPARE_LOST, SPARE_PSNR, Finding, Trial
from export.parity import MAX_LOST_INT8, MIN_PSNR_INT8
from export.tflite.file import Operation, read_operations, with_byte_images
from export.tflite.quantize import PLACEMENTS, quantize_file
from export.to_onnx import IMAGE, RESTORED

RUNTIME = "litert"
_CONVOLUTIONS = ("CONV_2D", "TRANSPOSE_CONV")
_ESTIMATORS: tuple[Estimator, ...] = ("minmax", "mse")
_FLOAT_COUNTS = (2, 6, 12)
_WORST_STAGES = 2
_ROUNDS, _WARMUP = 15, 3
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
    """

    def __init__(
        self,
        source: Path,
        observed: Mapping[str, Observed],
        judge: Judge,
        folder: Path,
        report: Callable[[str], None],
    ) -> None:
        self._source, self._observed, self._judge = source, observed, judge
        self._folder, self._report = folder, report
        self._stages = {
            operation.outputs[0]: stage_of(operation)
            for operation in read_operations(source)
            if operation.kind in _CONVOLUTIONS
        }

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
        """
        milliseconds = self._time_placements()
        order = sorted((n for n in PLACEMENTS if n in milliseconds), key=milliseconds.__getitem__)
        trials: list[Trial] = []
        stages: dict[str, float] = {}
        layers: dict[str, float] = {}
        for placement in order:
            for estimator in _ESTIMATORS:
                trials.append(self._try(_recipe(placement, estimator)))
                if trials[-1].passed:
                    break
            if trials[-1].passed or not repair:
                break
            best = min(trials[-len(_ESTIMATORS) :], key=lambda trial: trial.quality.lost_db)
            if not layers:
                stages, layers = self._blame(best.recipe)
            for count in _FLOAT_COUNTS if layers else ():
                trials.append(self._try(replace(best.recipe, float_nodes=tuple(layers)[:count])))
                if trials[-1].passed:
                    break
            if trials[-1].passed:
                break
        passing = [trial for trial in trials if trial.passed]
        chosen = passing[0] if passing else min(trials, key=lambda t: t.quality.lost_db)
        return Finding(
            runtime=RUNTIME,
            recipe=chosen.recipe,
            passed=chosen.passed,
            trials=trials,
            milliseconds=milliseconds,
            stages=stages,
            layers=layers,
        )

    def _blame(self, recipe: Recipe) -> tuple[dict[str, float], dict[str, float]]:
        """Return the PSNR with one stage quantized, and what each layer of the worst ones costs."""
        stages = {}
        for stage in dict.fromkeys(self._stages.values()):
            others = tuple(name for name, its in self._stages.items() if its != stage)
            trial = self._try(replace(recipe, placement="convolutions", float_nodes=others))
            stages[stage] = round(trial.quality.psnr_db, 2)
        base = self._try(recipe).quality.lost_db
        worst = sorted(stages, key=lambda stage: stages[stage])[:_WORST_STAGES]
        wins = {}
        for name, stage in self._stages.items():
            if stage in worst:
                trial = self._try(replace(recipe, float_nodes=(name,)))
                wins[name] = round(base - trial.quality.lost_db, 4)
        helping = {name: win for name, win in wins.items() if win > 0}
        return stages, dict(sorted(helping.items(), key=lambda item: -item[1]))

    def _try(self, recipe: Recipe) -> Trial:
        self._report(recipe.title)
        path = self._folder / "trial.tflite"
        self.make(recipe, path)
        quality = self._judge(running_file(path))
        path.unlink()
        limits = MIN_PSNR_INT8 + SPARE_PSNR, MAX_LOST_INT8 - SPARE_LOST
        return Trial(recipe=recipe, quality=quality, passed=quality.within(*limits))

    def _time_placements(self) -> dict[str, float]:
        """Return median milliseconds of the float32 file and of what XNNPACK runs whole, in turns.

        Integer forms of some operations (of norms, say) have no kernel in it.
        """
        self._report("timing")
        paths = {"float32": self._source}
        for placement in PLACEMENTS:
            paths[placement] = self._folder / f"{placement}.tflite"
            self.make(_recipe(placement, "minmax"), paths[placement])
            if LiteRtBackend(paths[placement], 1, keep_operations=True).undelegated():
                paths.pop(placement).unlink()
        runs = {name: running_file(path) for name, path in paths.items()}
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(_WARMUP + _ROUNDS):
            for name, run in runs.items():
                started = time.perf_counter()
                run(self._judge.feeds[0])
                times[name].append(1000 * (time.perf_counter() - started))
        for placement in paths.keys() - {"float32"}:
            paths[placement].unlink()
        return {
            name: round(float(np.median(values[_WARMUP:])), 2) for name, values in times.items()
        }


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


def _recipe(placement: str, estimator: Estimator) -> Recipe:
    return Recipe(placement=placement, estimator=estimator, corrected=True)
