"""What the README says of a file, and its Python run with an interpreter of our own."""

import dataclasses
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from elir_edge.runtime.manifest import TensorSpec
from elir_edge.tasks import TASKS
from export.targets.tflite.usage import usage
from tests.export.targets.shown_code import Feed, run_shown

_SIDE = 64


def _image(batch: int, dtype: str) -> TensorSpec:
    return TensorSpec(
        name="image",
        role="image",
        shape=(batch, _SIDE, _SIDE, 3),
        dtype=dtype,
        layout="NHWC",
        colour="RGB",
        low=0.0,
        high=1.0,
    )


def _noise(batch: int) -> TensorSpec:
    return TensorSpec(
        name="noise",
        role="noise",
        shape=(batch, 8, 6, 4),
        dtype="float32",
        layout="NHWC",
        colour="",
        low=-0.25,
        high=0.25,
    )


class _Interpreters:
    """A runtime whose network copies the image; it notes what it is fed."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, int]] = []
        self.fed: list[Feed] = []
        self.module = ModuleType("ai_edge_litert.interpreter")
        self.module.Interpreter = self._open  # type: ignore[attr-defined]

    def _open(self, path: str, *, num_threads: int) -> Any:
        self.opened.append((path, num_threads))
        return SimpleNamespace(get_signature_runner=lambda: self._run)

    def _run(self, **feed: np.ndarray) -> Feed:
        self.fed.append(feed)
        return {"restored": feed["image"]}


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("noisy", [False, True])
def test_the_python_copies(
    dtype: str, batch: int, noisy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Image and noise have the file's types, shapes and ranges; tiles come back in their places."""
    interpreters = _Interpreters()
    inputs = [_image(batch, dtype)] + [_noise(batch)] * noisy
    text = usage(inputs, TASKS["denoising"], "a-bundle")
    photo, restored = run_shown(text, interpreters.module, tmp_path, monkeypatch)
    assert np.array_equal(photo, restored)
    assert interpreters.opened == [("a-bundle/model.tflite", 2)]
    assert len(interpreters.fed) == 4  # 100 x 70 in tiles of 64
    for feed in interpreters.fed:
        assert set(feed) == ({"image", "noise"} if noisy else {"image"})
        image = feed["image"]
        assert (image.shape, image.dtype.name) == ((batch, _SIDE, _SIDE, 3), dtype)
        assert (image == image[:1]).all()
        assert image.max() == (255 if dtype == "uint8" else 1)
    if noisy:
        noise = np.stack([feed["noise"] for feed in interpreters.fed])
        assert noise.shape == (4, batch, 8, 6, 4)
        assert noise.dtype == np.float32
        assert noise.std() == pytest.approx(0.25, rel=0.1)
        assert abs(noise.mean()) < 0.05


def test_what_the_other_languages_are_told() -> None:
    in_bytes = usage([_image(1, "uint8")], TASKS["denoising"], "b")
    assert "uint8, 0 to 255, shape (1, 64, 64, 3)" in in_bytes
    assert "inputs[0].writeInt8(pixels)  // ByteArray" in in_bytes
    assert "outputs[0].readInt8()" in in_bytes
    assert "Data: 64 * 64 * 3 UInt8 values" in in_bytes
    assert "enlarged" not in in_bytes
    assert "second input" not in in_bytes
    floats = usage([_image(2, "float32"), _noise(2)], TASKS["sr"], "b")
    assert "float32 in [0, 1], shape (2, 64, 64, 3)" in floats
    assert "inputs[0].writeFloat(pixels)  // FloatArray" in floats
    assert "Data: 64 * 64 * 3 Float32 values" in floats
    assert "enlarged 8 times (bicubic)" in floats or "enlarged 8 times (nearest)" in floats
    assert "standard deviation 0.25, shape (2, 8, 6, 4)" in floats
    twice = dataclasses.replace(TASKS["sr"], upscale=2)
    assert "enlarged 2 times" in usage([_image(1, "uint8")], twice, "b")
    for language in ("kotlin", "swift", "python"):
        assert floats.count(f"```{language}\n") == 1
