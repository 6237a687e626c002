"""Quality of the shipped checkpoints on photos and faces, next to classical methods and peers.

    python benchmarks/quality.py --data photos/val --faces faces/val --metric-weights weights
    python benchmarks/quality.py --data photos/val --tasks bsr --peers peers --deployed fp32,int8
    python benchmarks/quality.py --data photos/val --tasks denoising --pictures pictures

Photo i of the folder's sorted list is cropped to its centre (for `bfr`, an aligned face is used
whole) and degraded with `np.random.default_rng([1, i])`, whichever photos are used. The networks
restore all photos. Classical methods (`methods.py`) and peers (`ncnn_peers.py`), some of which take
seconds per photo, restore every tenth; the networks' means over these photos are given too.

Rows: the degraded input; the classical methods; peers; the coarse estimate alone; the full flow in
PyTorch; its exports (`--deployed`); and the clean photo passed through the frozen autoencoder, an
upper bound, since detail that the latent cannot hold is lost. Milliseconds are medians over photos;
all rows restore each photo in turn, with `--threads` threads.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import track

from benchmarks.classical import degraded_photo, require_libraries
from benchmarks.methods import METHODS, parse_tasks
from benchmarks.ncnn_peers import PEERS, open_peer
from benchmarks.options import JsonFile
from benchmarks.quality_results import (
    BOUND,
    CLEAN,
    COARSE,
    FULL,
    INPUT,
    SEED,
    PhotoSelection,
    Result,
    draw,
    report,
    show,
)
from benchmarks.scores import Score, score
from elir_edge.checkpoints.own import build_autoencoder, build_model, embedded_path, read_checkpoint
from elir_edge.console import console, run_app
from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.degradations import degradation_name
from elir_edge.data.operations import FloatImage
from elir_edge.data.tensors import to_batch, to_image
from elir_edge.errors import CheckpointError, ElirError, UsageError
from elir_edge.evaluation.file_metrics import open_file_metric
from elir_edge.evaluation.perceptual import ImageScore
from elir_edge.files import write_json
from elir_edge.model import Elir, draw_noise
from elir_edge.runtime import Restorer
from elir_edge.tasks import AUTOENCODER, TASKS
from export.plan import run_export
from export.request import Request

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_FACES = "bfr"
_PEERS_TASK = "bsr"
_METRICS = {"lpips": "lpips-squeeze", "niqe": "niqe"}
_FACE_METRICS = {**_METRICS, "identity": "ids-mobilefacenet"}


@dataclass(frozen=True, kw_only=True)
class Network:
    """A task's model and the frozen encoder that its latent comes from (None: not known)."""

    model: Elir
    frozen: torch.nn.Module | None
    sha256: str

    @torch.no_grad()
    def coarse(self, degraded: FloatImage) -> FloatImage:
        """Return the decoded coarse estimate."""
        return to_image(self.model.decoder(self.model.initial_point(to_batch(degraded))))

    @torch.no_grad()
    def full(self, degraded: FloatImage) -> FloatImage:
        """Return what the flow makes of it."""
        noise = draw_noise(self.model.config, *degraded.shape[:2])
        z = self.model.initial_point(to_batch(degraded))
        return to_image(self.model.decoder(self.model.trajectory(z + noise)[-1]))

    @torch.no_grad()
    def bound(self, clean: FloatImage) -> FloatImage | None:
        """Return the clean photo through the autoencoder, if its encoder is known."""
        if self.frozen is None:
            return None
        return to_image(self.model.decoder(self.frozen(to_batch(clean))))


@dataclass(frozen=True, kw_only=True)
class MeasurementOptions:
    """What is measured beside a task's network, and how.

    Attributes:
        peers: functions by title, from what a user holds to the restored photo; slow, as the
            classical methods are.
        deployed: deployed models by title, from a network's input to the restored photo.
        metrics: further ones, by the names of `Score`'s fields.
        degradation: by its name; None: the task's default.
    """

    peers: Mapping[str, Callable[[FloatImage], FloatImage]] = field(default_factory=dict)
    deployed: Mapping[str, Callable[[FloatImage], FloatImage]] = field(default_factory=dict)
    metrics: Mapping[str, ImageScore] = field(default_factory=dict)
    degradation: str | None = None


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="Folder of photos that no model saw.")],
    faces: Annotated[
        Path | None, typer.Option(help="Folder of aligned faces that no model saw, for bfr.")
    ] = None,
    tasks: Annotated[str | None, typer.Option(help="Comma-separated; default: all.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Of the one task given; default: the shipped one.")
    ] = None,
    autoencoder: Annotated[
        Path | None,
        typer.Option(help="Whose encoder gave the latents; TAESD3's file, too. Default: shipped."),
    ] = None,
    degradation: Annotated[
        str | None, typer.Option(help="Of the one task given; default: the task's own.")
    ] = None,
    metric_weights: Annotated[
        Path | None,
        typer.Option(help="Folder with weights of LPIPS-squeeze, NIQE, MobileFaceNet: adds these."),
    ] = None,
    peers: Annotated[
        Path | None,
        typer.Option(help="Folder with the peers' packages (ncnn_peers.py): adds them."),
    ] = None,
    deployed: Annotated[
        str, typer.Option(help="Precisions to export for ONNX Runtime and to measure, e.g. fp32.")
    ] = "",
    size: Annotated[int, typer.Option(min=64, help="Side of the centre crop.")] = 256,
    face_size: Annotated[int, typer.Option(min=64, help="Side of the faces.")] = 512,
    every: Annotated[int, typer.Option(min=1, help="Use every n-th photo only.")] = 1,
    classical: Annotated[bool, typer.Option(help="Measure the classical methods too.")] = True,
    classical_every: Annotated[
        int, typer.Option(min=1, help="They and peers see those whose index is a multiple of this.")
    ] = 10,
    threads: Annotated[int, typer.Option(min=1, help="Of the networks.")] = 1,
    out: JsonFile = None,
    pictures: Annotated[
        Path | None, typer.Option(file_okay=False, help="Write a picture per task here.")
    ] = None,
) -> None:
    """Measure and print a table per task; exit code 1 where a task has no checkpoint."""
    names = _tasks(tasks, faces)
    if len(names) > 1 and (checkpoint is not None or degradation is not None):
        raise UsageError(
            "--checkpoint and --degradation are of one task", fix="pass --tasks with one name"
        )
    for side in (size, face_size):
        if side % 8:
            raise UsageError(f"a side of {side} does not go with x8", expected="a multiple of 8")
    if degradation_name(names[0], degradation) != degradation_name(names[0]):
        classical = False  # their parameters were chosen for the default
    if classical:
        require_libraries()
    torch.set_num_threads(threads)
    results, selections = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for task in names:
            folder = faces if task == _FACES and faces is not None else data
            paths = list_images(folder)
            photos = range(0, len(paths), every)
            few = [i for i in photos if i % classical_every == 0] if classical or peers else []
            selection = PhotoSelection(
                paths=paths,
                size=face_size if task == _FACES else size,
                photos=photos,
                classical=few,
                methods=classical,
            )
            options = MeasurementOptions(
                peers=_open_peers(task, peers, threads),
                deployed=_export(
                    task, checkpoint, selection.size, deployed, Path(scratch), threads
                ),
                metrics=_open_metrics(task, metric_weights),
                degradation=degradation,
            )
            result = measure(task, load_network(task, checkpoint, autoencoder), selection, options)
            show(result, selection, console)
            if pictures is not None:
                draw(pictures / f"quality-{task}.png", result, selection)
            results.append(result)
            selections.append(selection)
            if out is not None:
                write_json(out, report(results, selections, threads))
    if _FACES not in names and tasks is None:
        console.print(f"{_FACES} was not measured: no --faces")
    without = [result.task for result in results if result.sha256 is None]
    if without:
        raise CheckpointError(f"no shipped checkpoint for {', '.join(without)}: not measured")


def _tasks(text: str | None, faces: Path | None) -> list[str]:
    if text is None:
        return [task for task in TASKS if task != _FACES or faces is not None]
    names = parse_tasks(text)
    if _FACES in names and faces is None:
        raise UsageError(f"{_FACES} is measured on aligned faces", fix="pass them by --faces")
    return names


def _open_metrics(task: str, folder: Path | None) -> dict[str, ImageScore]:
    if folder is None:
        return {}
    wanted = _FACE_METRICS if task == _FACES else _METRICS
    return {name: open_file_metric(metric, folder) for name, metric in wanted.items()}


def _open_peers(
    task: str, folder: Path | None, threads: int
) -> dict[str, Callable[[FloatImage], FloatImage]]:
    if task != _PEERS_TASK or folder is None:
        return {}
    return {peer.title: open_peer(peer, folder, threads) for peer in PEERS}


def _export(
    task: str, checkpoint: Path | None, size: int, precisions: str, folder: Path, threads: int
) -> dict[str, Callable[[FloatImage], FloatImage]]:
    """Export for ONNX Runtime at each precision; return what restores, by row."""
    found: dict[str, Callable[[FloatImage], FloatImage]] = {}
    for precision in (name.strip() for name in precisions.split(",") if name.strip()):
        request = Request(
            task=task,
            target="onnx",
            precision=precision,
            size=size,
            checkpoint=checkpoint,
            out=folder / precision,
        )
        with console.status(f"exporting {task} at {precision}"):
            bundle = run_export(request).folder
        found[f"{FULL}, ONNX Runtime {precision}"] = Restorer(bundle, threads=threads).run
    return found


def load_network(task: str, checkpoint: Path | None, autoencoder: Path | None) -> Network | str:
    """Return a task's network, or why there is none shipped.

    Raises:
        CheckpointError: a file is damaged, or does not fit.
    """
    if checkpoint is None:
        try:
            checkpoint = embedded_path(task)
        except CheckpointError as error:
            return str(error)
    found = read_checkpoint(checkpoint, task=task)
    model = build_model(found)
    return Network(model=model, frozen=_frozen_encoder(model, autoencoder), sha256=found.sha256)


def _frozen_encoder(model: Elir, path: Path | None) -> torch.nn.Module | None:
    if model.config.space == "pixel":
        return None
    if path is None:
        try:
            path = embedded_path(AUTOENCODER, model.config.variant)
        except CheckpointError:
            return None
    _, found = build_autoencoder(path)
    theirs, ours = found.config.latent_channels, model.config.latent_channels
    if theirs != ours:
        raise CheckpointError(
            f"{path} has latents of another size", got=f"{theirs} channels", expected=f"{ours}"
        )
    return found.encoder


def measure(
    task: str,
    network: Network | str,
    selection: PhotoSelection,
    options: MeasurementOptions | None = None,
) -> Result:
    """Restore and score all photos of the plan.

    Raises:
        ElirError: a photo cannot be read, the size does not suit, or a result is not finite.
    """
    options = options or MeasurementOptions()
    notes = [network] if isinstance(network, str) else []
    if isinstance(network, Network):
        multiple = network.model.size_multiple
        if selection.size % multiple:
            raise UsageError(
                f"--size {selection.size} does not suit {task}", expected=f"n x {multiple}"
            )
        if network.frozen is None:
            notes.append(f"{BOUND}: no frozen autoencoder of this model is at hand")
    scores: dict[str, dict[int, Score]] = {}
    seconds: dict[str, list[float]] = {}
    examples: list[dict[str, FloatImage]] = []
    for i in track(selection.photos, description=task, console=console):
        clean = to_float(centre_crop(read_rgb(selection.paths[i]), selection.size))
        images: dict[str, FloatImage] = {}
        for row, restore in _rows(task, network, selection, options, i, clean).items():
            began = time.perf_counter()
            image = restore()
            if image is None:
                continue
            seconds.setdefault(row, []).append(time.perf_counter() - began)
            images[row] = image
            try:
                scores.setdefault(row, {})[i] = score(clean, image, options.metrics)
            except ElirError as error:
                raise ElirError(f"{task}, {row}, {selection.paths[i].name}: {error}") from error
        if i in selection.shown:
            examples.append({**images, CLEAN: clean})
    sha256 = network.sha256 if isinstance(network, Network) else None
    seconds.pop(INPUT, None)
    return Result(
        task=task,
        degradation=degradation_name(task, options.degradation),
        scores=scores,
        seconds=seconds,
        examples=examples,
        sha256=sha256,
        notes=notes,
    )


def _rows(
    task: str,
    network: Network | str,
    selection: PhotoSelection,
    options: MeasurementOptions,
    index: int,
    clean: FloatImage,
) -> dict[str, Callable[[], FloatImage | None]]:
    """Return what restores a photo, by row."""
    degraded = degraded_photo(task, clean, [SEED, index], options.degradation)
    rows: dict[str, Callable[[], FloatImage | None]] = {INPUT: lambda: degraded.image}
    if index in selection.classical:
        if selection.methods:
            rows |= {
                title: (lambda method=method: method(degraded))
                for title, method in METHODS[task].items()
            }
        rows |= {
            title: (lambda peer=peer: peer(degraded.held)) for title, peer in options.peers.items()
        }
    if isinstance(network, Network):
        rows[COARSE] = lambda: network.coarse(degraded.image)
        rows[FULL] = lambda: network.full(degraded.image)
        rows |= {
            title: (lambda restore=restore: restore(degraded.image))
            for title, restore in options.deployed.items()
        }
        rows[BOUND] = lambda: network.bound(clean)
    return rows


if __name__ == "__main__":
    run_app(app)
