"""Quantization of a calibrated float32 graph for each runtime."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import onnx

from export.int8.gates import reasons
from export.int8.search import Effort, SearchResult
from export.qdq.calibrated import CalibratedGraph
from export.qdq.placements import QdqPlacement


@dataclass(frozen=True, kw_only=True)
class QuantizedGraph:
    """A Q/DQ graph for one runtime.

    Attributes:
        model: the graph.
        result: the result of the search for its recipe.
        excluded: the reason for each convolution that stays in float32.
    """

    model: onnx.ModelProto
    result: SearchResult[QdqPlacement]
    excluded: dict[str, str]


def quantize_for(
    runtimes: Sequence[str],
    graph: CalibratedGraph,
    *,
    effort: Effort,
) -> dict[str, QuantizedGraph]:
    """Search for a recipe for every runtime and quantize the graph with it.

    Later runtimes take the first one's recipe if it passes and is as fast as their own best. They
    then share one `model`, so that one file serves all of them.

    Args:
        runtimes: names of the runtimes.
        graph: the float32 graph.
        effort: extent of the searches.

    Returns:
        The quantized graphs by runtime.

    Raises:
        ExportError: see `find` and `cached`.
    """
    made: dict[str, QuantizedGraph] = {}
    for runtime in runtimes:
        prefer = made[runtimes[0]].result.recipe if made else None
        key = {"version": version(runtime)}
        result = graph.search(runtime, key, prefer=prefer, effort=effort)
        model = made[runtimes[0]].model if result.recipe == prefer else None
        gains = [gain for each in made.values() for gain in each.result.gains]
        made[runtime] = QuantizedGraph(
            model=model or graph.quantize(result.recipe),
            result=result,
            excluded=reasons(result.recipe.float_nodes, [*gains, *result.gains]),
        )
    return made
