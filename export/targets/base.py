"""What a target is: a table of what it supports, and how it makes its artifact."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import onnx
from torch import Tensor

from elir_edge.errors import UsageError
from elir_edge.model import Elir, ModelConfig
from elir_edge.runtime.manifest import Check, Precision, TensorSpec
from elir_edge.runtime.manifest import Target as TargetRecord
from elir_edge.tasks import Task
from export.calibration.photos import Calibration
from export.int8.search import Effort
from export.onnx_graph.to_onnx import RESTORED
from export.qdq.calibrated import CalibratedGraph
from export.reporting import Report
from export.static.unroll import StaticElir
from export.verify import Compare, StageValues, verify_file, verify_onnx

Form = TypeVar("Form")
"""A target's own: the model in the precision asked for, and what it is to be judged by."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A verified static graph, with what is needed to check any artifact made from it.

    Attributes:
        precision: that the artifact is to have.
        static: the model it was exported from, rewritten for the target.
        config: of the model as trained.
        rewrites: exact rewrites that were applied, in order.
        probe: ONNX float32, all stages as outputs.
        description: identity of the model, for the artifact's own metadata.
        image: the verification image (B, 3, H, W) in [0, 1].
        noise: (B, C, H/8, W/8) where the noise is an input, else None.
        reference: the stages that torch float32 gives for it.
        sigma_s: standard deviation of the noise.
        task: what is restored.
        calibration: crops for int8; None for the other precisions.
        effort: how far the search for int8's recipe goes.
        enforce_gates: whether int8 must keep its quality gates. For weights that were never trained
            they say nothing.
        device: what to build for, where a target builds for devices; None: its default.
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
    calibration: Calibration | None = None
    effort: Effort = Effort.GATES
    enforce_gates: bool = True
    device: str | None = None

    def calibrate(self, shipped: onnx.ModelProto, report: Report) -> CalibratedGraph:
        """Observe a graph on the calibration crops, ready to be quantized and judged.

        Args:
            shipped: the probe with the image as its only output.
            report: told what is going on.
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

    def precision_record(self, excluded: Mapping[str, str]) -> Precision:
        """Return the manifest's record of the precision.

        Args:
            excluded: what has another one, and why.
        """
        crops = self.calibration
        return Precision(
            name=self.precision,
            excluded=dict(excluded),
            calibration_sha256=crops.sha256 if crops else None,
            calibration_count=len(crops.ranges) if crops else None,
        )

    def verify_file(self, form: str, path: Path, compare: Compare, runtime: str) -> list[Check]:
        """Run an artifact on the verification image and compare its result with torch's.

        Raises:
            ParityError: it departs.
        """
        expected = {RESTORED: self.reference[RESTORED]}
        return verify_file(form, path, expected, self.image, self.noise, compare, runtime)

    def verify_stages(
        self, form: str, probe: onnx.ModelProto, folder: Path, compare: Compare
    ) -> list[Check]:
        """Run a graph in ONNX Runtime and compare all stages with torch's (`verify_onnx`)."""
        return verify_onnx(form, probe, folder, self.reference, self.image, self.noise, compare)


@dataclass(frozen=True, kw_only=True)
class Emitted:
    """An artifact on disk and its part of the manifest.

    Attributes:
        artifact: what the default runtime loads.
        others: further files in the same folder, and their roles.
        tried_in: the runtime that makes the preview and the golden image; None: the default one.
        remarks: what whoever exports should know, a line each.
    """

    artifact: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    precision: Precision
    target: TargetRecord
    others: Mapping[Path, str] = field(default_factory=dict)
    tried_in: str | None = None
    remarks: tuple[str, ...] = ()


class Fit(Protocol):
    """An estimate of whether a model fits a target; as text, lines for people."""

    def require(self) -> None:
        """Require that it fits.

        Raises:
            ExportError: it does not.
        """


class Target(Protocol[Form]):
    """A kind of bundle, made in three steps: quantize, emit, verify."""

    @property
    def name(self) -> str:
        """The name on the command line."""

    @property
    def title(self) -> str:
        """What it is for, in a phrase."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """What it supports; the first is its default."""

    @property
    def rewrites(self) -> Mapping[str, tuple[str, ...]]:
        """The exact rewrites that pay on it, in order, by precision."""

    def check(self, *, precision: str, device: str | None, noise: str, batch: int) -> None:
        """Check what the target cannot have, before any work.

        Args:
            precision: one of its own.
            device: what to build for; None: its default.
            noise: a known policy.
            batch: 1 or more.

        Raises:
            ElirError: it cannot do this, at least not here, or lacks a tool of the system.
        """

    @property
    def own_variant(self) -> str | None:
        """The variant that is exported where none is asked for and the task has such weights.

        None: `nano`.
        """

    def fit(self, model: Elir, size: int) -> Fit | None:
        """Estimate in seconds whether a model fits; None: there is room for any.

        Args:
            model: as trained.
            size: side of the image, pixels.
        """

    def quantize(self, graph: Graph, folder: Path, report: Report) -> Form:
        """Bring the graph to its precision.

        Args:
            graph: float32.
            folder: of the bundle, for what is made as a file.
            report: told what is going on.

        Raises:
            ExportError: a tool refuses it.
        """

    def emit(self, graph: Graph, form: Form, folder: Path, report: Report) -> Emitted:
        """Write the artifact into `folder`.

        Raises:
            ElirError: the target does not take the model, or a tool refuses it.
        """

    def verify(self, graph: Graph, form: Form, emitted: Emitted, report: Report) -> list[Check]:
        """Run the artifact, and return how near it comes to torch or, for int8, to its gates.

        Raises:
            ParityError: not near enough, or a gate is missed and gates are enforced.
        """

    def readme(self, graph: Graph, emitted: Emitted) -> str:
        """Return the Markdown lines that tell an application how to run the artifact."""


def refuse_device(target: str, device: str | None) -> None:
    """Require that none is given.

    Raises:
        UsageError: one is.
    """
    if device is not None:
        raise UsageError(
            f"target {target!r} builds for no GPU in particular", fix="leave out --gpu"
        )
