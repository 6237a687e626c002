"""What the quantizer is given: a network for the chip's bytes, and crops with white areas."""

from types import SimpleNamespace

import numpy as np
import torch

from elir_edge.model import draw_noise
from elir_edge.tasks import get_task
from export.int8.mct import _on_the_chip
from export.int8.photos import load_calibration
from export.prepare import prepare
from export.targets.imx500 import _crops
from tests.conftest import make_model, tiny_config


def test_bytes_mean_the_same_on_the_chip() -> None:
    """To 1e-3 of 255: it reads and gives multiples of 1/256; the twin is the network as it was."""
    model = make_model(tiny_config())
    static = prepare(model, draw_noise(model.config, 48, 64))
    levels = torch.randint(0, 256, (1, 3, 48, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = 255 * static.stages(levels / 255)["restored"]
        got = 256 * _on_the_chip(static).stages(levels / 256)["restored"]
        as_it_was = 256 * static.stages(levels / 256)["restored"]
    inside = (wanted > 0) & (wanted < 255)  # the limit of 1 is another level on the chip
    assert inside.float().mean() > 0.1
    assert (got - wanted)[inside].abs().max() < 1e-3
    assert (as_it_was - wanted)[inside].abs().max() > 0.1


def test_some_crops_are_overexposed() -> None:
    calibration = load_calibration("denoising", 64, crops=16)
    graph = SimpleNamespace(calibration=calibration, task=get_task("denoising"))
    crops = _crops(graph)  # type: ignore[arg-type]
    same = [np.array_equal(a, b.degraded) for a, b in zip(crops, calibration.ranges, strict=True)]
    assert [i for i, equal in enumerate(same) if not equal] == [0, 8]
    for i in (0, 8):
        assert crops[i].mean() > calibration.ranges[i].degraded.mean()
    assert all(np.array_equal(a, b) for a, b in zip(crops, _crops(graph), strict=True))  # type: ignore[arg-type]
