"""A float32 graph with what its calibration crops show: ranges, rounded weights, judges."""

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.calibration.judge import Judge, feed_of
from export.calibration.photos import Calibration
from export.calibration.ranges import Estimator, Range
from export.calibration.timing import Run
from export.int8.cache import find_cached
from export.int8.candidates import Convolution
from export.int8.recipe import Recipe
from export.int8.search import SearchResult
from export.qdq.bias import correct_biases
from export.qdq.convolutions import convolutions_of
from export.qdq.insert import insert_pairs
from export.qdq.observe import observe
from export.qdq.placements import BY_RUNTIME, QdqPlacement
from export.qdq.rounding import round_weights
from export.qdq.running import STOOD_IN_FOR, running

QdqRecipe = Recipe[QdqPlacement]
_ROUNDING_CROPS, _CORRECTION_CROPS = 16, 8
_KEPT_BYTES = 512 * 2**20
"""Of quantized graphs: to insert pairs again takes seconds, corrected biases minutes."""


class CalibratedGraph:
    """A float32 graph, observed, ready to be quantized for any runtime and judged there.

    Args:
        probe: float32 graph with all stages as outputs.
        model: the same with the image as its only output.
        calibration: crops.
        batch: images per run of the graph.
        noise: (B, C, H/8, W/8) where it is an input, else None.
        report: told what is going on.

    Attributes:
        model: as given.
        feeds: calibration inputs.
        rounded: the model with the kernels of its convolutions on the int8 grid.
        for_search: judges on the crops that recipes are compared on.
        for_gates: judges on crops that nothing was taken from.
        convolutions: of the model, by node name.
    """

    def __init__(
        self,
        probe: onnx.ModelProto,
        model: onnx.ModelProto,
        calibration: Calibration,
        *,
        batch: int = 1,
        noise: NDArray[np.float32] | None = None,
        report: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.model = model
        self._calibration, self._report = calibration, report
        self.feeds = [feed_of(example, batch, noise) for example in calibration.ranges]
        report(f"observing activations on {len(self.feeds)} crops")
        self._observed = observe(model, self.feeds)
        with running(model) as run:
            self.for_search = Judge(calibration.search, batch, noise, run)
            self.for_gates = Judge(calibration.gates, batch, noise, run)
        report("rounding weights")
        self.convolutions = convolutions_of(probe, model)
        self.rounded = round_weights(model, [*self.convolutions], self.feeds[:_ROUNDING_CROPS])
        self._made: dict[QdqRecipe, onnx.ModelProto] = {}
        self._estimated: dict[tuple[Estimator, bool], dict[str, Range]] = {}

    def quantize(self, recipe: QdqRecipe) -> onnx.ModelProto:
        """Carry out a recipe."""
        if recipe in self._made:
            return self._made[recipe]
        source = self.rounded if recipe.rounding == "compensated" else self.model
        quantized = insert_pairs(source, self._ranges(recipe), recipe)
        if recipe.corrected:
            feeds = self.feeds[:_CORRECTION_CROPS]
            quantized = correct_biases(self.model, quantized, [*self.convolutions], feeds)
        self._keep(recipe, quantized)
        return quantized

    def _keep(self, recipe: QdqRecipe, quantized: onnx.ModelProto) -> None:
        """Keep a graph for the next time that it is asked for, the latest up to `_KEPT_BYTES`."""
        self._made[recipe] = quantized
        sizes = {name: model.ByteSize() for name, model in self._made.items()}
        for name in list(self._made)[:-1]:
            if sum(sizes.values()) <= _KEPT_BYTES:
                break
            del self._made[name], sizes[name]

    def _ranges(self, recipe: QdqRecipe) -> dict[str, Range]:
        key = recipe.estimator, recipe.symmetric
        if key not in self._estimated:
            self._estimated[key] = {
                name: seen.estimate(recipe.estimator, symmetric=recipe.symmetric)
                for name, seen in self._observed.items()
            }
        return self._estimated[key]

    @functools.cached_property
    def key(self) -> Mapping[str, Any]:
        """What a search's result depends on, whatever the runtime (`cached`)."""
        return {
            "graph": hashlib.sha256(self.model.SerializeToString(deterministic=True)).hexdigest(),
            "calibration": self._calibration.sha256,
        }

    def search(
        self,
        runtime: str,
        key: Mapping[str, Any],
        *,
        prefer: QdqRecipe | None = None,
        repair: bool,
    ) -> SearchResult[QdqPlacement]:
        """Return the result for a runtime, searched for unless it is kept from another time.

        Args:
            runtime: that is to run the quantized graph.
            key: what the result depends on beside the graph and the arguments.
            prefer: see `find`.
            repair: see `find`.
        """
        return find_cached(
            QdqCandidates(self, runtime),
            self.for_search,
            QdqPlacement,
            {**self.key, **key},
            prefer=prefer,
            repair=repair,
            report=self._report,
        )


class QdqCandidates:
    """The Q/DQ graphs of one float32 graph in one runtime (`int8.candidates.Candidates`)."""

    isolating = QdqPlacement.CONVOLUTION_INPUTS
    last_resorts: tuple[QdqPlacement, ...] = ()
    corrects = True
    corrected = False

    def __init__(self, graph: CalibratedGraph, runtime: str) -> None:
        self._graph = graph
        self.runtime = runtime
        self.placements = BY_RUNTIME[runtime]
        # A runtime that needs a GPU: symmetric is TensorRT's alone.
        self.timed = runtime not in STOOD_IN_FOR
        self.symmetric = runtime in STOOD_IN_FOR

    @property
    def convolutions(self) -> Mapping[str, Convolution]:
        """The graph's convolutions."""
        return self._graph.convolutions

    @contextlib.contextmanager
    def running(self, recipe: QdqRecipe | None) -> Iterator[Run]:
        """Yield what runs the graph of a recipe; None: the float32 graph.

        Raises:
            BackendError: the runtime refuses it.
        """
        model = self._graph.model if recipe is None else self._graph.quantize(recipe)
        with running(model, self.runtime) as run:
            yield run
