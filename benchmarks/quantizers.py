"""The int8 engines that `engines.py` compares, each a function from a case to quantized graphs."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor

from benchmarks.amd_quark import quantize_by_quark
from benchmarks.mct import quantize_by_mct
from benchmarks.openvino_nncf import quantize_by_nncf, save_openvino
from elir_edge.errors import UsageError
from elir_edge.model import Elir, draw_noise
from elir_edge.runtime.backends import open_backend
from elir_edge.telemetry import without_telemetry
from export.calibration.judge import feed_of
from export.calibration.photos import CalibrationCrop, CalibrationSet
from export.calibration.timing import Feed, ModelRunner
from export.int8.search import Effort
from export.onnx_graph.to_onnx import to_probe_graph, to_shipped_graph
from export.qdq.calibrated import CalibratedGraph
from export.qdq.quantize import quantize_for
from export.qdq.running import running
from export.static.equalize import channel_factors, equalize
from export.static.noise import corner
from export.static.rewrites import REWRITES
from export.static.unroll import StaticElir, static_form
from export.targets.registry import get_target

RUNTIMES = ("onnxruntime", "openvino")
_EQUALIZATION_CROPS = 16
LONG = "AdaRound A8W8 (AMD)"
"""Takes most of an hour on two cores: only where its name is asked for."""
_ADAROUND_STEPS = 1000
"""Of each layer, as the package's recipe has it."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What every engine is given."""

    static: StaticElir
    probe: onnx.ModelProto
    shipped: onnx.ModelProto
    calibration: CalibrationSet

    @property
    def feeds(self) -> list[Feed]:
        """The crops that ranges are taken on, as inputs of the graph."""
        return [feed_of(example, 1, None) for example in self.calibration.ranges]


def case_of(model: Elir, calibration: CalibrationSet, size: int) -> Case:
    """Return the case of a model, prepared as `make export PRECISION=int8` does for ONNX.

    Args:
        model: of a checkpoint.
        calibration: crops of its task.
        size: side of its images, pixels.
    """
    noise = draw_noise(model.config, size, size)
    static = static_form(model, noise)
    crops = []
    for crop in calibration.ranges[:_EQUALIZATION_CROPS]:
        image = _tensor(crop)
        crops.append((image, corner(noise, image.shape[-1], size)))
    static, _ = equalize(static, channel_factors(static, crops))
    for name in get_target("onnx").rewrites["int8"]:
        static = REWRITES[name](static).static
    probe = to_probe_graph(static, _tensor(calibration.gates[0]), None)
    return Case(
        static=static, probe=probe, shipped=to_shipped_graph(probe, {}), calibration=calibration
    )


def _tensor(crop: CalibrationCrop) -> Tensor:
    return torch.from_numpy(crop.degraded.transpose(2, 0, 1)[None].copy())


Graphs = dict[str, Any]
"""By runtime: ONNX graphs, or for OpenVINO its own models."""


def by_onnxruntime(case: Case) -> Graphs:
    """ONNX Runtime's `quantize_static` as its documentation has it: QDQ, MinMax, per channel."""
    without_telemetry()
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds = iter(case.feeds)

        def get_next(self) -> Feed | None:
            return next(self._feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(case.shipped, source)
        quantize_static(
            source,
            target,
            Reader(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return dict.fromkeys(RUNTIMES, onnx.load(target))


def by_search(case: Case) -> Graphs:
    """What `make export PRECISION=int8` ships."""
    graph = CalibratedGraph(case.probe, case.shipped, case.calibration)
    made = quantize_for(RUNTIMES, graph, effort=Effort.FASTEST)
    return {runtime: each.model for runtime, each in made.items()}


def by_mct(case: Case, *, gradients: bool) -> Graphs:
    """MCT's post-training quantization; with gradients, the rounding of weights is learned."""
    images = [example.degraded for example in case.calibration.ranges]
    model = quantize_by_mct(case.static, images, "gptq" if gradients else "ptq")
    return dict.fromkeys(RUNTIMES, model)


def by_nncf(case: Case, *, controlled: bool) -> Graphs:
    """NNCF by its backend for each runtime; with control, judged on the photos for our search."""
    judged_on = case.calibration.search if controlled else ()
    return {
        runtime: quantize_by_nncf(case.shipped, case.feeds, runtime, judged_on=judged_on)
        for runtime in RUNTIMES
    }


def by_quark(case: Case, *, rounding_steps: int = 0) -> Graphs:
    """AMD's quark, its A8W8 recipe."""
    model = quantize_by_quark(case.shipped, case.feeds, rounding_steps=rounding_steps)
    return dict.fromkeys(RUNTIMES, model)


@contextlib.contextmanager
def open_graph(model: Any, runtime: str) -> Iterator[ModelRunner]:
    """Yield what runs an engine's graph in a runtime.

    Raises:
        BackendError: the runtime refuses it.
    """
    if isinstance(model, onnx.ModelProto):
        with running(model, runtime) as run:
            yield run
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        save_openvino(model, path)
        with open_backend(runtime, path, None) as backend:
            yield backend.run


ENGINES: dict[str, Callable[[Case], Graphs]] = {
    "ONNX Runtime quantize_static": by_onnxruntime,
    "MCT PTQ": lambda case: by_mct(case, gradients=False),
    "MCT GPTQ": lambda case: by_mct(case, gradients=True),
    "NNCF": lambda case: by_nncf(case, controlled=False),
    "NNCF with accuracy control": lambda case: by_nncf(case, controlled=True),
    "quark A8W8": by_quark,
    LONG: lambda case: by_quark(case, rounding_steps=_ADAROUND_STEPS),
    "elir-edge search": by_search,
}


def choose_engines(text: str) -> dict[str, Callable[[Case], Graphs]]:
    """Return the engines whose names hold one of the words; all but `LONG` where there is none.

    Raises:
        UsageError: a word is in no name.
    """
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    strangers = [w for w in words if not any(w in name.lower() for name in ENGINES)]
    if strangers:
        raise UsageError(
            f"no engine is called {', '.join(strangers)}", expected=f"words of {', '.join(ENGINES)}"
        )
    return {
        name: quantize
        for name, quantize in ENGINES.items()
        if (any(word in name.lower() for word in words) if words else name != LONG)
    }
