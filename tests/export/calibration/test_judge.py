"""How int8 graphs are judged, by hand."""

import dataclasses

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from elir_edge.errors import ParityError
from export.calibration.judge import Judge, Quality, differences, feed_of
from export.calibration.photos import CalibrationCrop
from export.qdq.convolutions import stage_of_nodes

_QUALITY = Quality(psnr_db=41.0, worst_psnr_db=35.0, lost_db=0.1)


def test_limits_themselves_are_kept() -> None:
    assert _QUALITY.within(35.0, 0.1)
    for changed in (
        {"worst_psnr_db": 34.999},
        {"lost_db": 0.1001},
        {"worst_psnr_db": float("nan")},
        {"lost_db": float("nan")},
    ):
        assert not dataclasses.replace(_QUALITY, **changed).within(35.0, 0.1)
    # The mean does not count.
    assert dataclasses.replace(_QUALITY, psnr_db=1.0).within(35.0, 0.1)


def test_means_and_the_worst() -> None:
    quality = Quality.of([40.0, 30.0, 50.0], [0.1, -0.1, 0.3])
    assert quality.psnr_db == pytest.approx(40)
    assert quality.worst_psnr_db == 30
    assert quality.lost_db == pytest.approx(0.1)


def _gray(level: float) -> NDArray[np.float32]:
    return np.full((4, 6, 3), level, np.float32)


def test_differences_by_hand() -> None:
    """float32 is 0.1 from the clean image (20 dB); int8 0.01 farther: 40 dB, and 19.17 left."""
    near, lost = differences([_gray(0.5)], [_gray(0.6)], [_gray(0.61)])
    assert near == pytest.approx([40], abs=1e-3)
    assert lost == pytest.approx([20 - -20 * np.log10(0.11)], abs=1e-3)
    near, lost = differences([_gray(0.5)], [_gray(0.6)], [_gray(0.59)])
    assert lost[0] < 0
    with pytest.raises(ParityError):
        differences([_gray(0.5)], [_gray(0.5)], [_gray(0.5)[:2]])
    with pytest.raises(ValueError, match=r"shorter"):
        differences([_gray(0.5)], [_gray(0.5)], [])


def _crop() -> CalibrationCrop:
    rng = np.random.default_rng(0)
    clean, degraded = (rng.random((4, 6, 3), dtype=np.float32) for _ in range(2))
    return CalibrationCrop(clean=clean, degraded=degraded)


def test_what_a_graph_is_fed() -> None:
    example = _crop()
    feed = feed_of(example, 2, None)
    assert list(feed) == ["image"]
    assert feed["image"].shape == (2, 3, 4, 6)
    assert feed["image"].flags["C_CONTIGUOUS"]
    for image in feed["image"]:
        assert np.array_equal(image.transpose(1, 2, 0), example.degraded)
    noise = np.ones((2, 16, 1, 1), np.float32)
    assert feed_of(example, 2, noise)["noise"] is noise


def test_a_judge_compares_first_images_with_the_float_graph_s() -> None:
    example = _crop()

    def shifted(by: float) -> object:
        def run(feed: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
            image = feed["image"] + np.float32(by)
            image[1] = 7  # the second of the batch is not looked at
            return {"restored": image}

        return run

    judge = Judge([example], 2, None, shifted(0.0))  # type: ignore[arg-type]
    quality = judge(shifted(0.01))  # type: ignore[arg-type]
    assert quality.psnr_db == pytest.approx(40, abs=1e-2)
    assert quality.worst_psnr_db == quality.psnr_db
    assert judge(shifted(0.0)).lost_db == 0  # type: ignore[arg-type]
    # The twin: an image with rows and columns exchanged is nothing like it.
    turned = judge(lambda feed: {"restored": feed["image"][..., ::-1].copy()})
    assert turned.psnr_db < 15


def test_nodes_belong_to_the_first_stage_that_needs_them() -> None:
    def node(name: str, inputs: list[str], output: str) -> onnx.NodeProto:
        return helper.make_node("Sum", inputs, [output], name=name)

    nodes = [
        node("a", ["image"], "x"),
        node("b", ["x"], "latent"),
        node("c", ["x", "latent"], "y"),
        node("d", ["y"], "restored"),
        node("unused", ["image"], "nothing"),
    ]
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("latent", "restored")
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph(nodes, "g", [image], values))
    assert stage_of_nodes(model) == {"a": "latent", "b": "latent", "c": "restored", "d": "restored"}
