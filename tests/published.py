"""The synthetic weights behind the published references (made from each key's name alone)."""

import math
import zlib
from collections.abc import Mapping

import torch
from torch import Tensor


def synthetic_state(shapes: Mapping[str, list[int]]) -> dict[str, Tensor]:
    """Return a state dict of the published form, keys with their prefixes."""
    return {key: _draw(key, shape) for key, shape in shapes.items()}


def _draw(key: str, shape: list[int]) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    w = torch.randn(shape, generator=generator)
    if len(shape) >= 2:
        fan_in = shape[0] * 4 if "convtr" in key else math.prod(shape[1:])
        return w / math.sqrt(fan_in)
    return 1 + 0.1 * w if key.endswith("weight") else 0.05 * w
