"""OpenVINO; this is the only file of the runtime that imports it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elir_edge.errors import BackendError
from elir_edge.runtime.backends.base import Backend, refusal


class OpenVinoBackend(Backend):
    """An ONNX model compiled by OpenVINO for the CPU.

    Float layers are computed in float32 even on processors that prefer bfloat16, because the export
    checked float32.

    Args:
        artifact: the ONNX file.
        threads: CPU threads; None: OpenVINO's default.

    Raises:
        BackendError: OpenVINO is not installed or refuses the artifact.
    """

    def __init__(self, artifact: Path, threads: int | None) -> None:
        try:
            import openvino
        except ImportError as error:
            raise BackendError("OpenVINO is not installed", fix="pip install openvino") from error
        hints: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            hints["INFERENCE_NUM_THREADS"] = threads
        self._version = f"openvino {openvino.__version__.split('-')[0]}"
        try:
            model = openvino.Core().compile_model(str(artifact), "CPU", hints)
            # A port has several names if the compiler merged equal tensors. get_shape raises an
            # error if the sizes of a port are not fixed.
            self._inputs = [(port.get_names(), tuple(port.get_shape())) for port in model.inputs]
        except RuntimeError as error:
            raise BackendError(
                f"{self._version} refuses {artifact.name} ({error})",
                fix="run `elir-edge verify` on the bundle; if it is intact, update openvino",
            ) from error
        self._outputs = [(port, port.get_names()) for port in model.outputs]
        self._request = model.create_infer_request()

    @property
    def version(self) -> str:
        """Return the name and version of the runtime."""
        return self._version

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the model once; see `Backend.run`."""
        shapes = {name: tuple(value.shape) for name, value in inputs.items()}
        expected = {min(names): shape for names, shape in self._inputs}
        fitting = [
            name
            for name, shape in shapes.items()
            if any(name in names and shape == wanted for names, wanted in self._inputs)
        ]
        if not len(fitting) == len(shapes) == len(self._inputs):
            raise refusal(self._version, got=shapes, expected=expected)
        # OpenVINO ignores strides.
        results = self._request.infer({k: np.ascontiguousarray(v) for k, v in inputs.items()})
        copies = [(np.array(results[port]), names) for port, names in self._outputs]
        return {name: array for array, names in copies for name in names}

    def close(self) -> None:
        """Release the compiled model."""
        del self._request, self._outputs
