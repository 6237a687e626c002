"""Quality of a slim autoencoder compared with its teacher, and a test for grid patterns.

On central squares of photos that no autoencoder was trained on, three reconstructions are compared:
the teacher's, the slim decoder's from the teacher's latents, and the slim encoder's and decoder's
together. Measured are PSNR, LPIPS-squeeze, sharpness, and the power at the frequencies of the
decoder's strides (1/2 and 1/4 cycle per pixel, horizontal and vertical) divided by the power at
neighbouring frequencies. The power is taken in the smoothest windows of each photo, where a grid
would be visible; 1 means no grid.

    python benchmarks/autoencoder.py --data photos/val --metric-weights weights \
        --autoencoder runs/autoencoder/checkpoint.safetensors \
        --teacher taesd3/diffusion_pytorch_model.safetensors
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table

from benchmarks.options import JsonFile, writable
from elir_edge.checkpoints.own import build_autoencoder
from elir_edge.console import console, run_app
from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.operations import FloatImage, luma, relative_sharpness, to_uint8
from elir_edge.data.tensors import to_batch, to_image
from elir_edge.files import replacing_file, write_json
from elir_edge.metric_weights import read_lpips
from elir_edge.metrics import psnr
from elir_edge.model import Elir
from elir_edge.model.lpips import LpipsSqueeze
from elir_edge.pictures import grid

_SIZE = 256
_WINDOW, _STEP = 32, 16
_SMOOTH_SHARE = 0.1
"""Of a photo's windows; their pictures are what a grid is seen in."""
_SHOWN = 8

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Spectrum = NDArray[np.float64]


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="Folder of photos that no autoencoder saw.")],
    autoencoder: Annotated[Path, typer.Option(help="The slim one's checkpoint.")],
    teacher: Annotated[Path, typer.Option(help="The teacher's.")],
    metric_weights: Annotated[Path, typer.Option(help="Folder with LPIPS-squeeze's weights.")],
    every: Annotated[int, typer.Option(min=1, help="Use every n-th photo only.")] = 1,
    out: JsonFile = None,
    picture: Annotated[
        Path | None, typer.Option(callback=writable, help="Write a picture of some crops.")
    ] = None,
) -> None:
    """Measure and print a table."""
    _, slim = build_autoencoder(autoencoder)
    _, taught = build_autoencoder(teacher)
    perceptual = read_lpips(metric_weights)
    paths = list_images(data)[::every]
    scores: dict[str, list[dict[str, float | None]]] = {}
    spectra: dict[str, list[Spectrum]] = {}
    rows = []
    for index, path in enumerate(track(paths, description="photos", console=console)):
        clean = to_float(centre_crop(read_rgb(path), _SIZE))
        images = {"photo": clean, **dict(_reconstructions(slim, taught, clean))}
        windows = _smooth_windows(clean)
        for kind, image in images.items():
            scores.setdefault(kind, []).append(_score(perceptual, image, clean))
            spectra.setdefault(kind, []).append(_spectrum(image, windows))
        if index % max(1, len(paths) // _SHOWN) == 0:
            rows.append([to_uint8(image) for image in images.values()])
    report = {
        kind: {
            **{name: _mean([row[name] for row in found]) for name in found[0]},
            **grid_excess(np.mean(spectra[kind], axis=0)),
        }
        for kind, found in scores.items()
    }
    _show(report)
    if out is not None:
        write_json(out, {"num_photos": len(paths), "size": _SIZE, "kinds": report})
    if picture is not None:
        with replacing_file(picture) as temporary:
            grid(rows, list(report)).save(temporary, "PNG")


@torch.no_grad()
def _reconstructions(
    slim: Elir, taught: Elir, clean: FloatImage
) -> Iterator[tuple[str, FloatImage]]:
    image = to_batch(clean)
    latent = taught.encoder(image)
    yield "teacher", to_image(taught.decoder(latent))
    yield "slim decoder", to_image(slim.decoder(latent))
    yield "slim encoder and decoder", to_image(slim.decoder(slim.encoder(image)))


@torch.no_grad()
def _score(
    perceptual: LpipsSqueeze, image: FloatImage, clean: FloatImage
) -> dict[str, float | None]:
    return {
        "psnr_db": min(99.0, psnr(image, clean)),
        "lpips_squeeze": float(perceptual(to_batch(image), to_batch(clean))),
        "sharpness": relative_sharpness(image, clean),
    }


def _mean(values: Sequence[float | None]) -> float:
    """Return the mean of what was measured: a flat photo has no sharpness."""
    return float(np.mean([value for value in values if value is not None]))


def _smooth_windows(clean: FloatImage) -> list[tuple[int, int]]:
    """Return the corners of the windows in which the photo varies least."""
    gray = luma(clean)[..., 0]
    corners = [
        (top, left)
        for top in range(0, _SIZE - _WINDOW + 1, _STEP)
        for left in range(0, _SIZE - _WINDOW + 1, _STEP)
    ]
    deviations = [gray[t : t + _WINDOW, x : x + _WINDOW].std() for t, x in corners]
    chosen = np.argsort(deviations)[: max(1, int(_SMOOTH_SHARE * len(corners)))]
    return [corners[i] for i in chosen]


def _spectrum(image: FloatImage, windows: list[tuple[int, int]]) -> Spectrum:
    """Return the mean power spectrum of the luma's windows, (32, 17)."""
    taper = np.hanning(_WINDOW + 2)[1:-1]
    gray = luma(image)[..., 0].astype(np.float64)
    total = np.zeros((_WINDOW, _WINDOW // 2 + 1))
    for top, left in windows:
        window = gray[top : top + _WINDOW, left : left + _WINDOW]
        total += np.abs(np.fft.rfft2((window - window.mean()) * np.outer(taper, taper))) ** 2
    return total / len(windows)


def grid_excess(spectrum: Spectrum) -> dict[str, float]:
    """Return the power at each grid's frequencies over that around them, for periods 2 and 4.

    Args:
        spectrum: power, (32, 17), as `numpy.fft.rfft2` orders it.

    Returns:
        By name, the largest ratio among along, across and diagonal: the bin's power over the
        median of the bins three and four away from it (nearer ones share its taper's lobe).
    """
    folded = spectrum[: _WINDOW // 2 + 1].copy()
    folded[1:-1] = (folded[1:-1] + spectrum[: _WINDOW // 2 : -1]) / 2
    last = _WINDOW // 2
    result = {}
    for period in (2, 4):
        at = _WINDOW // period
        ratios = []
        for row, column in ((at, 0), (0, at), (at, at)):
            around = [
                folded[r, c]
                for r in _near(row, last)
                for c in _near(column, last)
                if max(abs(r - row), abs(c - column)) in (3, 4)
                # Along an axis the power of smooth windows falls steeply off it: stay on it.
                and (row != 0 or r == 0)
                and (column != 0 or c == 0)
            ]
            ratios.append(folded[row, column] / np.median(around))
        result[f"grid_excess_period_{period}"] = float(max(ratios))
    return result


def _near(index: int, last: int) -> range:
    return range(max(0, index - 4), min(last, index + 4) + 1)


def _show(report: dict[str, dict[str, Any]]) -> None:
    table = Table("", "PSNR, dB", "LPIPS-squeeze", "sharpness", "grid, period 2", "period 4")
    for kind, values in report.items():
        psnr_db, lpips, sharpness, two, four = values.values()
        table.add_row(
            kind, f"{psnr_db:.2f}", f"{lpips:.3f}", f"{sharpness:.2f}", f"{two:.2f}", f"{four:.2f}"
        )
    console.print(table)


if __name__ == "__main__":
    run_app(app)
