"""The candidate int8 TFLite files of a float32 file, for the search in `int8/search.py`.

Dynamic scales (computed for every image) are the last resort: their kernels round differently on
Arm processors with and without dot products (46 dB apart), while fixed scales gave the same bytes
on all processors. In the float32 file, weights are already rounded and biases corrected.
"""

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from elir_edge.errors import BackendError
from elir_edge.runtime.backends.litert import LiteRtBackend
from export.calibration.ranges import ActivationRange, Estimator, TensorStatistics
from export.calibration.timing import Feed, ModelRunner
from export.int8.candidates import Convolution
from export.int8.recipe import Recipe
from export.onnx_graph.to_onnx import IMAGE, RESTORED
from export.targets.tflite.file import Operation, read_operations, with_byte_images
from export.targets.tflite.quantize import TflitePlacement, quantize_file

RUNTIME = "litert"
TfliteRecipe = Recipe[TflitePlacement]
_LEVELS = np.float32(255)
_SCOPES = {
    r"Encoder_encoder": "latent",
    r"CoarseEstimator_coarse": "coarse",
    r"StaticStep_(\d+)": "step",
    r"StaticDecoder_decoder": "decoded",
}


class TfliteCandidates:
    """The int8 candidates of one float32 file (`int8.candidates.Candidates`).

    Args:
        source: the float32 file.
        observed: observed ranges of its tensors.
        corrected: whether the file's biases are already corrected for the mean error of int8.
    """

    runtime = RUNTIME
    placements = (TflitePlacement.INTEGER, TflitePlacement.SUMS, TflitePlacement.CONVOLUTIONS)
    last_resorts = (TflitePlacement.DYNAMIC,)
    isolating = TflitePlacement.CONVOLUTIONS
    timed = True
    symmetric = False
    corrects = False

    def __init__(
        self, source: Path, observed: Mapping[str, TensorStatistics], *, corrected: bool
    ) -> None:
        self._source, self._observed = source, observed
        self.corrected = corrected
        self._estimated: dict[Estimator, dict[str, ActivationRange]] = {}
        self.convolutions = {
            operation.outputs[0]: Convolution(
                stage=stage_of(operation), cost=operation.work.in_float
            )
            for operation in read_operations(source)
            if operation.work is not None
        }

    def write(self, recipe: TfliteRecipe, path: Path, source: Path | None = None) -> None:
        """Write the file of a recipe, with 8-bit images as input and output.

        Args:
            recipe: the recipe.
            path: the file to write.
            source: a float32 file of the same model for another image size; None: the own file.
        """
        if recipe.estimator not in self._estimated:
            self._estimated[recipe.estimator] = {
                name: statistics.estimate(recipe.estimator)
                for name, statistics in self._observed.items()
            }
        quantize_file(source or self._source, self._estimated[recipe.estimator], recipe, path)
        with_byte_images(path)

    @contextlib.contextmanager
    def running(self, recipe: TfliteRecipe | None) -> Iterator[ModelRunner]:
        """Yield a function that runs the file of a recipe; None: the float32 file.

        Raises:
            BackendError: XNNPACK does not run all operations: some (e.g. of norms) have no integer
                kernel.
        """
        if recipe is None:
            with running_file(self._source) as run:
                yield run
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trial.tflite"
            self.write(recipe, path)
            with LiteRtBackend(path, 1, keep_operations=True) as backend:
                others = backend.undelegated()
            if others:
                raise BackendError(f"XNNPACK does not run {', '.join(sorted(set(others)))}")
            with running_file(path) as run:
                yield run


@contextlib.contextmanager
def running_file(path: Path, threads: int | None = None) -> Iterator[ModelRunner]:
    """Yield a function that runs a file of any image type on channels-first float32 images."""

    def run(feed: Feed) -> dict[str, np.ndarray]:
        given = {name: np.ascontiguousarray(v.transpose(0, 2, 3, 1)) for name, v in feed.items()}
        if backend.takes_bytes(IMAGE):
            given[IMAGE] = np.rint(given[IMAGE] * _LEVELS).astype(np.uint8)
        restored = backend.run(given)[RESTORED].transpose(0, 3, 1, 2)
        if restored.dtype == np.uint8:
            restored = restored.astype(np.float32) / _LEVELS
        return {RESTORED: restored}

    with LiteRtBackend(path, threads) as backend:
        yield run


def stage_of(operation: Operation) -> str:
    """Return the stage of an operation, from the first module in its output's name.

    The converter names tensors after the modules that computed them.
    """
    name = operation.outputs[0]
    found = [
        (match.start(), stage if stage != "step" else f"step_{int(match[1]) + 1}")
        for scope, stage in _SCOPES.items()
        if (match := re.search(scope, name))
    ]
    return min(found)[1] if found else "decoded"  # the last output has the result's name
