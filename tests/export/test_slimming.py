"""What a slim decoder costs is measured on the same latents, and told in the bundle."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import elir_edge.checkpoints.slim as slim
from elir_edge.checkpoints.own import Checkpoint, save_checkpoint
from elir_edge.errors import UsageError
from elir_edge.model import Elir, ModelConfig, draw_noise, paper_config_for
from elir_edge.runtime import Bundle
from export.calibration.photos import load_calibration
from export.plan import run_export
from export.reporting import SILENT
from export.request import Request
from export.sample import make_sample
from export.slimming import compare_decoders
from tests.conftest import make_model

_SIZE = 64


def _config() -> ModelConfig:
    """Return a small model whose decoder has TAESD3's shape."""
    values = paper_config_for("sr", num_steps=1, sigma_s=0.1).to_dict()
    small = {"coarse_blocks": 0, "velocity_width": 32, "velocity_multipliers": [2]}
    return ModelConfig.from_dict(values | small | {"time_features": 8, "time_width": 8})


def _gray(level: float) -> Elir:
    """Return a model that makes gray images."""
    model = make_model(_config())
    last = model.decoder.layers[-1]  # type: ignore[index, union-attr]
    last.weight.data.zero_()  # type: ignore[operator, union-attr]
    last.bias.data.fill_(level)  # type: ignore[operator, union-attr]
    return model


def test_the_same_decoder_costs_nothing_and_a_worse_one_does() -> None:
    model, worse = _gray(0.45), _gray(0.95)
    examples = load_calibration("sr", _SIZE, crops=1).gates[:2]
    given = (make_sample("sr", _SIZE, 1), examples, draw_noise(model.config, _SIZE, _SIZE))
    same = compare_decoders(model, model, *given, None, SILENT)
    (check,) = same.checks
    assert (check.metric, check.value, check.passed) == ("lost_db", 0.0, True)
    assert same.full.shape == (_SIZE, _SIZE, 3)
    (check,) = compare_decoders(model, worse, *given, None, SILENT).checks
    assert check.value > 0.3
    assert not check.passed


def test_lpips_is_told_beside(shared: Path) -> None:
    from elir_edge.metric_weights import read_lpips

    model, worse = _gray(0.45), _gray(0.95)
    examples = load_calibration("sr", _SIZE, crops=1).gates[:2]
    given = (make_sample("sr", _SIZE, 1), examples, draw_noise(model.config, _SIZE, _SIZE))
    lpips = read_lpips(shared / "weights")
    checks = compare_decoders(model, worse, *given, lpips, SILENT).checks
    assert [check.metric for check in checks] == ["lost_db", "lpips_added"]
    same = compare_decoders(model, model, *given, lpips, SILENT).checks
    assert same[1].value == pytest.approx(0.0, abs=1e-6)
    assert checks[1].value != pytest.approx(0.0, abs=1e-3)


def test_the_bundle_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint whose decoder is taken for TAESD3's; a real one: `test_published.py`."""
    monkeypatch.setattr(slim, "departure", lambda decoder: 0.0)
    path = tmp_path / "c.safetensors"
    model = make_model(_config())
    checkpoint = Checkpoint(task="sr", config=model.config, state=model.state_dict())
    save_checkpoint(path, checkpoint, dtype=torch.float32)
    request = Request(
        task="sr", target="onnx", size=_SIZE, checkpoint=path, decoder="slim", out=tmp_path / "d"
    )
    folder = run_export(request).folder
    assert folder.name.startswith("sr-paper-slim-onnx-fp32-64-")
    manifest = Bundle.open(folder).manifest
    assert manifest.request["decoder"] == "slim"
    assert manifest.source.config["decoder_size"] == "slim"
    (cost,) = [check for check in manifest.validation if check.form == "slim decoder"]
    assert np.isfinite(cost.value)
    with Image.open(folder / "preview.png") as preview:
        assert preview.width > 4 * _SIZE  # input, full decoder, torch, artifact


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": "tiny"}, "unknown decoder 'tiny'; expected own or slim"),
        ({"metric_weights": Path()}, "fix: leave out --metric-weights, or pass --decoder slim"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Request(task="sr", target="onnx", **options)  # type: ignore[arg-type]
