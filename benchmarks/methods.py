"""The classical methods of each task, their parameters, and the search that chose the parameters.

    python benchmarks/methods.py --tune photos/train                    every grid, best first
    python benchmarks/methods.py --tune photos/train --tasks sr,bsr

The search uses photos that no measurement uses (`--photos` of them, evenly spaced in the folder).
They are cropped to their central 256 x 256 pixels and degraded with fixed seeds. The parameters
below have the best mean PSNR.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track
from rich.table import Table

from benchmarks import classical
from benchmarks.classical import DegradedPhoto, degraded_photo, require_libraries
from elir_edge.console import console, run_app
from elir_edge.data.datasets import centre_crop, list_images, read_rgb, to_float
from elir_edge.data.operations import FloatImage
from elir_edge.metrics import psnr
from elir_edge.tasks import TASKS, get_task

_SEED = 2
_SHOWN = 3
_STRONG_TV = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
_WEAK_TV = (0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2)
_STRENGTHS = (0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 1.8, 2.5)
_WIENER = {
    "sigma": (0.5, 0.8, 1.2, 2.0, 3.0, 4.5, 6.0),
    "noise": (0.005, 0.01, 0.02, 0.05, 0.1, 0.3),
}
_UNSHARP = {"sigma": (1.0, 2.0, 4.0, 8.0), "amount": (0.1, 0.25, 0.5, 1.0, 2.0)}
_BILATERAL = {"colour": (0.03, 0.06, 0.1, 0.2, 0.4), "distance": (0.7, 1.0, 2.0, 4.0, 8.0)}

Parameters = Mapping[str, float]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A function of (degraded photo, parameters); the parameters, and those that were tried."""

    function: Callable[..., FloatImage]
    parameters: Parameters = field(default_factory=dict)
    grid: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __call__(self, degraded: DegradedPhoto) -> FloatImage:
        """Restore with the chosen parameters."""
        return self.function(degraded, **self.parameters)

    def candidates(self) -> Iterator[Parameters]:
        """Return all parameters of the grid."""
        for values in itertools.product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))


METHODS: dict[str, dict[str, Method]] = {
    "denoising": {
        "BM3D": Method(function=classical.bm3d),
        "TV": Method(
            function=classical.total_variation,
            parameters={"weight": 0.3},
            grid={"weight": _STRONG_TV},
        ),
        "non-local means": Method(
            function=classical.non_local_means,
            parameters={"strength": 0.3},
            grid={"strength": _STRENGTHS},
        ),
    },
    "sr": {
        "bicubic": Method(function=classical.bicubic),
        "bicubic + TV": Method(
            function=classical.bicubic_tv, parameters={"weight": 0.1}, grid={"weight": _WEAK_TV}
        ),
        "TV + bicubic": Method(
            function=classical.tv_bicubic, parameters={"weight": 0.02}, grid={"weight": _WEAK_TV}
        ),
    },
    "inpainting": {
        "Telea": Method(
            function=classical.telea, parameters={"radius": 5}, grid={"radius": (1, 2, 3, 5, 8)}
        ),
        "Telea + TV": Method(
            function=classical.telea_tv,
            parameters={"radius": 1, "weight": 0.3},
            grid={"radius": (1, 2, 3, 5), "weight": (0.1, 0.15, 0.2, 0.3)},
        ),
        "weighted mean": Method(
            function=classical.weighted_mean,
            parameters={"sigma": 2.5},
            grid={"sigma": (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)},
        ),
    },
    "bfr": {
        "TV": Method(
            function=classical.tv_bicubic, parameters={"weight": 0.005}, grid={"weight": _WEAK_TV}
        ),
        "bilateral": Method(
            function=classical.bilateral_bicubic,
            parameters={"colour": 0.06, "distance": 8.0},
            grid=_BILATERAL,
        ),
        "non-local means": Method(
            function=classical.non_local_means_bicubic,
            parameters={"strength": 2.5},
            grid={"strength": _STRENGTHS},
        ),
        "unsharp masking": Method(
            function=classical.unsharp_masking,
            parameters={"sigma": 8.0, "amount": 0.5},
            grid=_UNSHARP,
        ),
        "Wiener": Method(
            function=classical.wiener, parameters={"sigma": 3.0, "noise": 0.02}, grid=_WIENER
        ),
    },
    "bsr": {
        "TV + bicubic": Method(
            function=classical.tv_bicubic, parameters={"weight": 0.01}, grid={"weight": _WEAK_TV}
        ),
        "bicubic + TV": Method(
            function=classical.bicubic_tv, parameters={"weight": 0.05}, grid={"weight": _WEAK_TV}
        ),
        "bilateral + bicubic": Method(
            function=classical.bilateral_bicubic,
            parameters={"colour": 0.2, "distance": 2.0},
            grid=_BILATERAL,
        ),
        "non-local means + bicubic": Method(
            function=classical.non_local_means_bicubic,
            parameters={"strength": 1.2},
            grid={"strength": _STRENGTHS},
        ),
        "BM3D + bicubic": Method(
            function=classical.bm3d_bicubic,
            parameters={"strength": 1.0},
            grid={"strength": (0.7, 1.0, 1.5)},
        ),
        "unsharp masking": Method(
            function=classical.unsharp_masking,
            parameters={"sigma": 8.0, "amount": 0.1},
            grid=_UNSHARP,
        ),
        "Wiener": Method(
            function=classical.wiener, parameters={"sigma": 2.0, "noise": 0.3}, grid=_WIENER
        ),
    },
}
"""By task and title."""


def parse_tasks(text: str) -> list[str]:
    """Return the names in a comma-separated list.

    Raises:
        UsageError: one of them is no task.
    """
    return [get_task(name.strip()).name for name in text.split(",")]


@app.command()
def tune(
    folder: Annotated[Path, typer.Option("--tune", help="Folder of photos to tune on.")],
    tasks: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(TASKS),
    photos: Annotated[int, typer.Option(min=1, help="Number of photos to use.")] = 12,
    size: Annotated[int, typer.Option(min=64, help="Side of the centre crop.")] = 256,
) -> None:
    """Print each method's grid, best parameters first."""
    names = parse_tasks(tasks)
    require_libraries()
    paths = list_images(folder)
    chosen = paths[:: max(1, len(paths) // photos)][:photos]
    clean = [to_float(centre_crop(read_rgb(path), size)) for path in chosen]
    for task in names:
        degraded = [degraded_photo(task, image, [_SEED, i]) for i, image in enumerate(clean)]
        table = Table("method", "parameters", "mean PSNR dB", title=f"{task}, {len(clean)} photos")
        table.add_row("input", "", f"{_mean_psnr(clean, [d.image for d in degraded]):.2f}")
        tuned = {title: method for title, method in METHODS[task].items() if method.grid}
        for title, method in track(tuned.items(), description=task, console=console):
            rows = search(method, clean, degraded)
            for i, (score, parameters) in enumerate(rows[:_SHOWN]):
                shown = ", ".join(f"{name} {value:g}" for name, value in parameters.items())
                table.add_row("" if i else title, shown, f"{score:.2f}")
        console.print(table)


def search(
    method: Method, clean: list[FloatImage], degraded: list[DegradedPhoto]
) -> list[tuple[float, Parameters]]:
    """Return (mean PSNR, parameters) of the whole grid, best first."""
    rows: list[tuple[float, Parameters]] = []
    for parameters in method.candidates():
        restored = [method.function(photo, **parameters) for photo in degraded]
        rows.append((_mean_psnr(clean, restored), parameters))
    return sorted(rows, key=lambda row: -row[0])


def _mean_psnr(clean: list[FloatImage], restored: list[FloatImage]) -> float:
    return float(np.mean([psnr(a, b) for a, b in zip(clean, restored, strict=True)]))


if __name__ == "__main__":
    run_app(app)
