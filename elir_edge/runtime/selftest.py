"""Does a bundle still give, on this device, what it gave when it was made?"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elir_edge.errors import BundleError
from elir_edge.metrics import psnr
from elir_edge.runtime.arrays import FloatImage, float_as, region_as_float
from elir_edge.runtime.images import read_picture
from elir_edge.runtime.restore import Restorer


@dataclass(frozen=True, kw_only=True)
class SelfTestResult:
    """Nearness of this device's output to the recorded one; inf dB for the same bytes."""

    psnr: float
    min_psnr: float
    runtime: str

    @property
    def passed(self) -> bool:
        """Whether the output is near enough; never for NaN."""
        return self.psnr >= self.min_psnr


def golden_images(restorer: Restorer) -> tuple[FloatImage, FloatImage]:
    """Return a bundle's test image and what it must become, (size, size, 3) in [0, 1].

    Raises:
        BundleError: they do not fit the graph.
        ImageError: they cannot be read.
    """
    bundle = restorer.bundle
    test = bundle.manifest.self_test
    image = region_as_float(read_picture(bundle.path_of(test.input)).pixels)
    expected = region_as_float(read_picture(bundle.path_of(test.expected)).pixels)
    if image.shape != (restorer.size, restorer.size, 3) or expected.shape != image.shape:
        raise BundleError(
            f"the golden images of {bundle.folder} do not fit its graph",
            got=f"{image.shape} and {expected.shape}",
            expected=f"({restorer.size}, {restorer.size}, 3)",
        )
    return image, expected


def run_self_test(restorer: Restorer) -> SelfTestResult:
    """Run the bundle's golden image and compare, both rounded to 8 bits.

    Raises:
        BundleError: the golden files do not fit the graph.
        ImageError: they cannot be read.
    """
    image, expected = golden_images(restorer)
    min_psnr = restorer.bundle.manifest.self_test.min_psnr
    restored = region_as_float(float_as(restorer.run(image), np.dtype(np.uint8), gray=False))
    return SelfTestResult(
        psnr=psnr(restored, expected), min_psnr=min_psnr, runtime=restorer.runtime
    )


def verify_bundle(
    folder: Path, *, threads: int | None = None, runtime: str | None = None
) -> SelfTestResult:
    """Re-check every hash, then run the self-test here.

    Raises:
        BundleError: a file was altered, or the output is not the recorded one.
        BackendError: the runtime is missing or refuses the artifact.
    """
    restorer = Restorer(folder, threads=threads, runtime=runtime)
    result = run_self_test(restorer)
    if not result.passed:
        raise BundleError(
            f"{folder} gives another image here than when it was made",
            got=f"{result.psnr:.1f} dB",
            expected=f"at least {result.min_psnr:.1f} dB",
            fix=f"another version of {result.runtime} may agree; otherwise export anew",
        )
    return result
