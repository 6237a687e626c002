"""A run of the speed benchmark: every task and model, exported and measured."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.live import Live

from benchmarks.roofline import Estimate, estimates
from benchmarks.sensor import estimate_line
from benchmarks.speed import report as reporting
from benchmarks.speed.deployments import Deployment
from benchmarks.speed.measuring import Measured, Place
from benchmarks.speed.photos import write_photos
from benchmarks.speed.rows import Row
from benchmarks.speed.subjects import PHOTOS, Group, bundles_of, export, prepare
from benchmarks.speed.turns import QUICK, TimingProtocol, now
from elir_edge.checkpoints.own import embedded_path
from elir_edge.cli.doctor import installed_version
from elir_edge.console import console
from elir_edge.data.datasets import list_images
from elir_edge.tasks import get_task

_PACKAGES = ("elir-edge", "torch", "onnxruntime", "openvino", "ai-edge-litert")

Save = Callable[[dict[str, Any], Sequence[Row]], None]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is measured, how much, and where.

    Attributes:
        pairs: tasks and models.
        deployments: ways to run each.
        size: side of the network's input, in pixels; None: the task's.
        steps: Euler steps; None: the weights' own.
        protocol: images, warm-up, turns.
        quick: whether a first look is enough.
        threads: of the CPU, for each row.
        data: folder of photos to restore; None: scikit-image's.
        calibration: folder of photos for int8; None: scikit-image's.
        place: where.
    """

    pairs: tuple[tuple[str, str], ...]
    deployments: tuple[Deployment, ...]
    size: int | None
    steps: int | None
    protocol: TimingProtocol
    quick: bool
    threads: int
    data: Path | None
    calibration: Path | None
    place: Place


def measure_all(selection: Selection, save: Save) -> tuple[dict[str, Any], list[Row]]:
    """Measure all groups and print their tables.

    Args:
        selection: what is measured.
        save: called after each group, since a run takes long.

    Returns:
        The report without its rows, and the rows.
    """
    _require_at_hand(selection)
    rows: list[Row] = []
    # Of a device's runtimes the rows tell the versions.
    packages = _PACKAGES[:1] if selection.place.portable else _PACKAGES
    report: dict[str, Any] = {
        "date": now(),
        "protocol": asdict(selection.protocol),
        "threads": selection.threads,
        "calibration": "given photos" if selection.calibration else "scikit-image's photos",
        "versions": {name: found for name in packages if (found := installed_version(name))},
        "peaks": {},
        "estimates": {},
    }
    expected: dict[str, list[Estimate]] = {}
    with tempfile.TemporaryDirectory() as name:
        for task, model in selection.pairs:
            side = selection.size or get_task(task).image_size
            title = f"{task}, {model}, {side} x {side}"
            group, photos = _prepare(Path(name) / f"{task}-{model}", task, model, side, selection)
            found = _measure_group(group, title, selection)
            rows += found.rows
            expected[title] = estimates(group.graph, group.model, side)
            report = {"photos": photos, "machine": found.machine, **report}
            report.setdefault("load_before", found.load_before)
            report["load_after"] = found.load_after
            report["estimates"][title] = [asdict(each) for each in expected[title]]
            if found.peaks:
                report["peaks"][title] = found.peaks
            save(report, rows)
            reporting.show_group(report, found.rows)
    reporting.show_notes(report, rows)
    for title, each in expected.items():
        reporting.show_estimates(title, each)
    console.print(estimate_line(), markup=False, soft_wrap=True)
    return report, rows


def _require_at_hand(selection: Selection) -> None:
    """Require weights and photos before the first of many minutes.

    Raises:
        ElirError: no such weights are shipped, or a folder holds no photos.
    """
    for task, model in selection.pairs:
        if model != "paper":
            embedded_path(task, model)
    for folder in (selection.data, selection.calibration):
        if folder is not None:
            list_images(folder)


def _prepare(
    folder: Path, task: str, model: str, side: int, selection: Selection
) -> tuple[Group, str]:
    """Return a group with its photos and float32 graph, and where the photos are from."""
    count = max(selection.protocol.images, selection.protocol.outputs)
    with console.status(f"{task}, {model}: degrading photos, exporting ONNX"):
        photos = write_photos(folder / PHOTOS, task, side, count, selection.data)
        return prepare(folder, task, model, side, selection.steps), photos


def _measure_group(group: Group, title: str, selection: Selection) -> Measured:
    """Export what is missing and measure.

    Where a single group has int8, whose recipe is searched for, the other rows are shown before.
    """
    floats = tuple(each for each in selection.deployments if each.precision != "int8")
    _export(group, title, floats, None)
    alone = len(selection.pairs) == 1 and not (selection.quick or selection.place.portable)
    if alone and floats and floats != selection.deployments:
        first = _measure_deployments(group, title, selection, floats, replace(QUICK, outputs=0))
        console.print(reporting.table_of(f"{title}: a first look, without int8", first.rows))
    _export(group, title, selection.deployments, selection.calibration)
    return _measure_deployments(group, title, selection, selection.deployments, selection.protocol)


def _export(
    group: Group, title: str, deployments: Sequence[Deployment], calibration: Path | None
) -> None:
    """Export the bundles of deployments that the group does not have yet."""
    for target, precision in bundles_of(group, deployments):
        with console.status(f"{title}: exporting {target} {precision}"):
            export(group, target, precision, calibration)


def _measure_deployments(
    group: Group,
    title: str,
    selection: Selection,
    deployments: Sequence[Deployment],
    protocol: TimingProtocol,
) -> Measured:
    """Measure while a table shows how far it is."""
    with Live(console=console, transient=True, auto_refresh=False) as live:

        def shown(what: str, rows: Sequence[Row]) -> None:
            live.update(reporting.table_of(f"{title}; {what}", rows), refresh=True)

        return selection.place.measure(group, deployments, protocol, selection.threads, shown)
