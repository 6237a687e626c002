"""The export: each arrow of this line is one call.

Checkpoint -> load -> collapse -> unroll -> rewrite -> ONNX -> quantize -> emit -> verify -> bundle.
"""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from elir_edge import __version__
from elir_edge.checkpoints.own import Checkpoint, build_model
from elir_edge.checkpoints.slim import with_slim_decoder
from elir_edge.files import replacing_folder
from elir_edge.metric_weights import read_lpips
from elir_edge.model import Elir, draw_noise
from elir_edge.model.macs import collapsed_macs
from elir_edge.runtime.manifest import Check, Noise
from elir_edge.tasks import get_task
from export.bundle import BundleContent, write_bundle
from export.calibration.photos import CalibrationSet, calibration_side, load_calibration
from export.memory import give_back_memory
from export.naming import require_replaceable
from export.onnx_graph.to_onnx import to_probe_graph
from export.plausibility import check_plausible
from export.reporting import Report
from export.request import Request, checked_size, load, name_of, request_record
from export.sample import Sample, image_hwc, make_sample
from export.slimming import DecoderCost, compare_decoders
from export.targets.base import Graph
from export.targets.registry import get_target
from export.twins import VerifiedModel, collapse_and_unroll, equalize_twins, rewrite_twins
from export.verify import compare_fp32, verify_onnx

NOISE_SEED = 0
_COMPARED = 8
"""Number of photos on which a slim decoder is compared with the full one."""


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """A finished bundle.

    Attributes:
        folder: the bundle's folder.
        content: what its files were written from.
    """

    folder: Path
    content: BundleContent


StageProgress = Callable[[str, str, float | None], None]
"""Receives the progress of an export.

The arguments are the stage, the detail in it ("" when the stage begins), and the completed share of
the detail in [0, 1], or None if it is unknown.
"""


def stages_of(request: Request) -> tuple[str, ...]:
    """Return the names of an export's stages, in the order in which `run_export` reports them."""
    calibrate = ("calibrate",) if request.chosen_precision == "int8" else ()
    compare = ("compare decoders",) if request.decoder == "slim" else ()
    final = ("ONNX", "quantize", "emit", "verify", "bundle")
    return ("load", *compare, "collapse and unroll", *calibrate, "rewrite", *final)


def run_export(
    request: Request, progress: StageProgress = lambda stage, detail, done: None
) -> ExportResult:
    """Carry out a request; a bundle appears only if every check passed.

    Args:
        request: what to export.
        progress: called when a stage begins (without a detail) and during its long steps.

    Returns:
        The bundle.

    Raises:
        ElirError: a stage failed; no files are left behind.
    """
    _begin_stage(progress, "load")
    target = get_target(request.target)
    trained = load(request)
    checkpoint = with_slim_decoder(trained) if request.decoder == "slim" else trained
    model = build_model(checkpoint)
    size = checked_size(request, model)
    fit = target.fit(model, size)
    if fit is not None:
        fit.require()
    name = name_of(request, checkpoint, size)
    asked_for = request_record(request, checkpoint)
    require_replaceable(request.out / name, asked_for, force=request.force)
    sample = make_sample(request.task, size, request.batch, checkpoint.degradation)
    noise = _noise(request, model, size)
    slimmed = None
    if checkpoint is not trained:
        report = _begin_stage(progress, "compare decoders")
        slimmed = _compare_decoders(request, trained, model, sample, noise, report)

    _begin_stage(progress, "collapse and unroll")
    twins = collapse_and_unroll(model, sample.degraded, noise, as_input=request.noise == "input")
    calibration = None
    if request.chosen_precision == "int8":
        report = _begin_stage(progress, "calibrate")
        calibration = _calibration(request, checkpoint, size, report)
        twins = equalize_twins(twins, calibration)
    report = _begin_stage(progress, "rewrite")
    for rewrite in report.each("rewriting", request.chosen_rewrites):
        twins = rewrite_twins(twins, rewrite)
    verified = twins.verified()
    del model, twins  # 0.3 GB at published sizes

    with replacing_folder(request.out / name) as folder:
        _begin_stage(progress, "ONNX")
        graph, checks = _to_onnx(request, checkpoint, verified, calibration, name, folder)
        if calibration is not None:
            give_back_memory()
        quantized = target.quantize(graph, folder, _begin_stage(progress, "quantize"))
        emitted = target.emit(graph, quantized, folder, _begin_stage(progress, "emit"))
        checks += target.verify(graph, quantized, emitted, _begin_stage(progress, "verify"))
        _begin_stage(progress, "bundle")
        reference = verified.single.reference["restored"]
        plausible = check_plausible(sample, image_hwc(reference))
        content = BundleContent(
            name=name,
            task=request.task,
            request=asked_for,
            checkpoint=checkpoint,
            noise=_noise_record(request, noise),
            rewrites=dict(verified.applied),
            rewrites_refused=dict(verified.refused),
            emitted=emitted,
            usage=target.readme(graph, emitted),
            checks=[
                *(slimmed.checks if slimmed else ()),
                *verified.checks,
                *checks,
                plausible,
            ],
            sample=sample,
            reference=reference,
            full=slimmed.full if slimmed else None,
        )
        write_bundle(folder, content)
    return ExportResult(folder=request.out / name, content=content)


def _begin_stage(progress: StageProgress, stage: str) -> Report:
    """Report that a stage begins; return the report for its details."""
    progress(stage, "", None)
    return Report(functools.partial(progress, stage))


def _compare_decoders(
    request: Request,
    trained: Checkpoint,
    slim: Elir,
    sample: Sample,
    noise: Tensor,
    report: Report,
) -> DecoderCost:
    folder = request.metric_weights
    lpips = None if folder is None else read_lpips(folder)
    size = len(sample.clean)
    photos = load_calibration(
        request.task, size, side=slim.size_multiple * 2, crops=1, degradation=trained.degradation
    )
    crops = photos.gates[:_COMPARED]
    return compare_decoders(build_model(trained), slim, sample, crops, noise[:1], lpips, report)


def _calibration(
    request: Request, checkpoint: Checkpoint, size: int, report: Report
) -> CalibrationSet:
    return load_calibration(
        request.task,
        size,
        request.calibration,
        side=calibration_side(size, collapsed_macs(checkpoint.config, size)),
        crops=request.chosen_crops,
        degradation=checkpoint.degradation,
        report=report,
    )


def _to_onnx(
    request: Request,
    checkpoint: Checkpoint,
    verified: VerifiedModel,
    calibration: CalibrationSet | None,
    name: str,
    folder: Path,
) -> tuple[Graph, list[Check]]:
    """Export the static model to ONNX and compare each stage of the graph with torch's."""
    twin = verified.single
    probe = to_probe_graph(twin.static, twin.image, twin.given_noise)
    checks = verify_onnx(
        "onnx", probe, folder, twin.reference, twin.image, twin.given_noise, compare_fp32
    )
    graph = Graph(
        precision=request.chosen_precision,
        static=twin.static,
        config=checkpoint.config,
        rewrites=request.chosen_rewrites,
        probe=probe,
        description=_description(checkpoint, name),
        image=twin.image,
        noise=twin.given_noise,
        reference=twin.reference,
        sigma_s=checkpoint.config.sigma_s,
        task=get_task(request.task),
        calibration=calibration,
        effort=request.effort,
        enforce_gates=request.gates_enforced,
        device=request.gpu,
    )
    return graph, checks


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


def _description(checkpoint: Checkpoint, name: str) -> dict[str, str]:
    return {
        "name": name,
        "task": checkpoint.task,
        "model": checkpoint.config.variant,
        "checkpoint_sha256": checkpoint.sha256,
        "tool": f"elir-edge {__version__}",
        "latent_factor": str(checkpoint.config.latent_factor),
    }
