"""The check of Q/DQ graphs for TensorRT; it needs neither TensorRT nor a GPU."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from elir_edge.errors import ExportError
from export.targets.tensorrt.int8 import require_symmetric


def _quantizers(zeros: list[np.generic]) -> onnx.ModelProto:
    """Return a graph of the nodes q0, q1, ... with the given zero points."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", f"z{i}"], [f"y{i}"], name=f"q{i}")
        for i in range(len(zeros))
    ]
    constants = [
        numpy_helper.from_array(np.array(0.1, np.float32), "s"),
        *(numpy_helper.from_array(np.array(zero), f"z{i}") for i, zero in enumerate(zeros)),
    ]
    return helper.make_model(helper.make_graph(nodes, "g", [], [], constants))


def test_symmetric_nodes_pass() -> None:
    require_symmetric(_quantizers([np.int8(0)] * 6))


@pytest.mark.parametrize("zero", [np.uint8(0), np.int8(3), np.int32(0)])
def test_one_node_that_is_not_symmetric(zero: np.generic) -> None:
    with pytest.raises(
        ExportError, match=rf"1 with another zero point: q1 \({zero.dtype.name} {zero}\)$"
    ):
        require_symmetric(_quantizers([np.int8(0), zero]))


def test_all_nodes_that_are_not_symmetric_are_listed() -> None:
    with pytest.raises(ExportError) as caught:
        require_symmetric(_quantizers([np.int8(0), *(np.uint8(i) for i in range(6))]))
    assert str(caught.value) == (
        "TensorRT supports only int8 with zero point 0; got 6 with another zero point: "
        "q1 (uint8 0), q2 (uint8 1), q3 (uint8 2), q4 (uint8 3), q5 (uint8 4), q6 (uint8 5)"
    )
