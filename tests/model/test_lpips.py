"""LPIPS on SqueezeNet: known values, where it may be evaluated, gradients that are finite."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.tensors import to_batch
from elir_edge.errors import CheckpointError, UsageError
from elir_edge.metric_weights import read_lpips
from elir_edge.model.lpips import LpipsSqueeze


def _random() -> LpipsSqueeze:
    network = LpipsSqueeze()
    generator = torch.Generator().manual_seed(0)
    for value in network.state_dict().values():
        value.copy_(torch.rand(value.shape, generator=generator) * 0.1)
    return network


def test_a_distance_is_zero_only_for_the_same_image() -> None:
    network = _random()
    a, b = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert network(a, a).abs().max() == 0
    assert network(a, b).shape == (2,)
    assert network(a, b).min() > 0
    assert torch.allclose(network(a, b), network(b, a))


def _by_hand(state: dict[str, Tensor], image: Tensor, reference: Tensor) -> float:
    """SqueezeNet 1.1 (Iandola et al., 2016) and LPIPS 0.1 (Zhang et al., 2018), written out."""
    shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)

    def convolve(name: str, x: Tensor, **options: int) -> Tensor:
        prefix = f"features.{name}"
        return F.conv2d(x, state[f"{prefix}.weight"], state[f"{prefix}.bias"], **options)

    def depths(x: Tensor) -> list[Tensor]:
        x = ((2 * x - 1) - shift) / scale
        x = F.relu(convolve("0", x, stride=2))
        found = [x]
        pooled = False
        for layer in (3, 4, 6, 7, 9, 10, 11, 12):
            if layer in (3, 6, 9):
                x, pooled = F.max_pool2d(x, 3, 2, ceil_mode=True), True
            squeezed = F.relu(convolve(f"{layer}.squeeze", x))
            wide = convolve(f"{layer}.expand3x3", squeezed, padding=1)
            x = F.relu(torch.cat([convolve(f"{layer}.expand1x1", squeezed), wide], dim=1))
            if layer in (4, 7, 9, 10, 11, 12):
                found.append(x)
        assert pooled
        return found

    total = 0.0
    for index, (a, b) in enumerate(zip(depths(image), depths(reference), strict=True)):
        a, b = (each / each.square().sum(1, keepdim=True).sqrt() for each in (a, b))
        weights = state[f"lin{index}"].view(1, -1, 1, 1)
        total += float((weights * (a - b) ** 2).sum(1).mean())
    return total


def test_the_distance_written_out() -> None:
    """Within 1e-5 of the sum, about 0.1; the twin: other channels swapped are farther than that."""
    network = _random()
    generator = torch.Generator().manual_seed(1)
    for name, value in network.state_dict().items():
        if not name.startswith("lin"):
            value.copy_(torch.randn(value.shape, generator=generator) * 0.05)
    a, b = torch.rand(2, 1, 3, 71, 64, generator=generator)
    expected = _by_hand(network.state_dict(), a, b)
    assert float(network(a, b)) == pytest.approx(expected, abs=1e-5)
    assert expected > 0.01
    assert float(network(a[:, [1, 0, 2]], b)) != pytest.approx(expected, abs=1e-5)


def test_gradients_are_finite_where_there_are_no_features() -> None:
    network = LpipsSqueeze()  # all weights are random, those of the sum zero
    network.lin0.fill_(1.0)
    for parameter in network.parameters():
        parameter.data.fill_(-1.0)  # every feature is zero behind the first ReLU
    image = torch.rand(1, 3, 32, 32).requires_grad_(True)
    network(image, torch.rand(1, 3, 32, 32)).sum().backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()


def test_real_weights_give_the_known_distance(shared: Path) -> None:
    """Means over 20 photos, TAESD3's own reconstruction aside: noise of 25.6 is far, 2.56 near."""
    network = read_lpips(shared / "weights")
    rng = np.random.default_rng(0)
    near, far = [], []
    for path in list_images(shared / "data/photos/val")[:5]:
        clean = to_float(centre_crop(read_rgb(path), 128))
        noise = rng.standard_normal(clean.shape, dtype=np.float32) * np.float32(25.6 / 255)
        for distances, scale in ((near, 0.1), (far, 1.0)):
            noisy = np.clip(clean + np.float32(scale) * noise, 0, 1)
            distances.append(float(network(to_batch(noisy), to_batch(clean))))
    assert max(near) < 0.05
    assert min(far) > 0.1


def test_files_that_are_no_lpips(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        read_lpips(tmp_path / "none")
    with pytest.raises(UsageError, match="no lpips_squeeze"):
        read_lpips(tmp_path)
    path = tmp_path / "lpips_squeeze_v0.1.safetensors"
    path.write_bytes(b"not safetensors")
    with pytest.raises(CheckpointError, match="does not hold LPIPS"):
        read_lpips(tmp_path)
