"""A slim decoder in the place of TAESD3's, which published checkpoints hold unchanged.

The published training keeps TAESD3's decoder frozen (paper, section 4.1), so that every published
checkpoint decodes the same latents. The decoder of the shipped `nano` autoencoder was distilled
from it and takes its place without training: 1.5 instead of 17.7 GMAC at 256.

Whether a checkpoint's decoder is TAESD3's is told by its values: by the projections of each tensor
on a few fixed random directions (`taesd3.json`), which storage in float16 or bfloat16 does not
change by more than a hundredth, and any training does.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from elir_edge.checkpoints.own import Checkpoint, embedded_path, read_checkpoint
from elir_edge.errors import CheckpointError
from elir_edge.tasks import AUTOENCODER

_DECODER = "decoder."
_FILE = "taesd3.json"
_DIRECTIONS = 4
_TOLERANCE = 0.01
"""Of projections, whose standard deviation over random tensors is 1; bfloat16 moves them by 0.005
at most."""


def with_slim_decoder(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint of a task with the slim decoder in the place of TAESD3's.

    Raises:
        CheckpointError: its decoder is another one.
    """
    own = {k: v for k, v in checkpoint.state.items() if k.startswith(_DECODER)}
    slim = read_checkpoint(embedded_path(AUTOENCODER), task=AUTOENCODER)
    decoder = {k: v for k, v in slim.state.items() if k.startswith(_DECODER)}
    if _shapes(own) == _shapes(decoder):
        raise CheckpointError(
            f"the decoder of {checkpoint.source} is slim as it is", fix="leave out --decoder slim"
        )
    if departure(own) > _TOLERANCE:
        raise CheckpointError(
            f"the decoder of {checkpoint.source} is not TAESD3's, which the slim one stands for",
            expected="a published checkpoint, or one of the `paper` preset trained from TAESD3",
            fix="leave out --decoder slim",
        )
    others = {k: v for k, v in checkpoint.state.items() if not k.startswith(_DECODER)}
    return dataclasses.replace(
        checkpoint,
        config=dataclasses.replace(checkpoint.config, decoder_size="slim"),
        state=others | decoder,
    )


def departure(decoder: Mapping[str, Tensor]) -> float:
    """Return how far a decoder's projections are from TAESD3's; infinite for other shapes.

    Args:
        decoder: by the names of `Elir.state_dict()`.
    """
    recorded = json.loads((resources.files(__package__) / _FILE).read_text(encoding="utf-8"))
    found = projections(decoder)
    if found.keys() != recorded.keys():
        return float("inf")
    return max(float(np.abs(found[name] - recorded[name]).max()) for name in found)


def projections(state: Mapping[str, Tensor]) -> dict[str, NDArray[np.float64]]:
    """Return each tensor's projections on fixed random directions, and its root mean square.

    Args:
        state: tensors by name.

    Returns:
        By name and shape. Projections are divided by the tensor's root mean square, and that by
        itself rounded to a power of two, so that all are of the order of 1.
    """
    result = {}
    for name, tensor in state.items():
        values = tensor.double().numpy().ravel()
        name = f"{name} {tuple(tensor.shape)}"
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        directions = np.random.default_rng(seed).standard_normal((_DIRECTIONS, len(values)))
        size = float(np.sqrt(np.mean(values**2))) + 1e-12
        along = directions @ values / (size * np.sqrt(len(values)))
        result[name] = np.array([*along, np.log2(size)])
    return result


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}
