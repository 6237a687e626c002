"""Rounding of weights such that the errors of a kernel's taps cancel on real activations.

Rounding each weight to the nearest level minimizes the error of the weights, not of the
convolution's output. Here, columns are rounded one after the other, and the error of each is
compensated in the columns that are not yet rounded, according to the correlation of their
activations. (Frantar et al., 2023, describe this for linear layers; here, each patch under the
kernel is a row of X.) With H = X'X + lambda I and U upper triangular, U'U = H^-1,

    q_j = round(w_j),   w_k <- w_k - (w_j - q_j) U_jk / U_jj   for all k > j

The result is a float32 model whose weights lie on the int8 grid, so that quantization does not
change them further. The levels are symmetric, with 127 steps up to the largest absolute weight of
each output channel. That weight is not changed, so that every quantizer finds the same grid.
"""

import copy
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import scipy.linalg
from numpy.typing import NDArray
from onnx import numpy_helper

from elir_edge.errors import ExportError
from export.calibration.timing import Feed
from export.memory import compact
from export.qdq.parts import run_together, split
from export.reporting import SILENT, Report

_LEVELS = 127
_PATCHES = 768
"""Largest number of patches that are sampled from each image."""
_PART_BYTES = 256 * 2**20
"""Bytes of the activations of all images that one part computes."""
_PRODUCT_BYTES = 512 * 2**20
"""Bytes of the X'X of shared kernels that are held at once."""
_DAMPING = 0.01
_BLOCK = 64
"""Number of columns whose errors are applied together, since memory limits single columns."""


def round_weights(
    model: onnx.ModelProto,
    nodes: Sequence[str],
    feeds: Sequence[Feed],
    report: Report = SILENT,
) -> onnx.ModelProto:
    """Return the model with the kernels of the named convolutions on the int8 grid.

    Args:
        model: the float32 graph; it is not changed.
        nodes: names of convolutions. A kernel that several of them share is rounded once, on the
            activations of all of them. A kernel that any other node reads is left unchanged.
        feeds: inputs for the activations.
        report: receives the progress.
    """
    rounded = copy.deepcopy(model)
    kernels = {tensor.name: tensor for tensor in rounded.graph.initializer}
    wanted = set(nodes)
    readers = [node for node in model.graph.node if node.name in wanted]
    foreign = {name for node in model.graph.node if node.name not in wanted for name in node.input}
    chosen = [n for n in readers if n.input[1] in kernels and n.input[1] not in foreign]
    shapes = {n.input[1]: tuple(kernels[n.input[1]].dims) for n in chosen}
    passes = passes_of(Counter(n.input[1] for n in chosen), shapes)
    for number, names in enumerate(passes, start=1):
        text = "rounding weights"
        text += f", pass {number} of {len(passes)}" if len(passes) > 1 else ""
        group = [node for node in chosen if node.input[1] in names]
        _round_kernels(model, {name: kernels[name] for name in names}, group, feeds, report, text)
    return compact(rounded)


def passes_of(
    readers: Mapping[str, int], shapes: Mapping[str, tuple[int, ...]], most: int = _PRODUCT_BYTES
) -> list[set[str]]:
    """Divide kernels into those that are rounded in one pass over the graph.

    The X'X of a kernel that several convolutions share is kept from the first of them to the last:
    with K Euler steps, those of the whole vector field are held at once. A pass holds `most` bytes
    of them, or one kernel.

    Args:
        readers: how many convolutions read each kernel.
        shapes: the kernels' shapes, (out, in, h, w).
        most: bytes.
    """
    passes: list[set[str]] = [set()]
    held = 0
    for name, count in readers.items():
        size = 8 * math.prod(shapes[name][1:]) ** 2 if count > 1 else 0
        if size and held and held + size > most:
            passes.append(set())
            held = 0
        passes[-1].add(name)
        held += size
    return passes


def _round_kernels(
    model: onnx.ModelProto,
    kernels: Mapping[str, onnx.TensorProto],
    readers: Sequence[onnx.NodeProto],
    feeds: Sequence[Feed],
    report: Report,
    text: str,
) -> None:
    """Round kernels in place, on what their readers see in the model, which is not changed."""
    readers_of: dict[str, list[onnx.NodeProto]] = {}
    waiting: Counter[str] = Counter()
    for node in readers:
        readers_of.setdefault(node.input[0], []).append(node)
        waiting[node.input[1]] += 1
    products: dict[str, NDArray[np.float64]] = {}

    def add_product(name: str, values: Sequence[NDArray[Any]]) -> None:
        """Add to X'X; after the kernel's last reader, round the kernel and discard X'X."""
        for node in readers_of.get(name, ()):
            kernel = node.input[1]
            shape = tuple(kernels[kernel].dims)
            for number, value in enumerate(values):
                patches = _patches(value[0], node, shape, seed=number)
                product = patches.T @ patches
                if kernel in products:
                    products[kernel] += product
                else:
                    products[kernel] = product.astype(np.float64)
            waiting[kernel] -= 1
            if not waiting[kernel]:
                tensor = kernels[kernel]
                rounded = round_to_grid(numpy_helper.to_array(tensor), products.pop(kernel))
                tensor.CopyFrom(numpy_helper.from_array(rounded, kernel))

    parts = split(model, watched=readers_of, most_bytes=_PART_BYTES // len(feeds))
    for name in feeds[0]:
        add_product(name, [feed[name] for feed in feeds])
    run_together(parts, feeds, add_product, report, text)


def round_to_grid(kernel: NDArray[np.float32], product: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return a kernel rounded to the int8 grid, as float32.

    Args:
        kernel: the kernel, (out, in, h, w).
        product: X'X of the patches under the kernel, (in h w, in h w).
    """
    weights = kernel.reshape(len(kernel), -1).astype(np.float64)
    peak = np.abs(weights).max(axis=1)
    scale = np.where(peak > 0, peak / _LEVELS, 1.0)
    greatest = np.abs(weights).argmax(axis=1)
    signs = np.sign(weights[np.arange(len(weights)), greatest])
    upper = _factor_of_inverse(product)
    result = np.zeros_like(weights)
    columns = weights.shape[1]
    for start in range(0, columns, _BLOCK):
        end = min(start + _BLOCK, columns)
        errors = np.zeros((len(weights), end - start))
        for j in range(start, end):
            level = np.clip(np.round(weights[:, j] / scale), -_LEVELS, _LEVELS)
            level = np.where(greatest == j, signs * _LEVELS, level)
            result[:, j] = level * scale
            error = (weights[:, j] - result[:, j]) / upper[j, j]
            weights[:, j + 1 : end] -= np.outer(error, upper[j, j + 1 : end])
            errors[:, j - start] = error
        # Apply the errors of the block to all later columns at once.
        weights[:, end:] -= errors @ upper[start:end, end:]
    return result.astype(np.float32).reshape(kernel.shape)


def _factor_of_inverse(product: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the upper triangular U with U'U = H^-1, where H is X'X (n, n) with damping.

    With the order of rows and columns reversed, H = V'V for an upper triangular V, and U is V^-1,
    reversed and transposed. One copy of H is factored and inverted in place: for 512 channels it
    takes 170 MB, while the inverse of H and its own factor would take five times as much.

    Raises:
        ExportError: H is not positive definite, which only values that are not finite can cause.
    """
    copied = np.array(product[::-1, ::-1], order="F")
    copied.flat[:: len(copied) + 1] += _DAMPING * np.mean(np.diag(product)) + 1e-12
    factor, info = scipy.linalg.lapack.dpotrf(copied, lower=False, overwrite_a=True)
    if not info:
        factor, info = scipy.linalg.lapack.dtrtri(factor, lower=False, overwrite_c=True)
    if info or not np.isfinite(np.diag(factor)).all():
        raise ExportError(
            "kernels cannot be rounded: their inputs on the calibration crops are not finite",
            fix="check the weights, or use --precision fp16",
        )
    upper: NDArray[np.float64] = factor[::-1, ::-1].T
    return upper


def _patches(
    image: NDArray[np.float32], node: onnx.NodeProto, shape: tuple[int, ...], *, seed: int
) -> NDArray[np.float32]:
    """Return patches (n, in h w) under the kernel at random positions of an image (in, H, W)."""
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    pads, strides = attributes.get("pads", [0] * 4), attributes.get("strides", [1, 1])
    padded = np.pad(image, ((0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    height, width = shape[2:]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    windows = windows[:, :: strides[0], :: strides[1]]
    rows, columns = windows.shape[1:3]
    rng = np.random.default_rng([seed, rows, columns])
    places = rng.integers(0, rows * columns, min(_PATCHES, rows * columns))
    found = windows[:, places // columns, places % columns]
    return found.transpose(1, 0, 2, 3).reshape(len(places), -1)
