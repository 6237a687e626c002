"""LiteRT, TensorFlow Lite's successor; the only file that imports its interpreter."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from elir_edge.errors import BackendError
from elir_edge.runtime.backends.base import Backend, require_signature

KEPT_TENSORS_REMARK = "Warning: Enabling `experimental_preserve_all_tensors`"
"""How LiteRT's warning about this begins: meant for applications, not for a calibration."""


class LiteRtBackend(Backend):
    """A TFLite model in LiteRT on the CPU, its operations run by XNNPACK where that takes them.

    Args:
        artifact: with one signature, whose names the manifest has.
        threads: None: one for each processor.
        keep_tensors: keep what lies between the operations, for `tensors`: no delegate then.
        keep_operations: have XNNPACK say which operations it runs, for `undelegated`.
    """

    def __init__(
        self,
        artifact: Path,
        threads: int | None,
        *,
        keep_tensors: bool = False,
        keep_operations: bool = False,
    ) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise BackendError(
                "LiteRT is not installed", fix="pip install ai-edge-litert"
            ) from error
        from importlib.metadata import version

        self._version = f"ai-edge-litert {version('ai-edge-litert')}"
        try:
            with _knowing_that_kept_tensors_cost(keep_tensors):
                self._interpreter = Interpreter(
                    str(artifact),
                    num_threads=threads or os.cpu_count() or 1,
                    experimental_preserve_all_tensors=keep_tensors,
                    experimental_disable_delegate_node_fusion=keep_operations,
                )
            self._interpreter.allocate_tensors()
            self._runner = self._interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            raise BackendError(
                f"{self._version} refuses {artifact.name} ({error})",
                fix="run `elir-edge verify` on the bundle; if it is whole, update ai-edge-litert",
            ) from error
        self._expected = {
            name: (tuple(int(n) for n in detail["shape"]), detail["dtype"].__name__)
            for name, detail in self._runner.get_input_details().items()
        }

    @property
    def version(self) -> str:
        """Name and version of the runtime."""
        return self._version

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run once: arrays by input name, to arrays by output name."""
        require_signature(self._version, inputs, self._expected)
        outputs: dict[str, NDArray[Any]] = self._runner(**inputs)
        return outputs

    def close(self) -> None:
        """Release the interpreter."""
        del self._runner, self._interpreter

    def takes_bytes(self, name: str) -> bool:
        """Whether an input is uint8."""
        return bool(self._expected[name][1] == "uint8")

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return what the last run's operations gave, by tensor name; needs `keep_tensors`."""
        names = {d["index"]: d["name"] for d in self._interpreter.get_tensor_details()}
        made = {i for op in self._own_operations() for i in op["outputs"]}
        inputs = {d["index"] for d in self._interpreter.get_input_details()}
        return {names[i]: self._interpreter.get_tensor(i) for i in sorted(made | inputs)}

    def undelegated(self) -> list[str]:
        """Return the names of the operations that XNNPACK left; needs `keep_operations`."""
        taken = {
            index
            for op in self._interpreter._get_ops_details()
            if op["op_name"] == "DELEGATE"
            for index in op["outputs"]
        }
        return [op["op_name"] for op in self._own_operations() if not taken >= set(op["outputs"])]

    def _own_operations(self) -> list[dict[str, Any]]:
        operations: list[dict[str, Any]] = self._interpreter._get_ops_details()
        return [op for op in operations if op["op_name"] != "DELEGATE"]


@contextlib.contextmanager
def _knowing_that_kept_tensors_cost(kept: bool) -> Iterator[None]:
    """Keep LiteRT's remark about this off the screen; every other warning passes."""
    with warnings.catch_warnings():
        if kept:
            warnings.filterwarnings("ignore", KEPT_TENSORS_REMARK, UserWarning)
        yield
