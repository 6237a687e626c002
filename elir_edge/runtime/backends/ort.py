"""ONNX Runtime; this is the only file of the runtime that imports it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from elir_edge.errors import BackendError
from elir_edge.runtime.backends.base import Backend, refusal
from elir_edge.telemetry import without_telemetry


class OnnxRuntimeBackend(Backend):
    """An ONNX model in an ONNX Runtime session on the CPU.

    Args:
        artifact: the ONNX file.
        threads: CPU threads; None: ONNX Runtime's default.
        as_written: compute quantized graphs in floats, with Q and DQ as ordinary operators, instead
            of with this CPU's integer kernels.

    Raises:
        BackendError: ONNX Runtime is not installed or refuses the artifact.
    """

    def __init__(self, artifact: Path, threads: int | None, *, as_written: bool = False) -> None:
        without_telemetry()
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise BackendError(
                "ONNX Runtime is not installed", fix="pip install onnxruntime"
            ) from error
        from onnxruntime.capi import onnxruntime_pybind11_state as states

        options = ort.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        if as_written:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        self._refusals = (
            states.Fail,
            states.InvalidArgument,
            states.InvalidGraph,
            states.InvalidProtobuf,
            states.NoSuchFile,
            states.NotImplemented,
            states.RuntimeException,
            ValueError,  # raised for missing inputs
        )
        try:
            self._session = ort.InferenceSession(
                str(artifact), options, providers=["CPUExecutionProvider"]
            )
        except self._refusals as error:
            raise BackendError(
                f"ONNX Runtime {ort.__version__} refuses {artifact.name} ({error})",
                fix="run `elir-edge verify` on the bundle; if it is intact, update onnxruntime",
            ) from error
        self._version = f"onnxruntime {ort.__version__}"

    @property
    def version(self) -> str:
        """Return the name and version of the runtime."""
        return self._version

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the model once; see `Backend.run`."""
        names = [output.name for output in self._session.get_outputs()]
        try:
            results = self._session.run(names, dict(inputs))
        except self._refusals as error:
            raise refusal(self._version, got=error) from error
        return dict(zip(names, results, strict=True))

    def close(self) -> None:
        """Release the session."""
        del self._session
