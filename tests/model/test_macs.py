"""Multiply-accumulates, by hand and of the published sizes."""

from elir_edge.model import Elir, nano_config, paper_config_for
from elir_edge.model.macs import macs_of
from tests.conftest import tiny_config


def test_by_hand() -> None:
    """Of the tiny model's coarse estimator, from its layers."""
    model = Elir(tiny_config())
    convolutions = [m for m in model.coarse.modules() if hasattr(m, "kernel_size")]
    weights = sum(conv.weight.numel() for conv in convolutions)
    assert macs_of(model, 64)["coarse"] == weights * (64 // 8) ** 2
    assert macs_of(model, 128)["coarse"] == 4 * macs_of(model, 64)["coarse"]


def test_every_euler_step_counts() -> None:
    once, twice = (macs_of(Elir(tiny_config(num_steps=k)), 64)["velocity"] for k in (1, 2))
    assert twice == 2 * once


def test_published_sizes() -> None:
    """249 GMAC for `bfr` at 512; nano has to stay below 4 at 256."""
    bfr = macs_of(Elir(paper_config_for("bfr", num_steps=5, sigma_s=0.1)).eval(), 512)
    assert 245e9 < sum(bfr.values()) < 252e9
    assert sum(macs_of(Elir(nano_config()), 256).values()) < 4e9
