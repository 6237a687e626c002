"""Quantization for the sensor by Sony's model-compression-toolkit (MCT).

MCT needs two workarounds: `importable_torchvision` and `legacy_exporter`.
"""

import contextlib
import copy
import functools
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from elir_edge.data.operations import FloatImage
from export.onnx_graph.to_onnx import RESTORED
from export.static.unroll import StaticElir
from export.targets.imx500.sums import with_wide_sums

QUANTIZED = "quantized.onnx"
"""File that `quantize_for_sensor` writes, with MCT's own operators, which the converter reads."""
_SENSOR_OPSET = 15
"""The newest opset that the converter reads."""


def quantize_for_sensor(static: StaticElir, images: Sequence[FloatImage], folder: Path) -> None:
    """Quantize for the arithmetic of Sony's IMX500, and write the graph (`QUANTIZED`).

    Weights are int8 with per-channel scales. Activations have power-of-two scales, and 16 bits if
    only additions read them, else 8 bits.

    Args:
        static: the static model, with constant noise.
        images: degraded calibration crops (H, W, 3) in [0, 1], which give the ranges.
        folder: folder to write to.
    """
    with importable_torchvision():
        import model_compression_toolkit as mct

    model, summands = with_wide_sums(RestoredOnly(_chip_model(static)))
    batches = batches_of(images)
    config = mct.core.CoreConfig(
        quantization_config=mct.core.QuantizationConfig(
            # Minimises the error, including clipping: it loses 0.12 dB on the shipped weights,
            # while its fast alternative (the largest value) loses 0.28 dB.
            activation_error_method=mct.core.QuantizationErrorMethod.MSE,
            # MCT's correction only considers rounded weights and shifts the mean colour by 1/255.
            weights_bias_correction=False,
            shift_negative_activation_correction=False,
        )
    )
    names = [mct.core.network_editor.NodeNameFilter(name) for name in summands]
    config.bit_width_config.set_manual_activation_bit_width(names, [16])
    quantized, _ = mct.ptq.pytorch_post_training_quantization(
        model,
        batches,
        core_config=config,
        target_platform_capabilities=mct.get_target_platform_capabilities(
            tpc_version="4.0", device_type="imx500"
        ),
    )
    with legacy_exporter():
        mct.exporter.pytorch_export_model(
            quantized,
            str(folder / QUANTIZED),
            batches,
            quantization_format=mct.exporter.QuantizationFormat.MCTQ,
            onnx_opset_version=_SENSOR_OPSET,
        )


LEVELS = 256
"""On the chip, bytes are multiples of 1/256, since its scales are powers of two."""
_BYTE = 255
"""For the network, bytes are multiples of 1/255."""


@torch.no_grad()
def _chip_model(static: StaticElir) -> StaticElir:
    """Return the model for images in multiples of 1/256, with an activation that limits its output.

    The first and the last kernel are scaled to compensate for 256/255, which would cost 0.05 dB. A
    separate clamp would read the last convolution's output in signed 8 bits with a range beyond
    [0, 1], and lose half or three quarters of the levels. Therefore a Hardtanh, which the chip
    fuses with the convolution, comes before the clamp, which then has no effect.
    """
    changed = copy.deepcopy(static)
    encoder, decoder = changed.encoder.layers, changed.decoder.layers
    assert isinstance(encoder, nn.Sequential)
    assert isinstance(decoder, nn.Sequential)
    first = encoder[0]
    assert isinstance(first, nn.Conv2d)
    first.weight.mul_(LEVELS / _BYTE)
    for parameter in decoder[-1].parameters():
        parameter.mul_(_BYTE / LEVELS)
    decoder.append(nn.Hardtanh(0.0, 1.0))
    return changed


def session_options() -> object:
    """Return ONNX Runtime's options for graphs with MCT's own operators."""
    with importable_torchvision():
        import mct_quantizers

    return mct_quantizers.get_ort_session_options()


def batches_of(images: Sequence[FloatImage]) -> Callable[[], Iterator[list[Tensor]]]:
    """Return MCT's data source, a function that it calls for every pass over the images."""

    def batches() -> Iterator[list[Tensor]]:
        for image in images:
            yield [torch.from_numpy(image.transpose(2, 0, 1)[None].copy())]

    return batches


class RestoredOnly(nn.Module):
    """The static model with the restored image as its only output."""

    def __init__(self, static: StaticElir) -> None:
        super().__init__()
        self.static = static

    def forward(self, image: Tensor) -> Tensor:
        """Restore (B, 3, H, W)."""
        return self.static.stages(image)[RESTORED]


@contextlib.contextmanager
def importable_torchvision() -> Iterator[None]:
    """Make `import torchvision`, which MCT needs, work with the CPU build of torch.

    Torchvision's compiled operators do not load there. It is enough to declare the two operators
    for which torchvision registers fake implementations; MCT uses neither. Where they do load, they
    must load first: to declare an operator twice ends the process.
    """
    _load_operators()
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    ):
        if not hasattr(torch.ops.torchvision, schema.split("(")[0]):
            library.define(schema)  # type: ignore[no-untyped-call]
    yield


def _load_operators() -> None:
    """Load torchvision's compiled operators, if they fit this build of torch."""
    found = importlib.util.find_spec("torchvision")
    if found is not None and found.origin is not None:
        with contextlib.suppress(OSError):  # as torchvision itself does
            library = Path(found.origin).with_name("_C.so")
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def legacy_exporter() -> Iterator[None]:
    """Make `torch.onnx.export` use the old exporter, for which MCT's quantizers are written."""
    export = torch.onnx.export
    torch.onnx.export = functools.partial(export, dynamo=False)
    try:
        yield
    finally:
        torch.onnx.export = export
