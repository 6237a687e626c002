"""From a calibrated float32 graph to the int8 graph of each runtime, judged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import onnx

from elir_edge.runtime.manifest import Check
from export.int8.gates import gate_checks, reasons, require_gates_of_search
from export.int8.search import SearchResult
from export.qdq.calibrated import CalibratedGraph
from export.qdq.placements import QdqPlacement
from export.qdq.running import running


@dataclass(frozen=True, kw_only=True)
class QuantizedGraph:
    """A Q/DQ graph for one runtime.

    Attributes:
        model: the graph.
        result: how its recipe was found.
        excluded: convolutions in float32, and what that wins.
        checks: its gates.
    """

    model: onnx.ModelProto
    result: SearchResult[QdqPlacement]
    excluded: dict[str, str]
    checks: list[Check]


def quantize_for(
    runtimes: Sequence[str],
    graph: CalibratedGraph,
    *,
    enforce_gates: bool,
    report: Callable[[str], None],
) -> dict[str, QuantizedGraph]:
    """Find a recipe for every runtime, carry it out and judge it there, on crops of its own.

    Each runtime after the first takes the first one's recipe where that passes and is as fast as
    its own best, so that one file may serve all.

    Args:
        runtimes: by name.
        graph: the float32 graph.
        enforce_gates: whether a missed gate is an error, and recipes that miss one are repaired.
        report: told what is going on.

    Raises:
        ParityError: a gate is missed; stage, layers and fixes are named.
    """
    made: dict[str, QuantizedGraph] = {}
    for runtime in runtimes:
        prefer = made[runtimes[0]].result.recipe if made else None
        key = {"version": version(runtime)}
        result = graph.search(runtime, key, prefer=prefer, repair=enforce_gates)
        model = graph.quantize(result.recipe)
        report(f"{runtime}: gates")
        with running(model, runtime) as run:
            checks = gate_checks(runtime, graph.for_gates(run))
        if enforce_gates:
            require_gates_of_search(runtime, checks, result)
        wins = {name: win for each in made.values() for name, win in each.result.layers.items()}
        excluded = reasons(result.recipe.float_nodes, wins | result.layers)
        made[runtime] = QuantizedGraph(model=model, result=result, excluded=excluded, checks=checks)
    return made


def files_by_runtime(made: Mapping[str, QuantizedGraph], folder: Path) -> dict[str, Path]:
    """Return the file of each runtime: `model.onnx` for the first and all with its recipe."""
    first = next(iter(made.values()))
    return {
        runtime: folder
        / ("model.onnx" if each.result.recipe == first.result.recipe else f"model-{runtime}.onnx")
        for runtime, each in made.items()
    }
