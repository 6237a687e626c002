"""Sony's model-compression-toolkit (MCT) quantizes for the sensor.

It needs two favours of its surroundings: `importable` and `exporter_of_old`.
"""

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from elir_edge.data.operations import FloatImage
from export.onnx_graph.to_onnx import RESTORED
from export.static.unroll import StaticElir
from export.targets.imx500.sums import with_wide_sums

QUANTIZED = "quantized.onnx"
"""Of `quantize_for_sensor`: with MCT's own operators, as the sensor's converter reads it."""
_SENSOR_OPSET = 15
"""The newest that the converter reads."""


def quantize_for_sensor(static: StaticElir, images: Sequence[FloatImage], folder: Path) -> None:
    """Quantize as Sony's IMX500 computes, and write the graph (`QUANTIZED`).

    Weights int8 per channel, activations scaled by powers of two: 16 bits where additions read
    them, 8 elsewhere.

    Args:
        static: the static model, its noise part of it.
        images: degraded crops (H, W, 3) in [0, 1] to take ranges from.
        folder: to write into.
    """
    with importable():
        import model_compression_toolkit as mct

    model, summands = with_wide_sums(RestoredOnly(_on_the_chip(static)))
    batches = batches_of(images)
    config = mct.core.CoreConfig(
        quantization_config=mct.core.QuantizationConfig(
            # Least error, clipping included: on shipped weights it loses 0.12 dB, its fast
            # alternative (the largest value) 0.28 dB.
            activation_error_method=mct.core.QuantizationErrorMethod.MSE,
            # It knows of rounded weights only, and brings the mean colour off (1 of 255).
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
    with exporter_of_old():
        mct.exporter.pytorch_export_model(
            quantized,
            str(folder / QUANTIZED),
            batches,
            quantization_format=mct.exporter.QuantizationFormat.MCTQ,
            onnx_opset_version=_SENSOR_OPSET,
        )


LEVELS = 256
"""Bytes are multiples of 1/256 on the chip: its scales are powers of two."""
_BYTE = 255
"""They are multiples of 1/255 to the network."""


@torch.no_grad()
def _on_the_chip(static: StaticElir) -> StaticElir:
    """Return the model for images in multiples of 1/256, and limited by an activation.

    The first and the last kernel take the difference: left to itself it costs 0.05 dB. A clamp of
    its own would read the last convolution's output in 8 signed bits that reach beyond [0, 1], half
    or a quarter of the levels; it stays behind the activation, which the chip fuses, and does
    nothing.
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
    with importable():
        import mct_quantizers

    return mct_quantizers.get_ort_session_options()


def batches_of(images: Sequence[FloatImage]) -> Callable[[], Iterator[list[Tensor]]]:
    """Return what MCT takes its data from: called anew for every pass."""

    def batches() -> Iterator[list[Tensor]]:
        for image in images:
            yield [torch.from_numpy(image.transpose(2, 0, 1)[None].copy())]

    return batches


class RestoredOnly(nn.Module):
    """The static model with one output."""

    def __init__(self, static: StaticElir) -> None:
        super().__init__()
        self.static = static

    def forward(self, image: Tensor) -> Tensor:
        """Restore (B, 3, H, W)."""
        return self.static.stages(image)[RESTORED]


@contextlib.contextmanager
def importable() -> Iterator[None]:
    """Let `import torchvision`, which MCT needs, pass with the CPU build of torch.

    Its compiled operators do not load there, and declaring the two that it registers fakes for is
    enough: MCT uses neither.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    ):
        if not hasattr(torch.ops.torchvision, schema.split("(")[0]):
            library.define(schema)  # type: ignore[no-untyped-call]
    yield


@contextlib.contextmanager
def exporter_of_old() -> Iterator[None]:
    """Give MCT the exporter that its quantizers are written for."""
    export = torch.onnx.export
    torch.onnx.export = functools.partial(export, dynamo=False)
    try:
        yield
    finally:
        torch.onnx.export = export
