"""MCT as another int8 quantization engine for ONNX: post-training and gradient-based.

MCT's description of TFLite's quantization capabilities does not load in version 2.6.1, so this
module defines one (`_capabilities`).
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import onnx

from elir_edge.data.operations import FloatImage
from elir_edge.errors import ExportError
from export.onnx_graph.to_onnx import IMAGE, RESTORED
from export.static.unroll import StaticElir
from export.targets.imx500.mct import (
    RestoredOnly,
    batches_of,
    importable_torchvision,
    legacy_exporter,
)

MctMethod = Literal["ptq", "gptq"]
_OPSET = 17
"""The newest that its exporter writes."""
_EPOCHS = 3


def quantize_by_mct(
    static: StaticElir, images: Sequence[FloatImage], method: MctMethod
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
    with importable_torchvision():
        try:
            import model_compression_toolkit as mct
        except ImportError as error:
            raise ExportError(
                f"model-compression-toolkit cannot be imported ({error})",
                fix="pip install '.[mct]' into an environment of its own, without the lock",
            ) from error

    batches = batches_of(images)
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
            RestoredOnly(static), batches, gptq_config=learning, **given
        )
    else:
        quantized, _ = mct.ptq.pytorch_post_training_quantization(
            RestoredOnly(static), batches, **given
        )
    with tempfile.TemporaryDirectory() as folder, legacy_exporter():
        path = Path(folder) / "model.onnx"
        mct.exporter.pytorch_export_model(
            quantized,
            str(path),
            batches,
            quantization_format=mct.exporter.QuantizationFormat.FAKELY_QUANT,
            onnx_opset_version=_OPSET,
        )
        return _static(onnx.load(path))


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
