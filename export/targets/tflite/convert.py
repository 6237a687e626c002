"""Conversion of the static model to a float32 TFLite file, channels last, by `litert-torch`."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from elir_edge.errors import ExportError
from elir_edge.runtime.backends.litert import KEPT_TENSORS_REMARK
from export.onnx_graph.to_onnx import IMAGE, NOISE, RESTORED
from export.static.unroll import StaticElir

_LOGGERS = ("torch", "torchao", "absl", "litert_torch")
_KNOWN_REMARKS = ("Failed to load", "Could not load this library", "is an Enum subclass")


class ChannelsLast(nn.Module):
    """The static model with images and noise in NHWC layout.

    Args:
        static: the static model.
        clamped: whether to limit the result to [0, 1]; False if the output's type saturates.
    """

    def __init__(self, static: StaticElir, *, clamped: bool) -> None:
        super().__init__()
        self.static = static
        self.clamped = clamped

    def forward(self, image: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """Map (B, H, W, 3) to (B, H, W, 3)."""
        draw = None if noise is None else noise.permute(0, 3, 1, 2)
        decoded = self.static.stages(image.permute(0, 3, 1, 2), draw)["decoded"]
        if self.clamped:
            # No delegate supports the operation that `clamp` is converted to.
            positive = torch.relu(decoded)
            decoded = positive - torch.relu(positive - 1)
        return {RESTORED: decoded.permute(0, 2, 3, 1)}


def to_tflite(
    static: StaticElir, image: Tensor, noise: Tensor | None, path: Path, *, clamped: bool
) -> None:
    """Convert a static model; inputs are `image` and, if given, `noise`; the output is `restored`.

    Args:
        static: the static model.
        image: an example (B, 3, H, W), which fixes the graph's shape.
        noise: an example (B, C, H/8, W/8) if the noise is an input, else None.
        path: the file to write.
        clamped: see `ChannelsLast`.

    Raises:
        ExportError: the converter is missing.
    """
    try:
        with quiet():
            import litert_torch
    except ImportError as error:
        raise ExportError(
            f"litert-torch cannot be imported ({error})",
            fix="pip install '.[tflite]'; `make export TASK=... TARGET=tflite` does it by itself",
        ) from error
    examples = {IMAGE: image.permute(0, 2, 3, 1).contiguous()}
    if noise is not None:
        examples[NOISE] = noise.permute(0, 2, 3, 1).contiguous()
    module = ChannelsLast(static, clamped=clamped).eval()
    with quiet():
        litert_torch.convert(module, sample_kwargs=examples).export(str(path))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress the tools' progress lines and known messages; all other output is shown.

    The messages say that packages for other machines do not load, and that torch calls its own
    deprecated functions. Neither concerns the model, and users can change neither.
    """

    def passes(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return record.levelno > logging.INFO and not any(r in message for r in _KNOWN_REMARKS)

    handlers = [h for name in ("", *_LOGGERS) for h in logging.getLogger(name).handlers]
    handlers += [logging.lastResort] if logging.lastResort else []
    for handler in handlers:
        handler.addFilter(passes)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            warnings.filterwarnings("ignore", KEPT_TENSORS_REMARK, UserWarning)
            yield
    finally:
        for handler in handlers:
            handler.removeFilter(passes)
