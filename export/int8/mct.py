"""Sony's model-compression-toolkit (MCT) as a second engine: post-training and gradient-based.

The only file that imports it, because it needs three favours of its surroundings (`_importable`,
`_exporter_of_old`, and a description of what can be quantized, because its own for TFLite does not
load in version 2.6.1).
"""

import contextlib
import copy
import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import onnx
import torch
from torch import Tensor, nn

from elir_edge.data.operations import FloatImage
from elir_edge.errors import ExportError
from export.imx500.sums import with_wide_sums
from export.prepare import StaticElir
from export.to_onnx import IMAGE, RESTORED

Method = Literal["ptq", "gptq"]
_OPSET = 17
"""The newest that its exporter writes."""
_EPOCHS = 3


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
    with _importable():
        import model_compression_toolkit as mct

    model, summands = with_wide_sums(_Restored(_on_the_chip(static)))
    batches = _batches_of(images)
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
    with _exporter_of_old():
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
    with _importable():
        import mct_quantizers

    return mct_quantizers.get_ort_session_options()


def quantize_by_mct(
    static: StaticElir, images: Sequence[FloatImage], method: Method
) -> onnx.ModelProto:
    """Quantize to uint8 activations (asymmetric) and int8 weights per channel.

    Args:
        static: the static model, its noise part of it.
        images: degraded crops (H, W, 3) in [0, 1]; ranges are their least and greatest values.
        method: `ptq`; or `gptq`, which also learns the rounding of the weights from them by
            gradients (without Hessians, which would take hours on a CPU).

    Returns:
        A graph with QuantizeLinear and DequantizeLinear at activations; its weights are float32
        numbers on the levels of int8, so it shows the quality of int8 and not its speed.

    Raises:
        ExportError: MCT is not installed.
    """
    with _importable():
        try:
            import model_compression_toolkit as mct
        except ImportError as error:
            raise ExportError(
                f"model-compression-toolkit cannot be imported ({error})",
                fix="pip install '.[mct]' into an environment of its own, without the lock",
            ) from error

    batches = _batches_of(images)
    config = mct.core.CoreConfig(
        quantization_config=mct.core.QuantizationConfig(
            activation_error_method=mct.core.QuantizationErrorMethod.NOCLIPPING,
            # Its default adds a padding per SiLU, and the exported graph is not what it measured.
            shift_negative_activation_correction=False,
        )
    )
    given: dict[str, Any] = {"core_config": config, "target_platform_capabilities": _capabilities()}
    if method == "gptq":
        learning = mct.gptq.get_pytorch_gptq_config(
            n_epochs=_EPOCHS, use_hessian_based_weights=False, use_hessian_sample_attention=False
        )
        quantized, _ = mct.gptq.pytorch_gradient_post_training_quantization(
            _Restored(static), batches, gptq_config=learning, **given
        )
    else:
        quantized, _ = mct.ptq.pytorch_post_training_quantization(
            _Restored(static), batches, **given
        )
    with tempfile.TemporaryDirectory() as folder, _exporter_of_old():
        path = Path(folder) / "model.onnx"
        mct.exporter.pytorch_export_model(
            quantized,
            str(path),
            batches,
            quantization_format=mct.exporter.QuantizationFormat.FAKELY_QUANT,
            onnx_opset_version=_OPSET,
        )
        return _static(onnx.load(path))


def _batches_of(images: Sequence[FloatImage]) -> Callable[[], Iterator[list[Tensor]]]:
    """Return what MCT takes its data from: called anew for every pass."""

    def batches() -> Iterator[list[Tensor]]:
        for image in images:
            yield [torch.from_numpy(image.transpose(2, 0, 1)[None].copy())]

    return batches


class _Restored(nn.Module):
    """The static model with one output."""

    def __init__(self, static: StaticElir) -> None:
        super().__init__()
        self.static = static

    def forward(self, image: Tensor) -> Tensor:
        return self.static.stages(image)[RESTORED]


def _capabilities() -> object:
    """Describe what ONNX Runtime's int8 kernels can do: all uint8, convolutions fused with ReLU."""
    import model_compression_toolkit.target_platform_capabilities.schema.mct_current_schema as s
    from mct_quantizers import QuantizationMethod

    def attribute(bits: int) -> object:
        return s.AttributeQuantizationConfig(
            weights_quantization_method=QuantizationMethod.SYMMETRIC,
            weights_n_bits=bits,
            weights_per_channel_threshold=bits == 8,
            enable_weights_quantization=bits == 8,
            lut_values_bitwidth=None,
        )

    def options(weights: dict[str, object], *, preserving: bool = False) -> object:
        config = s.OpQuantizationConfig(
            default_weight_attr_config=attribute(32),
            attr_weights_configs_mapping=weights,
            activation_quantization_method=QuantizationMethod.UNIFORM,
            activation_n_bits=8,
            supported_input_activation_n_bits=8,
            enable_activation_quantization=not preserving,
            quantization_preserving=preserving,
            fixed_scale=None,
            fixed_zero_point=None,
            simd_size=None,
            signedness=s.Signedness.AUTO,
        )
        return s.QuantizationConfigOptions(quantization_configurations=(config,))

    names = s.OperatorSetNames
    kernels = {"kernel_attr": attribute(8), "bias_attr": attribute(32)}
    convolution = s.OperatorsSet(name=names.CONV, qc_options=options(kernels))
    relu = s.OperatorsSet(name=names.RELU)
    movers = [
        s.OperatorsSet(name=name, qc_options=options({}, preserving=True))
        for name in (names.RESHAPE, names.TRANSPOSE)
    ]
    return s.TargetPlatformCapabilities(
        default_qco=options({}),
        tpc_minor_version=1,
        tpc_patch_version=0,
        operator_set=(convolution, relu, *movers),
        fusing_patterns=(s.Fusing(operator_groups=(convolution, relu)),),
        tpc_platform_type="onnx",
        add_metadata=False,
        name="uint8",
    )


@contextlib.contextmanager
def _importable() -> Iterator[None]:
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
def _exporter_of_old() -> Iterator[None]:
    """Give MCT the exporter that its quantizers are written for."""
    export = torch.onnx.export
    torch.onnx.export = functools.partial(export, dynamo=False)
    try:
        yield
    finally:
        torch.onnx.export = export


def _static(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph for one image, with our names of input and output.

    MCT's exporter leaves the number of images open.
    """
    image, restored = model.graph.input[0], model.graph.output[0]
    new = {image.name: IMAGE, restored.name: RESTORED}
    for node in model.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = new.get(name, name)
    for tensor in (image, restored):
        tensor.name = new[tensor.name]
        tensor.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]
    return model
