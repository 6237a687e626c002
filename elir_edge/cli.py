"""The `elir-edge` command."""

import dataclasses
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from elir_edge import (
    __version__,
    cli_bench,
    cli_degrade,
    cli_evaluate,
    cli_restore,
    cli_train,
)
from elir_edge.cli_options import Runtime, Threads
from elir_edge.console import console, run_app
from elir_edge.tasks import TASKS

if TYPE_CHECKING:
    from elir_edge.runtime.manifest import Engine

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Efficient Latent Image Restoration: train, run and check.",
)

app.command(epilog=cli_restore.EPILOG)(cli_restore.restore)
app.command(epilog=cli_bench.EPILOG)(cli_bench.bench)
app.command(epilog=cli_degrade.EPILOG)(cli_degrade.degrade)
app.command(epilog=cli_evaluate.EPILOG)(cli_evaluate.evaluate)
app.command(epilog=cli_train.EPILOG)(cli_train.train)

_TASK_HELP = f"One of {', '.join(TASKS)}"


def main() -> NoReturn:
    """Run the command line."""
    run_app(app)


def _show_version(value: bool) -> None:
    if value:
        print(f"elir-edge {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Accept the options before the command."""


@app.command(epilog="Example: elir-edge info dist/denoising-nano-onnx-fp32")
def info(
    bundle: Annotated[Path, typer.Argument(help="Folder made by `make export`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest.")] = False,
) -> None:
    """Say what a bundle is, takes and gives."""
    from elir_edge.runtime import Bundle

    opened = Bundle.open(bundle)
    manifest = opened.manifest
    if as_json:
        print(manifest.to_json(), end="")
        return
    identity, processing = manifest.identity, manifest.processing
    passed = sum(check.passed for check in manifest.validation)
    table = Table(show_header=False, title=escape(identity.name))
    title = f" ({TASKS[identity.task].title})" if identity.task in TASKS else ""
    rows = {
        "task": f"{identity.task}{title}",
        "model": f"{identity.model}, K = {identity.num_steps}, sigma_s = {identity.sigma_s:g}",
        "noise": identity.noise.policy,
        "precision": manifest.precision.name,
        "runtime": ", ".join(opened.runtimes),
        **_engine_row(manifest.target.engine),
        "made by": f"elir-edge {identity.tool_version}, commit {identity.git_commit[:12]}",
        "checkpoint": f"{manifest.source.checkpoint}, SHA-256 {manifest.source.sha256[:16]}...",
        "other sizes": f"{processing.fit}, overlap {processing.overlap}, x{processing.upscale}",
        "checks": f"{passed} of {len(manifest.validation)} passed",
    }
    for spec in (*manifest.inputs, *manifest.outputs):
        side = "input" if spec in manifest.inputs else "output"
        shape = " x ".join(str(n) for n in spec.shape)
        rows[f"{side} {spec.name}"] = f"{spec.dtype} {spec.layout} {shape} {spec.colour}"
    for entry in manifest.files:
        rows[f"file {entry.path}"] = f"{entry.role}, {entry.bytes:,} bytes"
    for key, value in rows.items():
        table.add_row(escape(key), escape(value))
    console.print(table)


def _engine_row(engine: "Engine | None") -> dict[str, str]:
    if engine is None:
        return {}
    tried = "run when made" if engine.ran else "built ahead of time, never run where it was made"
    return {"engine": f"{engine.kind} {engine.version} for {engine.capability}, {tried}"}


@app.command(epilog="Example: elir-edge verify dist/denoising-nano-onnx-fp32")
def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder made by `make export`.")],
    threads: Threads = None,
    runtime: Runtime = None,
) -> None:
    """Re-check a bundle's hashes and run its self-test on this device."""
    from elir_edge.runtime.selftest import verify_bundle

    result = verify_bundle(bundle, threads=threads, runtime=runtime)
    print(
        f"{bundle}: hashes match; self-test {result.psnr:.1f} dB "
        f"(at least {result.min_psnr:g}) on {result.runtime}"
    )


@app.command(epilog="Example: elir-edge build-engine dist/bfr-nano-tensorrt-fp16")
def build_engine(
    bundle: Annotated[
        Path, typer.Argument(help="Folder made by `make export TASK=... TARGET=tensorrt`.")
    ],
    gpu: Annotated[
        str | None, typer.Option(help="sm75, sm80, sm86, sm89, sm120; default: the GPU here.")
    ] = None,
) -> None:
    """Build a bundle's TensorRT engine anew from its ONNX, for the GPU of this device."""
    from elir_edge.runtime.tensorrt.engine import rebuild

    engine, path = rebuild(bundle, gpu)
    tried = "self-test passed" if engine.ran else "built ahead of time, not run here"
    print(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB for {engine.capability} "
        f"by {engine.kind} {engine.version}; {tried}"
    )


@app.command(epilog="Example: elir-edge fetch bfr --out checkpoints")
def fetch(
    task: Annotated[str, typer.Argument(help=_TASK_HELP + ".")],
    out: Annotated[Path, typer.Option(help="Folder to keep it in.")] = Path("checkpoints"),
    url: Annotated[str | None, typer.Option(help="Another address of the release.")] = None,
) -> None:
    """Download the published checkpoint of a task."""
    from elir_edge.fetch import RELEASE_URL
    from elir_edge.fetch import fetch as download

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_interactive,  # rich would print an empty line
    ) as progress:
        bar = progress.add_task(f"elir_{task}.pth", total=None)
        path = download(
            task,
            out,
            base_url=url or RELEASE_URL,
            progress=lambda here, total: progress.update(bar, completed=here, total=total),
        )
    print(f"checkpoint {path}")
    print(f"SHA-256    {(path.parent / (path.name + '.sha256')).read_text().split()[0]}")
    print(f"export it: make export TASK={task} TARGET=onnx CHECKPOINT={shlex.quote(str(path))}")


@app.command(epilog="Example: elir-edge doctor --json")
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what is installed here and what each use of elir-edge still needs."""
    from elir_edge.doctor import abilities, installed_versions, machine

    facts, versions, found = machine(), installed_versions(), abilities()
    if as_json:
        report = {
            "machine": facts,
            "packages": versions,
            "abilities": [dataclasses.asdict(ability) for ability in found],
        }
        print(json.dumps(report, indent=2))
        return
    table = Table("what", "here", title=f"elir-edge {__version__}")
    for key, value in (facts | versions).items():
        table.add_row(key, value or "not installed")
    console.print(table)
    table = Table("to", "state")
    for ability in found:
        state = f"needs {', '.join(ability.missing)}: {ability.fix}" if ability.missing else "ready"
        table.add_row(ability.name, state.replace("[", "\\["))
    console.print(table)
