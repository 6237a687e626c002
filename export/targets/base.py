"""The interface of a target: what it supports, and how it makes its artifact."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import onnx
from torch import Tensor

from elir_edge.errors import UsageError
from elir_edge.model import Elir, ModelConfig
from elir_edge.runtime.manifest import Check, Precision, TargetRecord, TensorSpec
from elir_edge.tasks import Task
from export.calibration.photos import CalibrationSet
from export.int8.search import Effort
from export.onnx_graph.to_onnx import RESTORED
from export.qdq.calibrated import CalibratedGraph
from export.reporting import Report
from export.static.unroll import StaticElir
from export.verify import (
    StageComparer,
    StageValues,
    compare_fp16,
    compare_fp32,
    verify_file,
    verify_onnx,
)

QuantizedT = TypeVar("QuantizedT")
"""A target's own type for the quantized model and what is needed to verify it."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A verified static graph, with what is needed to check any artifact made from it.

    Attributes:
        precision: the requested precision of the artifact.
        static: the static model, rewritten for the target, from which `probe` was exported.
        config: configuration of the model as trained.
        rewrites: names of the exact rewrites that were applied, in order.
        probe: float32 ONNX graph with all stages as outputs.
        description: identity of the model, for the artifact's metadata.
        image: the verification image, (B, 3, H, W) in [0, 1].
        noise: the noise, (B, C, H/8, W/8), if the noise is an input; else None.
        reference: torch's float32 stages for the verification image.
        sigma_s: standard deviation of the noise.
        task: the restoration task.
        calibration: the calibration set for int8; None for other precisions.
        effort: extent of the search for the int8 recipe.
        enforce_gates: whether int8 must pass its quality gates; they are meaningless for weights
            that were never trained.
        device: the device to build for, if the target builds for devices; None: its default.
    """

    precision: str
    static: StaticElir
    config: ModelConfig
    rewrites: tuple[str, ...]
    probe: onnx.ModelProto
    description: dict[str, str]
    image: Tensor
    noise: Tensor | None
    reference: StageValues
    sigma_s: float
    task: Task
    calibration: CalibrationSet | None = None
    effort: Effort = Effort.GATES
    enforce_gates: bool = True
    device: str | None = None

    def calibrate(self, shipped: onnx.ModelProto, report: Report) -> CalibratedGraph:
        """Return a graph with its ranges observed on the calibration crops, ready to quantize.

        Args:
            shipped: the probe with the restored image as its only output.
            report: called with a line about the progress.
        """
        assert self.calibration is not None
        return CalibratedGraph(
            self.probe,
            shipped,
            self.calibration,
            batch=len(self.image),
            noise=None if self.noise is None else self.noise.numpy(),
            report=report,
        )

    @property
    def compare(self) -> StageComparer:
        """Compares a float artifact with torch, by the tolerance of its precision."""
        return compare_fp16 if self.precision == "fp16" else compare_fp32

    def precision_record(self, excluded: Mapping[str, str]) -> Precision:
        """Return the manifest's record of the precision.

        Args:
            excluded: layers with another precision, with the reasons.
        """
        crops = self.calibration
        return Precision(
            name=self.precision,
            excluded=dict(excluded),
            calibration_sha256=crops.sha256 if crops else None,
            calibration_count=len(crops.ranges) if crops else None,
        )

    def verify_file(
        self, form: str, path: Path, compare: StageComparer, runtime: str
    ) -> list[Check]:
        """Run an artifact on the verification image and compare its result with torch's.

        Raises:
            ParityError: the results differ by more than the tolerance.
        """
        expected = {RESTORED: self.reference[RESTORED]}
        return verify_file(form, path, expected, self.image, self.noise, compare, runtime)

    def verify_stages(
        self, form: str, probe: onnx.ModelProto, folder: Path, compare: StageComparer
    ) -> list[Check]:
        """Run a graph in ONNX Runtime and compare all stages with torch's (`verify_onnx`)."""
        return verify_onnx(form, probe, folder, self.reference, self.image, self.noise, compare)


@dataclass(frozen=True, kw_only=True)
class EmittedArtifact:
    """An artifact on disk and its part of the manifest.

    Attributes:
        artifact: the file that the default runtime loads.
        extra_files: further files in the same folder, with their roles.
        preview_runtime: the runtime that computes the preview and the golden image; None: the
            default.
        remarks: lines of information for the user who exports.
    """

    artifact: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    precision: Precision
    target: TargetRecord
    extra_files: Mapping[Path, str] = field(default_factory=dict)
    preview_runtime: str | None = None
    remarks: tuple[str, ...] = ()


class FitEstimate(Protocol):
    """An estimate of whether a model fits a target; `str` gives lines for people."""

    def require(self) -> None:
        """Require that the model fits.

        Raises:
            ExportError: the model does not fit.
        """


class Target(Protocol[QuantizedT]):
    """A kind of bundle, made in three steps: quantize, emit, verify."""

    @property
    def name(self) -> str:
        """The name on the command line."""

    @property
    def title(self) -> str:
        """The devices and runtimes that it is for, as a phrase."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """The supported precisions; the first is the default."""

    @property
    def rewrites(self) -> Mapping[str, tuple[str, ...]]:
        """The exact rewrites that make the model faster on this target, in order, by precision."""

    def check(self, *, precision: str, device: str | None, noise: str, batch: int) -> None:
        """Check before any work that the target supports a request on this machine.

        Args:
            precision: one of the target's precisions.
            device: the device to build for; None: the default.
            noise: a known noise policy (`constant`, `input` or `zero`).
            batch: batch size, 1 or more.

        Raises:
            ElirError: the target does not support the request, or a system tool is missing.
        """

    @property
    def own_variant(self) -> str | None:
        """The variant that is exported by default if the task has weights of it; None: `nano`."""

    def fit(self, model: Elir, size: int) -> FitEstimate | None:
        """Return a quick estimate of whether a model fits; None: any model fits.

        Args:
            model: the model as trained.
            size: side of the image, in pixels.
        """

    def quantize(self, graph: Graph, folder: Path, report: Report) -> QuantizedT:
        """Convert the graph to the requested precision.

        Args:
            graph: the float32 graph.
            folder: folder of the bundle, for results that are files.
            report: called with a line about the progress.

        Raises:
            ExportError: a tool cannot convert the graph.
        """

    def emit(
        self, graph: Graph, quantized: QuantizedT, folder: Path, report: Report
    ) -> EmittedArtifact:
        """Write the artifact into `folder`.

        Raises:
            ElirError: the target does not support the model, or a tool fails.
        """

    def verify(
        self, graph: Graph, quantized: QuantizedT, emitted: EmittedArtifact, report: Report
    ) -> list[Check]:
        """Run the artifact and return its checks: parity with torch or, for int8, the gates.

        Raises:
            ParityError: a parity check failed, or a gate failed and gates are enforced.
        """

    def readme(self, graph: Graph, emitted: EmittedArtifact) -> str:
        """Return Markdown about how an application runs the artifact."""


def refuse_device(target: str, device: str | None) -> None:
    """Require that no device is given, for a target that does not build for devices.

    Raises:
        UsageError: a device is given.
    """
    if device is not None:
        raise UsageError(
            f"target {target!r} builds for no GPU in particular", fix="leave out --gpu"
        )
