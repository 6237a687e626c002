"""Anybody's ONNX and TFLite models, to be timed on one image; shapes are read from the files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from elir_edge.errors import BackendError, DataError, UsageError
from elir_edge.runtime.arrays import resize
from elir_edge.runtime.backends.ort import OnnxRuntimeBackend

_TYPES = {"float32": np.float32, "float16": np.float16, "uint8": np.uint8, "int8": np.int8}
_CHANNELS = (1, 3)
_MOST_SIDE = 8192
_LONGEST_REASON = 400


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """The one input of a model.

    Attributes:
        name: in the file.
        shape: four numbers: (1, C, H, W) or (1, H, W, C).
        dtype: numpy's name.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def channels_last(self) -> bool:
        """Whether the channels come last."""
        return self.shape[1] not in _CHANNELS

    def fill(self, photo: NDArray[np.float32]) -> NDArray[Any]:
        """Return a photo (H, W, 3) in [0, 1] in this form; integers have their whole range."""
        height, width = self.shape[1:3] if self.channels_last else self.shape[2:4]
        channels = self.shape[3] if self.channels_last else self.shape[1]
        fitted = resize(photo, height, width, "bicubic")
        if channels == 1:
            fitted = fitted.mean(axis=2, keepdims=True)
        ordered = fitted if self.channels_last else fitted.transpose(2, 0, 1)
        dtype = np.dtype(_TYPES[self.dtype])
        if np.issubdtype(dtype, np.integer):
            levels = np.iinfo(dtype)
            ordered = np.rint(ordered * (levels.max - levels.min)) + levels.min
        return np.ascontiguousarray(ordered[None].astype(dtype))


@dataclass(frozen=True, kw_only=True)
class OpenModel:
    """A model, loaded: its input, and what runs it once."""

    image: ImageInput
    call: Callable[[], object]


def open_onnx(path: Path, photo: NDArray[np.float32], side: int, threads: int) -> OpenModel:
    """Load an ONNX model into ONNX Runtime.

    Args:
        path: the file.
        photo: what it is run on, (H, W, 3) in [0, 1].
        side: for heights and widths that the file leaves open.
        threads: of the CPU.

    Raises:
        UsageError: there is no such file.
        DataError: it is no ONNX model, or one whose input is no image.
        BackendError: ONNX Runtime refuses it.
    """
    _require_file(path, "--onnx")
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError) as error:
        raise DataError(f"{path} is no ONNX file ({_first_line(error)})") from error
    constants = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in constants]
    if not model.graph.node or len(inputs) != 1:
        raise _no_image(path, ", ".join(each.name for each in inputs) or "no input")
    tensor = inputs[0].type.tensor_type
    shape = _closed([d.dim_value for d in tensor.shape.dim], side)
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    except KeyError as error:
        raise _no_image(path, f"{inputs[0].name} of an unknown type") from error
    image = _checked(path, ImageInput(name=inputs[0].name, shape=shape, dtype=dtype))
    feed = {image.name: image.fill(photo)}
    try:
        backend = OnnxRuntimeBackend(path, threads)
        backend.run(feed)
    except BackendError as error:
        raise _refused(path, "ONNX Runtime", error) from error
    return OpenModel(image=image, call=lambda: backend.run(feed))


def open_tflite(path: Path, photo: NDArray[np.float32], threads: int) -> OpenModel:
    """Load a TFLite model into LiteRT; for arguments and errors see `open_onnx`."""
    _require_file(path, "--tflite")
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise BackendError("LiteRT is not installed", fix="pip install ai-edge-litert") from error
    try:
        interpreter = Interpreter(str(path), num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise _refused(path, "LiteRT", error) from error
    details = interpreter.get_input_details()
    if len(details) != 1:
        raise _no_image(path, ", ".join(each["name"] for each in details) or "no input")
    (detail,) = details
    image = _checked(
        path,
        ImageInput(
            name=detail["name"],
            shape=tuple(int(n) for n in detail["shape"]),
            dtype=np.dtype(detail["dtype"]).name,
        ),
    )
    array = image.fill(photo)

    def call() -> object:
        interpreter.set_tensor(detail["index"], array)
        interpreter.invoke()
        return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]

    try:
        call()
    except (ValueError, RuntimeError) as error:
        raise _refused(path, "LiteRT", error) from error
    return OpenModel(image=image, call=call)


def _require_file(path: Path, option: str) -> None:
    if not path.is_file():
        raise UsageError(f"{option} {path}: no such file", fix="check the path")


def _closed(shape: list[int], side: int) -> tuple[int, ...]:
    """Return a shape without the open dimensions (0): one image, `side` pixels, three colours."""
    if len(shape) != 4:
        return tuple(shape)
    last = shape[1] not in _CHANNELS and shape[3] in _CHANNELS
    defaults = (1, side, side, 3) if last else (1, 3, side, side)
    return tuple(n or default for n, default in zip(shape, defaults, strict=True))


def _checked(path: Path, image: ImageInput) -> ImageInput:
    shape = image.shape
    one = len(shape) == 4 and shape[0] == 1 and all(1 <= n <= _MOST_SIDE for n in shape)
    if not one or image.dtype not in _TYPES or not {shape[1], shape[3]} & set(_CHANNELS):
        raise _no_image(path, f"{image.name} {'x'.join(map(str, shape))} of {image.dtype}")
    return image


def _no_image(path: Path, got: str) -> DataError:
    return DataError(
        f"{path} does not take one image",
        got=got,
        expected="one input 1 x C x H x W or 1 x H x W x C, C 1 or 3, of "
        f"{', '.join(_TYPES)}, sides up to {_MOST_SIDE}",
    )


def _refused(path: Path, runtime: str, error: Exception) -> BackendError:
    return BackendError(
        f"{runtime} cannot run {path} ({_first_line(error)})", fix="check the file, or leave it out"
    )


def _first_line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.split("; fix: ")[0][:_LONGEST_REASON]  # a backend's advice is about bundles
