"""Convert images to and from the tensors that a manifest describes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from elir_edge.errors import BundleError
from elir_edge.runtime.arrays import FloatImage
from elir_edge.runtime.manifest import TensorSpec


def only_tensor(specs: tuple[TensorSpec, ...], role: str) -> TensorSpec:
    """Return the only tensor that has a role.

    Raises:
        BundleError: no tensor, or more than one, has the role.
    """
    found = [spec for spec in specs if spec.role == role]
    if len(found) != 1:
        raise BundleError(f"the manifest names {len(found)} tensors for the {role}", expected="1")
    return found[0]


def axis_of(spec: TensorSpec, letter: str) -> int:
    """Return the index of the axis `N`, `C`, `H` or `W`.

    Raises:
        BundleError: the layout does not contain the axis, or does not match the shape.
    """
    if letter not in spec.layout or len(spec.layout) != len(spec.shape):
        raise BundleError(f"tensor {spec.name} has layout {spec.layout!r} for shape {spec.shape}")
    return spec.layout.index(letter)


def to_tensor(image: FloatImage, spec: TensorSpec) -> NDArray[Any]:
    """Convert an image (H, W, 3) in [0, 1] to the tensor's shape, layout, range and dtype.

    A tensor of several images gets the same image for each.

    Raises:
        BundleError: the layout has no axis `N`.
    """
    values = image * np.float32(spec.high - spec.low) + np.float32(spec.low)
    dtype = np.dtype(spec.dtype)
    if np.issubdtype(dtype, np.integer):
        values = np.rint(values)
    batch = np.broadcast_to(values, (spec.shape[axis_of(spec, "N")], *values.shape))
    ordered = batch.transpose(["NHWC".index(letter) for letter in spec.layout])
    return np.ascontiguousarray(ordered, dtype=dtype)


def from_tensor(tensor: NDArray[Any], spec: TensorSpec) -> FloatImage:
    """Convert the first image of an output tensor to (H, W, 3) in [0, 1].

    Raises:
        BundleError: the shape is not that of the manifest, or a value is not finite.
    """
    if tensor.shape != spec.shape or not np.isfinite(tensor).all():
        raise BundleError(
            f"the artifact's output {spec.name} is unusable",
            got=f"shape {tensor.shape}, finite: {bool(np.isfinite(tensor).all())}",
            expected=f"shape {spec.shape} of finite values",
            fix="run `elir-edge verify` on the bundle",
        )
    ordered = tensor.transpose([spec.layout.index(letter) for letter in "NHWC"])[0]
    scaled = (ordered.astype(np.float32) - np.float32(spec.low)) / np.float32(spec.high - spec.low)
    image: FloatImage = np.clip(scaled, 0, 1)
    return image
