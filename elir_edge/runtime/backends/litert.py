"""LiteRT, the successor of TensorFlow Lite; the only file that imports its interpreter."""

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
"""Start of LiteRT's warning about kept tensors, which does not apply to a calibration."""


class LiteRtBackend(Backend):
    """A TFLite model in LiteRT on the CPU; XNNPACK runs the operations that it supports.

    Args:
        artifact: a model with one signature, which has the names of the manifest.
        threads: CPU threads; None: one for each processor.
        keep_tensors: keep the intermediate tensors, for `tensor`; no delegate is used then.
        keep_operations: do not fuse the operations that XNNPACK runs, for `undelegated`.

    Raises:
        BackendError: LiteRT is not installed or refuses the artifact.
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
            with _without_kept_tensors_warning(keep_tensors):
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
                fix="run `elir-edge verify` on the bundle; if it is intact, update ai-edge-litert",
            ) from error
        self._expected = {
            name: (tuple(int(n) for n in detail["shape"]), detail["dtype"].__name__)
            for name, detail in self._runner.get_input_details().items()
        }

    @property
    def version(self) -> str:
        """Return the name and version of the runtime."""
        return self._version

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the model once; see `Backend.run`."""
        require_signature(self._version, inputs, self._expected)
        outputs: dict[str, NDArray[Any]] = self._runner(**inputs)
        return outputs

    def close(self) -> None:
        """Release the interpreter."""
        del self._runner, self._interpreter

    def takes_bytes(self, name: str) -> bool:
        """Tell whether an input is uint8."""
        return bool(self._expected[name][1] == "uint8")

    def tensor_names(self) -> dict[int, str]:
        """Return the names of the inputs and of the operations' results, by index."""
        names = {d["index"]: d["name"] for d in self._interpreter.get_tensor_details()}
        computed = {i for op in self._own_operations() for i in op["outputs"]}
        inputs = {d["index"] for d in self._interpreter.get_input_details()}
        return {i: names[i] for i in sorted(computed | inputs)}

    def tensor(self, index: int) -> NDArray[Any]:
        """Return a copy of a tensor of `tensor_names` after a run; needs `keep_tensors`."""
        value: NDArray[Any] = self._interpreter.get_tensor(index)
        return value

    def undelegated(self) -> list[str]:
        """Return the names of the operations that XNNPACK does not run; needs `keep_operations`."""
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
def _without_kept_tensors_warning(kept: bool) -> Iterator[None]:
    """Suppress LiteRT's warning about kept tensors, if they are kept, and no other warning."""
    with warnings.catch_warnings():
        if kept:
            warnings.filterwarnings("ignore", KEPT_TENSORS_REMARK, UserWarning)
        yield
