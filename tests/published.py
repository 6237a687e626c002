"""The published checkpoints' key list, and the synthetic weights behind the references.

Built from the description of the architecture, not from elir_edge's classes, so that it can judge
them.
"""

import math
import zlib
from collections.abc import Mapping

import torch
from torch import Tensor

Shapes = dict[str, list[int]]
_LATENT, _TIME, _GROWTH, _AUTOENCODER = 16, 640, 96, 64


def synthetic_state(shapes: Mapping[str, list[int]]) -> dict[str, Tensor]:
    """Return weights made from each key's name alone."""
    return {key: _draw(key, shape) for key, shape in shapes.items()}


def published_shapes(width: int, mid_blocks: int, *, training: bool) -> Shapes:
    """Return names and shapes of a published state dict, with the prefixes of its four parts."""
    return {
        **_velocity(width, mid_blocks, training),
        **_coarse(training),
        **_encoder(),
        **_decoder(),
    }


def as_ckpt(state: Mapping[str, Tensor]) -> dict[str, object]:
    """Return the training checkpoint's form: one dict for each part, prefixes dropped."""
    parts: dict[str, object] = {"epoch": 3, "pytorch-lightning_version": "2.0"}
    for prefix in ("fmir", "mmse", "enc", "dec"):
        parts[f"state_dict_{prefix}"] = {
            key.removeprefix(f"{prefix}."): value
            for key, value in state.items()
            if key.startswith(f"{prefix}.")
        }
    return parts


def _layer(name: str, *weight: int, bias: bool = True, outputs: int | None = None) -> Shapes:
    shapes = {f"{name}.weight": list(weight)}
    if bias:
        shapes[f"{name}.bias"] = [weight[0] if outputs is None else outputs]
    return shapes


def _conv3(block: str, index: int, inputs: int, outputs: int, training: bool) -> Shapes:
    if not training:
        return _layer(f"{block}.{index}", outputs, inputs, 3, 3)
    return {
        **_layer(f"{block}.{index}", 4 * outputs, inputs, 3, 3),
        **_layer(f"{block}.{index + 1}", outputs, 4 * outputs, 1, 1),
    }


def _residual(name: str, inputs: int, outputs: int, training: bool) -> Shapes:
    return {
        **_layer(f"{name}.mlp.1", outputs, _TIME),
        **_layer(f"{name}.block1.block.0", inputs),
        **_conv3(f"{name}.block1.block", 2, inputs, outputs, training),
        **_layer(f"{name}.block2.block.0", outputs),
        **_conv3(f"{name}.block2.block", 2, outputs, outputs, training),
        **_layer(f"{name}.conv2d", outputs, inputs, 1, 1),
    }


def _velocity(width: int, mid_blocks: int, training: bool) -> Shapes:
    shapes = {
        **_layer("fmir.time_mlp.linear1", _TIME, 160),
        **_layer("fmir.time_mlp.linear2", _TIME, _TIME),
        **_layer("fmir.first_proj", width, _LATENT, 1, 1),
        **_layer("fmir.final_block.block.0", width),
        **_conv3("fmir.final_block.block", 2, width, width, training),
        **_layer("fmir.final_proj", _LATENT, width, 1, 1),
    }
    stages = [(width, width), (width, 2 * width), (2 * width, 2 * width), (2 * width, 4 * width)]
    for i, (fine, coarse) in enumerate(stages):
        shapes |= _residual(f"fmir.down_blocks.{i}.0", fine, fine, training)
        if coarse != fine:
            shapes |= _layer(f"fmir.down_blocks.{i}.1.conv", coarse, fine, 3, 3)
    for i in range(mid_blocks):
        shapes |= _residual(f"fmir.mid_blocks.{i}", 4 * width, 4 * width, training)
    for i, (fine, coarse) in enumerate(reversed(stages)):
        if coarse != fine:
            name = f"fmir.up_blocks.{i}.0.convtr"
            shapes |= _layer(name, coarse, fine, 4, 4, outputs=fine)
        shapes |= _residual(f"fmir.up_blocks.{i}.1", 2 * fine, fine, training)
    return shapes


def _coarse(training: bool) -> Shapes:
    shapes: Shapes = {}
    for block in range(3):
        for dense in (1, 2, 3):
            for conv in (1, 2, 3, 4, 5):
                inputs = _LATENT + (conv - 1) * _GROWTH
                outputs = _LATENT if conv == 5 else _GROWTH
                name = f"mmse.lrm.{block}.RDB{dense}.conv{conv}.block"
                shapes |= _conv3(name, 0, inputs, outputs, training)
    return shapes


def _autoencoder_block(name: str) -> Shapes:
    width = _AUTOENCODER
    shapes: Shapes = {}
    for i in (0, 2, 4):
        shapes |= _layer(f"{name}.conv.{i}", width, width, 3, 3)
    return shapes


def _encoder() -> Shapes:
    width = _AUTOENCODER
    shapes = _layer("enc.layers.0", width, 3, 3, 3)
    for i in range(1, 14):
        if i in (2, 6, 10):
            shapes |= _layer(f"enc.layers.{i}", width, width, 3, 3, bias=False)
        else:
            shapes |= _autoencoder_block(f"enc.layers.{i}")
    return shapes | _layer("enc.layers.14", _LATENT, width, 3, 3)


def _decoder() -> Shapes:
    width = _AUTOENCODER
    shapes = _layer("dec.layers.0", width, _LATENT, 3, 3)
    for i in (2, 3, 4, 7, 8, 9, 12, 13, 14, 17):
        shapes |= _autoencoder_block(f"dec.layers.{i}")
    for i in (6, 11, 16):
        shapes |= _layer(f"dec.layers.{i}", width, width, 3, 3, bias=False)
    return shapes | _layer("dec.layers.18", 3, width, 3, 3)


def _draw(key: str, shape: list[int]) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    w = torch.randn(shape, generator=generator)
    if len(shape) >= 2:
        fan_in = shape[0] * 4 if "convtr" in key else math.prod(shape[1:])
        return w / math.sqrt(fan_in)
    return 1 + 0.1 * w if key.endswith("weight") else 0.05 * w
