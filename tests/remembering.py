"""Conversions of the same static model are made once in a run of the tests.

torch's and LiteRT's converters take 5 to 60 seconds for the tiniest model, and a hundred tests
export it. What they return is kept for the other tests, of other workers too, under a hash of all
that they are given. Tests of the converters themselves call them directly.
"""

import hashlib
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor

from elir_edge.files import replacing_file
from export.static.unroll import StaticElir


class _Pickler(pickle.Pickler):
    """Pickles tensors by their values: storages are named by their place in memory."""

    def reducer_override(self, thing: object) -> Any:
        """Reduce a tensor to type, shape and bytes; the rest as usual."""
        if isinstance(thing, Tensor):
            value = thing.detach().contiguous()
            return (tuple, ((str(value.dtype), tuple(value.shape), value.numpy().tobytes()),))
        return NotImplemented


def key_of(*things: object) -> str:
    """Return a hash of modules, tensors and plain values: equal ones have one, changed ones not."""
    stream = io.BytesIO()
    _Pickler(stream).dump(things)
    return hashlib.sha256(stream.getvalue()).hexdigest()


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """Return a folder of this run of the tests that its workers share."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "remembered"
    folder.mkdir(exist_ok=True)
    return folder


def remember(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have exports look up conversions in a folder before they make them."""
    import export.plan
    import export.targets.tflite.target as tflite

    to_probe_graph, to_tflite = export.plan.to_probe_graph, tflite.to_tflite

    def probe_graph(static: StaticElir, image: Tensor, noise: Tensor | None) -> onnx.ModelProto:
        path = folder / f"{key_of(static, image.shape, _shape(noise))}.onnx"
        _make(path, lambda to: onnx.save(to_probe_graph(static, image, noise), to))
        return onnx.load(path)

    def tflite_file(
        static: StaticElir, image: Tensor, noise: Tensor | None, path: Path, *, clamped: bool
    ) -> None:
        kept = folder / f"{key_of(static, image.shape, _shape(noise), clamped)}.tflite"
        _make(kept, lambda to: to_tflite(static, image, noise, to, clamped=clamped))
        path.write_bytes(kept.read_bytes())

    patch.setattr(export.plan, "to_probe_graph", probe_graph)
    patch.setattr(tflite, "to_tflite", tflite_file)


def _shape(tensor: Tensor | None) -> torch.Size | None:
    return None if tensor is None else tensor.shape


def _make(path: Path, make: Callable[[Path], None]) -> None:
    if not path.exists():
        with replacing_file(path) as temporary:
            make(temporary)
