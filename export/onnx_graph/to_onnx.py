"""Static model -> ONNX graph with all stages as outputs (probe) -> the graph that is shipped."""

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator

import onnx
import torch
from torch import Tensor

from elir_edge.errors import ExportError
from elir_edge.runtime.manifest import TensorSpec
from elir_edge.telemetry import without_telemetry
from export.static.unroll import StaticElir

OPSET = 20
"""The newest opset whose operators all runtimes of 2026 can read and quantize."""
IMAGE, NOISE, RESTORED = "image", "noise", "restored"


def to_probe_graph(static: StaticElir, image: Tensor, noise: Tensor | None) -> onnx.ModelProto:
    """Export the static model to ONNX and simplify it; the outputs are all stages, by name.

    Args:
        static: the static model.
        image: an example (B, 3, H, W), which fixes the graph's shape.
        noise: an example (B, C, H/8, W/8) if the noise is an input, else None.

    Raises:
        ExportError: the exporter failed, or the simplified graph gives other results.
    """
    without_telemetry()  # onnxsim imports ONNX Runtime
    import onnxsim

    arguments = (image,) if noise is None else (image, noise)
    names = [IMAGE] if noise is None else [IMAGE, NOISE]
    with _without_known_remarks():
        program = torch.onnx.export(
            static,
            arguments,
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=static.stage_names,
            verbose=False,
        )
    if program is None:
        raise ExportError("torch's exporter returned nothing")
    simplified, valid = onnxsim.simplify(program.model_proto)
    if not valid:
        raise ExportError("simplifying the ONNX graph changed its results")
    return _without_traces(simplified)


def to_shipped_graph(probe: onnx.ModelProto, description: dict[str, str]) -> onnx.ModelProto:
    """Return the graph with the restored image as its only output and `description` as metadata."""
    shipped = onnx.ModelProto()
    shipped.CopyFrom(probe)
    outputs = [output for output in shipped.graph.output if output.name == RESTORED]
    del shipped.graph.output[:]
    shipped.graph.output.extend(copy.deepcopy(outputs))
    onnx.helper.set_model_props(shipped, description)
    onnx.checker.check_model(shipped, full_check=True)
    return shipped


def tensor_spec(value: onnx.ValueInfoProto, sigma_s: float) -> TensorSpec:
    """Describe an input or output: an NCHW image in [0, 1], or noise."""
    tensor = value.type.tensor_type
    image = value.name in (IMAGE, RESTORED)
    return TensorSpec(
        name=value.name,
        role="image" if value.name != NOISE else "noise",
        shape=tuple(d.dim_value for d in tensor.shape.dim),
        dtype=onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name,
        layout="NCHW",
        colour="RGB" if image else "",
        low=0.0 if image else -sigma_s,
        high=1.0 if image else sigma_s,
    )


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove traces of this machine that the tools recorded: source lines, timings, file names."""
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
        value.doc_string = ""
    del model.graph.metadata_props[:]
    model.graph.doc_string = ""
    model.graph.name = "elir"
    return model


@contextlib.contextmanager
def _without_known_remarks() -> Iterator[None]:
    """Suppress two messages of torch's exporter; all others are shown.

    The messages say that torchvision is missing, which ELIR does not use, and that torch calls one
    of its own deprecated functions. Neither concerns the model, and users can change neither.
    """
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")

    def passes(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("torchvision is not installed")

    logger.addFilter(passes)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=r".*isinstance\(treespec, LeafSpec\)", category=FutureWarning
            )
            yield
    finally:
        logger.removeFilter(passes)
