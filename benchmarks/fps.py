"""Frames per second, side by side: tasks, models, targets, precisions and runtimes.

    python benchmarks/fps.py                        the shipped denoising checkpoint, 256 x 256
    python benchmarks/fps.py --quick                a first look: no int8, 30 images
    python benchmarks/fps.py --task all --precision int8 --runtime openvino,litert
    python benchmarks/fps.py --model paper --task bfr    published sizes, random weights
    python benchmarks/fps.py --out new.json --compare old.json
    python benchmarks/fps.py --measured new.json --compare old.json
    python benchmarks/fps.py --device ssh:pi@camera.local
    python benchmarks/fps.py --device adb:R5CT1234567

Protocol, the paper's: 10 images to warm up, 200 measured, batch 1, each run waited for. The images
are crops of real photos, degraded as the task has it. Each row has its own process. Within a task
and model they take turns of ten images, so that other load on the machine affects all equally;
ratios are more reliable than milliseconds. A turn begins with three untimed runs. Processes of
torch keep the memory that they free (`allocator.py`), which else makes torch slower, by luck.

Columns: size of the file; multiply-accumulates; median and 90th percentile of the model alone
(tensor in and out); images a second alone and from end to end (file, decode, prepare, run, 8-bit
pixels); the most memory that the row's process held; PSNR against float32 torch; ratio to the first
row with its confidence interval; share of the machine's peak, measured in the same run by chains of
convolutions. Load and clock are noted. What the paper measured on its GPU stands beside rows of the
same model; estimates for chips that are not at hand are printed apart.

`--compare` lists what became worse than in an earlier report of the same machine and exits with 1.

Devices: `--device ssh:` pushes bundles, photos and a runner without torch to a machine that has
Python and the runtimes, and pulls the result; `--device adb:` does so with LiteRT's
`benchmark_model` (`devices/adb.py`). `devices/arm64.py` emulates Arm: it checks values, not speed.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.devices.address import SshAddress, parse_device
from benchmarks.options import JsonFile, require_different, writable
from benchmarks.speed import compare as comparing
from benchmarks.speed import report as reporting
from benchmarks.speed.deployments import Deployment, choose
from benchmarks.speed.measuring import Place, here, place_of
from benchmarks.speed.rows import Row
from benchmarks.speed.session import Selection, measure_all
from benchmarks.speed.subjects import MODELS, parse_names, parse_tasks
from benchmarks.speed.turns import PAPER, QUICK, TimingProtocol
from elir_edge.console import run_app
from elir_edge.errors import ElirError, UsageError
from elir_edge.files import write_json, write_whole

_DEVICE_THREADS = 4
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    context: typer.Context,
    task: Annotated[str, typer.Option(help="Tasks, comma-separated, or all.")] = "denoising",
    model: Annotated[
        str, typer.Option(help="nano, sensor (shipped weights), paper (random), or several.")
    ] = "nano",
    size: Annotated[
        int | None, typer.Option(min=32, max=8192, help="Side, pixels; default: the task's.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Euler steps K; default: the weights' own.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Only these: torch, onnx, tflite ...")] = None,
    precision: Annotated[str | None, typer.Option(help="Only these: fp32, fp16, int8 ...")] = None,
    runtime: Annotated[
        str | None, typer.Option(help="Only these: torch, onnxruntime, openvino, litert ...")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads per row; default: all cores here, 4 on a device."),
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Timed per row and kind; default: 200.")
    ] = None,
    warmup: Annotated[
        int | None, typer.Option(min=0, help="Untimed per row and kind; default: 10.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of photos to restore; default: scikit-image's.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Folder of photos for int8; default: scikit-image's.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A first look: no int8 unless asked for, 30 images.")
    ] = False,
    out: JsonFile = None,
    markdown: Annotated[
        Path | None, typer.Option(callback=writable, help="Write the measured tables as Markdown.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(help="An earlier --out; exit with 1 if something became worse.")
    ] = None,
    measured: Annotated[
        Path | None, typer.Option(help="Compare this report; measure nothing.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="ssh:USER@HOST[:PORT] or adb:SERIAL; default: here.")
    ] = None,
    ssh_config: Annotated[
        Path | None, typer.Option(help="Configuration for ssh; default: the user's.")
    ] = None,
    device_python: Annotated[str, typer.Option(help="Python on an ssh device.")] = "python3",
) -> None:
    """Measure and print a table; or compare two reports."""
    given = _given(context)
    if measured is not None and given - {"measured", "compare"}:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(given))
        raise UsageError("--measured measures nothing", got=names, fix="with --compare alone")
    address = None if device is None else parse_device(device)
    if given & {"ssh_config", "device_python"} and not isinstance(address, SshAddress):
        raise UsageError("--ssh-config and --device-python are of --device ssh:USER@HOST")
    old = None if compare is None else comparing.read_report(compare)
    require_different({"--out": out, "--markdown": markdown, "--compare": compare})
    if measured is not None:
        _compare_files(old, comparing.read_report(measured), compare)
        return
    tasks, models = parse_tasks(task), parse_names(model, MODELS, "model")
    if old is not None and address is None:
        comparing.require_same_machine(old, here(), threads or os.cpu_count() or 1)
    elif old is not None and old["machine"].get("device") != str(address):
        raise UsageError(f"{compare} is not of {address}", got=str(old["machine"].get("device")))
    place = place_of(address, config=ssh_config, python=device_python)
    deployments = _deployments(place, target, precision, runtime, quick=quick)
    if calibration is not None and all(each.precision != "int8" for each in deployments):
        raise UsageError("nothing is calibrated without int8", fix="leave out --calibration")
    selection = Selection(
        pairs=tuple((one, other) for other in models for one in tasks),
        deployments=deployments,
        size=size,
        steps=steps,
        protocol=_protocol(quick, images, warmup),
        quick=quick,
        threads=threads or (_DEVICE_THREADS if address is not None else os.cpu_count() or 1),
        data=data,
        calibration=calibration,
        place=place,
    )

    def save(report: dict[str, Any], rows: Sequence[Row]) -> None:
        if out is not None:
            write_json(out, reporting.as_json(report, rows))
        if markdown is not None:
            write_whole(markdown, reporting.markdown(report, rows).encode())

    report, rows = measure_all(selection, save)
    if old is not None:
        _judge(old, reporting.as_json(report, rows), compare)


def _given(context: typer.Context) -> set[str]:
    """Return the names of the options that the command line has."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def _protocol(quick: bool, images: int | None, warmup: int | None) -> TimingProtocol:
    """Return the paper's protocol or the quick one, with what was asked for in its place."""
    base = QUICK if quick else PAPER
    return TimingProtocol(
        images=base.images if images is None else images,
        warmup=base.warmup if warmup is None else warmup,
        turn=base.turn,
    )


def _deployments(
    place: Place,
    target: str | None,
    precision: str | None,
    runtime: str | None,
    *,
    quick: bool,
) -> tuple[Deployment, ...]:
    """Return what is measured at a place; `quick` leaves out int8, whose recipe is searched for."""
    if runtime is None and place.runtimes is not None:
        runtime = ",".join(place.runtimes)
    found = choose(targets=target, precisions=precision, runtimes=runtime, portable=place.portable)
    if place.runtimes is not None and any(v.runtime not in place.runtimes for v in found):
        raise UsageError(f"this device runs only {', '.join(place.runtimes)}")
    if quick and precision is None:
        found = [deployment for deployment in found if deployment.precision != "int8"]
    return tuple(found)


def _compare_files(old: comparing.Report | None, new: comparing.Report, path: Path | None) -> None:
    if old is None:
        raise UsageError("--measured is compared with nothing", fix="pass --compare OLD.json")
    _judge(old, new, path)


def _judge(old: comparing.Report, new: comparing.Report, path: Path | None) -> None:
    """Print what became worse.

    Raises:
        UsageError: the reports are of different machines.
        ElirError: something became worse.
    """
    comparing.require_same_machine(old, new["machine"], new["threads"])
    found = comparing.compare(old, new)
    reporting.show_comparison(found, old, new)
    if found.regressions:
        raise ElirError(f"{len(found.regressions)} regressions against {path}")


if __name__ == "__main__":
    run_app(app)
