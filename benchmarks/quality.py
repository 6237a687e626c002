"""Quality of the shipped checkpoints on photos, next to classical methods.

    python benchmarks/quality.py --data photos/val                  all tasks
    python benchmarks/quality.py --data photos/val --tasks denoising --pictures pictures

Photo i of the folder's sorted list is cropped to its centre and degraded by
`np.random.default_rng([1, i])`, whichever photos are used. The networks see all of them; the
classical methods (`methods.py`), of which some take a quarter of a minute per photo, see every
tenth, and the networks' means over just these stand beside theirs.

Rows: the degraded input; the classical methods; the coarse estimate alone; the full flow; and the
clean photo through the frozen autoencoder: what its latent cannot hold, nothing behind it restores.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import track

from benchmarks.classical import degraded_photo, require_libraries
from benchmarks.methods import METHODS, parse_tasks
from benchmarks.quality_results import (
    BOUND,
    CLEAN,
    COARSE,
    FULL,
    INPUT,
    SEED,
    Plan,
    Result,
    draw,
    report,
    show,
)
from benchmarks.scores import Score, score
from elir_edge.checkpoint import build_model, embedded_path, read_autoencoder, read_checkpoint
from elir_edge.console import console, run_app
from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.operations import FloatImage
from elir_edge.errors import CheckpointError, ElirError, UsageError
from elir_edge.files import write_json
from elir_edge.model import Elir, draw_noise
from elir_edge.tasks import AUTOENCODER, TASKS
from elir_edge.tensors import to_batch, to_image

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True, kw_only=True)
class Network:
    """A task's model and the frozen encoder that its latent comes from (None: not known)."""

    model: Elir
    frozen: torch.nn.Module | None
    sha256: str

    @torch.no_grad()
    def restore(self, clean: FloatImage, degraded: FloatImage) -> dict[str, FloatImage]:
        """Return images by row."""
        model = self.model
        z = model.initial_point(to_batch(degraded))
        noise = draw_noise(model.config, *clean.shape[:2])
        results = {
            COARSE: model.decoder(z),
            FULL: model.decoder(model.trajectory(z + noise)[-1]),
        }
        if self.frozen is not None:
            results[BOUND] = model.decoder(self.frozen(to_batch(clean)))
        return {row: to_image(result) for row, result in results.items()}


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="Folder of photos that no model saw.")],
    tasks: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(TASKS),
    checkpoint: Annotated[
        Path | None, typer.Option(help="Of the one task given; default: the shipped one.")
    ] = None,
    autoencoder: Annotated[Path | None, typer.Option(help="Default: the shipped one.")] = None,
    size: Annotated[int, typer.Option(min=64, help="Side of the centre crop.")] = 256,
    every: Annotated[int, typer.Option(min=1, help="Use every n-th photo only.")] = 1,
    classical: Annotated[bool, typer.Option(help="Measure the classical methods too.")] = True,
    classical_every: Annotated[
        int, typer.Option(min=1, help="They see those whose index is a multiple of this.")
    ] = 10,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the result as JSON.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(file_okay=False, help="Write a picture per task here.")
    ] = None,
) -> None:
    """Measure and print a table per task; exit code 1 where a task has no checkpoint."""
    names = parse_tasks(tasks)
    if checkpoint is not None and len(names) > 1:
        raise UsageError("--checkpoint is of one task", got=tasks, fix="pass --tasks with one name")
    if size % 8:
        raise UsageError(f"--size {size} does not go with x8 reduction", expected="a multiple of 8")
    if classical:
        require_libraries()
    paths = list_images(data)
    photos = range(0, len(paths), every)
    chosen = [i for i in photos if i % classical_every == 0] if classical else []
    plan = Plan(paths=paths, size=size, photos=photos, classical=chosen)
    results = []
    for task in names:
        network = load_network(task, checkpoint, autoencoder)
        result = measure(task, network, plan)
        show(result, plan, console)
        if pictures is not None:
            draw(pictures / f"quality-{task}.png", result, plan)
        results.append(result)
    if out is not None:
        write_json(out, report(results, plan))
    without = [result.task for result in results if result.sha256 is None]
    if without:
        raise CheckpointError(f"no shipped checkpoint for {', '.join(without)}: not measured")


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
            embedded_path(AUTOENCODER, model.config.variant)
        except CheckpointError:
            return None
    encoder = Elir(model.config).encoder
    encoder.load_state_dict(read_autoencoder(path, model.config).encoder)
    return encoder.eval().requires_grad_(False)


def measure(task: str, network: Network | str, plan: Plan) -> Result:
    """Restore and score all photos of the plan.

    Raises:
        ElirError: a photo cannot be read, the size does not suit, or a result is not finite.
    """
    notes = [network] if isinstance(network, str) else []
    if isinstance(network, Network):
        multiple = network.model.size_multiple
        if plan.size % multiple:
            raise UsageError(f"--size {plan.size} does not suit {task}", expected=f"n x {multiple}")
        if network.frozen is None:
            notes.append(f"{BOUND}: no frozen autoencoder of this model is at hand")
    scores: dict[str, dict[int, Score]] = {}
    examples: list[dict[str, FloatImage]] = []
    for i in track(plan.photos, description=task, console=console):
        clean = to_float(centre_crop(read_rgb(plan.paths[i]), plan.size))
        degraded = degraded_photo(task, clean, [SEED, i])
        images = {INPUT: degraded.image}
        if i in plan.classical:
            images |= {title: method(degraded) for title, method in METHODS[task].items()}
        if isinstance(network, Network):
            images |= network.restore(clean, degraded.image)
        for row, image in images.items():
            try:
                scores.setdefault(row, {})[i] = score(clean, image)
            except ElirError as error:
                raise ElirError(f"{task}, {row}, {plan.paths[i].name}: {error}") from error
        if i in plan.shown:
            examples.append({**images, CLEAN: clean})
    sha256 = network.sha256 if isinstance(network, Network) else None
    return Result(task=task, scores=scores, examples=examples, sha256=sha256, notes=notes)


if __name__ == "__main__":
    run_app(app)
