"""`benchmarks/stage_speed.py`: the pieces are the graph, and their work is its work."""

import numpy as np
import onnx
import pytest

from benchmarks.own_graphs import float_graph, sample_batch, shipped_model, static_model
from benchmarks.stage_speed import WHOLE, Piece, app, cut, measured
from export.onnx_graph.to_onnx import IMAGE, RESTORED
from export.qdq.running import running
from tests.conftest import Run, assert_mistake

_SIDE = 64
_TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def pieces() -> list[Piece]:
    """The shipped `denoising` in pieces."""
    model = shipped_model("denoising")
    graph = float_graph(static_model(model, _SIDE), "denoising", _SIDE)
    return cut(graph, {IMAGE: sample_batch("denoising", _SIDE)}, model.config.num_steps)


def _last(piece: Piece) -> np.ndarray:
    with running(piece.model) as run:
        return np.asarray(run(piece.inputs)[RESTORED])


def test_pieces_in_a_row_are_the_whole(pieces: list[Piece]) -> None:
    *parts, decoder, whole = pieces
    assert [piece.name for piece in pieces] == [
        "encoder",
        "coarse estimator",
        *(f"Euler step {i}" for i in (1, 2, 3)),
        "decoder",
        WHOLE,
    ]
    assert sum(piece.macs for piece in [*parts, decoder]) == whole.macs
    assert all(piece.macs > 0 for piece in pieces)
    np.testing.assert_allclose(_last(decoder), _last(whole), atol=_TOLERANCE)


def test_another_decoder_is_noticed(pieces: list[Piece]) -> None:
    *_, decoder, whole = pieces
    other = onnx.ModelProto()
    other.CopyFrom(decoder.model)
    node = next(node for node in other.graph.node if node.op_type == "Conv")
    weight = next(each for each in other.graph.initializer if each.name == node.input[1])
    values = onnx.numpy_helper.to_array(weight) * np.float32(1.01)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    changed = Piece(name="decoder", model=other, inputs=decoder.inputs)
    assert np.abs(_last(changed) - _last(whole)).max() > _TOLERANCE


def test_rows_relate_to_the_whole_and_to_the_peak(pieces: list[Piece]) -> None:
    rows = measured(pieces, "fp32", "onnxruntime", threads=1, rounds=1)
    assert [row.piece for row in rows] == [*(piece.name for piece in pieces), "peak"]
    whole, peak = rows[-2:]
    assert (whole.of_whole, peak.of_peak) == (1.0, 1.0)
    for row in rows:
        share = row.milliseconds / whole.milliseconds
        assert row.of_whole == pytest.approx(share, rel=0.05, abs=0.02)
        rate = row.gmac / row.milliseconds / (peak.gmac / peak.milliseconds)
        assert row.of_peak == pytest.approx(rate, rel=0.1, abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--precision", "int4"), "unknown precision 'int4'; expected one of fp32, int8"),
        (("--runtime", "onnxruntime,trt"), "unknown runtime 'trt'; expected one of onnxruntime"),
        (("--size", 33), "size 33 does not fit the nano model"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[object, ...], message: str, run_any: Run) -> None:
    done = run_any(app, *arguments)
    assert done.out == ""
    assert_mistake(done, 2, message)
