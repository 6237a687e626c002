"""Weights are rounded so that the errors of a kernel's taps cancel on real activations.

Rounding each weight to the nearest level makes the smallest error in the weights, not in what the
convolution gives. Column by column, the error made so far is handed on to the columns not yet
rounded, as far as their activations go together (Frantar et al., 2023, for linear layers; here each
patch under the kernel is a row of X). With H = X'X + lambda I and U upper triangular, U'U = H^-1,

    q_j = round(w_j),   w_k <- w_k - (w_j - q_j) U_jk / U_jj   for all k > j

The result is a float32 model whose weights lie on the int8 grid: quantizing it changes them no
more. Levels: symmetric, 127 steps to the greatest weight of each output channel, which itself is
kept, so that whoever quantizes finds the same grid.
"""

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from export.calibration.timing import Feed
from export.qdq.parts import running_parts, split
from export.reporting import SILENT, Report

_LEVELS = 127
_PATCHES = 768
"""Patches taken of each image."""
_PART_BYTES = 256 * 2**20
"""Of activations that are in memory at once, of all images."""
_DAMPING = 0.01
_BLOCK = 64
"""Columns whose errors are handed on together: column by column, memory would set the pace."""


def round_weights(
    model: onnx.ModelProto,
    nodes: Sequence[str],
    feeds: Sequence[Feed],
    report: Report = SILENT,
) -> onnx.ModelProto:
    """Return the model with the kernels of the named convolutions on the int8 grid.

    Args:
        model: float32.
        nodes: names of convolutions. Those that share a kernel are rounded together, on the
            activations of all; a kernel that a node not named reads is left alone.
        feeds: inputs whose activations are used.
        report: told how far it is.
    """
    model = copy.deepcopy(model)
    kernels = {tensor.name: tensor for tensor in model.graph.initializer}
    wanted = set(nodes)
    readers = [node for node in model.graph.node if node.name in wanted]
    foreign = {name for node in model.graph.node if node.name not in wanted for name in node.input}
    chosen = [n for n in readers if n.input[1] in kernels and n.input[1] not in foreign]
    readers_of: dict[str, list[onnx.NodeProto]] = {}
    waiting: Counter[str] = Counter()
    for node in chosen:
        readers_of.setdefault(node.input[0], []).append(node)
        waiting[node.input[1]] += 1
    shapes = {n.input[1]: tuple(kernels[n.input[1]].dims) for n in chosen}
    products: dict[str, NDArray[np.float64]] = {}

    def see(name: str, values: Sequence[NDArray[Any]]) -> None:
        """Add to X'X; round a kernel as soon as its last reader was seen, and forget X'X."""
        for node in readers_of.get(name, ()):
            kernel = node.input[1]
            for number, value in enumerate(values):
                patches = _patches(value[0], node, shapes[kernel], seed=number)
                product = (patches.T @ patches).astype(np.float64)
                products[kernel] = products.get(kernel, 0) + product
            waiting[kernel] -= 1
            if not waiting[kernel]:
                tensor = kernels[kernel]
                rounded = round_to_grid(numpy_helper.to_array(tensor), products.pop(kernel))
                tensor.CopyFrom(numpy_helper.from_array(rounded, kernel))

    # Copies of the nodes and constants: the activations are those of the weights as they were.
    parts = split(model, watched=readers_of, most_bytes=_PART_BYTES // len(feeds))
    with running_parts(parts) as runner:
        for name in feeds[0]:
            see(name, [feed[name] for feed in feeds])
        runner.run_together(feeds, see, report, "rounding weights")
    return model


def round_to_grid(kernel: NDArray[np.float32], product: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round a kernel (out, in, h, w), given X'X of its patches (in h w, in h w)."""
    weights = kernel.reshape(len(kernel), -1).astype(np.float64)
    peak = np.abs(weights).max(axis=1)
    scale = np.where(peak > 0, peak / _LEVELS, 1.0)
    greatest = np.abs(weights).argmax(axis=1)
    signs = np.sign(weights[np.arange(len(weights)), greatest])
    damped = product + np.eye(len(product)) * (_DAMPING * np.mean(np.diag(product)) + 1e-12)
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
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
        # What the block hands on to all columns behind it, at once.
        weights[:, end:] -= errors @ upper[start:end, end:]
    return result.astype(np.float32).reshape(kernel.shape)


def _patches(
    image: NDArray[np.float32], node: onnx.NodeProto, shape: tuple[int, ...], *, seed: int
) -> NDArray[np.float32]:
    """Return patches (n, in h w) under the kernel at random places of (in, H, W)."""
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
