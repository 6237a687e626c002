"""What `pareto.py` compares: everything that restores a task's photos here, opened and ready."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import onnx

from benchmarks.classical import DegradedPhoto
from benchmarks.methods import METHODS
from benchmarks.ncnn_peers import PEERS, open_peer
from benchmarks.options import names_of
from benchmarks.own_graphs import float_graph, shipped_model, static_model
from benchmarks.quality import Network
from elir_edge.checkpoints.own import embedded_path, is_embedded, read_checkpoint
from elir_edge.data.operations import FloatImage
from elir_edge.errors import ElirError
from elir_edge.runtime import Restorer
from elir_edge.runtime.backends.ort import OnnxRuntimeBackend
from export.onnx_graph.to_onnx import IMAGE, RESTORED
from export.plan import run_export
from export.request import Request

Family = Literal["input", "classical", "nano", "steps", "size", "peer"]
PEERS_TASK = "bsr"
EXPORTS = (
    ("onnx", "fp32", ("onnxruntime", "openvino")),
    ("onnx", "int8", ("onnxruntime", "openvino")),
    ("tflite", "fp32", ("litert",)),
    ("tflite", "int8", ("litert",)),
)
"""Target, precision, and the runtimes that load the bundle."""
RUNTIME_NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT"}
_OTHER_SIZES = ("sensor",)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to restore.

    Attributes:
        title: of its row.
        family: what it is compared as.
        runtime: that runs it; empty for classical methods.
        precision: of its arithmetic.
        steps: Euler steps, in the family `steps`.
        restore: from a degraded photo to the restored one; None: it cannot be had.
        reason: why not.
    """

    title: str
    family: Family
    runtime: str = ""
    precision: str = "fp32"
    steps: int | None = None
    restore: Callable[[DegradedPhoto], FloatImage] | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to open.

    Attributes:
        side: of the photos, in pixels.
        threads: of the CPU, for all.
        steps: values of K.
        checkpoints: files of further sizes; those of other tasks are left out.
        peers: folder with the packages of `ncnn_peers.py`; None: no peers.
        calibration: folder of photos for int8; None: scikit-image's.
        quick: int8 without its search: other numbers than those that ship.
        classical: whether the classical methods are among the rows.
    """

    side: int
    threads: int
    steps: Sequence[int] = ()
    checkpoints: Sequence[Path] = field(default_factory=tuple)
    peers: Path | None = None
    calibration: Path | None = None
    quick: bool = False
    classical: bool = True


def open_candidates(
    task: str, wanted: Wanted, told: Callable[[str], object] = lambda text: None
) -> Iterator[Candidate]:
    """Open everything, in the order of the table.

    Args:
        task: whose photos are restored.
        wanted: what to open.
        told: what is opened next; an export takes seconds, at int8 minutes.

    Raises:
        ElirError: no checkpoint is shipped, or a peer's weights are not there.
    """
    yield Candidate(title="input", family="input", restore=lambda degraded: degraded.image)
    if wanted.classical:
        for title, method in METHODS[task].items():
            yield Candidate(title=title, family="classical", restore=method)
    network = Network(model=shipped_model(task), frozen=None, sha256="")
    yield Candidate(
        title="nano, torch eager",
        family="nano",
        runtime="torch eager",
        restore=lambda degraded: network.full(degraded.image),
    )
    yield from _exported(task, "nano", None, wanted, told)
    for steps in wanted.steps:
        told(f"{steps} Euler steps")
        yield _with_steps(task, steps, wanted)
    for variant in _OTHER_SIZES:
        if is_embedded(task, variant):
            yield from _exported(task, variant, embedded_path(task, variant), wanted, told)
    names = names_of(wanted.checkpoints, ("nano", *_OTHER_SIZES))
    for path, name in zip(wanted.checkpoints, names, strict=True):
        checkpoint = read_checkpoint(path, task=task, any_task=True)
        if checkpoint.task == task:
            yield from _exported(task, name, path, wanted, told)
    if wanted.peers is not None and task == PEERS_TASK:
        for peer in PEERS:
            enlarge = open_peer(peer, wanted.peers, wanted.threads)
            yield Candidate(
                title=peer.title,
                family="peer",
                runtime="ncnn",
                restore=lambda degraded, enlarge=enlarge: enlarge(degraded.held),  # type: ignore[misc]
            )


def _exported(
    task: str,
    name: str,
    checkpoint: Path | None,
    wanted: Wanted,
    told: Callable[[str], object],
) -> Iterator[Candidate]:
    """Export a model for every runtime and precision; of other sizes than nano, for one runtime."""
    family: Family = "nano" if checkpoint is None else "size"
    for target, precision, runtimes in EXPORTS:
        used = runtimes if family == "nano" else runtimes[:1]
        if family == "size" and target != "onnx":
            continue
        told(f"{name}: exporting for {target} at {precision}")
        rows = {
            runtime: Candidate(
                title=f"{name}, {RUNTIME_NAMES[runtime]} {precision}",
                family=family,
                runtime=RUNTIME_NAMES[runtime],
                precision=precision,
            )
            for runtime in used
        }
        with tempfile.TemporaryDirectory() as folder:
            try:
                bundle = run_export(_request(task, target, precision, checkpoint, wanted, folder))
                opened = {
                    runtime: Restorer(bundle.folder, threads=wanted.threads, runtime=runtime)
                    for runtime in used
                }
            except ElirError as error:
                yield from (replace(row, reason=str(error)) for row in rows.values())
                continue
        for runtime, restorer in opened.items():
            yield replace(rows[runtime], restore=_running(restorer))


def _request(
    task: str, target: str, precision: str, checkpoint: Path | None, wanted: Wanted, folder: str
) -> Request:
    int8 = precision == "int8"
    return Request(
        task=task,
        target=target,
        precision=precision,
        size=wanted.side,
        checkpoint=checkpoint,
        calibration=wanted.calibration if int8 else None,
        quick=wanted.quick and int8,
        out=Path(folder),
    )


def _running(restorer: Restorer) -> Callable[[DegradedPhoto], FloatImage]:
    return lambda degraded: restorer.run(degraded.image)


def _with_steps(task: str, steps: int, wanted: Wanted) -> Candidate:
    """Return the shipped weights with another number of Euler steps, float32 in ONNX Runtime."""
    trained = shipped_model(task).config.num_steps
    static = static_model(shipped_model(task, steps), wanted.side)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(float_graph(static, task, wanted.side), path)
        backend = OnnxRuntimeBackend(path, wanted.threads)

    def restore(degraded: DegradedPhoto) -> FloatImage:
        image = np.ascontiguousarray(degraded.image.transpose(2, 0, 1)[None])
        return np.ascontiguousarray(backend.run({IMAGE: image})[RESTORED][0].transpose(1, 2, 0))

    note = " (as trained)" if steps == trained else ""
    return Candidate(
        title=f"nano, K = {steps}{note}",
        family="steps",
        runtime=RUNTIME_NAMES["onnxruntime"],
        steps=steps,
        restore=restore,
    )
