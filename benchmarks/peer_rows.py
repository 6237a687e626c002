"""Rows of `peers.py`: what can be timed, how it is opened, and its times in turns."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from benchmarks import model_files
from benchmarks.architectures import Architecture, build, count_parameters_m, to_onnx_file
from benchmarks.ncnn_peers import PEERS, open_peer
from benchmarks.own_graphs import float_graph, shipped_model, static_model
from benchmarks.speed.subjects import checkpoint_of
from benchmarks.turns import Ratio, Rounds, median, p90, ratio, take_turns
from elir_edge.checkpoints.own import build_model
from elir_edge.data.operations import resize
from elir_edge.errors import ElirError
from elir_edge.model import Elir
from elir_edge.runtime.backends.ort import OnnxRuntimeBackend
from elir_edge.tasks import get_task
from export.onnx_graph.to_onnx import IMAGE
from export.sample import make_sample

NCNN_TASK = "bsr"
OWN, PUBLISHED_SIZE = "elir-edge nano", "ELIR, published size"
RANDOM, TRAINED = "random weights, speed only", "trained weights"
TORCH, ONNX_RUNTIME, NCNN, LITERT = "torch eager", "ONNX Runtime", "ncnn", "LiteRT"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a row is of.

    Attributes:
        title: of the model.
        runtime: which runs it.
        task: in whose group it is timed.
        weights: where they are from.
        image: sides of the image that goes in, and of that which comes out.
        parameters_m: millions of them; None: not counted.
        licence: of a peer; None: ours, or the user's.
    """

    title: str
    runtime: str
    task: str
    weights: str
    image: str
    parameters_m: float | None = None
    licence: str | None = None

    @property
    def key(self) -> str:
        """Title and runtime."""
        return f"{self.title}, {self.runtime}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A subject's times, or why there are none.

    Attributes:
        subject: what was timed.
        median_ms: of a run on one image.
        p90_ms: nine tenths of the runs took at most this; None: too few runs to tell.
        fps: images a second, by the median.
        nano_is_faster_by: ours in the same runtime (in ONNX Runtime where ours is not run in it)
            against this one.
        reason: why nothing was measured.
    """

    subject: Subject
    median_ms: float | None = None
    p90_ms: float | None = None
    fps: float | None = None
    nano_is_faster_by: Ratio | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        faster = self.nano_is_faster_by
        values = {k: v for k, v in asdict(self).items() if k != "subject"}
        shown = None if faster is None else faster.rounded()
        return {**asdict(self.subject), **values, "nano_is_faster_by": shown}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A subject that can be run; or why it cannot."""

    subject: Subject
    call: Callable[[], object] | None = None
    reason: str | None = None


def own_entries(task: str, threads: int) -> list[Entry]:
    """Return our `nano` in torch and in ONNX Runtime, with the shipped weights."""
    return _elir_entries(shipped_model(task), OWN, TRAINED, task, threads)


def published_size_entries(task: str, threads: int) -> list[Entry]:
    """Return ELIR of the size that the paper compares with its peers, in both runtimes."""
    model = build_model(checkpoint_of(task, "paper", None))
    return _elir_entries(model, PUBLISHED_SIZE, RANDOM, task, threads)


def _elir_entries(model: Elir, title: str, weights: str, task: str, threads: int) -> list[Entry]:
    side = get_task(task).image_size
    static = static_model(model, side)
    image = make_sample(task, side, 1).degraded
    subject = Subject(
        title=title,
        runtime=TORCH,
        task=task,
        weights=weights,
        image=f"{side} -> {side}",
        parameters_m=round(count_parameters_m(static), 2),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(float_graph(static, task, side), path)
        backend = OnnxRuntimeBackend(path, threads)
    feed = {IMAGE: image.numpy()}

    @torch.no_grad()
    def eager() -> object:
        return static.stages(image)["restored"]

    return [
        Entry(subject=subject, call=eager),
        Entry(subject=replace(subject, runtime=ONNX_RUNTIME), call=lambda: backend.run(feed)),
    ]


def peer_entries(architecture: Architecture, folder: Path, threads: int) -> Iterator[Entry]:
    """Yield an architecture with random weights, in torch and in ONNX Runtime."""
    side = architecture.side
    subject = Subject(
        title=architecture.title,
        runtime=TORCH,
        task=architecture.task,
        weights=RANDOM,
        image=f"{side} -> {side * architecture.scale}",
        licence=architecture.licence,
    )
    network = build(architecture)
    subject = replace(subject, parameters_m=round(count_parameters_m(network), 2))
    small = _photo(architecture.task, side).transpose(2, 0, 1)[None]
    image = torch.from_numpy(np.ascontiguousarray(small))

    @torch.no_grad()
    def eager() -> torch.Tensor:
        result: torch.Tensor = network(image)
        return result

    wanted = (1, 3, side * architecture.scale, side * architecture.scale)
    restored = eager()
    if tuple(restored.shape) != wanted or not torch.isfinite(restored).all():
        raise ElirError(
            f"{architecture.title} does not restore an image", got=str(tuple(restored.shape)),
            expected=f"finite {wanted}", fix="the versions of the extra `peers`",
        )  # fmt: skip
    yield Entry(subject=subject, call=eager)
    path = folder / f"{architecture.module}.onnx"
    try:
        to_onnx_file(network, image, path)
        backend = OnnxRuntimeBackend(path, threads)
    except ElirError as error:
        yield Entry(subject=replace(subject, runtime=ONNX_RUNTIME), reason=str(error))
        return
    finally:
        path.unlink(missing_ok=True)
    feed = {IMAGE: image.numpy()}
    yield Entry(subject=replace(subject, runtime=ONNX_RUNTIME), call=lambda: backend.run(feed))


def _photo(task: str, side: int) -> NDArray[np.float32]:
    """Return a degraded photo as a user holds it, (side, side, 3) in [0, 1]."""
    degraded = make_sample(task, get_task(task).image_size, 1).degraded_hwc
    return resize(degraded, side, side, "bicubic")


def ncnn_entries(folder: Path, threads: int) -> list[Entry]:
    """Return the peers with trained weights, run by ncnn at the paper's size."""
    side = get_task(NCNN_TASK).image_size // get_task(NCNN_TASK).upscale
    small = _photo(NCNN_TASK, side)
    entries = []
    for peer in PEERS:
        enlarge = open_peer(peer, folder, threads)
        subject = Subject(
            title=peer.title,
            runtime=NCNN,
            task=NCNN_TASK,
            weights=f"trained weights of {peer.package}",
            image=f"{side} -> {4 * side}",
            licence=peer.licence,
        )
        entries.append(
            Entry(subject=subject, call=lambda enlarge=enlarge: enlarge(small))  # type: ignore[misc]
        )
    return entries


def file_entries(
    task: str, onnx_files: Sequence[Path], tflite_files: Sequence[Path], side: int, threads: int
) -> list[Entry]:
    """Open the user's files; they are timed in the first task's group."""
    photo = make_sample(task, get_task(task).image_size, 1).degraded_hwc
    opened = [
        (path, ONNX_RUNTIME, model_files.open_onnx(path, photo, side, threads))
        for path in onnx_files
    ]
    opened += [
        (path, LITERT, model_files.open_tflite(path, photo, threads)) for path in tflite_files
    ]
    return [
        Entry(
            subject=Subject(
                title=path.name,
                runtime=runtime,
                task=task,
                weights="the file's",
                image=f"{' x '.join(map(str, model.image.shape))} {model.image.dtype}",
            ),
            call=model.call,
        )
        for path, runtime, model in opened
    ]


def count_turns(entries: Sequence[Entry], rounds: int) -> int:
    """Return how often `measure` tells of a turn: once untimed, then once a round."""
    return sum(entry.call is not None for entry in entries) * (1 + rounds)


def measure(
    entries: Sequence[Entry], rounds: int, told: Callable[[str], object] = lambda title: None
) -> list[Row]:
    """Time the entries of one task in turns; the first two are ours."""
    # Two files may have one name.
    calls = {
        f"{i}: {entry.subject.key}": entry.call
        for i, entry in enumerate(entries)
        if entry.call is not None
    }
    times = take_turns(calls, rounds, told)
    keyed = [times.get(f"{i}: {entry.subject.key}") for i, entry in enumerate(entries)]
    own: dict[str, Rounds | None] = {
        entry.subject.runtime: keyed[i] for i, entry in enumerate(entries[:2])
    }
    rows = []
    for i, (entry, found) in enumerate(zip(entries, keyed, strict=True)):
        if found is None:
            rows.append(Row(subject=entry.subject, reason=entry.reason))
            continue
        ours = own.get(entry.subject.runtime) or own[ONNX_RUNTIME]
        rows.append(
            Row(
                subject=entry.subject,
                median_ms=round(median(found), 2),
                p90_ms=None if (slowest := p90(found)) is None else round(slowest, 2),
                fps=round(1000 / median(found), 2),
                nano_is_faster_by=ratio(found, ours) if ours is not None and i > 1 else None,
            )
        )
    return rows
