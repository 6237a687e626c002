"""The export: checkpoint -> load -> collapse -> unroll -> rewrite -> ONNX -> emit -> bundle."""

import copy
import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from elir_edge import __version__
from elir_edge.checkpoint import (
    Checkpoint,
    build_model,
    embedded_path,
    is_embedded,
    read_checkpoint,
)
from elir_edge.data.datasets import list_images
from elir_edge.errors import UsageError
from elir_edge.files import replacing_folder
from elir_edge.model import Elir, collapse, draw_noise, paper_config_for
from elir_edge.runtime.manifest import Check, Noise
from elir_edge.runtime.tensorrt.engine import gpu_here
from elir_edge.runtime.tensorrt.support import CURRENT, DEFAULT_GPU
from elir_edge.tasks import get_task
from export.bundle import BundleContent, write_bundle
from export.imx500.fit import Fit
from export.int8.equalize import channel_factors, equalize
from export.int8.photos import DEFAULT_CROPS, Calibration, load_calibration
from export.naming import bundle_name, require_replaceable
from export.plausibility import check_plausible
from export.prepare import StaticElir, prepare
from export.rewrites import REWRITES
from export.sample import image_hwc, make_sample
from export.targets import FITS, OWN_VARIANTS, get_target
from export.targets.base import Graph
from export.to_onnx import to_probe_graph
from export.verify import (
    StageValues,
    compare_exact,
    model_stages,
    near_fp32,
    verify_exact,
    verify_onnx,
)

NoisePolicy = Literal["constant", "input", "zero"]
NOISE_SEED = 0
_MAX_GRAPH_PIXELS = 4096 * 4096
_EQUALIZATION_CROPS = 16
_ALGEBRA_SIZE = 64
"""Side of the image on which rewrites are checked in float64: algebra does not depend on size."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to export. None stands for the default of the task or the target.

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


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A finished bundle."""

    folder: Path
    content: BundleContent


Report = Callable[[str, str], None]
NUM_STAGES = 7


def run_export(request: Request, report: Report = lambda stage, detail: None) -> Exported:
    """Carry out a request; a bundle appears only if every check passed.

    Args:
        request: what to export.
        report: told the name of each stage as it begins, and what it is at where that takes long.

    Raises:
        ElirError: see the stages; nothing is left behind.
    """
    precision = request.chosen_precision
    report("load", "")
    target = get_target(request.target)
    checkpoint = load(request)
    model = build_model(checkpoint)
    size = _checked_size(request, model)
    if request.target in FITS:
        FITS[request.target](model, size).require()
    noise = _noise(request, model, size)
    name = bundle_name(
        checkpoint,
        target=target.name,
        precision=precision,
        size=size,
        batch=request.batch,
        noise=request.noise,
        device=_device_name(request.gpu),
    )
    recorded = _recorded(request, checkpoint)
    require_replaceable(request.out / name, recorded, force=request.force)
    sample = make_sample(request.task, size, request.batch, checkpoint.degradation)

    report("collapse and unroll", "")
    as_input = request.noise == "input"
    case, checks = _collapse_and_unroll(model, sample.degraded, noise, as_input=as_input)
    exact, algebra = _collapse_and_unroll(*_small_double(model, sample.degraded), as_input=False)
    checks += algebra

    counts: dict[str, int] = {}
    calibration: Calibration | None = None
    report("calibrate", "")
    if precision == "int8":
        calibration = load_calibration(
            request.task,
            size,
            request.calibration,
            crops=request.crops or DEFAULT_CROPS,
            degradation=checkpoint.degradation,
        )
        case, exact, counts["equalize"], algebra = _equalize(case, exact, calibration)
        checks += algebra

    report("rewrite", "")
    for rewrite in target.rewrites[precision] if request.rewrites is None else request.rewrites:
        exact, counts[rewrite], algebra = _rewrite(exact, rewrite)
        case, _, rounding = _rewrite(case, rewrite)
        checks += [*algebra, *rounding]

    report("ONNX", "")
    probe = to_probe_graph(case.static, case.image, case.given_noise)
    with replacing_folder(request.out / name) as folder:
        checks += verify_onnx(
            "onnx", probe, folder, case.reference, case.image, case.given_noise, near_fp32
        )
        graph = Graph(
            static=case.static,
            probe=probe,
            description=_description(checkpoint, name),
            image=case.image,
            noise=case.given_noise,
            reference=case.reference,
            sigma_s=model.config.sigma_s,
            task=get_task(request.task),
            calibration=calibration,
            enforce_gates=request.enforce_gates,
            device=request.gpu,
            report=lambda detail: report("emit", detail),
        )
        report("emit", "")
        emitted = target.emit(graph, precision, folder)
        report("bundle", "")
        reference = case.reference["restored"]
        content = BundleContent(
            name=name,
            task=request.task,
            request=recorded,
            checkpoint=checkpoint,
            noise=_noise_record(request, noise),
            rewrites=counts,
            emitted=emitted,
            usage=target.readme(graph, emitted),
            checks=[*checks, *emitted.checks, check_plausible(sample, image_hwc(reference))],
            sample=sample,
            reference=reference,
        )
        write_bundle(folder, content)
    return Exported(folder=request.out / name, content=content)


def _recorded(request: Request, checkpoint: Checkpoint) -> dict[str, str]:
    """Return what a bundle depends on beside its name: two of one request are alike."""
    return {
        "checkpoint": checkpoint.sha256,
        "rewrites": "default" if request.rewrites is None else ",".join(request.rewrites),
        "calibration": "" if request.calibration is None else _photos_digest(request.calibration),
        "crops": str(request.crops or DEFAULT_CROPS) if request.chosen_precision == "int8" else "",
        "gates": "enforced" if request.enforce_gates else "recorded",
    }


def _photos_digest(folder: Path) -> str:
    """Return a hash of the photos' names and sizes, which costs no reading."""
    lines = [f"{p.relative_to(folder)} {p.stat().st_size}" for p in list_images(folder)]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _device_name(gpu: str | None) -> str | None:
    """Return the capability that an engine is for; None: the default, which names leave out."""
    found = (gpu_here() or gpu) if gpu == CURRENT else gpu
    return None if found == DEFAULT_GPU else found


def fit(request: Request) -> Fit:
    """Tell whether a model fits its target, without making anything; `paper` needs no weights.

    Raises:
        UsageError: the target has no such limit.
        CheckpointError: see `load`.
    """
    if request.target not in FITS:
        raise UsageError(
            f"nothing is known of what fits target {request.target!r}",
            expected=f"--fit with one of {', '.join(FITS)}",
        )
    if request.model == "paper" and request.checkpoint is None:
        task = get_task(request.task)
        model = Elir(paper_config_for(task.name, num_steps=task.num_steps, sigma_s=task.sigma_s))
    else:
        model = build_model(load(request))
    return FITS[request.target](model, _checked_size(request, model))


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
    own = OWN_VARIANTS.get(request.target)
    return own if own is not None and is_embedded(request.task, own) else "nano"


def _checked_size(request: Request, model: Elir) -> int:
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


def _noise(request: Request, model: Elir, size: int) -> Tensor:
    noise = draw_noise(model.config, size, size, batch=1, seed=NOISE_SEED)
    if request.noise == "zero":
        return torch.zeros_like(noise)
    if request.noise == "input":
        return noise.repeat(request.batch, 1, 1, 1)
    return noise


def _noise_record(request: Request, noise: Tensor) -> Noise:
    constant = request.noise == "constant"
    digest = hashlib.sha256(noise.numpy().tobytes()).hexdigest() if constant else ""
    return Noise(policy=request.noise, seed=NOISE_SEED, sha256=digest)


@dataclass(frozen=True, kw_only=True)
class _Case:
    """One image at one precision: the model's stages, and the static model that must give them."""

    reference: StageValues
    static: StaticElir
    image: Tensor
    given_noise: Tensor | None

    def verify(self, form: str) -> list[Check]:
        return verify_exact(form, self.reference, self.static, self.image, self.given_noise)


def _collapse_and_unroll(
    model: Elir, image: Tensor, noise: Tensor, *, as_input: bool
) -> tuple[_Case, list[Check]]:
    """Make the static model and compare both steps with the model as trained."""
    reference = model_stages(model, image, noise)
    collapsed = collapse(model)
    assert isinstance(collapsed, Elir)
    checks = compare_exact(
        "collapse", reference, model_stages(collapsed, image, noise), image.dtype
    )
    case = _Case(
        reference=reference,
        static=prepare(model, None if as_input else noise),
        image=image,
        given_noise=noise if as_input else None,
    )
    return case, [*checks, *case.verify("unroll")]


def _small_double(model: Elir, image: Tensor) -> tuple[Elir, Tensor, Tensor]:
    """Return the model, a small image and a draw of noise in float64: for the algebra."""
    side = min(_ALGEBRA_SIZE, image.shape[-1])
    noise = draw_noise(model.config, side, side, seed=NOISE_SEED)
    return copy.deepcopy(model).double(), image[:1, :, :side, :side].double(), noise.double()


def _rewrite(case: _Case, name: str) -> tuple[_Case, int, list[Check]]:
    static, count = REWRITES[name](case.static)
    rewritten = dataclasses.replace(case, static=static)
    return rewritten, count, rewritten.verify(name)


def _equalize(
    case: _Case, exact: _Case, calibration: Calibration
) -> tuple[_Case, _Case, int, list[Check]]:
    """Equalize both by the factors that the calibration crops ask of the float32 model."""
    inputs = []
    for example in calibration.ranges[:_EQUALIZATION_CROPS]:
        image = torch.from_numpy(example.degraded.transpose(2, 0, 1)[None].copy())
        image = image.repeat(len(case.image), 1, 1, 1)
        inputs.append((image,) if case.given_noise is None else (image, case.given_noise))
    factors = channel_factors(case.static, inputs)
    checks = []
    results = []
    for each in (exact, case):
        static, count = equalize(each.static, factors)
        results.append(dataclasses.replace(each, static=static))
        checks += results[-1].verify("equalize")
    return results[1], results[0], count, checks


def _description(checkpoint: Checkpoint, name: str) -> dict[str, str]:
    return {
        "name": name,
        "task": checkpoint.task,
        "model": checkpoint.config.variant,
        "checkpoint_sha256": checkpoint.sha256,
        "tool": f"elir-edge {__version__}",
        "latent_factor": str(checkpoint.config.latent_factor),
    }
