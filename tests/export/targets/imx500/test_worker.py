"""What runs in the quantizer's environment: the check that it leaves, and the graph's options."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import export.targets.imx500.worker as worker
from elir_edge.model import draw_noise
from export.static.unroll import StaticElir, static_form
from export.targets.imx500.handover import ModelDescription, hand_over
from export.targets.imx500.mct import QUANTIZED, batches_of
from export.targets.imx500.worker import CHECK, IMAGES
from tests.conftest import make_model, tiny_config

_SIZE = 64


def _doubling() -> onnx.ModelProto:
    shape = [1, 3, _SIZE, _SIZE]
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Add", ["x", "x"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        ),
        opset_imports=[helper.make_opsetid("", 15)],
        ir_version=8,
    )


def test_it_quantizes_and_shows_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the first image, as bytes; the graph reads multiples of 1/256, channels first."""
    model = make_model(tiny_config())
    static = static_form(model, draw_noise(model.config, _SIZE, _SIZE))
    hand_over(static, ModelDescription(config=model.config, rewrites=(), size=_SIZE), tmp_path)
    images = np.random.default_rng(0).random((2, _SIZE, _SIZE, 3), np.float32)
    np.save(tmp_path / IMAGES, images)
    given: list[tuple[StaticElir, Sequence[np.ndarray]]] = []

    def quantize(taken: StaticElir, seen: Sequence[np.ndarray], folder: Path) -> None:
        given.append((taken, seen))
        onnx.save(_doubling(), folder / QUANTIZED)

    monkeypatch.setattr(worker, "quantize_for_sensor", quantize)
    monkeypatch.setattr(worker, "session_options", lambda: None)
    worker.main(tmp_path)
    ((taken, seen),) = given
    assert taken.state_dict().keys() == static.state_dict().keys()
    assert np.array_equal(np.stack(seen), images)
    with np.load(tmp_path / CHECK) as arrays:
        image, restored = arrays["image"], arrays["restored"]
    assert image.dtype == np.uint8
    assert np.array_equal(image, np.rint(images[:1] * 255))
    assert restored.dtype == np.float32
    assert np.array_equal(restored, image.transpose(0, 3, 1, 2) / np.float32(128))


def test_each_pass_gets_all_images() -> None:
    """One a batch, channels first, as copies."""
    images = [np.random.default_rng(i).random((4, 6, 3), np.float32) for i in range(3)]
    source = batches_of(images)
    for _ in range(2):
        batches = [batch for (batch,) in source()]
        assert [tuple(batch.shape) for batch in batches] == [(1, 3, 4, 6)] * 3
        for image, batch in zip(images, batches, strict=True):
            assert np.array_equal(batch.numpy()[0].transpose(1, 2, 0), image)
            batch.zero_()
