"""The manifest of a bundle: what it is, what it takes and gives, and what was checked."""

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
"""Of a tensor: sizes in a manifest have bounds before memory is asked for."""
_MAX_UPSCALE = 64
_MOST_LEVELS = 32
_MOST = 1e300
"""Of numbers: whole ones can be too large for a float."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Where the draw of sigma_s N(0, I) comes from.

    Attributes:
        policy: `constant` (part of the graph), `input` (a second input) or `zero`.
        seed: of the constant draw.
        sha256: of the constant's float32 bytes; empty for the other policies.
    """

    policy: Literal["constant", "input", "zero"]
    seed: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What the bundle is."""

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
class Source:
    """The checkpoint behind the bundle.

    Attributes:
        checkpoint: its file's name.
        sha256: of that file.
        config: its architecture.
        training: how it was trained; empty where that is unknown.
        trained_range: what was done to the images that it learned to restore; None: not recorded
            (bundles of earlier versions).
    """

    checkpoint: str
    sha256: str
    config: dict[str, Any]
    training: dict[str, Any]
    trained_range: TrainedRange | None = None


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """A file of the bundle; `path` is relative to it."""

    path: str
    role: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """An input or output of the artifact.

    Attributes:
        name: in the artifact.
        role: `image`, or `noise` for the second input.
        shape: all fixed.
        dtype: numpy's name.
        layout: order of the axes, e.g. `NCHW`.
        colour: order of the channels, `RGB`; empty for what is no image.
        low: value of black; for noise, one standard deviation below zero.
        high: value of white; for noise, one standard deviation above zero.
        scale: quantization scale, None for floats.
        zero_point: quantization zero point, None for floats.
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
        """Check that an array can be made of it."""
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
                raise BundleError(f"{MANIFEST_NAME} describes {self.name} impossibly", got=got)


@dataclass(frozen=True, kw_only=True)
class Processing:
    """How an image of any size meets the fixed graph.

    Attributes:
        fit: overlapping `tile`s, or one `resize` of the whole picture (aligned faces).
        overlap: pixels that neighbouring tiles share, at the graph's resolution.
        upscale: the image is enlarged by this before the network (output size / input size).
        upscale_filter: how.
    """

    fit: Literal["tile", "resize"]
    overlap: int
    upscale: int
    upscale_filter: Literal["nearest", "bicubic"]

    def __post_init__(self) -> None:
        """Check that an image can be enlarged so."""
        if not 1 <= self.upscale <= _MAX_UPSCALE:
            raise BundleError(
                f"{MANIFEST_NAME} enlarges impossibly",
                got=f"upscale {self.upscale}",
                expected=f"1 to {_MAX_UPSCALE}",
            )

    @classmethod
    def of_task(cls, task: Task, size: int) -> "Processing":
        """Return what a task asks of graphs of `size` x `size` pixels."""
        return cls(
            fit=task.fit,
            overlap=min(_TILE_OVERLAP, size // 4),
            upscale=task.upscale,
            upscale_filter=task.upscale_filter,
        )


@dataclass(frozen=True, kw_only=True)
class Precision:
    """The numeric recipe: what stays in another precision, and why."""

    name: str
    excluded: dict[str, str] = field(default_factory=dict)
    calibration_sha256: str | None = None
    calibration_count: int | None = None


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What a TensorRT engine is for; another GPU or version refuses it.

    Attributes:
        kind: `tensorrt-rtx` or `tensorrt`.
        version: of it, exactly.
        capability: of the GPU, e.g. `sm75`.
        source: the bundle's ONNX file that it was built from and can be built from anew.
        ran: whether it was run when it was made; ahead of time, its ONNX was run instead.
        cache: what is kept between builds and between runs, and where.
    """

    kind: str
    version: str
    capability: str
    source: str
    ran: bool
    cache: str


@dataclass(frozen=True, kw_only=True)
class Target:
    """What the artifact runs on.

    Attributes:
        name: of the export target.
        backend: the runtime that is used unless another is asked for.
        versions: of the packages that made and checked the bundle.
        details: facts of this kind of target.
        runtimes: the bundle's file that each verified runtime loads, by the runtime's name; empty
            in bundles of earlier versions, whose one artifact is for `backend`.
        engine: what the artifact is for, if it is a TensorRT engine.
    """

    name: str
    backend: str
    versions: dict[str, str]
    details: dict[str, Any] = field(default_factory=dict)
    runtimes: dict[str, str] = field(default_factory=dict)
    engine: Engine | None = None


@dataclass(frozen=True, kw_only=True)
class Check:
    """One comparison made at export.

    Attributes:
        form: what was compared: `collapse`, `unroll`, a rewrite's name, `onnx`, `artifact`; or
            `plausibility`: the model's result and the ground truth.
        stage: at which point of the network.
        reference: against what.
        metric: how.
        value: the outcome.
        threshold: its limit.
        at_least: whether larger values are better.
        passed: whether it is within the limit.
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
    """An image, what the artifact must make of it, and how near (PSNR in dB)."""

    input: str
    expected: str
    min_psnr: float


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All of `manifest.json`.

    Attributes:
        rewrites: how often each exact rewrite applied.
        rewrites_refused: what they left alone, and why.
        request: what was asked for at export beside what the bundle's name says: a bundle of the
            same request may take its place.
    """

    schema_version: int
    identity: Identity
    source: Source
    files: tuple[FileEntry, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    processing: Processing
    precision: Precision
    rewrites: dict[str, int]
    target: Target
    validation: tuple[Check, ...]
    self_test: SelfTest
    request: dict[str, str] = field(default_factory=dict)
    rewrites_refused: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the file's text: keys sorted, the same for the same content."""
        return (
            json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True, allow_nan=False) + "\n"
        )

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Parse and check a manifest.

        Raises:
            BundleError: not JSON, of another schema version, or with unknown, missing or mistyped
                fields.
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
                f"{MANIFEST_NAME} is of another schema version",
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
    for _ in range(_MOST_LEVELS):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    if level:
        raise BundleError(
            f"{MANIFEST_NAME} is nested too deeply", expected=f"at most {_MOST_LEVELS} levels"
        )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_constant(text)


def decode(kind: type[T], values: Any, where: str) -> T:
    """Build a dataclass from JSON values, strictly.

    Raises:
        BundleError: unknown, missing or mistyped fields, named by `where`.
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
    if hint is float and number and abs(value) <= _MOST:
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise BundleError(f"{where} is malformed", got=repr(value), expected=str(hint))
