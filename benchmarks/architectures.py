"""Other projects' architectures with random weights, for their speed: the extra `peers`.

spandrel (MIT) and spandrel-extra-arches hold the networks. What an architecture costs does not
depend on its weights; what it restores does, and is not measured with random ones.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from elir_edge.errors import BackendError, ExportError
from export.onnx_graph.to_onnx import IMAGE, OPSET, RESTORED

EXTRA = (
    "pip install '.[peers]' into an environment of its own, without the lock "
    "(a torchvision that fits its torch)"
)
_PACKAGES = ("spandrel.architectures", "spandrel_extra_arches.architectures")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network as its authors published it.

    Attributes:
        title: of its row.
        task: whose published comparison it stands in.
        module: below spandrel's `architectures`.
        name: of the class there.
        options: of the class, for the published size.
        side: of its input, in pixels.
        scale: output pixels per input pixel.
        parameters_m: as counted here, in millions, after `deploy`.
        licence: of the authors' code and weights.
        deploy: turns training's form into the one that is deployed.
    """

    title: str
    task: str
    module: str
    name: str
    options: dict[str, Any]
    side: int
    scale: int
    parameters_m: float
    licence: str
    deploy: Callable[[nn.Module], nn.Module] = lambda network: network


def _collapse_span(network: nn.Module) -> nn.Module:
    """Put the merged 3x3 convolutions in place of SPAN's branches, which eval merges every run."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if hasattr(child, "eval_conv") and hasattr(child, "update_params"):
                child.update_params()
                if child.has_relu:
                    raise ExportError("a SPAN block with an activation of its own is not known")
                setattr(parent, name, child.eval_conv)
    return network


_SWINIR = {
    "img_size": 64, "window_size": 8, "embed_dim": 240, "depths": [6] * 9, "num_heads": [8] * 9,
    "mlp_ratio": 2, "upscale": 4, "upsampler": "nearest+conv", "resi_connection": "3conv",
}  # fmt: skip
_DAT = {
    "img_size": 64, "split_size": [8, 32], "embed_dim": 180, "depth": [6] * 6,
    "num_heads": [6] * 6, "expansion_factor": 4, "upscale": 4,
}  # fmt: skip
_GFPGAN = {
    "out_size": 512, "num_style_feat": 512, "channel_multiplier": 2, "fix_decoder": False,
    "num_mlp": 8, "input_is_latent": True, "different_w": True, "narrow": 1, "sft_half": True,
}  # fmt: skip

ARCHITECTURES = (
    Architecture(
        title="CodeFormer", task="bfr", module="CodeFormer", name="CodeFormer", options={},
        side=512, scale=1, parameters_m=94.1,
        licence="S-Lab License 1.0: no commercial use",
    ),
    Architecture(
        title="GFPGAN", task="bfr", module="GFPGAN", name="GFPGAN", options=_GFPGAN,
        side=512, scale=1, parameters_m=86.4,
        licence="Apache-2.0; its StyleGAN2 parts: NVIDIA, no commercial use",
    ),
    Architecture(
        title="RestoreFormer", task="bfr", module="RestoreFormer", name="RestoreFormer",
        options={}, side=512, scale=1, parameters_m=72.7, licence="Apache-2.0",
    ),
    Architecture(
        title="RRDBNet (Real-ESRGAN, BSRGAN)", task="bsr", module="ESRGAN", name="ESRGAN",
        options={}, side=64, scale=4, parameters_m=16.7,
        licence="BSD-3-Clause (Real-ESRGAN), Apache-2.0 (BSRGAN)",
    ),
    Architecture(
        title="SwinIR-L", task="bsr", module="SwinIR", name="SwinIR", options=_SWINIR,
        side=64, scale=4, parameters_m=28.0, licence="Apache-2.0",
    ),
    Architecture(
        title="DAT", task="bsr", module="DAT", name="DAT", options=_DAT,
        side=64, scale=4, parameters_m=14.8, licence="Apache-2.0",
    ),
    Architecture(
        title="SPAN", task="bsr", module="SPAN", name="SPAN",
        options={"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 48, "upscale": 4},
        side=64, scale=4, parameters_m=0.43, licence="Apache-2.0", deploy=_collapse_span,
    ),
)  # fmt: skip


class Restoring(nn.Module):
    """A network whose forward returns the image alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Map (1, 3, H, W) to the restored image."""
        found = self.network(image)
        restored: Tensor = found if isinstance(found, Tensor) else found[0]
        return restored


def require_packages() -> None:
    """Require the extra `peers`.

    Raises:
        BackendError: a package is missing, or cannot be imported.
    """
    for package in _PACKAGES:
        try:
            import_module(package)
        except (ImportError, RuntimeError) as error:  # a torchvision of another torch raises it
            reason = str(error).splitlines()[0]
            raise BackendError(f"{package} cannot be imported ({reason})", fix=EXTRA) from error


def build(architecture: Architecture) -> Restoring:
    """Return a network with random weights, in evaluation mode, float32 on the CPU.

    Raises:
        BackendError: the extra `peers` is not installed, or not in a version with this network.
        ExportError: the network cannot be brought into its deployed form.
    """
    require_packages()
    modules = [f"{package}.{architecture.module}" for package in _PACKAGES]
    for name in modules:
        try:
            found = getattr(import_module(name), architecture.name)
        except ModuleNotFoundError:
            continue
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = found(**architecture.options).eval().requires_grad_(False)
        return Restoring(architecture.deploy(network)).eval()
    raise BackendError(f"neither {' nor '.join(modules)} exists", fix=EXTRA)


def count_parameters_m(network: nn.Module) -> float:
    """Return the millions of parameters."""
    return sum(each.numel() for each in network.parameters()) / 1e6


def to_onnx_file(network: Restoring, image: Tensor, path: Path) -> None:
    """Export a network for images of one size.

    Raises:
        ExportError: torch's exporter refuses the network.
    """
    with _without_remarks():
        try:
            program = torch.onnx.export(
                network,
                (image,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[IMAGE],
                output_names=[RESTORED],
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ExportError(
                f"torch's exporter refuses it ({str(error).splitlines()[0]})"
            ) from error
    if program is None:
        raise ExportError("torch's exporter returned nothing")
    onnx.save(program.model_proto, path)


@contextlib.contextmanager
def _without_remarks() -> Iterator[None]:
    """Keep one remark off the screen, a line per LayerNormalization: it is not folded."""
    logger = logging.getLogger("onnxscript.optimizer._constant_folding")

    def passes(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Skipping constant folding for op")

    logger.addFilter(passes)
    try:
        yield
    finally:
        logger.removeFilter(passes)
