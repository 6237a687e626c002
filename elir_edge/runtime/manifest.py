"""The manifest of a bundle: its origin, files, inputs, outputs and checks."""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, TypeVar

import numpy as np

from elir_edge.errors import BundleError
from elir_edge.tasks import Task, TrainedRange

SCHEMA_VERSION = 2
MANIFEST_NAME = "manifest.json"
_TILE_OVERLAP = 32
_MAX_ELEMENTS = 1 << 31
"""Limit for the elements of a tensor, checked before memory is allocated."""
_MAX_UPSCALE = 64
_MAX_LEVELS = 32
_MAX_NUMBER = 1e300
"""Limit for numbers, because JSON integers can be too large for a float."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The origin of the noise sigma_s N(0, I).

    Attributes:
        policy: `constant` (part of the graph), `input` (a second input) or `zero`.
        seed: seed of the constant.
        sha256: SHA-256 of the constant's float32 bytes; empty for the other policies.
    """

    policy: Literal["constant", "input", "zero"]
    seed: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The identity of a bundle.

    Attributes:
        name: name of the bundle.
        task: one of the five tasks.
        model: name of the model's variant.
        num_steps: K, Euler steps.
        sigma_s: standard deviation of the noise.
        noise: origin of the noise.
        tool_version: version of elir-edge that made the bundle.
        git_commit: commit of the checkout that made the bundle.
        licences: licence of each part.
        citation: paper to cite.
    """

    name: str
    task: str
    model: str
    num_steps: int
    sigma_s: float
    noise: Noise
    tool_version: str
    git_commit: str
    licences: dict[str, str]
    citation: str


@dataclass(frozen=True, kw_only=True)
class CheckpointRecord:
    """The checkpoint from which the bundle was exported.

    Attributes:
        checkpoint: name of its file.
        sha256: SHA-256 of that file.
        config: its architecture.
        training: record of its training; empty if unknown.
        trained_range: ranges of the degradation that it was trained on; None: not recorded (bundles
            of earlier versions).
    """

    checkpoint: str
    sha256: str
    config: dict[str, Any]
    training: dict[str, Any]
    trained_range: TrainedRange | None = None


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """A file of the bundle.

    Attributes:
        path: path relative to the bundle's folder.
        role: what the file is, e.g. `artifact`.
        bytes: its size.
        sha256: SHA-256 of its content.
    """

    path: str
    role: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """An input or output of the artifact.

    Attributes:
        name: name in the artifact.
        role: `image`, or `noise` for the second input.
        shape: the fixed size of each axis.
        dtype: numpy's name of the dtype.
        layout: order of the axes, e.g. `NCHW`.
        colour: order of the channels, `RGB`; empty if the tensor is not an image.
        low: value of black; for noise, one standard deviation below zero.
        high: value of white; for noise, one standard deviation above zero.
        scale: quantization scale; None for floats.
        zero_point: quantization zero point; None for floats.

    Raises:
        BundleError: no array can have this description.
    """

    name: str
    role: Literal["image", "noise"]
    shape: tuple[int, ...]
    dtype: str
    layout: str
    colour: str
    low: float
    high: float
    scale: float | None = None
    zero_point: int | None = None

    def __post_init__(self) -> None:
        """Check that an array can have this description."""
        try:
            known = np.dtype(self.dtype).name == self.dtype
        except TypeError:
            known = False
        checks = [
            (known, f"dtype {self.dtype!r}"),
            (sorted(self.layout) == sorted("NCHW"), f"layout {self.layout!r}"),
            (len(self.shape) == len(self.layout), f"shape {self.shape}"),
            (all(side >= 1 for side in self.shape), f"shape {self.shape}"),
            (math.prod(self.shape) <= _MAX_ELEMENTS, f"shape {self.shape}"),
            (self.role == "noise" or self.high > self.low, f"range {self.low} to {self.high}"),
        ]
        for holds, got in checks:
            if not holds:
                raise BundleError(f"{MANIFEST_NAME} has an invalid tensor {self.name}", got=got)


@dataclass(frozen=True, kw_only=True)
class Processing:
    """How images of any size are fitted to the fixed graph.

    Attributes:
        fit: overlapping `tile`s, or one `resize` of the whole picture (aligned faces).
        overlap: pixels that neighbouring tiles share, at the graph's resolution.
        upscale: factor by which the image is enlarged before the network (output size / input
            size).
        upscale_filter: resampling filter of the enlargement.

    Raises:
        BundleError: `upscale` is out of range.
    """

    fit: Literal["tile", "resize"]
    overlap: int
    upscale: int
    upscale_filter: Literal["nearest", "bicubic"]

    def __post_init__(self) -> None:
        """Check the range of `upscale`."""
        if not 1 <= self.upscale <= _MAX_UPSCALE:
            raise BundleError(
                f"{MANIFEST_NAME} has an invalid enlargement",
                got=f"upscale {self.upscale}",
                expected=f"1 to {_MAX_UPSCALE}",
            )

    @classmethod
    def of_task(cls, task: Task, size: int) -> "Processing":
        """Return a task's processing for graphs of `size` x `size` pixels."""
        return cls(
            fit=task.fit,
            overlap=min(_TILE_OVERLAP, size // 4),
            upscale=task.upscale,
            upscale_filter=task.upscale_filter,
        )


@dataclass(frozen=True, kw_only=True)
class Precision:
    """The precision of the artifact.

    Attributes:
        name: `fp32`, `fp16` or `int8`.
        excluded: convolutions that keep another precision, with the reasons.
        calibration_sha256: SHA-256 of the calibration data; None: no calibration.
        calibration_count: number of calibration crops; None: no calibration.
    """

    name: str
    excluded: dict[str, str] = field(default_factory=dict)
    calibration_sha256: str | None = None
    calibration_count: int | None = None


@dataclass(frozen=True, kw_only=True)
class EngineRecord:
    """The TensorRT and the GPU that an engine was built for; others refuse it.

    Attributes:
        kind: `tensorrt-rtx` or `tensorrt`.
        version: exact version of TensorRT.
        capability: compute capability of the GPU, e.g. `sm75`.
        source: the bundle's ONNX file that the engine is built from.
        ran: whether the engine was run when it was built; if not, its ONNX was run instead.
        cache: what is kept between builds and between runs, and where.
    """

    kind: str
    version: str
    capability: str
    source: str
    ran: bool
    cache: str


@dataclass(frozen=True, kw_only=True)
class TargetRecord:
    """The target that the artifact runs on.

    Attributes:
        name: name of the export target.
        backend: name of the default runtime.
        versions: versions of the packages that made and checked the bundle, by name.
        details: facts that only this target has.
        runtimes: the file that each verified runtime loads, by the runtime's name; empty in bundles
            of earlier versions, whose only artifact is for `backend`.
        engine: record of the TensorRT engine; None: the artifact is not one.
    """

    name: str
    backend: str
    versions: dict[str, str]
    details: dict[str, Any] = field(default_factory=dict)
    runtimes: dict[str, str] = field(default_factory=dict)
    engine: EngineRecord | None = None


@dataclass(frozen=True, kw_only=True)
class Check:
    """One comparison made at export.

    Attributes:
        form: what was compared: `collapse`, `unroll`, a rewrite's name, `onnx`, `artifact`; or
            `plausibility`: the model's result with the ground truth.
        stage: the point of the network at which it was compared.
        reference: what it was compared with.
        metric: name of the metric.
        value: value of the metric.
        threshold: limit of the value.
        at_least: whether the value must be at least, not at most, the threshold.
        passed: whether the value is within the limit.
    """

    form: str
    stage: str
    reference: str
    metric: str
    value: float
    threshold: float
    at_least: bool
    passed: bool


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """A test image, the expected output, and the least PSNR between it and the output.

    Attributes:
        input: file of the test image, relative to the bundle.
        expected: file of the expected output, relative to the bundle.
        min_psnr: the least PSNR, in dB.
    """

    input: str
    expected: str
    min_psnr: float


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of `manifest.json`.

    Attributes:
        schema_version: version of the manifest's format.
        identity: the bundle's name, task and model.
        source: the checkpoint.
        files: all files of the bundle except the manifest and its hash.
        inputs: inputs of the artifact.
        outputs: outputs of the artifact.
        processing: how images are fitted to the graph.
        precision: the artifact's precision.
        rewrites: how often each exact rewrite was applied.
        target: what the artifact runs on.
        validation: the comparisons made at export.
        self_test: the test that every device can repeat.
        request: the export options that the bundle's name does not contain; a bundle of the same
            request may replace this one.
        rewrites_refused: what each rewrite left unchanged, with the reasons.
    """

    schema_version: int
    identity: Identity
    source: CheckpointRecord
    files: tuple[FileEntry, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    processing: Processing
    precision: Precision
    rewrites: dict[str, int]
    target: TargetRecord
    validation: tuple[Check, ...]
    self_test: SelfTest
    request: dict[str, str] = field(default_factory=dict)
    rewrites_refused: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the text of the file, with sorted keys; equal manifests give equal texts.

        Raises:
            ValueError: a number is not finite.
        """
        return (
            json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True, allow_nan=False) + "\n"
        )

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Parse and check a manifest.

        Raises:
            BundleError: the text is not JSON, has another schema version, or has unknown, missing
                or mistyped fields.
        """
        try:
            values = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise BundleError(
                f"{MANIFEST_NAME} is not JSON ({error})", fix="export again"
            ) from error
        _check_depth(values)
        version = values.get("schema_version") if isinstance(values, dict) else None
        if version != SCHEMA_VERSION:
            raise BundleError(
                f"{MANIFEST_NAME} has another schema version",
                got=repr(version),
                expected=str(SCHEMA_VERSION),
                fix="export again with this version of elir-edge, or install the one that wrote it",
            )
        return decode(cls, values, "manifest")

    def artifact(self) -> FileEntry:
        """Return the entry of the model file that the backend loads."""
        return next(entry for entry in self.files if entry.role == "artifact")


def _check_depth(values: Any) -> None:
    level = [values]
    for _ in range(_MAX_LEVELS):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    if level:
        raise BundleError(
            f"{MANIFEST_NAME} is nested too deeply", expected=f"at most {_MAX_LEVELS} levels"
        )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_constant(text)


def decode(kind: type[T], values: Any, where: str) -> T:
    """Build a dataclass from JSON values, with strict type checks.

    Args:
        kind: the dataclass.
        values: the parsed JSON object.
        where: name of the object, for messages.

    Raises:
        BundleError: a field is unknown, missing or mistyped.
    """
    if not isinstance(values, Mapping):
        raise BundleError(f"{where} is malformed", got=type(values).__name__, expected="an object")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields))
    missing = sorted(
        name
        for name, f in fields.items()
        if name not in values
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    )
    if unknown or missing:
        raise BundleError(f"{where} is malformed", got=f"unknown {unknown}, missing {missing}")
    return kind(**{k: _decode_value(hints[k], v, f"{where}.{k}") for k, v in values.items()})


def _decode_value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return decode(hint, value, where)
    if origin is types.UnionType:
        if value is None:
            return None
        return _decode_value(next(a for a in arguments if a is not type(None)), value, where)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(value):
            pairs = enumerate(zip(kinds, value, strict=True))
            return tuple(_decode_value(kind, v, f"{where}[{i}]") for i, (kind, v) in pairs)
    if origin is dict and isinstance(value, dict):
        return {k: _decode_value(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and number and abs(value) <= _MAX_NUMBER:
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise BundleError(f"{where} is malformed", got=repr(value), expected=str(hint))
