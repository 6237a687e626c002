"""Multiply-accumulates against counts by hand; the chains compute what they say."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from benchmarks.peaks import Arithmetic, count_macs, make_chain
from export.qdq.running import running


def _one(
    kind: str, kernel: tuple[int, ...], shape: list[int], **attributes: object
) -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.zeros(kernel, np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "w"], ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_macs_by_hand() -> None:
    # 6 x 8 outputs of 5 channels, each a sum over 3 x 3 x 4.
    model = _one("Conv", (5, 4, 3, 3), [1, 4, 12, 16], strides=[2, 2], pads=[1, 1, 1, 1])
    assert count_macs(model) == 6 * 8 * 5 * 3 * 3 * 4
    # Two groups halve what an output reads.
    model = _one("Conv", (6, 2, 3, 3), [1, 4, 12, 16], group=2, pads=[1, 1, 1, 1])
    assert count_macs(model) == 12 * 16 * 6 * 3 * 3 * 2
    # Every one of 12 x 16 x 4 inputs meets 2 x 2 x 5 weights.
    model = _one("ConvTranspose", (4, 5, 2, 2), [1, 4, 12, 16], strides=[2, 2])
    assert count_macs(model) == 12 * 16 * 4 * 5 * 2 * 2


@pytest.mark.parametrize("arithmetic", ["fp32", "int8"])
def test_chain_is_a_chain_of_convolutions(arithmetic: Arithmetic) -> None:
    chain = make_chain(arithmetic, 8, 12)
    assert count_macs(chain.model) == chain.macs == 4 * 9 * 8 * 8 * 12 * 12
    with running(chain.model) as run:
        got = run(chain.feed)["y"]
    want = torch.from_numpy(chain.feed["x"])
    rng = np.random.default_rng(0)
    rng.random((1, 8, 12, 12), dtype=np.float32)
    for _ in range(4):
        if arithmetic == "int8":
            want = (want * 255).round().clamp(0, 255) / 255
        levels = rng.integers(-127, 128, (8, 8, 3, 3)).astype(np.float32) * np.float32(
            np.sqrt(2 / 72) / 73
        )
        want = torch.conv2d(want, torch.from_numpy(levels), padding=1)
    if arithmetic == "int8":
        want = (want * 255).round().clamp(0, 255) / 255
    assert got.max() > 0
    # A level of 1/255 may fall the other way in another order of additions.
    tolerance = 1.01 / 255 if arithmetic == "int8" else 1e-5
    assert np.abs(got - want.relu().numpy()).max() <= tolerance
    corrupted = got + np.float32(2 * tolerance)
    assert np.abs(corrupted - want.relu().numpy()).max() > tolerance
