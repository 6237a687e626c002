"""The results of `quality.py`, as tables, JSON and pictures."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.methods import METHODS
from benchmarks.scores import PairedComparison, Score, compare, mean_score
from elir_edge.cli.doctor import installed_version
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
class PhotoSelection:
    """Which photos are used for what.

    Attributes:
        paths: the folder's sorted list.
        size: side of the centre crop.
        photos: indices of those that networks restore.
        classical: of those that classical methods and peers restore too.
        methods: whether the classical methods do.
    """

    paths: Sequence[Path]
    size: int
    photos: Sequence[int]
    classical: Sequence[int]
    methods: bool = True

    @property
    def shown(self) -> list[int]:
        """Return the indices of the photos for pictures, spread over the list."""
        candidates = self.classical or self.photos
        return list(candidates[:: max(1, len(candidates) // _SHOWN)][:_SHOWN])


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was measured of a task.

    Attributes:
        degradation: by its name.
        scores: by row and photo.
        seconds: that each restoration took, by row.
        examples: by shown photo and row.
        sha256: of the checkpoint.
        notes: what could not be measured, and why.
    """

    task: str
    degradation: str
    scores: dict[str, dict[int, Score]]
    seconds: dict[str, list[float]]
    examples: list[dict[str, FloatImage]]
    sha256: str | None
    notes: list[str]

    def best_classical(self, photos: Iterable[int]) -> str | None:
        """Return the classical method with the best mean PSNR on `photos`."""
        wanted = list(photos)
        means = {t: mean_score(self.scores.get(t, {}), wanted) for t in METHODS[self.task]}
        found = {title: mean.psnr_db for title, mean in means.items() if mean is not None}
        return max(found, key=lambda title: found[title]) if found else None

    def milliseconds(self, row: str) -> float | None:
        """Return the median time of a restoration; None: of what restores nothing."""
        taken = self.seconds.get(row)
        return 1000 * statistics.median(taken) if taken else None

    def comparisons(self, selection: PhotoSelection) -> dict[tuple[str, str], PairedComparison]:
        """Return (row, against which row): how much better, on the photos that both have."""
        best = self.best_classical(selection.classical)
        pairs = [(FULL, best), (FULL, INPUT), (FULL, COARSE), (best, INPUT)]
        return {
            (row, against): compare(self.scores[row], self.scores[against])
            for row, against in pairs
            if row in self.scores and against in self.scores
        }


def show(result: Result, selection: PhotoSelection, console: Console) -> None:
    """Print a task's tables and what follows from them."""
    for photos in {
        len(photos): photos for photos in (selection.classical, selection.photos) if photos
    }.values():
        _show_table(result, selection, photos, console)
    for (row, against), comparison in result.comparisons(selection).items():
        console.print(f"{row} over {against}: {comparison}", highlight=False)
    for note in result.notes:
        console.print(f"not measured: {note}", markup=False, highlight=False)


def _show_table(
    result: Result, selection: PhotoSelection, photos: Sequence[int], console: Console
) -> None:
    means = {row: mean_score(result.scores[row], photos) for row in _ordered(result)}
    found = {row: asdict(mean) for row, mean in means.items() if mean is not None}
    columns = [
        column
        for column in COLUMNS
        if any(each[column.field] is not None for each in found.values())
    ]
    table = Table(
        "means",
        *(column.title for column in columns),
        "ms",
        title=f"{result.task} ({result.degradation}): {len(photos)} photos, "
        f"{selection.size} x {selection.size}",
    )
    for row, mean in found.items():
        cells = [column.show(mean[column.field]) for column in columns]
        taken = result.milliseconds(row)
        table.add_row(row, *cells, "" if taken is None else f"{taken:.0f}")
    if result.sha256 is None:
        table.add_row("no shipped checkpoint", *["-" for _ in (*columns, "ms")])
    console.print(table)


@dataclass(frozen=True, kw_only=True)
class Column:
    """Of the tables: a field of `Score`, its title and the digits behind the point."""

    field: str
    title: str
    digits: int

    def show(self, value: float | None) -> str:
        """Return a cell."""
        return "" if value is None else f"{value:.{self.digits}f}"


COLUMNS = (
    Column(field="psnr_db", title="PSNR", digits=2),
    Column(field="ssim_y", title="SSIM-Y", digits=3),
    Column(field="lpips", title="LPIPS-squeeze", digits=3),
    Column(field="niqe", title="NIQE", digits=2),
    Column(field="sharpness", title="sharp", digits=2),
    Column(field="identity", title="IDS-MobileFaceNet", digits=3),
)


def _ordered(result: Result) -> list[str]:
    order = [INPUT, *METHODS[result.task], COARSE, FULL]
    others = [row for row in result.scores if row not in (*order, BOUND)]
    return [row for row in (*order, *others, BOUND) if row in result.scores]


def report(
    results: Sequence[Result], selections: Sequence[PhotoSelection], threads: int
) -> dict[str, Any]:
    """Return everything as JSON values; photos are named by their index in the sorted list."""
    packages = ["elir-edge", "torch", "numpy", "pillow", "scikit-image"]
    packages += [
        name
        for name in ("bm3d", "opencv-python-headless", "ncnn", "onnxruntime")
        if installed_version(name)
    ]
    return {
        "seed": f"[{SEED}, index of the photo]",
        "threads": threads,
        "versions": {name: version(name) for name in packages},
        "tasks": {
            result.task: _task_report(result, selection)
            for result, selection in zip(results, selections, strict=True)
        },
    }


def _task_report(result: Result, selection: PhotoSelection) -> dict[str, Any]:
    sets = {"all_photos": selection.photos, "classical_photos": selection.classical}
    means = {
        name: {
            row: _rounded({k: v for k, v in asdict(mean).items() if v is not None})
            for row in _ordered(result)
            if (mean := mean_score(result.scores[row], photos)) is not None
        }
        for name, photos in sets.items()
    }
    return {
        "size": selection.size,
        "degradation": result.degradation,
        "photos": list(selection.photos),
        "seen_by_few": list(selection.classical),
        "checkpoint_sha256": result.sha256,
        "not_measured": result.notes,
        **means,
        "milliseconds": _rounded(
            {row: result.milliseconds(row) for row, taken in result.seconds.items() if taken}
        ),
        "best_classical": result.best_classical(selection.classical),
        "parameters": {
            title: dict(method.parameters)
            for title, method in METHODS[result.task].items()
            if title in result.scores
        },
        "comparisons": [
            {"row": row, "over": against, **_rounded(asdict(comparison))}
            for (row, against), comparison in result.comparisons(selection).items()
        ],
    }


def _rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {k: round(v, _DIGITS) if isinstance(v, float) else v for k, v in values.items()}


def draw(path: Path, result: Result, selection: PhotoSelection) -> None:
    """Write the shown photos side by side."""
    best = result.best_classical(selection.classical)
    known = {INPUT, COARSE, FULL, BOUND, CLEAN, *METHODS[result.task]}
    deployed = [row for row in result.examples[0] if row.startswith(f"{FULL},")]
    peers = [row for row in result.examples[0] if row not in {*known, *deployed}]
    rows = [INPUT, best, *peers, COARSE, FULL, CLEAN]
    kept = [row for row in rows if row is not None and row in result.examples[0]]
    labels = [f"best classical: {row}" if row == best else row for row in kept]
    cells = [[to_uint8(example[row]) for row in kept] for example in result.examples]
    with replacing_file(path) as temporary:
        grid(cells, labels).save(temporary)
