"""What fits the chip: anchored to the converter's reports, and full size is refused."""

import dataclasses

import pytest
import torch
from torch import nn

from elir_edge.errors import ExportError
from elir_edge.model import Elir, nano_config, paper_config_for
from elir_edge.model.config import ModelConfig, sensor_config
from export.targets.imx500.convert import CHIP_BYTES, MEGABYTE
from export.targets.imx500.fit import MemoryEstimate, Refusal, _refusals, estimate
from tests.conftest import tiny_config


@pytest.mark.parametrize(("size", "weights", "running"), [(128, 2.19, 1.00), (256, 2.24, 4.00)])
def test_near_the_converters_reports_on_the_sensor_s_weights(
    size: int, weights: float, running: float
) -> None:
    fit = estimate(Elir(sensor_config()), size)
    assert fit.fits
    assert fit.weights_bytes / MEGABYTE == pytest.approx(weights, rel=0.05)
    # On the safe side: the largest map has 36 channels.
    assert running <= fit.running_bytes / MEGABYTE <= 1.15 * running


def test_the_largest_size_is_the_last_that_fits() -> None:
    model = Elir(sensor_config())
    largest = estimate(model, 128).largest_size
    assert estimate(model, largest).fits
    larger = estimate(model, largest + model.size_multiple)
    assert not larger.fits
    with pytest.raises(ExportError, match=rf"sensor model at {larger.size} .*use SIZE={largest}"):
        larger.require()


def test_full_size_is_refused_with_numbers_layers_and_mends() -> None:
    with torch.device("meta"):
        shapes = Elir(paper_config_for("denoising", num_steps=3, sigma_s=0.1))
    fit = estimate(shapes, 256)
    assert fit.weights_bytes > 8 * CHIP_BYTES
    with pytest.raises(ExportError, match=r"MB of weights and 32\.00 MB to run.*`sensor`"):
        fit.require()
    text = str(fit)
    assert "norm `none`" in text
    assert "transpose2" in text
    assert "does not fit" in text


def test_each_refused_operation_is_found() -> None:
    config = dataclasses.replace(nano_config(), velocity_upsample="transpose4")
    (refusal,) = estimate(Elir(config), 64).refusals
    assert "kernel 2" in refusal.reason
    assert all("resample" in layer for layer in refusal.layers)
    assert not estimate(Elir(nano_config()), 64).refusals


def test_what_people_read() -> None:
    refusal = Refusal(layers=("a", "b", "c"), reason="why", fix="do this")
    fit = MemoryEstimate(
        variant="tiny",
        size=64,
        weights_bytes=MEGABYTE,
        running_bytes=2 * MEGABYTE + MEGABYTE // 4,
        largest=("encoder.0", (8, 32, 64)),
        refusals=(refusal,),
        largest_size=0,
    )
    total = CHIP_BYTES / MEGABYTE
    assert str(fit).splitlines() == [
        "tiny at 64 x 64 on the IMX500 (estimates)",
        "  weights    1.00 MB",
        "  running    2.25 MB, set by encoder.0 (8 x 32 x 64)",
        f"  in all     3.25 MB of {total:.2f} MB",
        "  refused  3 layers (a, b, ...): why; do this",
        "  does not fit; largest size that would: none",
    ]
    assert str(dataclasses.replace(fit, refusals=(), largest_size=96)).splitlines()[-1] == (
        "  fits; largest size that would: 96"
    )


@pytest.mark.parametrize(("running", "fits"), [(0, True), (1, False)])
def test_the_chips_memory_may_be_filled(running: int, fits: bool) -> None:
    fit = MemoryEstimate(
        variant="tiny",
        size=64,
        weights_bytes=CHIP_BYTES - 100,
        running_bytes=100 + running,
        largest=("encoder.0", (8, 32, 64)),
        refusals=(),
        largest_size=64,
    )
    assert fit.fits is fits


def _tiny(**changes: object) -> ModelConfig:
    return dataclasses.replace(tiny_config(), **changes)  # type: ignore[arg-type]


def test_memory_by_hand() -> None:
    """1.2 bytes a weight, the field's once a step; eight times the largest map."""
    models = {steps: Elir(_tiny(num_steps=steps)) for steps in (1, 2, 5)}
    weights = sum(p.numel() for p in models[1].parameters())
    field = sum(p.numel() for p in models[1].velocity.parameters())
    for steps, model in models.items():
        fit = estimate(model, 64)
        assert fit.weights_bytes == round(1.2 * (weights + (steps - 1) * field))
        assert fit.largest == ("decoder.layers.7", (3, 64, 64))  # the others have 8 x 32 x 32
        assert fit.running_bytes == 8 * 3 * 64 * 64
    wide = estimate(Elir(_tiny(autoencoder_widths=(16, 8, 8))), 64)
    assert wide.largest[1] == (16, 32, 32)
    assert wide.running_bytes == 8 * 16 * 32 * 32
    # The largest side s has 8 x 3 s^2 bytes at most, and is a multiple of what the model takes.
    fit = estimate(models[1], 64)
    room = (CHIP_BYTES - fit.weights_bytes) / 24
    multiple = models[1].size_multiple
    assert fit.largest_size % multiple == 0
    assert fit.largest_size**2 <= room < (fit.largest_size + multiple) ** 2


def test_too_many_weights_leave_no_size() -> None:
    with torch.device("meta"):
        fit = estimate(Elir(paper_config_for("bfr", num_steps=5, sigma_s=0.1)), 64)
    assert fit.largest_size == 0
    assert str(fit).endswith("largest size that would: none")
    with pytest.raises(ExportError, match=r"fix: use the variant `nano` or `sensor`"):
        dataclasses.replace(fit, refusals=()).require()


def test_a_refused_operation_has_no_size_that_helps() -> None:
    fit = estimate(Elir(_tiny(velocity_upsample="transpose4")), 64)
    assert (fit.fits, fit.largest_size > 64) == (False, True)
    with pytest.raises(
        ExportError,
        match=r"; \d layers such as velocity\S+: .*expected 8 MB in all; fix: use the v",
    ):
        fit.require()


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.GroupNorm(1, 4), "norm `none`"),
        (nn.InstanceNorm2d(4), "norm `none`"),
        (nn.PixelShuffle(2), "kernel 2 and stride 2"),
        (nn.PReLU(), "SiLU or ReLU"),
        (nn.ConvTranspose2d(4, 4, 4, stride=2), "transpose2"),
        (nn.ConvTranspose2d(4, 4, 2, stride=1), "transpose2"),
        (nn.ConvTranspose2d(4, 4, 2, stride=2), None),
        (nn.Conv2d(4, 4, 3), None),
        (nn.ReLU(), None),
    ],
)
def test_table_of_refused_operations(layer: nn.Module, said: str | None) -> None:
    found = list(_refusals(nn.Sequential(nn.Conv2d(4, 4, 1), layer)))
    assert [refusal.layers for refusal in found] == ([("1",)] if said else [])
    assert all(said in refusal.fix for refusal in found if said)
