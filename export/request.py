"""The request for one export: its options, their checks, and the checkpoint that they select."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from elir_edge.checkpoints.own import (
    Checkpoint,
    build_model,
    embedded_path,
    is_embedded,
    read_checkpoint,
)
from elir_edge.data.datasets import list_images
from elir_edge.errors import UsageError
from elir_edge.model import Elir, paper_config_for
from elir_edge.runtime.backends.tensorrt.engine import gpu_here
from elir_edge.runtime.backends.tensorrt.support import CURRENT, DEFAULT_GPU
from elir_edge.tasks import get_task
from export.calibration.photos import DEFAULT_CROPS
from export.int8.search import Effort
from export.naming import bundle_name
from export.static.rewrites import REWRITES
from export.targets.base import FitEstimate
from export.targets.registry import TARGETS, get_target

NoisePolicy = Literal["constant", "input", "zero"]
_QUICK_CROPS = 16
_MAX_GRAPH_PIXELS = 4096 * 4096


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of one export. None means the default of the task or the target.

    Attributes:
        task: name of the task.
        target: name of the target.
        precision: one of the target's precisions.
        size: side of the graph's input image, in pixels.
        checkpoint: weights file; None: the shipped weights.
        model: required model variant.
        noise: whether the noise is a constant of the graph, an input, or zero.
        batch: images per run of the graph, at least 1.
        rewrites: names of exact rewrites, in the order of `REWRITES`.
        calibration: folder of photos to calibrate int8 on.
        crops: number of calibration crops for int8, at least 1.
        gpu: GPU that a TensorRT engine is built for.
        quick: fast int8 for a first look: few crops, one placement, gates recorded only.
        decoder: `slim` replaces TAESD3's decoder by the shipped slim one.
        metric_weights: folder with LPIPS's weights, to measure the slim decoder's loss in LPIPS.
        enforce_gates: whether a missed int8 gate is an error; if not, the search is short.
        force: whether a bundle of another request may be replaced.
        out: folder for the bundles.

    Raises:
        UsageError: the task, the target or this version does not support an option.
    """

    task: str
    target: str
    precision: str | None = None
    size: int | None = None
    checkpoint: Path | None = None
    model: str | None = None
    noise: NoisePolicy = "constant"
    batch: int = 1
    rewrites: tuple[str, ...] | None = None
    calibration: Path | None = None
    crops: int | None = None
    gpu: str | None = None
    quick: bool = False
    decoder: Literal["own", "slim"] = "own"
    metric_weights: Path | None = None
    enforce_gates: bool = True
    force: bool = False
    out: Path = Path("dist")

    def __post_init__(self) -> None:
        """Check every option that needs no file."""
        get_task(self.task)
        target = get_target(self.target)
        if self.precision is not None and self.precision not in target.precisions:
            raise UsageError(
                f"target {self.target!r} has no precision {self.precision!r}",
                expected=f"one of {', '.join(target.precisions)}",
            )
        if self.noise not in get_args(NoisePolicy):
            raise UsageError(
                f"unknown noise policy {self.noise!r}",
                expected=f"one of {', '.join(get_args(NoisePolicy))}",
            )
        if self.calibration is not None and self.chosen_precision != "int8":
            raise UsageError(
                f"calibration photos are not used at {self.chosen_precision}",
                fix="leave out --calibration, or pass --precision int8",
            )
        if self.crops is not None and self.chosen_precision != "int8":
            raise UsageError(
                f"there is no calibration at {self.chosen_precision}",
                fix="leave out --crops, or pass --precision int8",
            )
        if self.decoder not in ("own", "slim"):
            raise UsageError(f"unknown decoder {self.decoder!r}", expected="own or slim")
        if self.metric_weights is not None and self.decoder == "own":
            raise UsageError(
                "metric weights are only used to compare decoders",
                fix="leave out --metric-weights, or pass --decoder slim",
            )
        if self.quick and self.chosen_precision != "int8":
            raise UsageError(
                f"there is no quick export at {self.chosen_precision}",
                fix="leave out --quick, or pass --precision int8",
            )
        if self.crops is not None and self.crops < 1:
            raise UsageError(f"{self.crops} crops are too few", expected="1 or more")
        if self.batch < 1:
            raise UsageError(f"batch {self.batch} is too small", expected="1 or more")
        chosen = self.rewrites or ()
        if list(chosen) != [name for name in REWRITES if name in chosen]:
            raise UsageError(
                f"rewrites {', '.join(chosen)} are unknown or in the wrong order",
                expected=f"some of {', '.join(REWRITES)}, in this order",
            )
        target.check(
            precision=self.chosen_precision, device=self.gpu, noise=self.noise, batch=self.batch
        )

    @property
    def chosen_precision(self) -> str:
        """The requested precision, or the target's default."""
        return self.precision or get_target(self.target).precisions[0]

    @property
    def chosen_crops(self) -> int:
        """The number of crops on which activation ranges are observed."""
        return self.crops or (_QUICK_CROPS if self.quick else DEFAULT_CROPS)

    @property
    def gates_enforced(self) -> bool:
        """Whether a missed int8 gate is an error."""
        return self.enforce_gates and not self.quick

    @property
    def effort(self) -> Effort:
        """The extent of the search for the int8 recipe."""
        if self.quick:
            return Effort.FIRST
        return Effort.GATES if self.enforce_gates else Effort.FASTEST

    @property
    def chosen_rewrites(self) -> tuple[str, ...]:
        """The requested exact rewrites, or the target's default ones."""
        if self.rewrites is not None:
            return self.rewrites
        return get_target(self.target).rewrites[self.chosen_precision]


def load(request: Request) -> Checkpoint:
    """Read the checkpoint of a request.

    Raises:
        CheckpointError: no checkpoint is shipped for it, or the file is not a valid checkpoint.
        UsageError: the file holds another variant than the requested one.
    """
    path = request.checkpoint or embedded_path(request.task, request.model or _variant_for(request))
    checkpoint = read_checkpoint(path, task=request.task)
    if request.model is not None and checkpoint.config.variant != request.model:
        raise UsageError(
            f"{path} holds the variant {checkpoint.config.variant!r}",
            expected=repr(request.model),
            fix=f"leave out MODEL, or pass a checkpoint of {request.model}",
        )
    return checkpoint


def _variant_for(request: Request) -> str:
    """Return the variant to export if the request names none."""
    own = get_target(request.target).own_variant
    return own if own is not None and is_embedded(request.task, own) else "nano"


def estimate_fit(request: Request) -> FitEstimate:
    """Return the estimate of whether a model fits its target; nothing is exported.

    The variant `paper` needs no weights.

    Raises:
        UsageError: the target has no estimate, since any model fits.
        CheckpointError: see `load`.
    """
    if request.model == "paper" and request.checkpoint is None:
        task = get_task(request.task)
        model = Elir(paper_config_for(task.name, num_steps=task.num_steps, sigma_s=task.sigma_s))
    else:
        model = build_model(load(request))
    size = checked_size(request, model)
    found = get_target(request.target).fit(model, size)
    if found is None:
        limited = [n for n, target in TARGETS.items() if target.fit(model, size) is not None]
        raise UsageError(
            f"target {request.target!r} has no size limit to check",
            expected=f"--fit with one of {', '.join(limited)}",
        )
    return found


def checked_size(request: Request, model: Elir) -> int:
    """Return the side of the graph's input image, in pixels.

    Raises:
        UsageError: the size does not fit the model, or the graph would be too large to verify.
    """
    size = get_task(request.task).image_size if request.size is None else request.size
    require_fitting_size(size, model)
    pixels = request.batch * size * size
    if pixels > _MAX_GRAPH_PIXELS:
        raise UsageError(
            f"a graph for {request.batch} x {size} x {size} pixels is too large to verify",
            expected=f"at most {_MAX_GRAPH_PIXELS} pixels in one run",
            fix="use a smaller size: the runtime tiles images of any size",
        )
    return size


def require_fitting_size(size: int, model: Elir) -> None:
    """Require that images of a side in pixels fit a model.

    Raises:
        UsageError: they do not.
    """
    multiple = model.size_multiple
    if size < 2 * multiple or size % multiple:
        near = sorted({max(2, size // multiple + i) * multiple for i in (0, 1)})
        raise UsageError(
            f"size {size} does not fit the {model.config.variant} model",
            expected=f"a multiple of {multiple}, at least {2 * multiple}",
            fix=f"use {' or '.join(map(str, near))}",
        )


def name_of(request: Request, checkpoint: Checkpoint, size: int) -> str:
    """Return the name of a request's bundle."""
    return bundle_name(
        checkpoint,
        target=request.target,
        precision=request.chosen_precision,
        size=size,
        batch=request.batch,
        noise=request.noise,
        device=_device_name(request.gpu),
        quick=request.quick,
        slim=request.decoder == "slim",
    )


def request_record(request: Request, checkpoint: Checkpoint) -> dict[str, str]:
    """Return the options that determine a bundle's content besides its name, for the manifest."""
    return {
        "checkpoint": checkpoint.sha256,
        "rewrites": "default" if request.rewrites is None else ",".join(request.rewrites),
        "calibration": "" if request.calibration is None else _photos_digest(request.calibration),
        "crops": str(request.chosen_crops) if request.chosen_precision == "int8" else "",
        "gates": "enforced" if request.gates_enforced else "recorded",
        **({"decoder": request.decoder} if request.decoder != "own" else {}),
        **({"search": request.effort.value} if request.quick else {}),
    }


def _photos_digest(folder: Path) -> str:
    """Return a hash of the photos' names and file sizes, which needs no reading of the files."""
    lines = [f"{p.relative_to(folder)} {p.stat().st_size}" for p in list_images(folder)]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _device_name(gpu: str | None) -> str | None:
    """Return an engine's compute capability; None: the default, which names leave out."""
    found = (gpu_here() or gpu) if gpu == CURRENT else gpu
    return None if found == DEFAULT_GPU else found
