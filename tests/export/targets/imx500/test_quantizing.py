"""What the quantizer is given: a network for the chip's bytes."""

import torch

from elir_edge.model import draw_noise
from export.static.unroll import static_form
from export.targets.imx500.mct import _chip_model
from tests.conftest import make_model, tiny_config


def test_bytes_mean_the_same_on_the_chip() -> None:
    """To 1e-3 of 255: it reads and gives multiples of 1/256; the twin is the network as it was."""
    model = make_model(tiny_config())
    static = static_form(model, draw_noise(model.config, 48, 64))
    levels = torch.randint(0, 256, (1, 3, 48, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = 255 * static.stages(levels / 255)["restored"]
        got = 256 * _chip_model(static).stages(levels / 256)["restored"]
        as_it_was = 256 * static.stages(levels / 256)["restored"]
    inside = (wanted > 0) & (wanted < 255)  # the limit of 1 is another level on the chip
    assert inside.float().mean() > 0.1
    assert (got - wanted)[inside].abs().max() < 1e-3
    assert (as_it_was - wanted)[inside].abs().max() > 0.1
