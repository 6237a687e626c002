"""Check that a bundle's output on this device is the output recorded when it was made."""

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
    """The comparison of this device's output with the recorded one.

    Attributes:
        psnr: PSNR between the two in dB; inf if they are equal.
        min_psnr: the least PSNR that passes, in dB.
        runtime: name and version of the runtime.
    """

    psnr: float
    min_psnr: float
    runtime: str

    @property
    def passed(self) -> bool:
        """Tell whether the PSNR is large enough; False for NaN."""
        return self.psnr >= self.min_psnr


def golden_images(restorer: Restorer) -> tuple[FloatImage, FloatImage]:
    """Return a bundle's test image and its expected output, each (size, size, 3) in [0, 1].

    Raises:
        BundleError: the images do not fit the graph.
        ImageError: the images cannot be read.
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
    """Restore a bundle's test image and compare the output with the expected one, both in 8 bits.

    Raises:
        BundleError: the golden images do not fit the graph.
        ImageError: the golden images cannot be read.
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
    """Check every hash of a bundle and run its self-test.

    Args:
        folder: the bundle.
        threads: CPU threads of the runtime; None: the runtime's default.
        runtime: name of a runtime that the bundle was checked in; None: the bundle's default.

    Raises:
        BundleError: a file was altered, or the output is too far from the recorded one.
        UsageError: the bundle was not checked in this runtime.
        BackendError: the runtime is missing or refuses the artifact.
    """
    restorer = Restorer(folder, threads=threads, runtime=runtime)
    result = run_self_test(restorer)
    if not result.passed:
        raise BundleError(
            f"{folder} gives a different image here than when it was made",
            got=f"{result.psnr:.1f} dB",
            expected=f"at least {result.min_psnr:.1f} dB",
            fix=f"try another version of {result.runtime}; otherwise export again",
        )
    return result
