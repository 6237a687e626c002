"""From a calibrated float32 graph to the int8 graph of each runtime."""

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
        result: how its recipe was found.
        excluded: convolutions in float32, and what that wins.
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
    """Find a recipe for every runtime and carry it out.

    Each runtime after the first takes the first one's recipe where that passes and is as fast as
    its own best, so that one file may serve all: they then share one `model`.

    Args:
        runtimes: by name.
        graph: the float32 graph.
        effort: of the searches.
    """
    made: dict[str, QuantizedGraph] = {}
    for runtime in runtimes:
        prefer = made[runtimes[0]].result.recipe if made else None
        key = {"version": version(runtime)}
        result = graph.search(runtime, key, prefer=prefer, effort=effort)
        model = made[runtimes[0]].model if result.recipe == prefer else None
        wins = {name: win for each in made.values() for name, win in each.result.layers.items()}
        made[runtime] = QuantizedGraph(
            model=model or graph.quantize(result.recipe),
            result=result,
            excluded=reasons(result.recipe.float_nodes, wins | result.layers),
        )
    return made
