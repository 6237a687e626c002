"""The pictures of the guide (`docs/images/task-*.jpg`): one degraded photo per task, and restored.

    python benchmarks/task_pictures.py --data photos/val --faces faces/val --out docs/images

Photos are named, degradations drawn with a fixed seed; the shipped weights restore them in PyTorch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image

from benchmarks.methods import parse_tasks
from benchmarks.own_graphs import shipped_model
from elir_edge.console import console, counting_progress, run_app
from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.degradations import degrade
from elir_edge.data.operations import FloatImage
from elir_edge.data.tensors import to_batch, to_image
from elir_edge.errors import UsageError
from elir_edge.files import replacing_file
from elir_edge.model import draw_noise
from elir_edge.tasks import get_task

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_SIDE = 200
_GAP = 4
_QUALITY = 88


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a task is shown on.

    Attributes:
        photo: the file's name without its ending; None: the first one.
        degradation: its name (`elir-edge evaluate --degradation`).
        seed: of what the degradation draws.
    """

    photo: str | None = None
    degradation: str | None = None
    seed: int = 0


SUBJECTS = {
    "denoising": Subject(photo="bsds_21077", degradation="broad", seed=5),
    "sr": Subject(photo="bsds_126007"),
    "bsr": Subject(photo="bsds_148026"),
    "inpainting": Subject(photo="bsds_101085", degradation="broad", seed=1),
    "bfr": Subject(seed=3),
}


@app.command()
def main(
    data: Annotated[Path, typer.Option(help="Folder of photos that no model saw.")],
    faces: Annotated[Path, typer.Option(help="Folder of aligned faces that no model saw.")],
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")],
    tasks: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(SUBJECTS),
) -> None:
    """Write a JPEG for each task."""
    chosen = parse_tasks(tasks)
    with counting_progress() as bar:
        for task in bar.track(chosen, description="restoring"):
            degraded, restored = pair(task, faces if task == "bfr" else data)
            with replacing_file(out / f"task-{task}.jpg") as path:
                side_by_side(degraded, restored).save(path, "JPEG", quality=_QUALITY)
    console.print(f"{len(chosen)} pictures in {out}", highlight=False)


def pair(task: str, folder: Path) -> tuple[FloatImage, FloatImage]:
    """Return the degraded and the restored image of a task, (side, side, 3) in [0, 1].

    Raises:
        UsageError: the folder does not have the photo.
    """
    subject = SUBJECTS[task]
    side = get_task(task).image_size
    paths = [p for p in list_images(folder) if subject.photo in {None, p.stem}]
    if not paths:
        raise UsageError(f"no photo {subject.photo} in {folder}", fix="pass BSDS500's validation")
    clean = to_float(centre_crop(read_rgb(paths[0]), side))
    rng = np.random.default_rng(subject.seed)
    degraded = np.asarray(degrade(task, clean, rng, subject.degradation))
    model = shipped_model(task)
    with torch.inference_mode():
        restored = model(to_batch(degraded), draw_noise(model.config, side, side))
    return degraded, to_image(restored)


def side_by_side(left: FloatImage, right: FloatImage) -> Image.Image:
    """Return two images of equal size next to each other, reduced to the pictures' side."""
    picture = Image.new("RGB", (2 * _SIDE + _GAP, _SIDE), "white")
    for column, image in enumerate((left, right)):
        pixels = Image.fromarray(np.rint(255 * image).astype(np.uint8))
        shown = pixels.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        picture.paste(shown, (column * (_SIDE + _GAP), 0))
    return picture


if __name__ == "__main__":
    run_app(app)
