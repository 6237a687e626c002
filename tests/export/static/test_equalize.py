"""Equalization keeps the function and evens out the channels."""

import pytest
import torch
from torch import nn

from elir_edge.errors import ParityError
from elir_edge.model import draw_noise
from export.static.equalize import _factor, _Trunk, channel_factors, equalize
from export.static.unroll import StaticElir, static_form
from export.verify import model_stages, verify_exact
from tests.conftest import make_model, tiny_config, tiny_published_like

CONFIGS = {"nano-like": tiny_config(), "published-like": tiny_published_like()}


def _case(config: str) -> tuple[StaticElir, torch.Tensor, dict]:  # type: ignore[type-arg]
    model = make_model(CONFIGS[config]).double()
    image = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(0)).double()
    noise = draw_noise(model.config, 48, 64).double()
    return static_form(model, noise), image, model_stages(model, image, noise)


@pytest.mark.parametrize("config", CONFIGS)
def test_keeps_every_stage(config: str) -> None:
    """To 1e-10 in float64; the twin has one kernel scaled on one side only."""
    static, image, expected = _case(config)
    factors = channel_factors(static, [(image,)])
    equalized, count = equalize(static, factors)
    assert count == len(factors) > 4
    assert max(float((f - 1).abs().max()) for f in factors) > 0.1
    verify_exact("equalize", expected, equalized, image, None)
    first = equalized.encoder.layers[0]
    assert isinstance(first, nn.Conv2d)
    first.weight.mul_(1.001)
    with pytest.raises(ParityError):
        verify_exact("equalize", expected, equalized, image, None)


def test_rounds_nothing() -> None:
    """In float32 every stage is the same to the last bit: the factors are powers of two."""
    static, image, _ = _case("nano-like")
    static, image = static.float(), image.float()
    factors = channel_factors(static, [(image,)])
    equalized, _ = equalize(static, factors)
    for name, value in static.stages(image).items():
        assert torch.equal(value, equalized.stages(image)[name]), name
    other, _ = equalize(static, [1.1 * factor for factor in factors])
    assert not torch.equal(static.stages(image)["restored"], other.stages(image)["restored"])


def test_evens_out_the_channels() -> None:
    """A channel made 50 times louder, and what reads it deaf to it, comes back into the row."""
    static, image, _ = _case("nano-like")
    block = static.encoder.layers[1]
    first, second = block.convs[0], block.convs[1]  # type: ignore[index, union-attr]
    first.weight[3] *= 50
    first.bias[3] *= 50
    second.weight[:, 3] /= 50

    def spread(model: StaticElir) -> float:
        peaks = []
        inner = model.encoder.layers[1].convs[1]  # type: ignore[index, union-attr]
        handle = inner.register_forward_pre_hook(
            lambda module, arguments: peaks.append(arguments[0].amax((0, 2, 3)))
        )
        model.stages(image)
        handle.remove()
        return float(peaks[0].max() / peaks[0].median())

    equalized, _ = equalize(static, channel_factors(static, [(image,)]))
    assert spread(equalized) < spread(static) / 5


def test_a_factor_by_hand() -> None:
    """Activation^0.7 / weight^0.3 over its geometric mean, to the nearest power of two.

    A channel without activation counts as 0.05 of the loudest, here 0.8.
    """
    static, _, _ = _case("nano-like")
    writer, reader = static.encoder.layers[2], static.encoder.layers[3].convs[0]  # type: ignore[index, union-attr]
    assert isinstance(writer, nn.Conv2d)
    trunk = _Trunk(writers=["encoder.layers.2"], readers=["encoder.layers.3.convs.0"])
    reader.weight.data.zero_()
    activation = torch.tensor([16.0, 1.0, 0.0] + [1.0] * 5, dtype=torch.float64)
    weight = torch.tensor([0.25, 4.0, 4.0] + [1.0] * 5, dtype=torch.float64)
    reader.weight.data[2, :, 1, 1] = -weight
    found = _factor(static, trunk, {"encoder.layers.3.convs.0": activation})
    raw = torch.tensor([16.0, 1.0, 0.8] + [1.0] * 5, dtype=torch.float64) ** 0.7 / weight**0.3
    expected = 2 ** (raw / raw.log().mean().exp()).log2().round()
    assert torch.equal(found, expected)
    assert found[0] > found[3] > found[2]
    # Of several readers the loudest activation and the largest weight count.
    silent = _factor(static, trunk, {"encoder.layers.3.convs.0": torch.zeros(8).double()})
    assert torch.equal(silent, torch.ones(8).double())
    quiet = _factor(static, trunk, {"encoder.layers.3.convs.0": activation / 1000})
    assert torch.equal(quiet, expected)
