"""What every search for an int8 recipe begins with, whichever runtime it is for."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.int8.judge import Judge, feed_of
from export.int8.photos import Calibration
from export.int8.ranges import observe
from export.int8.running import Feed, running
from export.int8.search import Search


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A graph that has been observed.

    Attributes:
        search: of recipes for it; weights are rounded.
        for_search: judges on the crops that recipes are compared on.
        for_gates: judges on crops that nothing was taken from.
        feeds: calibration inputs.
        key: of what a finding depends on, whatever the runtime (`search.cached`).
    """

    search: Search
    for_search: Judge
    for_gates: Judge
    feeds: list[Feed]
    key: Mapping[str, Any]


def begin(
    probe: onnx.ModelProto,
    shipped: onnx.ModelProto,
    calibration: Calibration,
    *,
    batch: int,
    noise: NDArray[np.float32] | None,
    enforce_gates: bool,
    report: Callable[[str], None],
) -> Begun:
    """Observe a float32 graph, ready to search and to judge; arguments as of `make_int8`."""
    feeds = [feed_of(example, batch, noise) for example in calibration.ranges]
    report(f"observing activations on {len(feeds)} crops")
    observed = observe(shipped, feeds)
    with running(shipped, "onnxruntime") as run:
        for_search = Judge(calibration.search, batch, noise, run)
        for_gates = Judge(calibration.gates, batch, noise, run)
    return Begun(
        search=Search(probe, shipped, observed, for_search, feeds, report),
        for_search=for_search,
        for_gates=for_gates,
        feeds=feeds,
        key={
            "graph": hashlib.sha256(shipped.SerializeToString(deterministic=True)).hexdigest(),
            "calibration": calibration.sha256,
            "repair": enforce_gates,
        },
    )


def reasons(float_nodes: Sequence[str], layers: Mapping[str, float]) -> dict[str, str]:
    """Return for convolutions in float32 what that wins, for the manifest."""
    return {name: f"wins {layers[name]:.3f} dB" for name in float_nodes}
