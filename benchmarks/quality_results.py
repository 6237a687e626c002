"""What a run of `quality.py` measured: as tables, as JSON and as pictures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.methods import METHODS
from benchmarks.scores import Comparison, Score, compare, mean_score
from elir_edge.data.operations import FloatImage, to_uint8
from elir_edge.files import replacing_file
from elir_edge.pictures import grid

INPUT, COARSE, FULL, BOUND = "input", "coarse only", "full", "through the autoencoder"
"""Rows that are no classical method."""

CLEAN = "ground truth"
SEED = 1

_SHOWN = 4
_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which photos are used for what.

    Attributes:
        paths: the folder's sorted list.
        size: side of the centre crop.
        photos: indices of those that networks restore.
        classical: of those that classical methods restore too.
    """

    paths: Sequence[Path]
    size: int
    photos: Sequence[int]
    classical: Sequence[int]

    @property
    def shown(self) -> list[int]:
        """Return the indices of the photos for pictures, spread over the list."""
        candidates = self.classical or self.photos
        return list(candidates[:: max(1, len(candidates) // _SHOWN)][:_SHOWN])


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was measured of a task.

    Attributes:
        scores: by row and photo.
        examples: by shown photo and row.
        sha256: of the checkpoint.
        notes: what could not be measured, and why.
    """

    task: str
    scores: dict[str, dict[int, Score]]
    examples: list[dict[str, FloatImage]]
    sha256: str | None
    notes: list[str]

    def best_classical(self, photos: Iterable[int]) -> str | None:
        """Return the classical method with the best mean PSNR on `photos`."""
        wanted = list(photos)
        means = {t: mean_score(self.scores.get(t, {}), wanted) for t in METHODS[self.task]}
        found = {title: mean.psnr_db for title, mean in means.items() if mean is not None}
        return max(found, key=lambda title: found[title]) if found else None

    def comparisons(self, plan: Plan) -> dict[tuple[str, str], Comparison]:
        """Return (row, against which row): how much better, on the photos that both have."""
        best = self.best_classical(plan.classical)
        pairs = [(FULL, best), (FULL, INPUT), (FULL, COARSE), (best, INPUT)]
        return {
            (row, against): compare(self.scores[row], self.scores[against])
            for row, against in pairs
            if row in self.scores and against in self.scores
        }


def show(result: Result, plan: Plan, console: Console) -> None:
    """Print a task's table and what follows from it."""
    sets = {len(photos): photos for photos in (plan.classical, plan.photos) if photos}
    title = f"{result.task}: {len(plan.photos)} photos, {plan.size} x {plan.size}"
    names = [f"{name}\n({count})" for count in sets for name in ("PSNR", "SSIM-Y", "sharp")]
    table = Table("means of\n(n) photos", *names, title=title)
    for row in _ordered(result):
        cells: list[str] = []
        for photos in sets.values():
            mean = mean_score(result.scores.get(row, {}), photos)
            values = ("", "", "") if mean is None else _cells(mean)
            cells += values
        table.add_row(row, *cells)
    if result.sha256 is None:
        table.add_row("no shipped checkpoint", *["-" for _ in names])
    console.print(table)
    for (row, against), comparison in result.comparisons(plan).items():
        console.print(f"{row} over {against}: {comparison}", highlight=False)
    for note in result.notes:
        console.print(f"not measured: {note}", markup=False, highlight=False)


def _cells(mean: Score) -> tuple[str, str, str]:
    return f"{mean.psnr_db:.2f}", f"{mean.ssim_y:.3f}", f"{mean.sharpness:.2f}"


def _ordered(result: Result) -> list[str]:
    order = [INPUT, *METHODS[result.task], COARSE, FULL, BOUND]
    return [row for row in order if row in result.scores]


def report(results: Sequence[Result], plan: Plan) -> dict[str, Any]:
    """Return everything as JSON values; photos are named by their index in the sorted list."""
    packages = ["elir-edge", "torch", "numpy", "pillow", "scikit-image"]
    packages += ["bm3d", "opencv-python-headless"] if plan.classical else []
    return {
        "size": plan.size,
        "seed": f"[{SEED}, index of the photo]",
        "photos": list(plan.photos),
        "classical_photos": list(plan.classical),
        "versions": {name: version(name) for name in packages},
        "tasks": {result.task: _task_report(result, plan) for result in results},
    }


def _task_report(result: Result, plan: Plan) -> dict[str, Any]:
    sets = {"all_photos": plan.photos, "classical_photos": plan.classical}
    means = {
        name: {
            row: _rounded(asdict(mean))
            for row in _ordered(result)
            if (mean := mean_score(result.scores[row], photos)) is not None
        }
        for name, photos in sets.items()
    }
    return {
        "checkpoint_sha256": result.sha256,
        "not_measured": result.notes,
        **means,
        "best_classical": result.best_classical(plan.classical),
        "parameters": {
            title: dict(method.parameters)
            for title, method in METHODS[result.task].items()
            if title in result.scores
        },
        "comparisons": [
            {"row": row, "over": against, **_rounded(asdict(comparison))}
            for (row, against), comparison in result.comparisons(plan).items()
        ],
    }


def _rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {k: round(v, _DIGITS) if isinstance(v, float) else v for k, v in values.items()}


def draw(path: Path, result: Result, plan: Plan) -> None:
    """Write the shown photos side by side."""
    best = result.best_classical(plan.classical)
    rows = [INPUT, best, COARSE, FULL, CLEAN]
    kept = [row for row in rows if row is not None and row in result.examples[0]]
    labels = [f"best classical: {row}" if row == best else row for row in kept]
    cells = [[to_uint8(example[row]) for row in kept] for example in result.examples]
    with replacing_file(path) as temporary:
        grid(cells, labels).save(temporary)
