"""The published architecture keeps giving what it gave when the authors' references passed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from elir_edge.checkpoints.own import build_model, read_checkpoint
from tests.golden.make_published import GOLDEN, run, save_synthetic


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the synthetic published checkpoint."""
    return save_synthetic(tmp_path_factory.mktemp("golden") / "elir_sr.pth")


def test_published_form_is_unchanged(checkpoint: Path) -> None:
    golden = np.load(GOLDEN)
    for name, value in run(checkpoint).items():
        assert np.abs(value - golden[name]).max() <= 1e-4, name


def test_a_changed_kernel_is_seen(checkpoint: Path) -> None:
    golden = np.load(GOLDEN)
    model = build_model(read_checkpoint(checkpoint, task="sr"))
    model.velocity.in_proj.weight.data[0, 0] += 0.5
    with torch.no_grad():
        y = model(torch.from_numpy(golden["x"]), torch.from_numpy(golden["noise"]))
    assert np.abs(y.numpy() - golden["y"]).max() > 1e-4
