"""`elir-edge degrade`: what a task's degradation does to photos."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from elir_edge.errors import ElirError, UsageError
from elir_edge.files import replacing_file, replacing_folder
from elir_edge.pictures import grid
from elir_edge.tasks import TASKS, get_task

EPILOG = "Example: elir-edge degrade --task bsr photo.jpg --out bsr.png"
_MAX_ROWS = 16


def degrade(
    photos: Annotated[Path, typer.Argument(help="A photo, or a folder of photos.")],
    task: Annotated[str, typer.Option(help=f"One of {', '.join(TASKS)}.")],
    out: Annotated[
        Path, typer.Option(help="Contact sheet: each photo and its degradations.")
    ] = Path("degraded.png"),
    samples: Annotated[int, typer.Option(min=1, max=16, help="Draws per photo.")] = 5,
    crop: Annotated[int, typer.Option(min=32, help="Side of the central crop.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Of the first draw.")] = 0,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Also write the first draw of every photo, for `evaluate --reference`."),
    ] = None,
) -> None:
    """Show what a task undoes: a contact sheet of photos and random degradations of them."""
    try:
        from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
        from elir_edge.data.degradations import low_resolution
        from elir_edge.data.operations import to_uint8
    except ModuleNotFoundError as error:
        raise ElirError(
            f"degrading needs {error.name}, which is not installed",
            fix="install the `train` extra; in a checkout, `make train` does",
        ) from error
    get_task(task)
    if not photos.exists():
        raise UsageError(f"no photo or folder {photos}", fix="check the path")
    paths = list_images(photos) if photos.is_dir() else [photos]
    rows = []
    for index, path in enumerate(paths[:_MAX_ROWS]):
        clean = centre_crop(read_rgb(path), crop)
        draws = [
            to_uint8(low_resolution(task, to_float(clean), np.random.default_rng([seed, index, k])))
            for k in range(samples)
        ]
        rows.append([clean, *draws])
    with replacing_file(out) as temporary:
        grid(rows, ["clean", *(f"{task} {k}" for k in range(samples))]).save(temporary, "PNG")
    shown = f" (the first {_MAX_ROWS} of {len(paths)} photos)" if len(paths) > _MAX_ROWS else ""
    print(f"contact sheet {out}{shown}")
    if pairs is None:
        return
    with replacing_folder(pairs) as folder:
        for kind in ("degraded", "reference"):
            (folder / kind).mkdir()
        for index, path in enumerate(paths):
            clean = centre_crop(read_rgb(path), crop)
            rng = np.random.default_rng([seed, index, 0])
            small = to_uint8(low_resolution(task, to_float(clean), rng))
            # Numbered: photos of several folders may share a name.
            name = f"{index:06d}-{path.stem}.png"
            Image.fromarray(small).save(folder / "degraded" / name)
            Image.fromarray(clean).save(folder / "reference" / name)
    print(f"{len(paths)} pairs     {pairs / 'degraded'}, {pairs / 'reference'}")
