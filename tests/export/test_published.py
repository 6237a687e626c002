"""The published sizes, from checkpoint file to ONNX, against the reference outputs."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from elir_edge.checkpoints.own import build_model, read_checkpoint
from export.onnx_graph.to_onnx import to_probe_graph
from export.plan import run_export
from export.request import Request
from export.static.rewrites import REWRITES
from export.static.unroll import static_form
from export.verify import onnx_stages
from tests.published import published_shapes, synthetic_state

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published_sr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a `.pth` of the published `sr` form with synthetic weights."""
    path = tmp_path_factory.mktemp("published") / "elir_sr.pth"
    torch.save(synthetic_state(published_shapes(128, 1, training=False)), path)
    return path


def test_onnx_gives_the_published_reference(
    published_sr: Path, shared: Path, tmp_path: Path
) -> None:
    golden = np.load(shared / "official" / "golden_sr.npz")
    image, noise = torch.from_numpy(golden["x"]), torch.from_numpy(golden["noise"])
    static = static_form(build_model(read_checkpoint(published_sr, task="sr")), None)
    for name, rewrite in REWRITES.items():
        rewritten = rewrite(static)
        static = rewritten.static
        assert (rewritten.count > 0) == (name != "transpose_to_shuffle")  # no kernel of 2 in these
    path = tmp_path / "probe.onnx"
    onnx.save(to_probe_graph(static, image, noise), path)
    got = onnx_stages(path, static.stage_names, image, noise, "onnxruntime")
    for stage, key in (("latent", "latent"), ("coarse", "coarse"), ("decoded", "y")):
        difference = float(np.abs(got[stage] - golden[key]).max())
        print(f"{stage}: largest difference {difference:.2e}")
        assert difference <= 1e-4, stage
    # The twin: another draw of the noise is not the reference.
    other = onnx_stages(path, static.stage_names, image, noise + 0.01, "onnxruntime")
    assert np.abs(other["decoded"] - golden["y"]).max() > 1e-4


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_published_size_exports(precision: str, published_sr: Path, tmp_path: Path) -> None:
    exported = run_export(
        Request(
            task="sr",
            target="onnx",
            precision=precision,
            size=128,
            checkpoint=published_sr,
            out=tmp_path,
        )
    )
    digest = read_checkpoint(published_sr, task="sr").sha256
    assert exported.folder.name == f"sr-paper-onnx-{precision}-128-{digest[:8]}"
    kernels_mb = 26.89 * (4 if precision == "fp32" else 2)
    size_mb = (exported.folder / "model.onnx").stat().st_size / 1e6
    # One copy of the weights, not one per Euler step.
    assert size_mb < 1.1 * kernels_mb
