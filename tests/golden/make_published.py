"""Regenerate published_sr.npz: `python -m tests.golden.make_published`.

Only after `tests/test_checkpoint.py` and `tests/export/test_published.py` pass against the authors'
reference outputs: this file stands in for those where they are absent.
"""

from pathlib import Path

import numpy as np
import torch

from elir_edge.checkpoints.own import build_model, read_checkpoint
from elir_edge.files import replacing_file
from elir_edge.model import draw_noise
from tests.published import published_shapes, synthetic_state

GOLDEN = Path(__file__).with_name("published_sr.npz")
SIZE = 64


def run(checkpoint: Path) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """Return input, noise, latent, coarse latent and output of the synthetic `sr` checkpoint."""
    model = build_model(read_checkpoint(checkpoint, task="sr"))
    image = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    noise = draw_noise(model.config, SIZE, SIZE)
    with torch.no_grad():
        latent, coarse = model.encoder(image), model.initial_point(image)
        y = model(image, noise)
    values = {"x": image, "noise": noise, "latent": latent, "coarse": coarse, "y": y}
    return {name: value.numpy() for name, value in values.items()}


def save_synthetic(path: Path) -> Path:
    """Write the synthetic checkpoint as a published `.pth`."""
    torch.save(synthetic_state(published_shapes(128, 1, training=False)), path)
    return path


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder, replacing_file(GOLDEN) as temporary:
        np.savez_compressed(temporary, **run(save_synthetic(Path(folder) / "elir_sr.pth")))
