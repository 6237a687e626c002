"""A float32 graph with its calibration: ranges, rounded weights, and judges.

If the crops are smaller than the images that the graph is for, ranges, rounded weights, corrected
biases and the recipe are computed on the same graph for the crops' size. The results are then
transferred, and the gates are judged at full size. (A `bfr` model of published size has 249 GMAC at
512 x 512 pixels, and 16 GMAC at 128 x 128.)
"""

import contextlib
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.calibration.judge import Judge, feed_of
from export.calibration.photos import CalibrationSet
from export.calibration.ranges import ActivationRange, Estimator
from export.calibration.timing import Feed, ModelRunner
from export.int8.cache import find_cached
from export.int8.candidates import Convolution
from export.int8.recipe import Recipe
from export.int8.search import Effort, SearchResult
from export.memory import give_back_memory
from export.onnx_graph.shapes import at_side
from export.qdq.bias import correct_biases
from export.qdq.convolutions import convolutions_of, with_parameters
from export.qdq.insert import insert_pairs
from export.qdq.observe import observe
from export.qdq.placements import BY_RUNTIME, QdqPlacement
from export.qdq.rounding import round_weights
from export.qdq.running import EMULATED_RUNTIMES, running
from export.reporting import SILENT, Report
from export.static.noise import corner

QdqRecipe = Recipe[QdqPlacement]
_ROUNDING_CROPS, _CORRECTION_CROPS = 16, 8
_KEPT_BYTES = 256 * 2**20
"""Bytes of quantized graphs to keep: pairs take seconds to insert again, biases minutes."""


@dataclass(frozen=True, kw_only=True)
class SearchInputs:
    """What the search for another format's recipe needs: no graphs (0.4 GB at published sizes).

    Attributes:
        side: side of the crops that recipes are compared on, in pixels.
        feeds: the inputs for which ranges are observed.
        search_judge: judge on the crops for comparing recipes.
        gate_judge: judge on the crops for the gates, which nothing else uses.
        key: the part of the cache's key that is the same for all formats.
    """

    side: int
    feeds: Sequence[Feed]
    search_judge: Judge
    gate_judge: Judge
    key: Mapping[str, Any]


class CalibratedGraph:
    """A float32 graph with observed ranges, which can be quantized and judged for any runtime.

    Args:
        probe: the float32 graph with all stages as outputs.
        model: the same graph with the restored image as its only output.
        calibration: the crops; those for the gates have the graph's own size.
        batch: images per run of the graph.
        noise: the noise (B, C, H/8, W/8) if it is an input, else None.
        report: receives the progress.

    Attributes:
        side: side of the crops that it is calibrated on, in pixels.
        small: the graph for the crops' size; `model` itself if the sizes are equal.
        feeds: the calibration inputs.
        rounded: the graph for the crops' size, with kernels rounded to the int8 grid.
        search_judge: judge on the crops for comparing recipes.
        gate_judge: judge on the crops for the gates, which nothing else uses.
        convolutions: the graph's convolutions, by node name.
    """

    def __init__(
        self,
        probe: onnx.ModelProto,
        model: onnx.ModelProto,
        calibration: CalibrationSet,
        *,
        batch: int = 1,
        noise: NDArray[np.float32] | None = None,
        report: Report = SILENT,
    ) -> None:
        self._full = model
        self._calibration, self._report = calibration, report
        size = calibration.gates[0].degraded.shape[0]
        self.side = calibration.ranges[0].degraded.shape[0]
        self.small = model if self.side == size else at_side(model, self.side)
        smaller = None if noise is None else np.ascontiguousarray(corner(noise, self.side, size))
        self.feeds = [feed_of(crop, batch, smaller) for crop in calibration.ranges]
        self._observed = observe(self.small, self.feeds, report)
        give_back_memory()
        with contextlib.ExitStack() as stack:
            run_small = stack.enter_context(running(self.small))
            run = run_small if self.small is model else stack.enter_context(running(model))
            self.search_judge = Judge(calibration.search, batch, smaller, run_small)
            self.gate_judge = Judge(calibration.gates, batch, noise, run, report=report)
        self.convolutions = convolutions_of(probe, model)
        self.rounded = round_weights(
            self.small, [*self.convolutions], self.feeds[:_ROUNDING_CROPS], report
        )
        give_back_memory()
        self._quantized: dict[QdqRecipe, onnx.ModelProto] = {}
        self._estimated: dict[tuple[Estimator, bool], dict[str, ActivationRange]] = {}

    def quantize(self, recipe: QdqRecipe) -> onnx.ModelProto:
        """Return the Q/DQ form of the full-size graph by a recipe."""
        small = self.quantize_small(recipe)
        if self.small is self._full:
            return small
        source = self._full
        if recipe.rounding == "compensated":
            source = with_parameters(source, self.rounded, kernels=True)
        quantized = insert_pairs(source, self._ranges(recipe), recipe)
        return with_parameters(quantized, small, kernels=False)

    def quantize_small(self, recipe: QdqRecipe) -> onnx.ModelProto:
        """Return the Q/DQ form of the graph for the crops' size by a recipe."""
        if recipe in self._quantized:
            return self._quantized[recipe]
        source = self.rounded if recipe.rounding == "compensated" else self.small
        quantized = insert_pairs(source, self._ranges(recipe), recipe)
        if recipe.corrected:
            feeds = self.feeds[:_CORRECTION_CROPS]
            nodes = [*self.convolutions]
            quantized = correct_biases(self.small, quantized, nodes, feeds, self._report)
        self._keep(recipe, quantized)
        return quantized

    @property
    def search_inputs(self) -> SearchInputs:
        """The parts that a search for another format needs."""
        return SearchInputs(
            side=self.side,
            feeds=self.feeds,
            search_judge=self.search_judge,
            gate_judge=self.gate_judge,
            key=self.key,
        )

    def _keep(self, recipe: QdqRecipe, quantized: onnx.ModelProto) -> None:
        """Keep a graph for later requests, and forget the oldest ones beyond `_KEPT_BYTES`."""
        self._quantized[recipe] = quantized
        sizes = {name: model.ByteSize() for name, model in self._quantized.items()}
        for name in list(self._quantized)[:-1]:
            if sum(sizes.values()) <= _KEPT_BYTES:
                break
            del self._quantized[name], sizes[name]

    def _ranges(self, recipe: QdqRecipe) -> dict[str, ActivationRange]:
        key = recipe.estimator, recipe.symmetric
        if key not in self._estimated:
            self._estimated[key] = {
                name: statistics.estimate(recipe.estimator, symmetric=recipe.symmetric)
                for name, statistics in self._observed.items()
            }
        return self._estimated[key]

    @functools.cached_property
    def key(self) -> Mapping[str, Any]:
        """The part of the key for `cached` that is the same for all runtimes."""
        return {
            "graph": hashlib.sha256(self._full.SerializeToString(deterministic=True)).hexdigest(),
            "calibration": self._calibration.sha256,
        }

    def search(
        self,
        runtime: str,
        key: Mapping[str, Any],
        *,
        prefer: QdqRecipe | None = None,
        effort: Effort,
    ) -> SearchResult[QdqPlacement]:
        """Return the search result for a runtime, from the cache if it is there.

        Args:
            runtime: name of the runtime that runs the quantized graph.
            key: all that the result depends on besides the graph and the arguments.
            prefer: see `find`.
            effort: see `find`.

        Raises:
            ExportError: see `find` and `cached`.
        """
        return find_cached(
            QdqCandidates(self, runtime),
            self.search_judge,
            QdqPlacement,
            {**self.key, **key},
            prefer=prefer,
            effort=effort,
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
        # Only TensorRT, which needs a GPU, needs symmetric ranges.
        self.timed = runtime not in EMULATED_RUNTIMES
        self.symmetric = runtime in EMULATED_RUNTIMES

    @property
    def convolutions(self) -> Mapping[str, Convolution]:
        """The graph's convolutions."""
        return self._graph.convolutions

    @contextlib.contextmanager
    def running(self, recipe: QdqRecipe | None) -> Iterator[ModelRunner]:
        """Yield a function that runs a recipe's graph; recipe None: the float32 graph.

        Raises:
            BackendError: the runtime does not support the graph.
        """
        model = self._graph.small if recipe is None else self._graph.quantize_small(recipe)
        with running(model, self.runtime) as run:
            yield run
