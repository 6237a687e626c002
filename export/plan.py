"""The export: checkpoint -> load -> collapse -> unroll -> rewrite -> ONNX -> emit -> bundle."""

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from elir_edge import __version__
from elir_edge.checkpoint import Checkpoint, build_model, embedded_path, read_checkpoint
from elir_edge.errors import UsageError
from elir_edge.files import replacing_folder
from elir_edge.model import LATENT_FACTOR, Elir, collapse, draw_noise
from elir_edge.runtime.manifest import Check, Noise
from elir_edge.tasks import get_task
from export.bundle import BundleContent, write_bundle
from export.parity import MAX_ABS_EXACT, compare_stages, require
from export.prepare import StaticElir, prepare
from export.rewrites import REWRITES
from export.sample import make_sample
from export.targets import get_target
from export.targets.base import Graph
from export.to_onnx import to_probe_graph
from export.verify import StageValues, model_stages, verify_exact, verify_onnx

NoisePolicy = Literal["constant", "input", "zero"]
NOISE_SEED = 0
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
        if self.batch < 1:
            raise UsageError(f"batch {self.batch} is not possible", expected="1 or more")
        unknown = [name for name in self.rewrites or () if name not in REWRITES]
        if unknown:
            raise UsageError(
                f"unknown rewrites {', '.join(unknown)}", expected=f"some of {', '.join(REWRITES)}"
            )


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A finished bundle."""

    folder: Path
    content: BundleContent


Report = Callable[[str], None]
NUM_STAGES = 6


def run_export(request: Request, report: Report = lambda stage: None) -> Exported:
    """Carry out a request; a bundle appears only if every check passed.

    Args:
        request: what to export.
        report: told the name of each stage as it begins.

    Raises:
        ElirError: see the stages; nothing is left behind.
    """
    report("load")
    target = get_target(request.target)
    checkpoint = load(request)
    model = build_model(checkpoint)
    size = _checked_size(request, model)
    noise = _noise(request, model, size)
    sample = make_sample(request.task, size, request.batch)
    reference = model_stages(model, sample.degraded, noise)

    report("collapse and unroll")
    embedded_noise = None if request.noise == "input" else noise
    given_noise = noise if request.noise == "input" else None
    static, checks = _collapse_and_unroll(
        model, embedded_noise, reference, sample.degraded, given_noise
    )

    report("rewrite")
    names = target.rewrites if request.rewrites is None else request.rewrites
    static, counts, rewritten = _rewrite(
        static, names, model, reference, sample.degraded, given_noise
    )

    report("ONNX")
    probe = to_probe_graph(static, sample.degraded, given_noise)
    precision = request.precision or target.precisions[0]
    name = f"{request.task}-{model.config.variant}-{target.name}-{precision}"
    with replacing_folder(request.out / name) as folder:
        exact = verify_onnx(probe, folder, reference, sample.degraded, given_noise)
        graph = Graph(
            probe=probe,
            description=_description(checkpoint, name),
            image=sample.degraded,
            noise=given_noise,
            reference=reference,
        )
        report("emit")
        emitted = target.emit(graph, precision, folder)
        report("bundle")
        content = BundleContent(
            name=name,
            task=request.task,
            checkpoint=checkpoint,
            noise=_noise_record(request, noise),
            rewrites=counts,
            emitted=emitted,
            usage=target.readme(emitted),
            checks=[*checks, *rewritten, *exact, *emitted.checks],
            sample=sample,
            reference=reference["restored"],
        )
        write_bundle(folder, content)
    return Exported(folder=request.out / name, content=content)


def load(request: Request) -> Checkpoint:
    """Read the checkpoint that a request means.

    Raises:
        CheckpointError: none is shipped, or the file cannot serve.
        UsageError: the file holds another variant than the one asked for.
    """
    path = request.checkpoint or embedded_path(request.task, request.model or "nano")
    checkpoint = read_checkpoint(path, task=request.task)
    if request.model is not None and checkpoint.config.variant != request.model:
        raise UsageError(
            f"{path} holds the variant {checkpoint.config.variant!r}",
            expected=repr(request.model),
            fix=f"leave out MODEL, or pass a checkpoint of {request.model}",
        )
    return checkpoint


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


def _collapse_and_unroll(
    model: Elir,
    embedded_noise: Tensor | None,
    reference: StageValues,
    image: Tensor,
    given_noise: Tensor | None,
) -> tuple[StaticElir, list[Check]]:
    static = prepare(model, embedded_noise)
    collapsed = collapse(model)
    assert isinstance(collapsed, Elir)
    noise = given_noise if embedded_noise is None else embedded_noise
    assert noise is not None
    checks = compare_stages(
        "torch fp32", reference, model_stages(collapsed, image, noise), MAX_ABS_EXACT
    )
    require(checks)
    verify_exact("torch fp32", reference, static, image, given_noise)
    return static, [_worst(checks, "collapse")]


def _rewrite(
    static: StaticElir,
    names: tuple[str, ...],
    model: Elir,
    reference: StageValues,
    image: Tensor,
    given_noise: Tensor | None,
) -> tuple[StaticElir, dict[str, int], list[Check]]:
    """Apply rewrites one by one, each checked in float64 on a small image and in float32."""
    side = min(_ALGEBRA_SIZE, image.shape[-1])
    small = draw_noise(model.config, side, side, seed=NOISE_SEED).double()
    exact_model = copy.deepcopy(model).double()
    small_image = image[:1, :, :side, :side].double()
    exact = prepare(exact_model, small)
    expected = model_stages(exact_model, small_image, small)
    counts: dict[str, int] = {}
    checks: list[Check] = []
    for name in names:
        exact, counts[name] = REWRITES[name](exact)
        algebra = verify_exact("torch fp64", expected, exact, small_image, None)
        static, _ = REWRITES[name](static)
        rounding = verify_exact("torch fp32", reference, static, image, given_noise)
        checks += [_worst(algebra, name), _worst(rounding, name)]
    return static, counts, checks


def _worst(checks: list[Check], stage: str) -> Check:
    worst = max(checks, key=lambda check: check.value)
    return Check(
        stage=f"{stage} ({worst.stage})",
        reference=worst.reference,
        metric=worst.metric,
        value=worst.value,
        threshold=worst.threshold,
        at_least=worst.at_least,
        passed=worst.passed,
    )


def _description(checkpoint: Checkpoint, name: str) -> dict[str, str]:
    return {
        "name": name,
        "task": checkpoint.task,
        "model": checkpoint.config.variant,
        "checkpoint_sha256": checkpoint.sha256,
        "tool": f"elir-edge {__version__}",
        "latent_factor": str(LATENT_FACTOR),
    }
