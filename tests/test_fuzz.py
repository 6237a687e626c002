"""Damaged and malicious files: an error of ours, or a result; never another exception.

Each kind of file starts from whole ones, whose bytes hypothesis changes, cuts and repeats.
"""

import contextlib
import io
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from elir_edge.checkpoints.own import build_autoencoder, read_checkpoint
from elir_edge.errors import ElirError
from elir_edge.runtime.images import read_image_file
from elir_edge.runtime.manifest import MANIFEST_NAME, Manifest

_SETTINGS = settings(
    max_examples=int(os.environ.get("ELIR_EDGE_FUZZ", "300")),  # for a long run: 20000
    deadline=None,
    derandomize=True,  # the same cases on every machine: a failure can be seen again
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

_EDITS = st.lists(
    st.tuples(
        st.floats(0, 1), st.sampled_from(["flip", "cut", "insert", "zero"]), st.binary(max_size=8)
    ),
    min_size=1,
    max_size=6,
)


def _edited(content: bytes, edits: list[tuple[float, str, bytes]]) -> bytes:
    for where, kind, piece in edits:
        at = round(where * len(content))
        if kind == "flip" and at < len(content):
            content = (
                content[:at]
                + bytes([content[at] ^ (piece[0] if piece else 255)])
                + content[at + 1 :]
            )
        elif kind == "cut":
            content = content[:at] + content[at + 1 + len(piece) :]
        elif kind == "insert":
            content = content[:at] + piece + content[at:]
        elif kind == "zero":
            content = content[:at] + bytes(len(piece)) + content[at + len(piece) :]
    return content


def _encoded(file_format: str, **options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    target = io.BytesIO()
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Camera", 6
    image.save(target, file_format, exif=exif, **options)
    return target.getvalue()


def _frames() -> bytes:
    target = io.BytesIO()
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "green", "blue")]
    frames[0].save(target, "GIF", save_all=True, append_images=frames[1:], duration=50)
    return target.getvalue()


_IMAGES: dict[str, Callable[[], bytes]] = {
    "a.png": lambda: _encoded("PNG", dpi=(300, 300)),
    "a.jpg": lambda: _encoded("JPEG", quality=80),
    "a.tif": lambda: _encoded("TIFF"),
    "a.webp": lambda: _encoded("WEBP"),
    "a.gif": _frames,
}


@pytest.mark.parametrize("name", _IMAGES)
def test_images(name: str, tmp_path: Path) -> None:
    whole, path = _IMAGES[name](), tmp_path / name
    path.write_bytes(whole)
    assert read_image_file(path).pictures

    @_SETTINGS
    @given(_EDITS)
    def check(edits: list[tuple[float, str, bytes]]) -> None:
        path.write_bytes(_edited(whole, edits))
        with contextlib.suppress(ElirError):
            pictures = read_image_file(path).pictures
            assert all(p.pixels.dtype in (np.uint8, np.uint16) for p in pictures)

    check()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def _paths(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value inside nested objects and lists."""
    keys = values.keys() if isinstance(values, dict) else range(len(values))
    found = []
    for key in keys:
        found.append((*path, key))
        if isinstance(values[key], dict | list):
            found += _paths(values[key], (*path, key))
    return found


def _replaced(values: Any, path: tuple[Any, ...], new: Any) -> Any:
    copy = json.loads(json.dumps(values))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return copy


def test_manifests(tiny_bundle: Path) -> None:
    text = (tiny_bundle / MANIFEST_NAME).read_text(encoding="utf-8")
    values = json.loads(text)
    paths = _paths(values)

    @_SETTINGS
    @given(st.sampled_from(paths), _JSON)
    def any_value_anywhere(path: tuple[Any, ...], new: Any) -> None:
        with contextlib.suppress(ElirError):
            Manifest.from_json(json.dumps(_replaced(values, path, new)))

    @_SETTINGS
    @given(_EDITS)
    def any_bytes(edits: list[tuple[float, str, bytes]]) -> None:
        with contextlib.suppress(ElirError):
            Manifest.from_json(_edited(text.encode(), edits).decode("utf-8", "replace"))

    any_value_anywhere()
    any_bytes()


def _read_any(path: Path) -> None:
    with contextlib.suppress(ElirError):
        read_checkpoint(path, task="denoising")
    with contextlib.suppress(ElirError):
        build_autoencoder(path)


def test_checkpoint_bytes(tiny_checkpoint: Path, tmp_path: Path) -> None:
    whole, path = tiny_checkpoint.read_bytes(), tmp_path / "c.safetensors"
    header = 8 + struct.unpack("<Q", whole[:8])[0]

    @_SETTINGS
    @given(_EDITS, st.booleans())
    def check(edits: list[tuple[float, str, bytes]], in_header: bool) -> None:
        if in_header:
            path.write_bytes(_edited(whole[:header], edits) + whole[header:])
        else:
            path.write_bytes(_edited(whole, edits))
        _read_any(path)

    check()


def test_checkpoint_headers(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Any JSON in the place of any value of our own header, with the weights as they are."""
    from safetensors import safe_open

    with safe_open(tiny_checkpoint, framework="pt") as file:
        metadata = file.metadata()
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    ((name, text),) = metadata.items()
    values = json.loads(text)
    path = tmp_path / "c.safetensors"

    @_SETTINGS
    @given(st.sampled_from(_paths(values)), _JSON)
    def check(where: tuple[Any, ...], new: Any) -> None:
        path.write_bytes(save(state, metadata={name: json.dumps(_replaced(values, where, new))}))
        _read_any(path)

    check()


def test_pickles(tmp_path: Path) -> None:
    """`.pth` files: torch's zip archives and what stands in their place."""
    target = io.BytesIO()
    torch.save({"a.weight": torch.zeros(2, 3), "b": torch.ones(1)}, target)
    whole, path = target.getvalue(), tmp_path / "c.pth"

    @_SETTINGS
    @given(_EDITS)
    def check(edits: list[tuple[float, str, bytes]]) -> None:
        path.write_bytes(_edited(whole, edits))
        _read_any(path)

    check()
