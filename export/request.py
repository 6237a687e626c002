"""What to export: the options of one export, checked, and the checkpoint that they mean."""

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
from export.targets.base import Fit
from export.targets.registry import TARGETS, get_target

NoisePolicy = Literal["constant", "input", "zero"]
_QUICK_CROPS = 16
_MAX_GRAPH_PIXELS = 4096 * 4096


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to export. None stands for the default of the task or the target.

    Attributes:
        decoder: `slim`: the shipped slim decoder takes the place of TAESD3's.
        metric_weights: folder with LPIPS's weights, to tell what the slim decoder costs in it.
        quick: int8 for a first look: few crops, one placement, gates recorded and not enforced.
        enforce_gates: whether int8 must keep its gates; if not, its search is short.

    Raises:
        UsageError: an option that the task, the target or this version does not have.
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
                f"calibration photos are of no use at {self.chosen_precision}",
                fix="leave out --calibration, or pass --precision int8",
            )
        if self.crops is not None and self.chosen_precision != "int8":
            raise UsageError(
                f"nothing is calibrated at {self.chosen_precision}",
                fix="leave out --crops, or pass --precision int8",
            )
        if self.decoder not in ("own", "slim"):
            raise UsageError(f"unknown decoder {self.decoder!r}", expected="own or slim")
        if self.metric_weights is not None and self.decoder == "own":
            raise UsageError(
                "metric weights are of use where decoders are compared",
                fix="leave out --metric-weights, or pass --decoder slim",
            )
        if self.quick and self.chosen_precision != "int8":
            raise UsageError(
                f"an export at {self.chosen_precision} is quick as it is",
                fix="leave out --quick, or pass --precision int8",
            )
        if self.crops is not None and self.crops < 1:
            raise UsageError(f"{self.crops} crops are not possible", expected="1 or more")
        if self.batch < 1:
            raise UsageError(f"batch {self.batch} is not possible", expected="1 or more")
        chosen = self.rewrites or ()
        if list(chosen) != [name for name in REWRITES if name in chosen]:
            raise UsageError(
                f"rewrites {', '.join(chosen)} are not possible",
                expected=f"some of {', '.join(REWRITES)}, in this order",
            )
        target.check(
            precision=self.chosen_precision, device=self.gpu, noise=self.noise, batch=self.batch
        )

    @property
    def chosen_precision(self) -> str:
        """The precision asked for, or the target's default."""
        return self.precision or get_target(self.target).precisions[0]

    @property
    def chosen_crops(self) -> int:
        """How many crops to observe activations on."""
        return self.crops or (_QUICK_CROPS if self.quick else DEFAULT_CROPS)

    @property
    def gates_enforced(self) -> bool:
        """Whether a missed gate of int8 is an error."""
        return self.enforce_gates and not self.quick

    @property
    def effort(self) -> Effort:
        """How far the search for int8's recipe goes."""
        if self.quick:
            return Effort.FIRST
        return Effort.GATES if self.enforce_gates else Effort.FASTEST

    @property
    def chosen_rewrites(self) -> tuple[str, ...]:
        """The exact rewrites asked for, or those of the target."""
        if self.rewrites is not None:
            return self.rewrites
        return get_target(self.target).rewrites[self.chosen_precision]


def load(request: Request) -> Checkpoint:
    """Read the checkpoint that a request means.

    Raises:
        CheckpointError: none is shipped, or the file cannot serve.
        UsageError: the file holds another variant than the one asked for.
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
    """Return the variant to export where none is asked for."""
    own = get_target(request.target).own_variant
    return own if own is not None and is_embedded(request.task, own) else "nano"


def fit(request: Request) -> Fit:
    """Tell whether a model fits its target, without making anything; `paper` needs no weights.

    Raises:
        UsageError: the target has no such limit.
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
            f"nothing is known of what fits target {request.target!r}",
            expected=f"--fit with one of {', '.join(limited)}",
        )
    return found


def checked_size(request: Request, model: Elir) -> int:
    """Return the side of the graph's image, in pixels.

    Raises:
        UsageError: the model cannot take it, or it is too large to check.
    """
    size = get_task(request.task).image_size if request.size is None else request.size
    multiple = model.size_multiple
    if size < 2 * multiple or size % multiple:
        near = sorted({max(2, size // multiple + i) * multiple for i in (0, 1)})
        raise UsageError(
            f"size {size} does not fit the {model.config.variant} model",
            expected=f"a multiple of {multiple} from {2 * multiple} on",
            fix=f"use {' or '.join(map(str, near))}",
        )
    pixels = request.batch * size * size
    if pixels > _MAX_GRAPH_PIXELS:
        raise UsageError(
            f"a graph for {request.batch} x {size} x {size} pixels is too large to check",
            expected=f"at most {_MAX_GRAPH_PIXELS} pixels in one run",
            fix="use a smaller size: the runtime tiles images of any size",
        )
    return size


def name_of(request: Request, checkpoint: Checkpoint, size: int) -> str:
    """Return the name of the bundle that a request makes."""
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


def recorded(request: Request, checkpoint: Checkpoint) -> dict[str, str]:
    """Return what a bundle depends on beside its name: two of one request are alike."""
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
    """Return a hash of the photos' names and sizes, which costs no reading."""
    lines = [f"{p.relative_to(folder)} {p.stat().st_size}" for p in list_images(folder)]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _device_name(gpu: str | None) -> str | None:
    """Return the capability that an engine is for; None: the default, which names leave out."""
    found = (gpu_here() or gpu) if gpu == CURRENT else gpu
    return None if found == DEFAULT_GPU else found
